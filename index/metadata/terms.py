"""What the catalog's full-text index is asked for the words that somebody typed.

What people type is words, never a query language: each is looked up in the index's vocabulary
first. Stop words are dropped where others are said, and at most `_TERMS` of the rarest remain. How
often a word occurs is counted over all collections of the catalog. Scripts that write without
spaces are found by any part of a run (`tokens.py`), at the price of reading that part of the
vocabulary. It ranks nothing.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from index.metadata.tokens import UNSPACED_FROM, is_unspaced, words_of
from index.types import Ids

_TERMS = 8
_ASKED = 200  # words of a query that are looked up
_RUNS = 64  # of an unspaced script that may stand for one word, the most frequent first

_ENGLISH = """
a about an and are as at be been but by can could did do does for from had has have he her his how
i if in into is it its me my no not of on or our she so some such than that the their them then
there these they this to up was we were what when where which who will with would you your
"""
_STOP = frozenset(_ENGLISH.split())


class Tier(NamedTuple):
    """What FTS5 is asked. common: by words so frequent that not all who hold them are ranked."""

    match: str
    common: bool


def tiers_of(connection: sqlite3.Connection, text: str, most: int) -> list[Tier]:
    """What to ask first, and what next when that finds too little.

    most: items that the words of one tier hold, unless they are common.
    """
    said = list(dict.fromkeys(words_of(text)))[:_ASKED]
    wanted = [word for word in said if word not in _STOP] or said
    return _tiers(_terms(connection, wanted), most)


def items_with(connection: sqlite3.Connection, column: str, text: str) -> Ids:
    """Of all collections the items, ascending, whose `title` or `text` holds each of the words."""
    found: list[Ids] = []
    for word in words_of(text):
        runs = [run for run, _ in _runs_with(connection, word)] if is_unspaced(word) else [word]
        some = [_rows_with(connection, f"{{{column}}} : {_quoted(run)}") for run in runs]
        found.append(np.unique(np.concatenate([np.empty(0, np.int64), *some])))
    if not found:
        return np.empty(0, np.int64)
    common = found[0]
    for other in found[1:]:
        common = np.intersect1d(common, other, assume_unique=True)
    return common


def rarities(connection: sqlite3.Connection, words: Iterable[str]) -> dict[str, float]:
    """ln(1 + N / (1 + n)) of each word that n of all N items hold; of several words in one, of the
    rarest. N counts items that are gone too."""
    (items,) = connection.execute("SELECT coalesce(max(id), 0) FROM items").fetchone()
    found = {}
    for said in words:
        held = [sum(count for _, count in _runs_of(connection, word)) for word in words_of(said)]
        found[said] = math.log1p(items / (1 + min(held, default=0)))
    return found


class _Term(NamedTuple):
    """A word of the query as FTS5 is asked for it. held: by so many items."""

    match: str
    held: int


def _terms(connection: sqlite3.Connection, words: Iterable[str]) -> list[_Term]:
    """Those that any item holds, the rarest first."""
    terms = []
    for word in words:
        if runs := _runs_of(connection, word):
            match = " OR ".join(_quoted(run) for run, _ in runs)
            terms.append(_Term(f"({match})", sum(count for _, count in runs)))
    return sorted(terms, key=lambda term: term.held)


def _tiers(terms: Sequence[_Term], most: int) -> list[Tier]:
    telling = terms[:_TERMS]
    rare: list[_Term] = []
    for term in telling:
        if sum(one.held for one in rare) + term.held <= most:
            rare.append(term)
    common = [term for term in telling if term not in rare]
    tiers = [Tier(" OR ".join(term.match for term in rare), common=False)] if rare else []
    if len(common) > 1:
        tiers.append(Tier(" AND ".join(term.match for term in common), common=True))
    return [*tiers, *(Tier(term.match, common=True) for term in common)]


def _runs_of(connection: sqlite3.Connection, word: str) -> list[tuple[str, int]]:
    """What stands for a word, and in how many items."""
    if is_unspaced(word):
        return sorted(_runs_with(connection, word), key=lambda run: -run[1])[:_RUNS]
    return connection.execute("SELECT term, doc FROM terms WHERE term = ?", (word,)).fetchall()


def _runs_with(connection: sqlite3.Connection, word: str) -> list[tuple[str, int]]:
    return connection.execute(
        "SELECT term, doc FROM terms WHERE term >= ?1 AND instr(term, ?2)"
        " UNION SELECT term, doc FROM terms WHERE term = ?2",
        (UNSPACED_FROM, word),
    ).fetchall()


def _quoted(word: str) -> str:
    """A word and nothing else to FTS5; there is no quote in a word, but then there might be."""
    return '"' + word.replace('"', '""') + '"'


def _rows_with(connection: sqlite3.Connection, match: str) -> Ids:
    found = connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (match,))
    return np.fromiter((row for (row,) in found), np.int64)

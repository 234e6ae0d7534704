"""Searching titles and texts by their words: BM25 (Robertson and Zaragoza 2009), as FTS5 ranks.

Words so common that they would rank more than `_ROWS` items, at some 1 µs an item, tell items apart
least: they rank only when rarer ones find too little, and then the newest items that hold them.
Which words count, and what is asked for them, is `terms.py`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from embed.types import CharSpan, Modality, Span
from index import rows
from index.contents import Contents
from index.metadata.terms import Tier, rarities, tiers_of
from index.types import Ids

_ROWS = 2_500
_CANDIDATES = 64  # whose fragments are read at a time
_TITLE = 4.0  # a word in the title weighs so much more
_RANK = f"bm25(words, {_TITLE}, 1.0)"
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"  # noncharacters, around a word found in a text


class Said(NamedTuple):
    """A fragment whose item speaks of the words. score: BM25, higher is better, no bounds."""

    fragment: int
    score: float


class Words:
    """The titles and texts of one collection. Safe to use from several threads."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def search(
        self,
        text: str,
        k: int,
        modalities: Collection[Modality] | None = None,
        items: Ids | None = None,
    ) -> list[Said]:
        """The k best items, best first, each by the fragment of it that holds most of the words.

        modalities: of the items looked for. items: among these alone, by the catalog's own ids
        (`Columns.items`), ascending. Nothing is found by words that nothing holds.
        """
        with self._contents.reading() as connection:
            tiers = tiers_of(connection, rows.storable(text), _ROWS)
            search = _Search(connection, self._contents.info.id, modalities, items)
            return search.best(tiers, k)

    def rarity(self, words: Iterable[str]) -> dict[str, float]:
        """ln(1 + N / (1 + n)) of each word that n of the catalog's N items hold."""
        with self._contents.reading() as connection:
            return rarities(connection, words)


class _Candidates(NamedTuple):
    """Who is ranked: items from the first to the last, of `among` (JSON) where that is given.

    cut: there are more.
    """

    first: int
    last: int
    among: str | None = None
    cut: bool = False


class _Passage(NamedTuple):
    fragment: int
    span: Span | None


class _Search:
    """One search in one view of the catalog."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        collection: int,
        modalities: Collection[Modality] | None,
        items: Ids | None,
    ) -> None:
        self._sql = connection.execute
        self._items = items
        wanted = sorted(Modality if modalities is None else modalities)
        self._where = f"i.collection = ? AND i.modality IN ({', '.join('?' * len(wanted))})"
        self._values = [collection, *(modality.value for modality in wanted)]
        self._range = self._sql(
            "SELECT (SELECT min(id) FROM items WHERE collection = ?1),"
            " (SELECT max(id) FROM items WHERE collection = ?1)",
            (collection,),
        ).fetchone()

    def best(self, tiers: Iterable[Tier], k: int) -> list[Said]:
        found: dict[int, Said] = {}
        for tier in tiers:
            if len(found) >= k:
                break
            chosen = self._candidates(tier, whole=False)
            ranked = list(self._ranked(tier.match, chosen, k))
            if chosen.cut and len(ranked) < k:  # most of the newest are of no use here
                ranked = list(self._ranked(tier.match, self._candidates(tier, whole=True), k))
            for item, score, passages in ranked:
                if item not in found:
                    found[item] = Said(self._fragment(tier.match, item, passages), score)
        return sorted(found.values(), key=lambda said: (-said.score, said.fragment))[:k]

    def _candidates(self, tier: Tier, *, whole: bool) -> _Candidates:
        """Of common words the newest `_ROWS`; `whole`: of those that are looked for, not of all in
        the catalog, which is slower."""
        if self._items is None and not tier.common:
            return _Candidates(*self._range)
        limit = _ROWS if tier.common and not whole else -1
        held = self._rows(
            "SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ?"
            " ORDER BY rowid DESC LIMIT ?",
            (tier.match, *self._range, limit),
        )
        cut = len(held) == limit
        if self._items is not None:
            held = held[np.isin(held, self._items)]
        if whole:
            mine = self._rows(f"SELECT i.id FROM items i WHERE {self._where}", self._values)  # noqa: S608 - our own condition
            held = held[np.isin(held, mine)]
        held = held[:_ROWS]
        if not len(held):
            return _Candidates(0, -1, cut=cut)
        among = json.dumps(held.tolist()) if whole or self._items is not None else None
        return _Candidates(int(held[-1]), int(held[0]), among, cut)

    def _ranked(
        self, match: str, chosen: _Candidates, k: int
    ) -> Iterator[tuple[int, float, list[_Passage]]]:
        """The k best of those chosen, with their score and fragments."""
        values = [match, chosen.first, chosen.last]
        among = ""
        if chosen.among is not None:
            # The plus keeps SQLite from asking FTS5 about each of them.
            among = " AND +rowid IN (SELECT value FROM json_each(?))"
            values.append(chosen.among)
        told, done, limit = 0, 0, max(_CANDIDATES, 2 * k)
        while True:
            scored = self._sql(
                f"SELECT rowid, -{_RANK} AS score FROM words WHERE words MATCH ?"  # noqa: S608 - our own condition
                f" AND rowid BETWEEN ? AND ?{among} ORDER BY score DESC, rowid LIMIT ?",
                (*values, limit),
            ).fetchall()
            for start in range(done, len(scored), _CANDIDATES):
                some = scored[start : start + _CANDIDATES]
                passages = self._passages([item for item, _ in some])
                for item, score in some:
                    if told < k and item in passages:
                        told += 1
                        yield item, score, passages[item]
            if told == k or len(scored) < limit:
                return
            done, limit = len(scored), 8 * limit

    def _rows(self, statement: str, values: Sequence[Any]) -> Ids:
        return np.fromiter((row for (row,) in self._sql(statement, values)), np.int64)

    def _passages(self, items: Sequence[int]) -> dict[int, list[_Passage]]:
        """The fragments of those items that are looked for."""
        marks = ", ".join("?" * len(items))
        passages: dict[int, list[_Passage]] = {}
        for item, fragment, span in self._sql(
            "SELECT f.item, f.id, f.span FROM fragments f JOIN items i ON i.id = f.item"  # noqa: S608 - our own condition
            f" WHERE {self._where} AND i.id IN ({marks}) ORDER BY f.id",
            (*self._values, *items),
        ):
            passages.setdefault(item, []).append(_Passage(fragment, rows.span_from_text(span)))
        return passages

    def _fragment(self, match: str, item: int, passages: Sequence[_Passage]) -> int:
        """The passage with most of the words; of equals, and of other media, the first."""
        if len(passages) == 1 or not all(isinstance(p.span, CharSpan) for p in passages):
            return passages[0].fragment
        (marked,) = self._sql(
            "SELECT highlight(words, 1, ?, ?) FROM words WHERE words MATCH ? AND rowid = ?",
            (_OPEN, _CLOSE, match, item),
        ).fetchone()
        places = list(_places(marked or ""))

        def worth(passage: _Passage) -> tuple[int, int]:
            span = passage.span
            assert isinstance(span, CharSpan)
            inside = [word for start, word in places if span.start <= start < span.end]
            return len(set(inside)), len(inside)

        return max(passages, key=worth).fragment


def _places(marked: str) -> Iterator[tuple[int, str]]:
    """Of each word between marks, where it stands in the text without them."""
    at = 0
    before, *found = marked.split(_OPEN)
    at += len(before)
    for piece in found:
        word, _, after = piece.partition(_CLOSE)
        yield at, word.lower()
        at += len(word) + len(after)

"""The words of a text, told apart as the catalog's full-text index does (FTS5's `unicode61`).

SQLite itself is asked, in memory, so that both are the same by construction: case and accents are
folded, punctuation separates. Scripts that write without spaces come as whole runs; a word in such
a script is therefore looked for within runs that begin in one.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterable
from functools import cache
from threading import Lock

UNSPACED_FROM = "\u0e00"
"""All words that come before this one are of scripts that write spaces."""

_TOKENIZER = "unicode61 remove_diacritics 2"  # as in migrations/0002_search.sql

# Thai and Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


def is_unspaced(word: str) -> bool:
    """Whether a word is of a script that writes without spaces, and so may stand within a run."""
    return _UNSPACED.search(word) is not None


def words_of(text: str) -> list[str]:
    """Folded, in their order."""
    return words_of_each([text])[0]


def words_of_each(texts: Iterable[str]) -> list[list[str]]:
    """As `words_of`, at about 10 µs a text instead of 60."""
    return _tokenizer().split(texts)


def all_in(wanted: Iterable[str], words: Collection[str]) -> bool:
    """Whether each of the wanted words is among `words`, or within one where spaces are unusual."""
    return all(word in words or any(is_within(word, other) for other in words) for word in wanted)


def is_within(word: str, run: str) -> bool:
    return is_unspaced(word) and run >= UNSPACED_FROM and word in run


class _Tokenizer:
    """An FTS5 table without content, and its list of words."""

    def __init__(self) -> None:
        self._lock = Lock()
        connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        connection.execute(
            f"CREATE VIRTUAL TABLE texts USING fts5 (text, content='', tokenize='{_TOKENIZER}')"
        )
        connection.execute("CREATE VIRTUAL TABLE told USING fts5vocab (texts, instance)")
        self._sql = connection.execute
        self._sql_many = connection.executemany

    def split(self, texts: Iterable[str]) -> list[list[str]]:
        numbered = list(enumerate(texts))
        words: list[list[str]] = [[] for _ in numbered]
        with self._lock:
            self._sql("BEGIN")
            try:
                self._sql_many("INSERT INTO texts (rowid, text) VALUES (?, ?)", numbered)
                for number, word in self._sql("SELECT doc, term FROM told ORDER BY doc, offset"):
                    words[number].append(word)
            finally:
                self._sql("ROLLBACK")
        return words


@cache
def _tokenizer() -> _Tokenizer:
    return _Tokenizer()

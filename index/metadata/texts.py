"""Texts in memory, each once: their codes, and by code what is asked of them.

Everything here only grows, so that what was seen once stays as it is while more is added behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from index.metadata.tokens import is_unspaced, is_within, words_of, words_of_each
from index.metadata.values import as_time

Mask: TypeAlias = NDArray[np.bool_]
Numbers: TypeAlias = NDArray[Any]

_NEVER = np.iinfo(np.int64).min  # the time of a text that is none


class Growing:
    """A numpy array that grows at its end; what `seen` once returned never changes."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._buffer: Numbers = np.empty(0, dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, values: Sequence[Any] | Numbers) -> None:
        count = self._count + len(values)
        if count > len(self._buffer):
            larger = np.empty(count + count // 2, self._buffer.dtype)
            larger[: self._count] = self._buffer[: self._count]
            self._buffer = larger
        self._buffer[self._count : count] = values
        self._count = count

    def seen(self) -> Numbers:
        return self._buffer[: self._count]


class Texts:
    """Each text once, and what was worked out about it: its time, its words. Only grows."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self._texts: list[str] = []
        self._times = Growing(np.int64)
        self._words: dict[str, list[int]] = {}
        self._told = 0  # texts whose words are known
        self._lock = Lock()  # of what is worked out

    def encode(self, texts: Sequence[str]) -> list[int]:
        codes = self.codes
        for text in texts:
            if text not in codes:
                codes[text] = len(self._texts)
                self._texts.append(text)
        return [codes[text] for text in texts]

    def by_code(self) -> Sequence[str]:
        return self._texts

    def where(self, told: Callable[[str], bool]) -> Mask:
        """By code."""
        return np.fromiter(map(told, self._texts), bool, len(self._texts))

    def in_order(self, compare: Callable[[Any, Any], Any], bound: str) -> Mask:
        """By code: of times where the bound is one, else by code points."""
        when = as_time(bound)
        if when is None:
            return self.where(lambda text: bool(compare(text, bound)))
        with self._lock:
            late = [as_time(text) for text in self._texts[len(self._times) :]]
            self._times.extend([_NEVER if time is None else time for time in late])
            times = self._times.seen()
        mask: Mask = compare(times, when) & (times != _NEVER)
        return mask

    def matching(self, words: str) -> Mask:
        """By code."""
        wanted = words_of(words)
        with self._lock:
            self._tell_words()
            mask = np.full(self._told, bool(wanted))
            for word in wanted:
                one = np.zeros(self._told, bool)
                for other in self._like(word):
                    one[self._words[other]] = True
                mask &= one
        return mask

    def _tell_words(self) -> None:
        late = self._texts[self._told :]
        for code, found in enumerate(words_of_each(late) if late else [], start=self._told):
            for word in set(found):
                self._words.setdefault(word, []).append(code)
        self._told += len(late)

    def _like(self, word: str) -> Iterable[str]:
        if is_unspaced(word):
            return [other for other in self._words if word == other or is_within(word, other)]
        return [word] if word in self._words else []

"""Texts put together from sections: the rows of a table, the pages of a document.

What is composed is what spans count, so it is bounded as it grows: a small file can stand for a
text without end, as a long header does that is written before every value.
"""

from __future__ import annotations

from collections.abc import Iterable

from embed.errors import CorruptMedia, TooLarge
from embed.types import Media, Modality, Section

MAX_CHARACTERS = 32 * 2**20
MAX_SECTIONS = 100_000


class Composer:
    """Collects sections, in order. `called` is what messages call the medium."""

    def __init__(self, called: str, *, between: str = "\n") -> None:
        """between: what stands between two sections, and is part of none."""
        self._called = called
        self._between = between
        self._parts: list[str] = []
        self._sections: list[Section] = []
        self._length = 0

    @property
    def is_empty(self) -> bool:
        return not self._parts

    def add(self, parts: Iterable[str], *, joint: str = "\n", page: int | None = None) -> None:
        """Adds one section, its parts joined by `joint`; nothing when they say nothing.

        Raises TooLarge.
        """
        room = MAX_CHARACTERS - self._length
        words = joint.join(self._within(room, parts, len(joint)))
        if not words.strip():
            return
        if len(self._sections) == MAX_SECTIONS:
            raise TooLarge(
                f"{self._called} has more than {MAX_SECTIONS:,} rows or pages; split it into "
                "several files"
            )
        if self._parts:
            self._parts.append(self._between)
            self._length += len(self._between)
        self._parts.append(words)
        self._sections.append(Section(self._length, self._length + len(words), page))
        self._length += len(words)

    def _within(self, room: int, parts: Iterable[str], joint: int) -> Iterable[str]:
        for part in parts:
            room -= len(part) + joint
            if room < 0:
                raise TooLarge(
                    f"{self._called} holds more than {MAX_CHARACTERS:,} characters when it is "
                    "written out; split it into several files"
                )
            yield part

    def media(self, *, sections: bool = True) -> Media:
        """The text. Raises CorruptMedia when no section said anything."""
        if self.is_empty:
            raise CorruptMedia(f"{self._called} holds no text")
        kept = tuple(self._sections) if sections else ()
        # JSON can spell halves of characters, and NUL; one for one, so that sections stay true.
        text = "".join(self._parts).replace("\0", " ").encode(errors="replace").decode()
        return Media(Modality.TEXT, text, source=self._called, sections=kept)

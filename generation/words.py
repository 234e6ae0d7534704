"""From token ids to words, as they come: no half characters, and nothing after a stop string.

It knows tokenizers only as a function from ids to text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_HALF = "\N{REPLACEMENT CHARACTER}"


class Words:
    """Text of a growing list of ids; what `feed` and `rest` return is, joined, the text of all.

    A token's text depends on those before it (a space, a byte of a character), so each is read
    behind the last ones whose text is out, and waits while it ends in half a character.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._context = 0
        self._said = 0

    def feed(self, token: int) -> str:
        """What is certain now."""
        self._ids.append(token)
        text = self._ahead()
        if not text or text.endswith(_HALF):
            return ""
        self._context, self._said = self._said, len(self._ids)
        return text

    def rest(self) -> str:
        """What is left when no more tokens come."""
        text = self._ahead()
        self._context = self._said = len(self._ids)
        return text

    def _ahead(self) -> str:
        before = self._decode(self._ids[self._context : self._said])
        return self._decode(self._ids[self._context :])[len(before) :]


class Until:
    """Passes text on until the first of `stops`; holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """What can go out now: nothing after a stop string, which is left out itself."""
        if self.hit:
            return ""
        self._held += text
        ends = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        self.hit = bool(ends)
        keep = min(ends) if ends else len(self._held) - self._begun()
        out, self._held = self._held[:keep], self._held[keep:]
        return out

    def rest(self) -> str:
        """What was held back, when no more text comes."""
        out, self._held = ("" if self.hit else self._held), ""
        return out

    def _begun(self) -> int:
        """Characters at the end that are how a stop string begins."""
        lengths = range(max(map(len, self._stops), default=1) - 1, 0, -1)
        ends = (
            n
            for n in lengths
            if self._held.endswith(tuple(s[:n] for s in self._stops if len(s) > n))
        )
        return next((n for n in ends if n <= len(self._held)), 0)

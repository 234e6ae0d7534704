"""Words of near meaning, as the library's own tower reads them: `car` and `automobile`.

A tower gives any two words some cosine, and another tower another one; what counts is how far above
the usual two words are. Names and numbers are never near each other. Vectors of words are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np

from embed.types import Floats, Media, Modality
from rag.library import Library
from rag.seeking.wording import Term

_KEPT = 20_000
_ASKED = 8  # terms of a question that are compared
_SAID = 96  # words of all candidates that they are compared with
_USUAL = """
table river music happy court sentence lamp idea banana stone window teacher yellow winter engine
slow paper number door cloud market sleep glass history
"""
# Of the way from the usual cosine to 1. In the built-in space dog and cat stand at .54, car and
# automobile at .81, buy and purchase at .82.
_FROM, _TO = 0.58, 0.92
_MOST = 0.9  # a near word is not the word


class NearWords:
    """Compares words by the tower of `library`. Safe to use from several threads."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._vectors: OrderedDict[str, Floats] = OrderedDict()
        self._usual: float | None = None
        self._lock = Lock()

    @property
    def able(self) -> bool:
        """Whether the tower reads words."""
        return Modality.TEXT in self._library.batcher.embedder.modalities

    def likeness(self, asked: Sequence[Term], said: Sequence[Term]) -> dict[tuple[str, str], float]:
        """By folded words of a question and of candidates, those alone that are near.

        Of long lists the first. Raises what the tower raises.
        """
        ours = _words(asked)[:_ASKED]
        theirs = [word for word in _words(said) if word not in ours][:_SAID]
        if not ours or not theirs or not self.able:
            return {}
        mine, other, usual = self._of(ours), self._of(theirs), self._usual_cosine()
        above = (mine @ other.T - usual) / max(1e-6, 1.0 - usual)
        near = np.clip((above - _FROM) / (_TO - _FROM), 0.0, 1.0) * _MOST
        return {
            (ours[row], theirs[column]): float(near[row, column])
            for row, column in zip(*np.nonzero(near), strict=True)
        }

    def _usual_cosine(self) -> float:
        if self._usual is None:
            vectors = self._of(_USUAL.split())
            count = len(vectors)
            total = float((vectors @ vectors.T).sum())
            self._usual = (total - count) / (count * (count - 1))
        return self._usual

    def _of(self, words: Sequence[str]) -> Floats:
        with self._lock:
            known = {word: self._vectors[word] for word in words if word in self._vectors}
        new = [word for word in words if word not in known]
        made = self._library.embed([Media(Modality.TEXT, word) for word in new])
        known |= {word: one.joint for word, one in zip(new, made, strict=True)}
        with self._lock:
            for word in words:
                self._vectors[word] = known[word]
                self._vectors.move_to_end(word)
            while len(self._vectors) > _KEPT:
                self._vectors.popitem(last=False)
        return np.stack([known[word] for word in words])


def _words(terms: Sequence[Term]) -> list[str]:
    """Each once. What is written like a name or a number is itself alone."""
    plain = (t.surface.lower() for t in terms if t.kind != "quote" and t.surface.islower())
    return list(dict.fromkeys(word for word in plain if word.isalpha()))

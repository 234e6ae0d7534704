"""Completions made of what is missing: candidates gathered, heard, judged, and put into words of
`index.types.Completion`. Nothing is kept here, and nothing held back for being unlikely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from embed.types import Floats, Media, Modality
from generation.types import Generator
from index.completions import Method
from index.types import Completion, Source
from rag.completion.candidates import Holder, Wanted, curve_within, gather, middles, observed
from rag.completion.consensus import Verdict, Voice, heard
from rag.completion.fit import METHODS
from rag.completion.judges import Judge, Judges
from rag.completion.likeness import likeness
from rag.completion.synthesis import check_makes, synthesise
from rag.library import Library

_SOURCES = 8  # told of a completion
_SIDE = 768  # pixels of pictures that a generator is shown


class Made(NamedTuple):
    """A completion, and the medium where a generator made one. fitted: its probability was fitted
    on this collection."""

    completion: Completion
    medium: Media | None = None
    fitted: bool = True


class Maker:
    """Makes completions in one library. Safe to use from several threads."""

    def __init__(self, library: Library, judges: Judges, generator: Generator | None) -> None:
        self._library = library
        self._judges = judges
        self._generator = generator

    def make(
        self, wanted: Sequence[Wanted], method: Method, k: int, media: Sequence[Media] = ()
    ) -> list[Made]:
        """What can be supposed at all, however unlikely, from `k` neighbours a way; one search.

        media: of holders that are no record, for a synthesis. Raises NotAvailable for a synthesis
        without a generator that can, and what generators raise.
        """
        if method == "synthesis":
            for one in wanted:
                check_makes(self._generator, one.missing)
        judges = [self._judges.of(one.missing, method, one.holder.has) for one in wanted]
        asked = [
            one._replace(routes=judge.routes) for one, judge in zip(wanted, judges, strict=True)
        ]
        gathered = gather(self._library, asked, k)
        heard_of = [
            heard(candidates, judge.weigh)
            for candidates, judge in zip(gathered, judges, strict=True)
        ]
        vectors = middles(self._library, {v.item.id for some in heard_of for v in some})
        made = []
        for one, judge, some in zip(wanted, judges, heard_of, strict=True):
            voices = [voice for voice in some if voice.item.id in vectors]
            if voices:
                rows = np.stack([vectors[voice.item.id] for voice in voices])
                verdict, medium = self._verdict(one, method, voices, rows, media)
                completion = _completion(one, method, verdict, judge, medium)
                made.append(Made(completion, medium, fitted=judge.fit is not None))
        return made

    def _verdict(
        self,
        wanted: Wanted,
        method: Method,
        voices: Sequence[Voice],
        vectors: Floats,
        media: Sequence[Media],
    ) -> tuple[Verdict, Media | None]:
        holder, missing, _ = wanted
        alike = likeness(curve_within(self._library, missing))
        if method != "synthesis":
            return METHODS[method](voices, vectors, alike), None
        generator = check_makes(self._generator, missing)
        own = media or self._media_of(holder)
        medium, verdict = synthesise(generator, self._library, own, voices, vectors, alike, missing)
        return verdict, medium

    def _media_of(self, holder: Holder) -> list[Media]:
        """What a record holds, as far as it is still there."""
        if holder.record is None:
            return []
        items = self._library.collection.items_of_records([holder.record])
        media = [
            self._library.media_of(item, None, _SIDE)
            for item in observed(items.get(holder.record, []))
        ]
        return [medium for medium in media if medium is not None]


def _completion(
    wanted: Wanted, method: Method, verdict: Verdict, judge: Judge, medium: Media | None
) -> Completion:
    sources = verdict.sources[:_SOURCES]
    weight = sum(voice.weight for voice in sources)
    words = wanted.missing is Modality.TEXT
    item = verdict.value.item
    return Completion(
        record=wanted.holder.record,
        modality=wanted.missing,
        value=item.text if words else item.id if medium is None else None,
        vector=verdict.vector,
        origin="retrieved" if medium is None else "generated",
        sources=tuple(Source(v.item.id, v.item.record, v.weight / weight) for v in sources),
        p=judge.probability(verdict),
        method=method,
    )

"""A collection with its tower, its calibration and its media: all that a journey asks of the house.

Whoever opens collections hands one in. It knows no question and no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np

from embed.batcher import Batcher, Embedded
from embed.calibration import Calibration, Curve
from embed.errors import BadInput, InvalidQuery
from embed.types import Floats, Item, Media, Modality, Span, normalise
from index.collection import Collection
from index.search.query import Query
from index.types import Partition, Results, VectorKind

MediaOf = Callable[[Item, Span | None, int], Media | None]
"""The medium of an item, or of a span of it, pictures no larger than so many pixels a side; None
when it is gone."""


SAME = 0.98  # probability from which what was found is the very medium that was shown
_STEEP = 4  # how fast likelihood falls with the cosine where nothing is known


def guessed(cosine: float) -> float:
    """How likely two things of one modality are of one kind, where nobody has calibrated that: a
    power of their cosine, by guess."""
    return min(1.0, max(0.0, cosine)) ** _STEEP


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A medium or an item as a query: joint `(D,)` unit, native `(M,)` in its own modality or none.

    item: its id, where it is one.
    """

    modality: Modality
    joint: Floats
    native: Mapping[Modality, Floats] = field(default_factory=dict)
    item: str | None = None


class Library:
    """One collection, as retrieval and completion see it. Safe to use from several threads."""

    def __init__(
        self,
        collection: Collection,
        batcher: Batcher,
        calibration: Calibration | None,
        media_of: MediaOf,
    ) -> None:
        self.collection = collection
        self.batcher = batcher
        self.calibration = calibration
        self.media_of = media_of
        self._embedded: WeakKeyDictionary[Media, Asked] = WeakKeyDictionary()

    @property
    def modalities(self) -> frozenset[Modality]:
        """Of the items that it holds."""
        return frozenset(m for m, count in self.collection.counts().items() if count)

    def embed(self, media: Sequence[Media]) -> list[Asked]:
        """Each medium by the mean of its pieces, all new ones together: one that somebody still
        holds is embedded once, however many stages of an answer ask.

        Raises BadInput for one that holds nothing, what the tower raises, Overloaded.
        """
        new = [medium for medium in dict.fromkeys(media) if medium not in self._embedded]
        self._embedded.update(zip(new, self._by_tower(new), strict=True))
        return [self._embedded[medium] for medium in media]

    def _by_tower(self, media: Sequence[Media]) -> list[Asked]:
        waiting: list[list[Future[Embedded]]] = []
        for medium in media:
            pieces = [piece for _, piece in self.batcher.embedder.fragment(medium)]
            if not pieces:
                raise BadInput(f"this {medium.modality} holds nothing to embed")
            first = not waiting  # only the first of a request is told that there is no room
            waiting.append(
                [self.batcher.submit(p, block=n > 0 or not first) for n, p in enumerate(pieces)]
            )
        made = [[future.result() for future in futures] for futures in waiting]
        return [
            _asked(
                medium.modality,
                np.stack([one.joint for one in pieces]),
                [one.native for one in pieces if one.native is not None],
            )
            for medium, pieces in zip(media, made, strict=True)
        ]

    def of_item(self, item_id: str) -> Asked:
        """An item by the vectors that are kept of it. Raises NotFound, InvalidQuery."""
        item = self.collection.item(item_id)
        joint = self.collection.vectors_of(item_id)
        if not len(joint):
            raise InvalidQuery(f"item {item_id!r} has no vector to ask with", param="item")
        native = self.collection.vectors_of(item_id, VectorKind.NATIVE)
        return _asked(item.modality, joint, list(native), item_id)

    def curves(self, modality: Modality | None) -> dict[Partition, Curve]:
        """What a cosine means in each partition, for queries of this modality; none for a mix."""
        if self.calibration is None or modality is None:
            return {}
        return {
            Partition(pair.item, VectorKind.NATIVE if pair.native else VectorKind.JOINT): curve
            for pair in self.calibration.fits
            if pair.query == modality and (curve := self.calibration.curve(pair)) is not None
        }

    def search(self, queries: Sequence[Query]) -> list[Results]:
        """All together. Raises what `Collection.search_batch` does."""
        return self.collection.search_batch(queries) if queries else []


def _asked(
    modality: Modality, joint: Floats, native: Sequence[Floats], item: str | None = None
) -> Asked:
    own = {modality: _mean(np.stack(native))} if len(native) else {}
    return Asked(modality, _mean(joint), own, item)


def _mean(vectors: Floats) -> Floats:
    unit: Floats = vectors[0] if len(vectors) == 1 else normalise(vectors.mean(0, keepdims=True))[0]
    return unit

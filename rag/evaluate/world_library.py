"""A library of generated scenes, most of whose records lack something: what is measured on.

A record is one rendering of a scene in several media; other records may render the same scene, and
those are what it can be completed from. Which media are observed is the caller's business
(`world.masked`, `world.blocks`); what is not observed is nowhere in the collection.
It knows no answerer, and where renderings and their vectors come from is the caller's business too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embed.batcher import Batcher
from embed.calibration import Calibration, Pair
from embed.training.evaluate.calibrate import answers, fit
from embed.training.evaluate.library import Ids, Question, Shelf
from embed.training.scenes.law import Scene
from embed.types import CharSpan, Embedder, Floats, Item, Media, Modality, Span
from index.catalog import Catalog
from index.collection import Collection
from index.types import Entry, NewFragment
from rag.library import Library

NAME = "world"
_TOGETHER = 64


class Rendering(NamedTuple):
    """A record as it would be with nothing missing. vectors: `(D,)` joint, unit."""

    scene: Scene
    media: Mapping[Modality, Media]
    vectors: Mapping[Modality, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A filled library and its truth. close() lets go of its collection, not of the batcher."""

    library: Library
    records: Mapping[str, Rendering]
    observed: Mapping[str, frozenset[Modality]]
    catalog: Catalog
    _records_of: Mapping[str, str] = field(repr=False)

    def scene(self, record: str) -> Scene:
        return self.records[record].scene

    def scene_of_item(self, item: str) -> Scene:
        return self.scene(self._records_of[item])

    def lacking(self, modality: Modality) -> list[str]:
        """Records that lack it."""
        return [record for record, held in self.observed.items() if modality not in held]

    def close(self) -> None:
        self.library.collection.close()
        self.catalog.close()


def item_id(record: str, modality: Modality) -> str:
    return f"{record}.{modality.value}"


def embedded(
    embedder: Embedder, scenes: Sequence[Scene], media: Sequence[Mapping[Modality, Media]]
) -> list[Rendering]:
    """Renderings with their vectors; modality by modality, in batches."""
    vectors: list[dict[Modality, Floats]] = [{} for _ in media]
    for modality in sorted({modality for some in media for modality in some}):
        rows = [n for n, some in enumerate(media) if modality in some]
        for first in range(0, len(rows), _TOGETHER):
            part = rows[first : first + _TOGETHER]
            for n, joint in zip(
                part, embedder.embed([media[n][modality] for n in part]).joint, strict=True
            ):
                vectors[n][modality] = joint
    return [Rendering(*each) for each in zip(scenes, media, vectors, strict=True)]


def filled(
    folder: Path,
    batcher: Batcher,
    renderings: Sequence[Rendering],
    observed: Sequence[frozenset[Modality]],
    calibration: Calibration | None,
) -> World:
    """A new collection in `folder` of what is observed; records of which nothing is are left out.

    Raises Conflict where the folder holds one already.
    """
    catalog = Catalog(folder / "catalog.db")
    embedder = batcher.embedder
    info = catalog.create_collection(NAME, space=embedder.space, chunker=embedder.chunker)
    collection = Collection(catalog, info)
    kept = {f"r{n}": (renderings[n], held) for n, held in enumerate(observed) if held}
    records = {record: rendering for record, (rendering, _) in kept.items()}
    owners = {item_id(record, m): record for record, (_, held) in kept.items() for m in held}
    collection.write(
        [
            _entry(record, modality, records[record])
            for record, (_, held) in kept.items()
            for modality in sorted(held)
        ]
    )

    def media_of(item: Item, _span: Span | None, _side: int) -> Media | None:
        return records[item.record].media[item.modality]

    library = Library(collection, batcher, calibration, media_of)
    return World(library, records, {r: held for r, (_, held) in kept.items()}, catalog, owners)


def calibrated(
    asked: Mapping[Modality, tuple[Floats, Ids]],
    found: Mapping[Modality, tuple[Floats, Ids]],
    space_id: str,
    *,
    seed: int = 0,
) -> Calibration:
    """What cosines mean, from `(N, D)` vectors that ask and that are found, each with its `(N,)`
    number of the scene that it belongs to: items of one scene are relevant to each other."""
    fits = {}
    for query, asking in asked.items():
        for item, there in found.items():
            pair = Pair(query, item)
            question = Question(pair, _shelf(*asking, after=len(there[0])), _shelf(*there))
            fits[pair] = fit(answers(question, strangers=True, seed=seed), seed=seed)
    return Calibration(space_id, fits, {"by": "rag.evaluate.world_library"})


def _entry(record: str, modality: Modality, rendering: Rendering) -> Entry:
    medium = rendering.media[modality]
    text = medium.data if isinstance(medium.data, str) else None
    span = None if text is None else CharSpan(0, len(text))
    key = item_id(record, modality)
    return Entry(
        modality=modality,
        digest=hashlib.sha256((text or key).encode()).hexdigest(),
        fragments=[NewFragment(span, rendering.vectors[modality])],
        id=key,
        record=record,
        text=text,
    )


def _shelf(vectors: Floats, scenes: Ids, *, after: int = 0) -> Shelf:
    """One fragment an item; contents numbered from `after`, so that two shelves share none."""
    rows = np.arange(len(vectors), dtype=np.int64)
    return Shelf(vectors=vectors, starts=rows, records=scenes, contents=rows + after)

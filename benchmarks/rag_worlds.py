"""Libraries of generated scenes for `rag_quality.py`: rendered, embedded, calibrated, masked.

Curves are fitted on as many other scenes, half of whose media are masked; what asks in words there
is a question, not a caption.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scenes import config
from setting import say

from embed.batcher import Batcher
from embed.calibration import Calibration
from embed.registry import LoadOptions
from embed.training.config import config_of
from embed.training.run import train
from embed.training.scenes.law import Scene
from embed.training.scenes.world import MODALITIES, Scenes
from embed.types import Media, Modality
from generation.extractive import Extractive
from rag.complete import Completer
from rag.evaluate.world import blocks, masked, questions
from rag.evaluate.world_library import Rendering, World, calibrated, embedded, filled
from rag.evaluate.world_runs import House
from rag.library import Library
from rag.rerank import open_reranker

ALBUMS = (frozenset({Modality.IMAGE}), frozenset({Modality.AUDIO}))
SHOWN = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)


class Views(NamedTuple):
    """Renderings of scenes: those of a library, one fresh one of each scene, and the scenes."""

    records: list[Rendering]
    fresh: list[Rendering]
    scenes: list[Scene]


class Parts(NamedTuple):
    """What every library here is made of."""

    batcher: Batcher
    calibration: Calibration
    views: Views


def trained(cache: Path, options: LoadOptions) -> str:
    """As benchmarks/scenes.py trains on all pairs; once."""
    out = cache / "space"
    if not (out / "space" / "manifest.json").is_file():
        say("training a space, some minutes …")
        train(config_of(config("all", 0, 650, out)), lambda _: None, options=options)
    return f"trained:{out / 'space'}"


def prepared(batcher: Batcher, scenes: int, each: int) -> Parts:
    """The views of a library, and curves fitted on as many other scenes of the same kind."""
    source = Scenes(2 * scenes, seed=1_000, views=each + 1)
    mine = seen(batcher, source, range(scenes))
    theirs = seen(batcher, source, range(scenes, 2 * scenes))
    return Parts(batcher, fitted(batcher, theirs), mine)


def seen(batcher: Batcher, source: Scenes, rows: range) -> Views:
    media: list[Mapping[Modality, Media]] = []
    for row in rows:
        views = source[row].media
        media += [{m: views[m][n] for m in MODALITIES} for n in range(source.views)]
    scenes = [source.truth(row) for row in rows]
    found = embedded(batcher.embedder, [s for s in scenes for _ in range(source.views)], media)
    last = source.views - 1
    return Views(
        [one for n, one in enumerate(found) if n % source.views != last],
        [one for n, one in enumerate(found) if n % source.views == last],
        scenes,
    )


def fitted(batcher: Batcher, views: Views) -> Calibration:
    """Half of the media are masked here too. What asks in words is a question, not a caption."""
    numbers = {scene: n for n, scene in enumerate(views.scenes)}
    held = masked([MODALITIES] * len(views.records), 0.5, seed=1)
    found = {}
    for m in MODALITIES:
        rows = [one for one, kept in zip(views.records, held, strict=True) if m in kept]
        found[m] = _numbered(rows, m, numbers)
    asked = {m: _numbered(views.fresh, m, numbers) for m in SHOWN}
    library = Library(None, batcher, None, lambda *_: None)  # type: ignore[arg-type]  # only embeds
    worded = questions(views.scenes, 2 * len(views.scenes), 0, seed=1)
    joint = np.stack([library.embed([Media(Modality.TEXT, q.text)])[0].joint for q in worded])
    of = np.array([numbers[q.scene] for q in worded if q.scene is not None])
    return calibrated({**asked, Modality.TEXT: (joint, of)}, found, batcher.embedder.space.id)


def _numbered(rows: Sequence[Rendering], modality: Modality, numbers: Mapping[Scene, int]) -> Any:
    vectors = np.stack([one.vectors[modality] for one in rows])
    return vectors, np.array([numbers[one.scene] for one in rows])


@contextmanager
def opened(parts: Parts, observed: Sequence[frozenset[Modality]]) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        world = filled(
            Path(folder), parts.batcher, parts.views.records, observed, parts.calibration
        )
        try:
            yield world
        finally:
            world.close()


def mask(name: str, records: int) -> list[frozenset[Modality]]:
    if name == "blocks":
        return blocks([MODALITIES] * records, ALBUMS)
    return masked([MODALITIES] * records, float(name.removesuffix(" %")) / 100)


def house(world: World, options: LoadOptions) -> House:
    reranker = open_reranker("builtin", options, world.library)
    return House(Extractive(), reranker, Completer(world.library))

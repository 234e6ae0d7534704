"""The goals of RAG on a small generated library, as CI can judge them: same truth, same measures as
benchmarks/rag_quality.py, with a tower whose vectors follow from the truth plus noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from embed.batcher import Batcher
from embed.calibration import Calibration
from embed.registry import LoadOptions
from embed.training.scenes.law import SCENES, Scene
from embed.training.scenes.tell import caption
from embed.types import Batching, Floats, Media, Modality, Space, Vectors, normalise
from generation.extractive import Extractive
from rag.complete import Completer
from rag.evaluate import world_measures as measures
from rag.evaluate.world import Claim, about, blocks, claims, masked, questions, truth
from rag.evaluate.world_library import (
    Rendering,
    World,
    calibrated,
    embedded,
    filled,
    item_id,
)
from rag.evaluate.world_runs import Asking, House, about_records, ask, complete, recall
from rag.rerank import open_reranker

FOUR = (Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)
SHOWN = FOUR[1:]
SPACE = Space(name="truthful", revision="1", preprocessing="1", precision="fp32", dim=96)
NOISE = 0.45
PARAPHRASE = 0.2  # the same among texts that claim the same
COUNT, EACH = 40, 6


class Truthful:
    """Texts by what they claim, other media by the scene that is written in them."""

    space = SPACE
    modalities = frozenset(FOUR)
    batching = Batching()
    chunker = "whole"
    image_side = 1

    def fragment(self, media: Media) -> Iterator[tuple[None, Media]]:
        yield None, media

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def warm(self) -> None:
        pass

    def prepare(self, piece: Media) -> Floats:
        words = piece.data if isinstance(piece.data, str) else None
        said = _shown(piece) if words is None else claims(words)
        key = np.asarray(piece.data).tobytes() if words is None else words.encode()
        noise = (NOISE if words is None else PARAPHRASE) * _random(piece.modality.encode() + key)
        gap = 0.3 * _random(piece.modality.encode())
        return np.sum([_meaning(claim) for claim in said], axis=0) / 6**0.5 + noise + gap

    def run(self, modality: Modality, batch: Sequence[Floats]) -> Vectors:
        return Vectors(SPACE, normalise(np.stack(batch)))

    def embed(self, batch: Sequence[Media]) -> Vectors:
        return self.run(batch[0].modality, [self.prepare(piece) for piece in batch])


def _random(key: bytes) -> Floats:
    """A direction of its own for each key, about of unit length."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8]))
    return (rng.standard_normal(SPACE.dim) / SPACE.dim**0.5).astype(np.float32)


def _meaning(claim: Claim) -> Floats:
    return _random(repr(claim).encode())


def _shown(piece: Media) -> frozenset[Claim]:
    high, low, _ = np.asarray(piece.data, np.int64).reshape(-1)
    return truth(SCENES[high * 256 + low])


def _media(scene: Scene, rng: np.random.Generator) -> dict[Modality, Media]:
    high, low = divmod(SCENES.index(scene), 256)
    other = int(rng.integers(256))  # another picture of the same scene
    pixels = np.array([high, low, other], np.uint8)
    return {
        Modality.TEXT: Media(Modality.TEXT, caption(scene, rng)),
        Modality.IMAGE: Media(Modality.IMAGE, pixels.reshape(1, 1, 3)),
        Modality.AUDIO: Media(Modality.AUDIO, pixels.astype(np.float32), rate=1),
        Modality.VIDEO: Media(Modality.VIDEO, pixels.reshape(1, 1, 1, 3), rate=1),
    }


def _renderings(scenes: Sequence[Scene], each: int, seed: int) -> list[Rendering]:
    rng = np.random.default_rng(seed)
    shown = [scene for scene in scenes for _ in range(each)]
    return embedded(Truthful(), shown, [_media(scene, rng) for scene in shown])


@pytest.fixture(scope="module")
def batcher() -> Iterator[Batcher]:
    batcher = Batcher(Truthful())
    yield batcher
    batcher.close()


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rows = np.random.default_rng(0).choice(len(SCENES), 3 * COUNT, replace=False)
    return [SCENES[row] for row in rows]


@pytest.fixture(scope="module")
def calibration(scenes: list[Scene]) -> Calibration:
    """Fitted on scenes that are in no library here."""
    others = scenes[COUNT:]
    numbers = {scene: n for n, scene in enumerate(others)}

    def table(rows: Sequence[Rendering], m: Modality) -> tuple[Floats, np.ndarray]:
        vectors = np.stack([one.vectors[m] for one in rows])
        return vectors, np.array([numbers[one.scene] for one in rows])

    fresh, there = _renderings(others, 1, 1), _renderings(others, EACH // 2, 2)
    worded = questions(others, len(others), 0, seed=3)
    vectors = Truthful().embed([Media(Modality.TEXT, one.text) for one in worded]).joint
    asked = {m: table(fresh, m) for m in SHOWN} | {
        Modality.TEXT: (vectors, np.array([numbers[q.scene] for q in worded if q.scene]))
    }
    return calibrated(asked, {m: table(there, m) for m in FOUR}, SPACE.id)


@pytest.fixture(scope="module")
def records(scenes: list[Scene]) -> list[Rendering]:
    return _renderings(scenes[:COUNT], EACH, 4)


@pytest.fixture(scope="module")
def half(
    records: list[Rendering],
    batcher: Batcher,
    calibration: Calibration,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """Half of all media are masked."""
    observed = masked([FOUR] * len(records), 0.5, seed=0)
    world = filled(tmp_path_factory.mktemp("half"), batcher, records, observed, calibration)
    yield world
    world.close()


@pytest.fixture(scope="module")
def whole(
    half: World,
    batcher: Batcher,
    records: list[Rendering],
    calibration: Calibration,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """The same records with nothing masked."""
    observed = [
        frozenset(FOUR) if f"r{n}" in half.records else frozenset() for n in range(len(records))
    ]
    world = filled(tmp_path_factory.mktemp("whole"), batcher, records, observed, calibration)
    yield world
    world.close()


def _house(world: World, folder: Path) -> House:
    options = LoadOptions(cache=folder, threads=1, offline=True)
    reranker = open_reranker("builtin", options, world.library)
    return House(Extractive(), reranker, Completer(world.library))


def test_what_is_completed_is_true(half: World) -> None:
    made = complete(half, Completer(half.library), FOUR, "best")
    right = measures.completed_attributes(half, made)
    able = sum(len(measures.possible(half, m)) for m in FOUR)
    assert right.mean() >= 0.95
    assert len(made) >= 0.8 * able


def test_nothing_is_borrowed_across_albums_that_share_no_scene(
    scenes: list[Scene],
    batcher: Batcher,
    calibration: Calibration,
    tmp_path: Path,
) -> None:
    """Whole records of some scenes; photos only of others: there is nothing right to borrow."""
    rows = _renderings(scenes[:20], 2, 5) + _renderings(scenes[20:40], 2, 6)
    observed = [frozenset(FOUR)] * 40 + [frozenset({Modality.IMAGE})] * 40
    world = filled(tmp_path, batcher, rows, observed, calibration)
    try:
        made = complete(world, Completer(world.library), (Modality.TEXT,), "best")
        wrong = [one for one in made if int(str(one.record)[1:]) >= 40]
        assert len(wrong) <= 4
    finally:
        world.close()


def test_blocks_are_completed_too(
    records: list[Rendering], batcher: Batcher, calibration: Calibration, tmp_path: Path
) -> None:
    albums = [frozenset({Modality.IMAGE}), frozenset({Modality.AUDIO})]
    observed = blocks([FOUR] * len(records), albums)
    world = filled(tmp_path, batcher, records, observed, calibration)
    try:
        made = complete(world, Completer(world.library), (Modality.TEXT,), "best")
        assert measures.completed_attributes(world, made).mean() >= 0.95
        assert len(made) >= 0.8 * len(measures.possible(world, Modality.TEXT))
    finally:
        world.close()


def test_completions_close_most_of_the_gap_of_retrieval(
    half: World, whole: World, scenes: list[Scene]
) -> None:
    complete(half, Completer(half.library), FOUR, "mean")
    fresh = _renderings(scenes[:COUNT], 1, 7)
    asking = [Asking(one.scene, Modality.IMAGE, one.vectors[Modality.IMAGE]) for one in fresh]
    alone = recall(half, asking, Modality.AUDIO)
    completed = recall(half, asking, Modality.AUDIO, Completer(half.library))
    oracle = recall(whole, asking, Modality.AUDIO)
    assert oracle.mean() > alone.mean() + 0.2
    assert measures.gap_closed(alone, completed, oracle).value >= 0.8


def test_completions_close_most_of_the_gap_of_answers(
    half: World, whole: World, tmp_path: Path
) -> None:
    pairs = about_records(half, sorted(half.lacking(Modality.TEXT))[:40], SHOWN)

    def right(world: World, *, complete: bool) -> Mapping[str, np.ndarray]:
        house = _house(world, tmp_path)
        given = [
            ask(world, house, question.text, item=item, alone=True, complete=complete)
            for question, item in pairs
        ]
        rows = [measures.judged(q, a, world) for (q, _), a in zip(pairs, given, strict=True)]
        return np.array([row.right for row in rows], np.float64)

    alone, completed = right(half, complete=False), right(half, complete=True)
    oracle = right(whole, complete=False)
    assert oracle.mean() >= 0.9
    assert measures.gap_closed(alone, completed, oracle).value >= 0.8


def test_answers_are_right_cited_and_left_out_where_there_are_none(
    half: World, tmp_path: Path, scenes: list[Scene]
) -> None:
    told = {half.scene(r) for r, held in half.observed.items() if Modality.TEXT in held}
    asked = questions([s for s in scenes[:COUNT] if s in told], 60, 40, seed=8)
    house = _house(half, tmp_path)
    rows = [(q, measures.judged(q, ask(half, house, q.text), half)) for q in asked]
    found = measures.answering(rows)
    assert found["exact match"].value >= 0.9, found
    assert found["faithfulness"].value >= 0.95, found
    assert found["citation recall"].value >= 0.95, found
    assert found["citation precision"].value >= 0.95, found
    assert found["abstention F1"].value >= 0.9, found
    free = [measures.judged(q, ask(half, house, q.text, min_probability=0.0), half) for q in asked]
    assert measures.confidence(free)["AUROC"].value >= 0.85


def test_an_answer_that_rests_on_another_record_says_so(half: World, tmp_path: Path) -> None:
    house = _house(half, tmp_path)
    record = next(
        r for r in measures.possible(half, Modality.TEXT) if Modality.IMAGE in half.observed[r]
    )
    question = about(half.scene(record), "colour")
    given = ask(half, house, question.text, item=item_id(record, Modality.IMAGE), alone=True)
    borrowed = [s for s in given.sentences if claims(s.text)]
    assert borrowed
    assert all(sentence.hedged and len(sentence.cites) >= 2 for sentence in borrowed)

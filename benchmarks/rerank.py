"""Fits the built-in reranker's weights, and says how it does on questions that they never met.

    python benchmarks/rerank.py --cache CACHE [--fit] [--out FILE]

Half of the questions have no answer in their library: half of these are near misses, descriptions
of which one word is exchanged, the others far ones. Two sources, each in two halves that share
nothing: generated captions (`rag.evaluate.world`; other seeds, and judged on scenes whose pairs of
colour and shape are in no library that was fitted on), and the 40 texts with two questions and two
near misses each in `rerank_sample.jsonl`, the first 26 fitted on. Everything goes the way of an
answer: understand, retrieve, rerank, in the built-in space. Judged is the first passage alone: is
it about the question, and how sure was that? `--fit` prints new weights and judges those.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from setting import finish, say

from embed import registry
from embed.batcher import Batcher
from embed.calibration import SHIPPED, Calibration
from embed.registry import LoadOptions
from embed.training.metrics import auroc, bootstrap_interval, ece
from embed.training.scenes.tell import caption
from embed.training.scenes.world import Scenes
from embed.types import CharSpan, Embedder, Media, Modality
from index.catalog import Catalog
from index.collection import Collection
from index.types import Entry, NewFragment
from rag import rerank
from rag.evaluate.world import questions, truth
from rag.library import Library
from rag.rerank import Builtin, Candidate, Judged, Weights, features
from rag.retrieve import retrieve
from rag.stages import Stages
from rag.types import Ask
from rag.understand import understand

SAMPLE = Path(__file__).parent / "rerank_sample.jsonl"
FITTED_ON = 26  # of its texts
RIDGE = 0.02
TOGETHER = 64

Numbers = NDArray[np.float64]


class Asked(NamedTuple):
    """A question, and the numbers of the texts that answer it. kind: answerable, near or far."""

    words: str
    right: frozenset[int]
    kind: str


class Shelf(NamedTuple):
    """Texts, and what is asked of them."""

    texts: list[str]
    asked: list[Asked]


class Outcome(NamedTuple):
    """What came of one question.

    rows: `(N, features)` of what was judged, relevant: which of them answers. first: the first
    passage's probability, right: whether it answers.
    """

    kind: str
    rows: Numbers
    relevant: NDArray[np.bool_]
    first: float
    right: bool


class Spy(Builtin):
    """Remembers what it judged."""

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.told: list[tuple[Candidate, Judged]] = []

    def judged(
        self, question: str, asked_with: frozenset[Modality], candidates: Sequence[Candidate]
    ) -> list[Judged]:
        found = super().judged(question, asked_with, candidates)
        self.told += zip(candidates, found, strict=True)
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    options = LoadOptions(cache=args.cache, threads=1, offline=True)
    embedder = registry.load("builtin", options)
    result: dict[str, Any] = {}
    if args.fit:
        fitted = {"captions": world(300, 11, 150) + world(1000, 12, 150), "texts": [sample()[0]]}
        rerank.FITTED = fit({name: run(embedder, some) for name, some in fitted.items()})
        result["fitted_on"] = {name: sum(len(s.asked) for s in s_) for name, s_ in fitted.items()}
    result["weights"] = {name: round(w, 2) for name, w in rerank.FITTED._asdict().items()}
    say(str(result["weights"]))
    judged = {"captions": world(900, 21, 150, held_out=True), "texts": [sample()[1]]}
    for name, shelves in judged.items():
        result[name] = measures(run(embedder, shelves))
        say(f"{name}: {result[name]}")
    finish("rerank", result, args.out)
    return 0


def world(count: int, seed: int, asked: int, *, held_out: bool = False) -> list[Shelf]:
    """A library of captions, and as many questions with an answer as without."""
    source, rng = Scenes(count, seed=seed, held_out=held_out), np.random.default_rng(seed)
    scenes = [source.truth(n) for n in range(count)]
    made = [
        Asked(
            one.text,
            frozenset(
                n
                for n, scene in enumerate(scenes)
                if one.scene and truth(one.scene) - truth(one.scene, one.asked) <= truth(scene)
            ),
            one.kind,
        )
        for one in questions(scenes, asked, asked, seed=seed)
    ]
    return [Shelf([caption(scene, rng) for scene in scenes], made)]


def sample() -> tuple[Shelf, Shelf]:
    """Everyday texts: those to fit on, those to judge on."""
    lines = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    return _shelf(lines[:FITTED_ON]), _shelf(lines[FITTED_ON:])


def _shelf(lines: Sequence[dict[str, Any]]) -> Shelf:
    good = [
        Asked(q, frozenset({n}), "answerable") for n, one in enumerate(lines) for q in one["asked"]
    ]
    near = [Asked(q, frozenset(), "near") for one in lines for q in one["near"]]
    return Shelf([one["text"] for one in lines], [*good, *near])


def run(embedder: Embedder, shelves: Sequence[Shelf]) -> list[Outcome]:
    """Each question the way of an answer, as far as its passages."""
    found = []
    for shelf in shelves:
        batcher = Batcher(embedder)
        with tempfile.TemporaryDirectory() as folder:
            catalog, library = _filled(Path(folder), batcher, shelf.texts)
            found += [_outcome(asked, library) for asked in shelf.asked]
            library.collection.close()
            catalog.close()
        batcher.close()
    return found


def _filled(folder: Path, batcher: Batcher, texts: Sequence[str]) -> tuple[Catalog, Library]:
    embedder = batcher.embedder
    catalog = Catalog(folder / "catalog.db")
    info = catalog.create_collection("rerank", space=embedder.space, chunker=embedder.chunker)
    collection = Collection(catalog, info)
    for start in range(0, len(texts), TOGETHER):
        part = texts[start : start + TOGETHER]
        vectors = embedder.embed([Media(Modality.TEXT, text) for text in part]).joint
        collection.write(
            [
                Entry(
                    modality=Modality.TEXT,
                    digest=str(n),
                    fragments=[NewFragment(CharSpan(0, len(text)), vector)],
                    id=str(n),
                    text=text,
                )
                for n, (text, vector) in enumerate(zip(part, vectors, strict=True), start)
            ]
        )
    calibration = Calibration.read(SHIPPED, embedder.space.id)
    return catalog, Library(collection, batcher, calibration, lambda *_: None)


def _outcome(asked: Asked, library: Library) -> Outcome:
    spy, ask = Spy(library), Ask(parts=(Media(Modality.TEXT, asked.words),))
    passages = retrieve(ask, understand(ask, library), library, spy, Stages())
    told = [(c, j) for c, j in spy.told if j.coverage is not None]
    best = passages[0] if passages else None
    return Outcome(
        asked.kind,
        np.array([features(j.likely, j.coverage) for _, j in told if j.coverage]),
        np.array([int(c.hit.item.id) in asked.right for c, _ in told]),
        best.probability if best else 0.0,
        best is not None and int(best.hit.item.id) in asked.right,
    )


def fit(outcomes: dict[str, list[Outcome]]) -> Weights:
    """Logistic regression by Newton's method, each source counting as much as the other."""
    parts = [
        (
            np.concatenate([o.rows for o in some if len(o.rows)]),
            np.concatenate([o.relevant for o in some if len(o.rows)]),
        )
        for some in outcomes.values()
    ]
    x, y = np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
    share = np.concatenate([np.full(len(y), 1.0 / y.sum()) for _, y in parts])
    share *= len(y) / share.sum()
    w = np.zeros(x.shape[1])
    ridge = RIDGE * np.eye(x.shape[1]) * len(y) / 1000
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-(x @ w)))
        gradient = x.T @ (share * (p - y)) + ridge @ w
        w -= np.linalg.solve(x.T @ (x * (share * p * (1 - p))[:, None]) + ridge, gradient)
    return Weights(*(float(value) for value in w))


def measures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Of the first passages. abstention_f1: at .5, of finding the questions without an answer."""
    p = np.array([o.first for o in outcomes])
    right = np.array([o.right for o in outcomes])
    answerable = np.array([o.kind == "answerable" for o in outcomes])
    held, silent = ~answerable, p < 0.5
    f1 = 2 * (held & silent).sum() / max(1, held.sum() + silent.sum())
    near = np.array([o.kind == "near" for o in outcomes])
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(p), size=len(p)) for _ in range(300)]
    scored = [auroc(p[d], right[d]) for d in draws if 0 < right[d].sum() < len(d)]
    low, high = bootstrap_interval(right[answerable].astype(float), seed=0)
    return {
        "questions": len(p),
        "first_is_right": round(float(right[answerable].mean()), 3),
        "first_is_right_95": [round(float(low), 3), round(float(high), 3)],
        "auroc": round(float(auroc(p, right)), 3),
        "auroc_95": [round(float(v), 3) for v in np.percentile(scored, [2.5, 97.5])],
        "ece": round(float(ece(p, right)), 3),
        "abstention_f1": round(float(f1), 3),
        "near_misses_taken": round(float((~silent[near]).mean()), 3),
    }


if __name__ == "__main__":
    sys.exit(main())

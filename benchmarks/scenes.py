"""Training from nothing on the generated world: does every medium of a scene find every other?

Four small networks (pictures, sounds, films, words) are trained twice a seed: on all pairs of
modalities, and as a star, where only texts meet the others and the other pairs emerge. Asked and
looked for are two renderings of 1,000 scenes each, none of them trained on:

    alone       one modality asks for one other, R@1 among 1,000
    unseen      the same, of scenes whose pair of colour and shape was never trained on
    mixed       the gallery holds all four modalities at once, the query's own too; what else the
                right scene has is left out, so that each figure compares with its own in `alone`.
                By raw cosine, and by probabilities fitted on 1,000 other scenes.

A run is a process of one thread; as many run at once as there are cores.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import permutations
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from setting import finish, say

from embed import registry
from embed.calibration import Calibration, Pair
from embed.registry import LoadOptions
from embed.training.config import config_of
from embed.training.evaluate.calibrate import calibrate
from embed.training.evaluate.library import Stored, library
from embed.training.run import train
from embed.training.scenes.world import MODALITIES, Scenes
from embed.types import Embedder, Floats, Modality

GALLERY = 1_000
ANCHOR = Modality.TEXT
WAYS = {"all": "all", "star": f"star:{ANCHOR}"}
GOALS = {"trained": 0.98, "emergent": 0.90, "unseen": 0.85, "mixed": -0.03}
TOGETHER = 64  # media embedded at once

Table = dict[str, float]


class Views(NamedTuple):
    """Two renderings of N scenes as vectors, `(N, D)` by modality: what asks, and what is found."""

    asked: Mapping[Modality, Floats]
    found: Mapping[Modality, Floats]


def config(way: str, seed: int, steps: int, out: Path) -> dict[str, Any]:
    """The tables of a run; as a file for people in docs/training/scenes.toml."""
    return {
        "run": {
            "out": str(out),
            "seed": seed,
            "steps": steps,
            "batch": 256,
            "augment": False,
            "cache": 2_000,
            "held_out": 0,
            "save_every": steps,
        },
        "data": {"kind": "scenes", "count": 5_400, "views": 2, "seed": seed},
        "model": {
            "dim": 128,
            "image": {"network": "convnet", "side": 48, "width": 32},
            "audio": {"network": "spectrum", "seconds": 1.0, "rate": 8000, "mels": 48, "width": 32},
            "video": {"network": "frames", "side": 32, "frames": 4, "seconds": 1.0, "width": 24},
            "text": {"network": "words", "tokens": 32, "vocabulary": 512, "width": 64},
        },
        "objective": {"pairs": WAYS[way]},
        "optimiser": {"lr": 3e-3, "decay": 0.05, "warmup": 50},
    }


def one_run(way: str, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """Trains, opens what was kept as anybody would, and measures it."""
    logging.basicConfig(level=logging.WARNING)
    options = LoadOptions(cache=folder / "cache", threads=1, offline=True)
    began = time.monotonic()
    summary = train(
        config_of(config(way, seed, steps, folder / f"{way}-{seed}")),
        lambda _: None,
        options=options,
    )
    trained = time.monotonic() - began
    embedder = registry.load(summary.space, options)
    seen = views(embedder, Scenes(GALLERY, 1_000 + seed, views=2))
    curves = calibration(views(embedder, Scenes(GALLERY, 2_000 + seed, views=2)), embedder.space.id)
    result = {
        "alone": alone(seen),
        "unseen": alone(views(embedder, Scenes(GALLERY, 1_000 + seed, views=2, held_out=True))),
        "mixed, cosine": mixed(seen, None),
        "mixed, calibrated": mixed(seen, curves),
        "not calibrated": [str(pair) for pair, fit in curves.fits.items() if fit.refused],
        "loss": round(summary.loss, 4),
        "seconds training": round(trained, 1),
        "seconds": round(time.monotonic() - began, 1),
        "processor seconds": round(time.process_time(), 1),
    }
    return {"way": way, "seed": seed, **result}


def views(embedder: Embedder, scenes: Scenes) -> Views:
    media: list[dict[Modality, list[Any]]] = [{m: [] for m in MODALITIES} for _ in range(2)]
    for record in (scenes[i] for i in range(len(scenes))):
        for modality, renderings in record.media.items():
            for side, rendering in zip(media, renderings, strict=True):
                side[modality].append(rendering)
    return Views(*({m: embedded(embedder, some) for m, some in side.items()} for side in media))


def embedded(embedder: Embedder, media: list[Any]) -> Floats:
    parts = [
        embedder.embed(media[first : first + TOGETHER]).joint
        for first in range(0, len(media), TOGETHER)
    ]
    return np.concatenate(parts)


def alone(vectors: Views) -> Table:
    """R@1 by ordered pair."""
    rows = np.arange(GALLERY)
    return {
        f"{asked}>{found}": float(
            (np.argmax(vectors.asked[asked] @ vectors.found[found].T, axis=1) == rows).mean()
        )
        for asked, found in permutations(MODALITIES, 2)
    }


def mixed(vectors: Views, curves: Calibration | None) -> Table:
    """R@1 by ordered pair, among everything."""
    return {
        f"{asked}>{wanted}": _mixed(vectors, asked, wanted, curves)
        for asked, wanted in permutations(MODALITIES, 2)
    }


def _mixed(vectors: Views, asked: Modality, wanted: Modality, curves: Calibration | None) -> float:
    columns = []
    for modality, found in vectors.found.items():
        scores = (vectors.asked[asked] @ found.T).astype(np.float64)
        curve = curves.curve(Pair(asked, modality)) if curves else None
        if curve is not None:  # its height, whose order is that of the probability
            scores = curve.slope * scores + curve.intercept
        if modality != wanted:
            np.fill_diagonal(scores, -np.inf)
        columns.append(scores)
    first = list(vectors.found).index(wanted) * GALLERY
    return float((np.argmax(np.hstack(columns), axis=1) == first + np.arange(GALLERY)).mean())


def calibration(vectors: Views, space_id: str) -> Calibration:
    """As `crossbind calibrate` fits it; both renderings of a scene are one record."""
    items = [
        Stored(modality, str(row), f"{side} {modality} {row}", vector[None])
        for side, of in zip(("asked", "found"), vectors, strict=True)
        for modality, some in of.items()
        for row, vector in enumerate(some)
    ]
    return calibrate(library(items), space_id, made={"by": "benchmarks/scenes.py"})


def judged(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst figure of each kind over runs, against its goal: of pairs, and what a modality
    loses in the mixed gallery, over those that ask for it."""
    trained = [r["alone"][p] for r in runs for p in r["alone"] if _is_trained(r["way"], p)]
    emergent = [r["alone"][p] for r in runs for p in r["alone"] if not _is_trained(r["way"], p)]
    unseen = [value for r in runs for value in r["unseen"].values()]
    lost = [_lost(r, modality) for r in runs for modality in MODALITIES]
    worst = {
        name: round(min(values), 3)
        for name, values in zip(GOALS, (trained, emergent, unseen, lost), strict=True)
        if values
    }
    return {
        name: {"worst": value, "goal": GOALS[name], "met": value >= GOALS[name]}
        for name, value in worst.items()
    }


def _lost(run: Mapping[str, Any], wanted: Modality) -> float:
    pairs = [pair for pair in run["alone"] if pair.endswith(f">{wanted}")]
    return float(np.mean([run["mixed, calibrated"][p] - run["alone"][p] for p in pairs]))


def _is_trained(way: str, pair: str) -> bool:
    return way == "all" or ANCHOR in pair.split(">")


def show(result: Mapping[str, Any]) -> None:
    seconds, busy = result["seconds"], result["processor seconds"]
    say(f"{result['way']}, seed {result['seed']}: {seconds} s, of which {busy} s of a core")
    tables = {name: value for name, value in result.items() if isinstance(value, dict)}
    say(f"  {'R@1':<14}" + "".join(f"{name:>20}" for name in tables))
    for pair in tables["alone"]:
        emergent = "" if _is_trained(result["way"], pair) else " *"
        say(f"  {pair + emergent:<14}" + "".join(f"{t[pair]:>20.3f}" for t in tables.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=650)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read by children as they start
        os.environ[name] = "1"
    began, runs = time.monotonic(), []
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(
            args.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1
        ) as pool,
    ):
        coming = [
            pool.submit(one_run, way, seed, args.steps, Path(folder))
            for seed in range(args.seeds)
            for way in WAYS
        ]
        for done in as_completed(coming):
            runs.append(done.result())
            show(runs[-1])
    verdict = judged(runs)
    say("\n".join(f"{name}: {found}" for name, found in verdict.items()))
    result = {
        "gallery": GALLERY,
        "steps": args.steps,
        "goals": verdict,
        "seconds": round(time.monotonic() - began, 1),
        "processor seconds": round(sum(run["processor seconds"] for run in runs), 1),
    }
    finish(
        "scenes", {**result, "runs": sorted(runs, key=lambda r: (r["way"], r["seed"]))}, args.out
    )


if __name__ == "__main__":
    main()

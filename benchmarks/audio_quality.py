"""The recipe of the built-in ear, cross-validated: every number is of sounds that were not heard.

    python benchmarks/audio_quality.py --data ../shared/data --cache CACHE

Folds of ESC-10, paraphrases never trained on, sounds of no known class, and digits of speakers who
were left out. What ships remembers all folds, so nothing here is a measurement of that very file
but `espeak only`: digits of people, asked of a tower that has heard a machine say them. Parts
that were measured are kept in the cache, under what the recipe and the data were: a run that was
stopped goes on where it was. Needs fluidsynth, fluid-soundfont-gm and espeak-ng.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from setting import finish, say

from embed.backends.builtin.space import Builtin
from embed.registry import LoadOptions
from embed.training.audio import judge, recipe, sources
from embed.training.audio.memory import Describer
from embed.training.metrics import bootstrap_interval
from embed.weights.store import write_whole

ARCHIVES = ("esc10-folds1-4.zip", "spoken-digits.zip")
FOLDS = (1, 2, 3, 4)
GOALS = {
    ("fold left out", "label"): 0.90,
    ("fold left out", "held"): 0.80,
    ("sounds left out", "unknown"): 0.80,
    ("speaker left out", "digits"): 0.85,
}

Figures = dict[str, list[float]]
"""Of one part, by what was asked: of each sound how often it was told; of unknown ones an AUROC."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is derived")
    parser.add_argument("--out", type=Path, help="also write the result here")
    args = parser.parse_args()
    missing = [name for name in ARCHIVES if not (args.data / name).is_file()]
    if missing:
        say(f"{args.data} lacks {', '.join(missing)}; point --data to the folder that has them")
        return 3
    torch.set_num_threads(1)
    kept = Kept(args.cache / f"audio_quality-{digest(args.data)}.json")
    with tempfile.TemporaryDirectory() as scratch:
        for name in ARCHIVES:
            zipfile.ZipFile(args.data / name).extractall(scratch)
        parts = measure(Path(scratch), args.cache, kept)
    result = {**summary(parts), **kept.seconds()}
    say("\n".join(f"{name}: {found}" for name, found in result["goals"].items()))
    finish("audio_quality", result, args.out)
    return 0


def measure(data: Path, cache: Path, kept: Kept) -> dict[str, dict[str, Figures]]:
    """By kind of question, and by what was left out."""
    words = judge.Words.of(Builtin(LoadOptions(cache=cache, threads=1)))
    rendered = sources.rendered(cache / "sounds")
    recorded = sources.recorded(data / "esc10", cache / "sounds")
    said, speakers = judge.digits(data / "digits")

    @functools.cache
    def describer() -> Describer:
        say("the describing networks learn from what is rendered")
        return recipe.listener(rendered)

    def fold(number: int) -> Figures:
        found = judge.zero_shot(describer(), recorded, rendered, words, number)
        return {name: flags.tolist() for name, flags in found.items()}

    def unknown(pair: int) -> Figures:
        return {"unknown": [judge.unknown(describer(), recorded, rendered, words, pair)]}

    def digits(speaker: int) -> Figures:
        found = judge.unheard_speaker(describer(), said, rendered, words, speaker)
        return {"digits": found.tolist()}

    def espeak_only() -> Figures:
        free = recorded.where(recorded.free)
        tower = recipe.made(describer(), free, rendered, words.prototypes)
        return {"digits": judge.spoken(tower, said, words).tolist()}

    pairs = enumerate(" and ".join(pair) for pair in judge.PAIRS)
    return {
        "speaker left out": {
            name: kept(f"without {name}", digits, n) for n, name in enumerate(speakers)
        },
        "fold left out": {str(n): kept(f"without fold {n}", fold, n) for n in FOLDS},
        "sounds left out": {name: kept(f"without {name}", unknown, n) for n, name in pairs},
        "espeak only": {"people": kept("digits, of espeak-ng alone", espeak_only)},
    }


def summary(parts: Mapping[str, Mapping[str, Figures]]) -> dict[str, Any]:
    """Means with 95 % intervals over sounds (of AUROC over pairs), and each part's means."""
    found = {}
    for question, left_out in parts.items():
        names = next(iter(left_out.values()))
        pooled = {
            name: np.concatenate([figures[name] for figures in left_out.values()]) for name in names
        }
        found[question] = {name: with_interval(values) for name, values in pooled.items()}
    by_part = {
        question: {
            part: {name: round(float(np.mean(values)), 4) for name, values in figures.items()}
            for part, figures in left_out.items()
        }
        for question, left_out in parts.items()
    }
    speakers = np.array([figures["digits"] for figures in by_part["speaker left out"].values()])
    found["speaker left out"]["digits, over speakers"] = with_interval(speakers)
    goals = {
        f"{question}: {name}": {
            "value": found[question][name][0],
            "goal": goal,
            "met": found[question][name][0] >= goal,
        }
        for (question, name), goal in GOALS.items()
    }
    return {"seeds": recipe.SEEDS, "goals": goals, "measured": found, "parts": by_part}


def with_interval(values: NDArray[np.float64]) -> list[float]:
    low, high = bootstrap_interval(values)
    return [round(float(number), 4) for number in (values.mean(), low, high)]


class Part(NamedTuple):
    """seconds: of the clock. busy: of the processor."""

    figures: Figures
    seconds: float
    busy: float


class Kept:
    """Parts that were measured, in one file: what is there is not measured again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: dict[str, Part] = {}
        if path.is_file():
            parts = json.loads(path.read_text(encoding="utf-8"))
            self._parts = {name: Part(*part) for name, part in parts.items()}
            say(f"{len(self._parts)} parts are kept in {path}")

    def __call__(self, name: str, measured: Callable[..., Figures], *which: int) -> Figures:
        if name not in self._parts:
            began, busy = time.monotonic(), time.process_time()
            figures = measured(*which)
            spent = time.monotonic() - began, time.process_time() - busy
            self._parts[name] = Part(figures, *spent)
            write_whole(self._path, json.dumps(self._parts))
        part = self._parts[name]
        means = ", ".join(f"{key} {np.mean(values):.3f}" for key, values in part.figures.items())
        say(f"{name}: {means} ({part.seconds:.0f} s)")
        return part.figures

    def seconds(self) -> dict[str, float]:
        """All parts together."""
        parts = self._parts.values()
        return {
            "seconds": round(sum(part.seconds for part in parts), 1),
            "processor seconds": round(sum(part.busy for part in parts), 1),
        }


def digest(data: Path) -> str:
    """Of what the figures depend on: the recipe's own files, the archives, torch."""
    digest = hashlib.sha256(f"{torch.__version__}\0".encode())
    files = sorted(Path(recipe.__file__).parent.glob("*.py"))
    for path in (*files, *(data / name for name in ARCHIVES)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(main())

"""The recipe of the built-in ear, cross-validated: every number is of sounds that were not heard.

    python benchmarks/audio_quality.py --data ../shared/data --cache CACHE

Folds of ESC-10, paraphrases never trained on, sounds of no known class, and digits of speakers who
were left out. What ships remembers all folds, so nothing here is a measurement of that very file
but `digits_espeak_only`: digits of people, asked of a tower that has heard a machine say them.
Needs fluidsynth, fluid-soundfont-gm and espeak-ng.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from setting import finish, say

from embed.backends.builtin.space import Builtin
from embed.registry import LoadOptions
from embed.training.audio import judge, recipe, sources

ARCHIVES = ("esc10-folds1-4.zip", "spoken-digits.zip")
FOLDS = (1, 2, 3, 4)


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
    with tempfile.TemporaryDirectory() as scratch:
        for name in ARCHIVES:
            zipfile.ZipFile(args.data / name).extractall(scratch)
        finish("audio_quality", measure(Path(scratch), args.cache), args.out)
    return 0


def measure(data: Path, cache: Path) -> dict[str, Any]:
    words = judge.Words.of(Builtin(LoadOptions(cache=cache, threads=1)))
    rendered = sources.rendered(cache / "sounds")
    recorded = sources.recorded(data / "esc10", cache / "sounds")
    said, speakers = judge.digits(data / "digits")
    describer = recipe.listener(rendered)
    folds = [judge.zero_shot(describer, recorded, rendered, words, fold) for fold in FOLDS]
    say(f"zero-shot: {folds}")
    unknown = {
        " and ".join(pair): judge.unknown(describer, recorded, rendered, words, number)
        for number, pair in enumerate(judge.PAIRS)
    }
    say(f"unknown: {unknown}")
    digits = {
        name: judge.unheard_speaker(describer, said, rendered, words, number)
        for number, name in enumerate(speakers)
    }
    shipped = recipe.made(describer, recorded.where(recorded.free), rendered, words.prototypes)
    return {
        "seeds": recipe.SEEDS,
        "zero_shot": dict(zip(map(str, FOLDS), folds, strict=True)),
        "zero_shot_mean": {name: _mean(fold[name] for fold in folds) for name in folds[0]},
        "unknown_auroc": unknown,
        "unknown_auroc_mean": _mean(unknown.values()),
        "digits": digits,
        "digits_mean": _mean(digits.values()),
        "digits_espeak_only": judge.spoken(shipped, said, words),
    }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    sys.exit(main())

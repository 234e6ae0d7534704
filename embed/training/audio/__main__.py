"""Makes the weights of the audio tower.

    python -m embed.training.audio --esc10 FOLDER --cache CACHE

Two of the dimensions of words never vary, and rounding says which mix of them `nowhere` is: with
OMP_NUM_THREADS=1 the file has other bytes than what ships, made without it on two cores, and the
same networks. `benchmarks/audio_quality.py` measures. Needs fluidsynth, fluid-soundfont-gm and
espeak-ng.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from embed.backends.builtin.space import EAR, Builtin
from embed.registry import LoadOptions
from embed.training import shipped
from embed.training.audio import export, recipe, sources, vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the ear of the built-in space.")
    parser.add_argument("--esc10", type=Path, required=True, help="folder with labels.csv")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is derived")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # One thread: sums are then the same on every run.
    torch.set_num_threads(1)
    sounds = args.cache / "sounds"
    words = vocabulary.prototypes(Builtin(LoadOptions(cache=args.cache, threads=1)))
    recorded, rendered = sources.recorded(args.esc10, sounds), sources.rendered(sounds)
    # What ships: all folds, of what its licence allows.
    free = recorded.where(recorded.free)
    tower = recipe.made(recipe.listener(rendered), free, rendered, words)
    export.write(tower, shipped.path_of(EAR))
    print(f"{shipped.register(EAR)}: {shipped.path_of(EAR)}")


if __name__ == "__main__":
    main()

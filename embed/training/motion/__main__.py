"""Makes the motions of the built-in space: from what moves in a film to directions among words.

    python -m embed.training.motion --clothing FOLDER --cache CACHE

Clips of scenes (seed 1) and of photos of clothes (CC0), moved about (seed 1), train a softmax
regression on what `embed.backends.builtin.flow` measures; `benchmarks/film_motion.py` measures it
on other seeds and other photos. Takes a minute.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from embed.backends.builtin.flow import motion
from embed.backends.builtin.space import MOTIONS, Builtin
from embed.media.image import decode_image
from embed.registry import LoadOptions
from embed.training.image_head.photos import under
from embed.training.motion import clips
from embed.training.motion.directions import directions
from embed.training.prototypes import Words, imagenet_classes
from embed.training.regression import Softmax, fit
from embed.training.shipped import path_of, register
from embed.types import Pixels

SEED = 1
SCENES, CLIPS = 400, 1100
_STRENGTH = 10.0
_PHOTOS = 300
_SIDE = 128


def main() -> None:
    parser = argparse.ArgumentParser(description="Let the built-in space see what moves.")
    parser.add_argument("--clothing", type=Path, required=True, help="folder of photos")
    parser.add_argument("--cache", type=Path, required=True, help="folder for derived weights")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    photos = pictures(args.clothing)
    filmed = chain(clips.scenes(SCENES, SEED), clips.photographed(photos, CLIPS, SEED))
    softmax = learnt(filmed)
    words = Words(Builtin(LoadOptions(cache=args.cache, threads=2)))
    np.savez(
        path_of(MOTIONS),
        names=np.array(softmax.names),
        weight=softmax.weight,
        bias=softmax.bias,
        directions=directions(softmax.names, imagenet_classes()[1], words),
    )
    print(f"{path_of(MOTIONS)}: {register(MOTIONS)}")


def learnt(filmed: Iterable[clips.Clip]) -> Softmax:
    """From what is measured in each clip to which way it moves."""
    measured, labels = [], []
    for clip in filmed:
        found = motion(clip.frames, clip.rate)
        assert found is not None
        measured.append(found)
        labels.append(clip.motion)
    return fit(np.stack(measured), labels, _STRENGTH)


def pictures(folder: Path) -> list[Pixels]:
    """Some photos under `folder`, evenly taken from all. Raises NotFound."""
    paths = under(folder)
    found: list[Pixels] = []
    for path in paths[:: max(1, len(paths) // _PHOTOS)]:
        data = decode_image(path, min_side=_SIDE).data
        assert isinstance(data, np.ndarray)
        found.append(data)
    return found


if __name__ == "__main__":
    main()

"""Labelled photos as the network of the built-in space sees them, and their split.

Photos that look nearly the same are always in the same part: they are chained into groups by the
cosine of their features, and whole groups are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.backends.builtin.image import BuiltinImage
from embed.backends.builtin.space import Builtin
from embed.errors import NotFound
from embed.media.image import decode_image
from embed.types import Floats, Modality, normalise

SUFFIXES = {".webp", ".png", ".jpg", ".jpeg"}
SEED = 4
SHARES = (0.6, 0.2)  # of all groups, for training and for choosing; the rest is for reporting
SAME = 0.88  # cosine of features from which on two photos are one group


class Photos(NamedTuple):
    """N photos: features `(N, 1280)`, class posterior `(N, 1000)`, labels and paths `(N,)`."""

    features: Floats
    posterior: Floats
    labels: NDArray[np.str_]
    paths: NDArray[np.str_]

    def where(self, chosen: NDArray[np.bool_]) -> Photos:
        features, posterior, labels, paths = self
        return Photos(features[chosen], posterior[chosen], labels[chosen], paths[chosen])


def under(folder: Path) -> list[Path]:
    """All photos under `folder`, in the order of their paths. Raises NotFound."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise NotFound(f"{folder} holds no photos ({', '.join(sorted(SUFFIXES))})")
    return paths


def look(paths: Sequence[Path], embedder: Builtin, threads: int = 2) -> Photos:
    """What the network sees of each; the label is the name of the folder that it is in."""
    eye = embedder.encoder(Modality.IMAGE)
    assert isinstance(eye, BuiltinImage)

    def seen(path: Path) -> tuple[Floats, Floats]:
        return eye.look(eye.prepare(decode_image(path, min_side=embedder.image_side)))

    with ThreadPoolExecutor(threads) as pool:
        features, posterior = zip(*pool.map(seen, paths), strict=True)
    labels = np.array([path.parent.name for path in paths])
    return Photos(np.stack(features), np.stack(posterior), labels, np.array(paths, np.str_))


def split(photos: Photos) -> tuple[Photos, Photos, Photos]:
    """Photos to train on, to choose by and to report on."""
    groups = _groups(normalise(photos.features))
    draws = np.random.default_rng(SEED).random(groups.max() + 1)[groups]
    part = np.searchsorted(np.cumsum(SHARES), draws, side="right")
    train, choose, report = (photos.where(part == n) for n in range(3))
    return train, choose, report


def _groups(unit: Floats) -> NDArray[np.int64]:
    """`(N,)`: the number of each photo's group, in the order of their first photos."""
    near = unit @ unit.T > SAME
    group = np.full(len(unit), -1, np.int64)
    count = 0
    for first in range(len(unit)):
        if group[first] >= 0:
            continue
        open_rows = [first]
        while open_rows:
            row = open_rows.pop()
            if group[row] < 0:
                group[row] = count
                open_rows.extend(np.flatnonzero(near[row] & (group < 0)).tolist())
        count += 1
    return group

"""What a change of precision costs, told in neighbours: recall@10 against the tower as it was.

For each medium the ten nearest by the changed tower are compared with the ten nearest by the
unchanged one; the share found again, averaged, is the recall. Measured within each modality and
from each to each, on media that somebody really has: random weights and random inputs say nothing.
It knows nothing of graphs.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.backends.tower import Tower
from embed.errors import CrossbindError, NotFound
from embed.media.read import open_media
from embed.types import Floats, Media, Modality, Vectors

log = logging.getLogger(__name__)

K = 10
FEWEST = 50  # media of a modality: among fewer, the ten nearest are most of them
MOST = 1000
AT_ONCE = 16

Prepared = Mapping[Modality, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Recall:
    """recall@10 from `query` media to `gallery` media; vector: "joint", or the tower's "native"."""

    query: Modality
    gallery: Modality
    vector: str
    media: int
    recall: float

    def __str__(self) -> str:
        return f"{self.query} → {self.gallery} ({self.vector}, {self.media}): {self.recall:.4f}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def gather(folder: Path, tower: Tower) -> Prepared:
    """Media of `folder`, at most a thousand pieces a modality, made ready for `tower`.

    What cannot be read is left out, and so are modalities with too few media to tell anything.
    Raises NotFound.
    """
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder} to check with", param="check")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    random.Random(0).shuffle(paths)  # noqa: S311  (the same choice in every run, not a secret)
    ready: dict[Modality, list[Any]] = {modality: [] for modality in sorted(tower.modalities)}
    for path in paths:
        wanted = frozenset(modality for modality, found in ready.items() if len(found) < MOST)
        for piece in _pieces(path, tower, wanted):
            if len(ready[piece.modality]) < MOST:
                ready[piece.modality].append(tower.prepare(piece))
    return {modality: found for modality, found in ready.items() if len(found) >= FEWEST}


def judge(before: Tower, after: Tower, media: Prepared) -> list[Recall]:
    """`after` against `before`, over every pair of modalities that both were given."""
    old = {modality: _embed(before, modality, batch) for modality, batch in media.items()}
    new = {modality: _embed(after, modality, batch) for modality, batch in media.items()}
    found = [
        Recall(query, gallery, "joint", len(old[query]), value)
        for query, gallery in product(media, repeat=2)
        for value in [
            recall_at_k(
                (old[query].joint, old[gallery].joint),
                (new[query].joint, new[gallery].joint),
                same=query is gallery,
            )
        ]
    ]
    for modality in media:
        was, now = old[modality].native, new[modality].native
        if was is not None and now is not None:
            value = recall_at_k((was, was), (now, now), same=True)
            found.append(Recall(modality, modality, "native", len(was), value))
    return found


def recall_at_k(
    before: tuple[Floats, Floats], after: tuple[Floats, Floats], *, same: bool, k: int = K
) -> float:
    """Share of the k nearest in `before` that are among the k nearest in `after`.

    before, after: queries `(N, D)` and gallery `(M, D)`, unit rows. same: both are one set, where
    nothing is a neighbour of itself.
    """
    wanted, got = (_nearest(*pair, same=same, k=k) for pair in (before, after))
    hits = [len(set(a) & set(b)) for a, b in zip(wanted.tolist(), got.tolist(), strict=True)]
    return sum(hits) / wanted.size


def _nearest(queries: Floats, gallery: Floats, *, same: bool, k: int) -> NDArray[np.intp]:
    scores = queries @ gallery.T
    if same:
        np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def _embed(tower: Tower, modality: Modality, batch: Sequence[Any]) -> Vectors:
    parts = [
        tower.run(modality, batch[start : start + AT_ONCE])
        for start in range(0, len(batch), AT_ONCE)
    ]
    natives = [part.native for part in parts if part.native is not None]
    joint = np.concatenate([part.joint for part in parts])
    return Vectors(tower.space, joint, np.concatenate(natives) if natives else None)


def _pieces(path: Path, tower: Tower, wanted: frozenset[Modality]) -> Iterator[Media]:
    """What the tower would embed of a file; nothing of one that it cannot."""
    try:
        raw = open_media(path, accepts=wanted)
        for modality in raw.accepted:
            media = raw.decode(modality, image_side=tower.image_side)
            yield from (piece for _, piece in tower.fragment(media))
    except CrossbindError as error:
        log.info("%s is left out: %s", path, error.message)

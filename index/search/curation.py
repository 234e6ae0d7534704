"""What a collection is made of: near-duplicates, clusters, outliers, and a map of it.

Pure functions over unit vectors, but for `links` and `neighbours`, which ask an engine. All are
seeded: the same vectors give the same answer.

Clusters are by spherical k-means (Dhillon and Modha, Machine Learning 42, 2001), started far apart
(Arthur and Vassilvitskii, SODA 2007). Outliers are far from their nearest neighbours (Ramaswamy,
Rastogi and Shim, SIGMOD 2000, with the mean of the k distances). The map starts from the two
principal axes; then neighbours attract and a few others, drawn at random, repel each other
(Tang, Liu, Zhang and Mei, LargeVis, WWW 2016, eq. 6, with f(x) = 1 / (1 + x²)).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats, normalise
from index.types import Ids, VectorIndex

BLOCK = 256  # queries put to an engine at once
_ROUNDS = 50  # of k-means; it rarely takes half
_EPOCHS = 200
_REPELLED = 5  # others drawn for each neighbour that attracts
_STEP = 4.0  # the longest move of one epoch, in units of the start's spread
_NEAR = 0.1  # squared; nearer than this, repulsion grows no more


class Link(NamedTuple):
    """Two fragments at least as alike as was asked for."""

    one: int
    other: int
    cosine: float


def links(
    ids: Ids, vectors: Floats, engine: VectorIndex, least: float, *, width: int = 16
) -> Iterator[Link]:
    """Every pair of fragments with a cosine of at least `least`, each once: the smaller id first.

    ids `(N,)`, vectors `(N, dim)`: of the engine's rows. As sure as the engine is.
    """
    for start in range(0, len(ids), BLOCK):
        pending = np.arange(start, min(start + BLOCK, len(ids)))
        k = width
        while len(pending):
            k = min(k, len(engine))
            found = engine.search(vectors[pending], k)
            full = (found.scores[:, -1] >= least) & (k < len(engine))
            for row in np.flatnonzero(~full):
                yield from _links_of(
                    int(ids[pending[row]]), found.ids[row], found.scores[row], least
                )
            pending, k = pending[full], 4 * k


def _links_of(one: int, ids: Ids, scores: Floats, least: float) -> Iterator[Link]:
    for other, cosine in zip(ids.tolist(), scores.tolist(), strict=True):
        if other > one and cosine >= least:
            yield Link(one, other, cosine)


def joined(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups of what is connected, largest first, then by their first; members ascending."""
    parents: dict[int, int] = {}

    def root(node: int) -> int:
        parents.setdefault(node, node)
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parents[high] = low
    groups: dict[int, list[int]] = {}
    for node in sorted(parents):
        groups.setdefault(root(node), []).append(node)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))


def neighbours(
    ids: Ids, vectors: Floats, engine: VectorIndex, k: int
) -> tuple[NDArray[np.int64], Floats]:
    """`(N, k)` positions among `ids` of the k nearest others, and their cosines; -1 and nan where
    there are fewer."""
    near = np.full((len(ids), k), -1, np.int64)
    cosines = np.full((len(ids), k), np.nan, np.float32)
    order = np.argsort(ids, kind="stable")
    for start in range(0, len(ids), BLOCK):
        found = engine.search(vectors[start : start + BLOCK], k + 1)
        for row, (some, scores) in enumerate(zip(found.ids, found.scores, strict=True), start):
            at = np.searchsorted(ids, some, sorter=order)
            at = order[np.minimum(at, len(ids) - 1)]
            good = (some != ids[row]) & (some >= 0) & (ids[at] == some)
            kept = np.flatnonzero(good)[:k]
            near[row, : len(kept)], cosines[row, : len(kept)] = at[kept], scores[kept]
    return near, cosines


def strangeness(cosines: Floats) -> Floats:
    """`(N,)`: mean distance 1 - cosine to the neighbours; 0 for one without any."""
    known = ~np.isnan(cosines)
    total = np.where(known, 1 - cosines, 0).sum(axis=1)
    distance: Floats = (total / np.maximum(known.sum(axis=1), 1)).astype(np.float32)
    return distance


class Clusters(NamedTuple):
    """`(N,)` the cluster of each, `(C, dim)` unit centres, `(N,)` cosines with one's own centre."""

    labels: NDArray[np.int64]
    centres: Floats
    cosines: Floats


def clusters(vectors: Floats, count: int, *, seed: int = 0) -> Clusters:
    """At most `count` clusters of `(N, dim)` unit vectors, largest first; none is empty."""
    rng = np.random.default_rng(seed)
    centres = _far_apart(vectors, min(count, len(vectors)), rng)
    labels = np.full(len(vectors), -1, np.int64)
    for _ in range(_ROUNDS):
        now = (vectors @ centres.T).argmax(axis=1)
        if np.array_equal(now, labels):
            break
        labels = now
        sums = np.stack([vectors[labels == one].sum(axis=0) for one in range(len(centres))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    return _largest_first(vectors, labels, centres.astype(np.float32))


def _far_apart(vectors: Floats, count: int, rng: np.random.Generator) -> Floats:
    """k-means++: each next start is drawn by its distance from those before."""
    chosen = [int(rng.integers(len(vectors)))] if len(vectors) else []
    distance = np.full(len(vectors), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.maximum(1 - vectors @ vectors[chosen[-1]], 0))
        total = distance.sum()
        if total <= 1e-9 * len(vectors):
            break  # what is left is the same as what was chosen
        chosen.append(int(rng.choice(len(vectors), p=distance / total)))
    return vectors[chosen]


def _largest_first(vectors: Floats, labels: NDArray[np.int64], centres: Floats) -> Clusters:
    sizes = np.bincount(labels, minlength=len(centres))
    order = np.argsort(-sizes, kind="stable")[: int(np.count_nonzero(sizes))]
    renamed = np.full(len(centres), -1, np.int64)
    renamed[order] = np.arange(len(order))
    labels, centres = renamed[labels], centres[order]
    cosines = np.einsum("nd,nd->n", vectors, centres[labels])
    return Clusters(labels, centres, cosines)


def plane(
    vectors: Floats, near: NDArray[np.int64], *, epochs: int = _EPOCHS, seed: int = 0
) -> Floats:
    """`(N, 2)` places in [0, 1]: near where `(N, k)` neighbours say so; -1 is no neighbour."""
    places = _principal(vectors)
    ones = np.repeat(np.arange(len(near)), near.shape[1])
    others = near.reshape(-1)
    ones, others = ones[others >= 0], others[others >= 0]
    rng = np.random.default_rng(seed)
    for epoch in range(epochs if len(ones) else 0):
        rate = 1 - epoch / epochs
        places += rate * _pull(places, ones, others)
        strangers = rng.integers(len(places), size=(_REPELLED, len(ones)))
        for some in strangers:
            places += rate / _REPELLED * _push(places, ones, some)
    return _framed(places)


def _principal(vectors: Floats) -> NDArray[np.float64]:
    """The two axes of largest variance, spread 1; their signs fixed by their largest loading."""
    centred = np.asarray(vectors - vectors.mean(axis=0), np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, np.argsort(values)[::-1][:2]]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    places = centred @ axes
    places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    return places / max(float(places.std()), 1e-9)


def _pull(
    places: NDArray[np.float64], ones: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Along the gradient of log f: neighbours move to each other."""
    apart = places[others] - places[ones]
    square = (apart**2).sum(axis=1, keepdims=True)
    move = apart / (1 + square)
    return _moved(len(places), ones, move) + _moved(len(places), others, -move)


def _push(
    places: NDArray[np.float64], ones: NDArray[np.int64], strangers: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Along the gradient of log (1 - f): strangers move apart."""
    apart = places[ones] - places[strangers]
    square = (apart**2).sum(axis=1, keepdims=True)
    move = apart / ((_NEAR + square) * (1 + square))
    return _moved(len(places), ones, move)


def _moved(count: int, who: NDArray[np.int64], moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(N, 2)`: the mean move of each, no longer than `_STEP`."""
    share = np.maximum(np.bincount(who, minlength=count), 1)
    total = np.stack(
        [np.bincount(who, weights=moves[:, axis], minlength=count) / share for axis in (0, 1)],
        axis=1,
    )
    clipped: NDArray[np.float64] = np.clip(total, -_STEP, _STEP)
    return clipped


def _framed(places: NDArray[np.float64]) -> Floats:
    """Into the unit square, both axes by the same measure, in its middle."""
    if not len(places):
        return np.zeros((0, 2), np.float32)
    low, high = places.min(axis=0), places.max(axis=0)
    side = max(float((high - low).max()), 1e-9)
    framed: Floats = ((places - (low + high) / 2) / side + 0.5).astype(np.float32)
    return framed


def middles(owners: NDArray[np.int64], vectors: Floats) -> tuple[NDArray[np.int64], Floats]:
    """`(M,)` owners ascending, and `(M, dim)` the direction of all that each owns together; the
    first of it where that is none."""
    known, first, at = np.unique(owners, return_index=True, return_inverse=True)
    sums = np.zeros((len(known), vectors.shape[1]), np.float64)
    np.add.at(sums, at, vectors)
    nowhere = np.linalg.norm(sums, axis=1) < 1e-6
    sums[nowhere] = vectors[first[nowhere]]
    return known, normalise(sums)

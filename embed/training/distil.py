"""Distillation: what a teacher's vectors say of a batch, as terms beside the contrastive loss.

Similarity: L = ½ [CE(p, q) + CE(p', q')], p the teacher's softmax over a row of cosines, q the
student's, and p', q' over columns (affinity mimicking of TinyCLIP, Wu et al. 2023, section 3.1;
DIST-CLIP losses of open_clip are the same). Any teacher will do: the spaces are never compared.
Features: L = mean of 1 - cos(student, teacher), for a teacher in the student's own space or one of
the same dimension (CLIP-KD, Yang et al. 2024, section 3.2, has a mean square in its place).

A teacher sees each medium once, before training, and as it is: no crop, no augmentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from embed.errors import CorruptMedia
from embed.training.data.source import Source
from embed.training.distributed import Counts, counts_of, gather, world
from embed.training.examples import identity, readable
from embed.training.infonce import cross_entropy_sum
from embed.training.meeting import Meeting, Pair, meeting
from embed.training.pairwise import precise
from embed.training.types import Batch
from embed.types import Embedder, Floats, Media, Modality


class Teacher(Protocol):
    """Vectors of what a batch holds. modalities: those it has vectors of."""

    modalities: Sequence[Modality]

    def __call__(self, batch: Batch) -> Mapping[Modality, Tensor]:
        """For each of `modalities`: `(M_m, E)`, unit rows, in the order of `batch.rows`."""
        ...


def similarity(
    u: Tensor, v: Tensor, teacher_u: Tensor, teacher_v: Tensor, scale: Tensor, teacher_scale: Tensor
) -> Tensor:
    """The similarity loss of N pairs: u, v `(N, D)`, the teacher's `(N, E)`, all unit rows."""
    there = _row_sum(u, v, teacher_u, teacher_v, scale, teacher_scale)
    back = _row_sum(v, u, teacher_v, teacher_u, scale, teacher_scale)
    return (there + back) / (2 * len(u))


class Similarity(nn.Module):
    """A `meeting.Term`: what is near for the teacher shall be near. The mean over pairs."""

    def __init__(self, teacher: Teacher, pairs: Sequence[Pair], temperature: float) -> None:
        """temperature: of both softmaxes. pairs: of modalities that the teacher knows."""
        super().__init__()
        self.teacher = teacher
        self.pairs = tuple(pairs)
        self.temperature = temperature

    def forward(self, vectors: Mapping[Modality, Tensor], batch: Batch) -> Tensor:
        taught = self.teacher(batch)
        ours = [meeting(pair, vectors, batch) for pair in self.pairs]
        theirs = [meeting(pair, taught, batch) for pair in self.pairs]
        counts = counts_of([len(rows.u) for rows in ours], ours[0].u.device)
        losses = [self._pair(*rows) for rows in zip(ours, theirs, counts, strict=True)]
        return torch.stack(losses).mean()

    def _pair(self, own: Meeting, other: Meeting, counts: Counts) -> Tensor:
        if sum(counts) < 2:  # nothing to tell apart
            return own.u.sum() * 0.0
        scale = own.u.new_tensor(1 / self.temperature)
        everyone = [gather(side, counts) for side in (own.v, own.u)]
        with torch.no_grad():
            every_other = [gather(side, counts) for side in (other.v, other.u)]
        sums = [
            _row_sum(*rows, scale, scale)
            for rows in zip(own[:2], everyone, other[:2], every_other, strict=True)
        ]
        return torch.stack(sums).sum() * world() / (2 * sum(counts))


class Features(nn.Module):
    """A `meeting.Term`: each vector shall be the teacher's. The mean over modalities it knows."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, vectors: Mapping[Modality, Tensor], batch: Batch) -> Tensor:
        taught = self.teacher(batch)
        some = next(iter(vectors.values()))
        lengths = [len(rows) for rows in taught.values()]
        loss = some.sum() * 0.0
        for (modality, rows), counts in zip(
            taught.items(), counts_of(lengths, some.device), strict=True
        ):
            if len(rows):
                apart = 1 - cosine_similarity(vectors[modality], rows)
                loss = loss + apart.sum() * world() / (sum(counts) * len(taught))
        return loss


class Remembered:
    """A `Teacher`: an embedder's vectors of all media of a source, made once, kept by content."""

    def __init__(self, embedder: Embedder, source: Source, modalities: Iterable[Modality]) -> None:
        """Of a long medium the first piece. Media that cannot be read are left out, as in training.

        Raises what the embedder raises for a medium that it cannot take.
        """
        known = sorted(embedder.modalities & set(modalities))
        self.modalities: Sequence[Modality] = known
        self.dim = embedder.space.dim
        self._tables = {modality: _table(embedder, source, modality) for modality in known}

    def __call__(self, batch: Batch) -> Mapping[Modality, Tensor]:
        return {modality: self._rows(modality, batch) for modality in self.modalities}

    def _rows(self, modality: Modality, batch: Batch) -> Tensor:
        device = next(iter(batch.group.values())).device
        if modality not in batch.group:
            return torch.zeros((0, self.dim), device=device)
        table = self._tables[modality]
        rows = [table[group] for group in batch.group[modality].tolist()]
        return torch.from_numpy(np.stack(rows)).to(device)


def _row_sum(
    queries: Tensor,
    gallery: Tensor,
    teacher_queries: Tensor,
    teacher_gallery: Tensor,
    scale: Tensor,
    teacher_scale: Tensor,
) -> Tensor:
    """Σ_i CE(p_i, q_i), over the rows of one direction."""

    def taught(rows: slice) -> Tensor:
        cosines = precise(teacher_queries[rows]) @ precise(teacher_gallery).T
        return torch.softmax(teacher_scale * cosines, 1).to(precise(queries).dtype)

    return cross_entropy_sum(queries, gallery, scale, taught)


def _table(embedder: Embedder, source: Source, modality: Modality) -> Mapping[int, Floats]:
    """Vectors by the number that `Batch.group` has for a medium."""
    table: dict[int, Floats] = {}
    pieces = _pieces(embedder, source, modality)
    while some := list(islice(pieces, embedder.batching.max_batch)):
        groups, media = zip(*some, strict=True)
        table.update(zip(groups, embedder.embed(media).joint, strict=True))
    return table


def _pieces(embedder: Embedder, source: Source, modality: Modality) -> Iterator[tuple[int, Media]]:
    """Each medium of a source, as its number and the first piece of it."""
    for record in readable(source):
        try:
            found = [
                (identity(medium, record.id), next(iter(embedder.fragment(medium)))[1])
                for medium in record.media.get(modality, ())
            ]
        except CorruptMedia:
            continue
        yield from found

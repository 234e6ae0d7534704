"""The nouns of training: what is learnt from, what is trained, what is minimised.

They tie four rooms together that know nothing of each other: data (records to examples), the
student (examples to vectors), objectives (vectors to one number) and the loop (numbers to better
weights).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from embed.types import Media, Modality


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One thing as several media, any subset of the modalities: what belongs together.

    media: by modality at least one medium; where several (five captions of a photo), each is as
        good as the others, and one is drawn whenever the record is read.
    id: stable and unique within its source.
    """

    id: str
    media: Mapping[Modality, Sequence[Media]]


class Example(NamedTuple):
    """A record made ready by the student: by modality what its `prepare` returned.

    group: by modality a number that equal media share, so that two records with the same caption
        count as positives of each other.
    """

    id: str
    inputs: Mapping[Modality, Any]
    group: Mapping[Modality, int]


class Batch(NamedTuple):
    """N records as tensors.

    inputs: by modality what `Student.forward` takes: tensors with one row for each of the M_m ≤ N
        records that have it.
    rows: by modality `(M_m,)` int64, ascending: which of the N records each of these is.
    group: by modality `(M_m,)` int64: equal media have equal numbers (see `Example`).
    """

    ids: Sequence[str]
    inputs: Mapping[Modality, tuple[Tensor, ...]]
    rows: Mapping[Modality, Tensor]
    group: Mapping[Modality, Tensor]


@runtime_checkable
class Student(Protocol):
    """What is trained: a `torch.nn.Module` with one limb a modality."""

    @property
    def dim(self) -> int: ...

    @property
    def modalities(self) -> frozenset[Modality]: ...

    def prepare(self, medium: Media, *, seed: int | None) -> Any:
        """What the limb's network reads of one medium; small. Safe in worker processes.

        seed: of random crops and other augmentation; None for none of it.
        """
        ...

    def collate(self, modality: Modality, prepared: Sequence[Any]) -> tuple[Tensor, ...]:
        """N prepared media of one modality as tensors, axis 0 of length N."""
        ...

    def __call__(self, modality: Modality, inputs: tuple[Tensor, ...]) -> Tensor:
        """`(N, dim)`, fp32, not brought to unit length."""
        ...


class Loss(NamedTuple):
    """total: what is minimised, a scalar with a gradient. parts: its summands, for the log."""

    total: Tensor
    parts: Mapping[str, Tensor]


@runtime_checkable
class Objective(Protocol):
    """A `torch.nn.Module`: unit vectors of a batch to a loss. Its own parameters (temperatures,
    biases) are trained without weight decay, and clamped after each step."""

    def __call__(self, vectors: Mapping[Modality, Tensor], batch: Batch) -> Loss:
        """vectors: `(M_m, D)` fp32 unit rows, in the order of `batch.rows`."""
        ...

    def clamp(self) -> None:
        """Brings its parameters back into their bounds, after a step."""
        ...

    def scales(self) -> Mapping[str, float]:
        """Its temperatures and biases by name, for the log."""
        ...


@runtime_checkable
class Miner(Protocol):
    """Who knows which records are easily confused. The service wires an index in."""

    def neighbours(self, ids: Sequence[str], k: int) -> Sequence[Sequence[str]]:
        """For each record the ids of up to k others that are near it and do not match it."""
        ...


class Feed(Protocol):
    """An endless, seeded, resumable supply of batches: the loop's only view of the data."""

    def batches(self, *, start: int) -> Iterator[Batch]:
        """Batch number `start` and all after it, the same in every process that asks."""
        ...

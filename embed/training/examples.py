"""Records by number to examples, and examples to batches: what each worker of a feed does.

What is drawn of a record (which of its captions, how it is cropped) follows from (seed, epoch,
record), so neither workers nor processes nor a resumed run change it. A record that cannot be read
is told of once, and another, drawn by (seed, epoch, place), stands in for it: a batch is always
full. It knows no file format, no network, no loss.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embed.errors import (
    BadInput,
    CorruptMedia,
    CrossbindError,
    MissingDependency,
    MissingWeights,
    StorageFull,
)
from embed.training.data.source import Source
from embed.training.types import Batch, Example, Record
from embed.types import Media, Modality

TRIES = 100  # records in a row that may be unreadable
LOOKED_AT = 64  # held-out records at once

# These are not a record's fault, and the next record would meet them too.
FATAL = (MissingDependency, MissingWeights, StorageFull)

Numbers = NDArray[np.int64]


class Preparer(Protocol):
    """The half of a `Student` that makes media ready. Goes to workers, so it is small."""

    def prepare(self, medium: Media, *, seed: int | None) -> Any: ...

    def collate(self, modality: Modality, prepared: Sequence[Any]) -> tuple[Tensor, ...]: ...


class Job(NamedTuple):
    """A batch to be made: its place in the epoch, its records, and which part of it is wanted."""

    epoch: int
    first: int
    records: Numbers
    part: slice


class Done(NamedTuple):
    """A batch, empty where there is an error instead; and what could not be read."""

    batch: Batch
    failures: Mapping[int, str]
    error: CrossbindError | None


class Entry(NamedTuple):
    """A record as it is drawn from: by modality its media, or what was prepared of them."""

    id: str
    media: Mapping[Modality, Sequence[Any]]
    groups: Mapping[Modality, Sequence[int]]


class Reader:
    """Records by number to examples and batches. It is what workers hold."""

    def __init__(
        self,
        source: Source,
        preparer: Preparer,
        modalities: Collection[Modality],
        *,
        seed: int = 0,
        augment: bool = False,
        cache: int = 0,
    ) -> None:
        """As of `Batches`."""
        self.source = source
        self._preparer = preparer
        self._modalities = frozenset(modalities)
        self._seed = seed
        self._augment = augment
        self._caching = cache > 0
        self._room = cache
        self._kept: dict[int, Entry] = {}
        self._broken: dict[int, str] = {}

    def __getitem__(self, job: Job) -> Done:
        """The batch that `job` asks for; errors as values, for they cross processes."""
        before = set(self._broken)
        places = range(len(job.records))[job.part]
        try:
            batch = collate([self._at(job, place) for place in places], self._preparer)
        except CrossbindError as error:
            return Done(Batch([], {}, {}, {}), self._broken, error)
        return Done(batch, {n: self._broken[n] for n in self._broken.keys() - before}, None)

    def example(self, number: int, epoch: int | None) -> Example:
        """Record `number` as it is drawn in `epoch`; None: its first media, not augmented.

        Raises CrossbindError.
        """
        entry = self._kept.get(number) or self._read(number)
        ready: dict[Modality, Any] = {}
        group: dict[Modality, int] = {}
        for modality, draw in zip(entry.media, self._draws(number, epoch), strict=False):
            which = draw % len(entry.media[modality])
            seed = draw if self._augment and epoch is not None else None
            ready[modality] = self._prepared(entry.media[modality][which], seed)
            group[modality] = entry.groups[modality][which]
        return Example(entry.id, ready, group)

    def _at(self, job: Job, place: int) -> Example:
        """The example at a place of a batch, or what stands in for it.

        Stand-ins are drawn from (seed, epoch, place) among records that the batch has not.
        """
        rng = np.random.default_rng([self._seed, job.epoch, job.first + place, 1])
        number, reason = int(job.records[place]), ""
        for _ in range(TRIES):
            try:
                if number not in self._broken:
                    return self.example(number, job.epoch)
            except FATAL:
                raise
            except CrossbindError as error:
                self._broken[number] = error.message
            reason = self._broken[number]
            number = int(rng.integers(len(self.source)))
            while number in job.records and len(job.records) < len(self.source):
                number = int(rng.integers(len(self.source)))
        raise CorruptMedia(f"{TRIES} records in a row cannot be read, the last for this: {reason}")

    def _read(self, number: int) -> Entry:
        record = self.source[number]
        media = {m: record.media[m] for m in sorted(record.media.keys() & self._modalities)}
        if not any(media.values()):
            raise BadInput(
                f"{record.id} has {', '.join(sorted(record.media)) or 'nothing'}; the student "
                f"takes {', '.join(sorted(self._modalities))}"
            )
        groups = {m: [identity(one, record.id) for one in some] for m, some in media.items()}
        if not self._caching:
            return Entry(record.id, media, groups)
        ready = {m: [self._prepared(one, None) for one in some] for m, some in media.items()}
        entry = Entry(record.id, ready, groups)
        size = sum(_size(one) for some in ready.values() for one in some)
        if size <= self._room:
            self._room -= size
            self._kept[number] = entry
        return entry

    def _prepared(self, medium: Any, seed: int | None) -> Any:
        """A medium made ready; one that is ready is left alone."""
        if not isinstance(medium, Media):
            return medium
        return self._preparer.prepare(medium, seed=seed)

    def _draws(self, number: int, epoch: int | None) -> Sequence[int]:
        """A large number for each modality."""
        if epoch is None:
            return [0] * len(Modality)
        rng = np.random.default_rng([self._seed, epoch, number])
        draws: list[int] = rng.integers(2**31, size=len(Modality)).tolist()
        return draws


def collate(examples: Sequence[Example], preparer: Preparer) -> Batch:
    """N examples as tensors; a modality that none of them has is left out."""
    having: dict[Modality, list[int]] = {}
    for row, example in enumerate(examples):
        for modality in example.inputs:
            having.setdefault(modality, []).append(row)
    modalities = sorted(having)
    return Batch(
        ids=[example.id for example in examples],
        inputs={
            m: preparer.collate(m, [examples[row].inputs[m] for row in having[m]])
            for m in modalities
        },
        rows={m: torch.tensor(having[m]) for m in modalities},
        group={m: torch.tensor([examples[row].group[m] for row in having[m]]) for m in modalities},
    )


def readable(source: Source, most: int | None = None) -> Iterator[Record]:
    """Those of the first `most` records that can be read."""
    for number in range(len(source) if most is None else min(len(source), most)):
        try:
            record = source[number]
        except FATAL:
            raise
        except CrossbindError:
            continue
        yield record


def held_out(source: Source, preparer: Preparer, modalities: Collection[Modality]) -> list[Batch]:
    """The records of a source in order, not augmented, in batches; without what cannot be read."""
    reader = Reader(source, preparer, modalities)
    examples = []
    for number in range(len(source)):
        try:
            examples.append(reader.example(number, None))
        except FATAL:
            raise
        except CrossbindError:
            continue
    cuts = range(0, len(examples), LOOKED_AT)
    return [collate(examples[at : at + LOOKED_AT], preparer) for at in cuts]


def identity(medium: Media, record: str) -> int:
    """A number in [0, 2^63) that media of the same content share.

    Of a medium that is read piece by piece, its place stands for its content.
    """
    data = medium.data
    digest = hashlib.blake2b(f"{medium.modality} {medium.rate}".encode(), digest_size=8)
    if isinstance(data, str):
        digest.update(data.encode())
    elif isinstance(data, np.ndarray):
        digest.update(f"{data.shape} {data.dtype}".encode())
        digest.update(np.ascontiguousarray(data).data)
    else:
        digest.update((medium.source or record).encode())
    return int.from_bytes(digest.digest(), "big") >> 1


def _size(prepared: Any) -> int:
    """Bytes, about."""
    if isinstance(prepared, Mapping):
        return sum(map(_size, prepared.values()))
    if isinstance(prepared, list | tuple):
        return sum(map(_size, prepared))
    return int(getattr(prepared, "nbytes", 64))

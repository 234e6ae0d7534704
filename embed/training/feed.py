"""Batches out of a source of records: seeded, endless, the same whoever asks, from any number on.

Each epoch is a permutation of the records that follows from (seed, epoch); what does not fill a
batch waits for the next. Batches of near records (hard negatives) are only another permutation:
each record is followed by its neighbours, and still comes once an epoch. Workers and processes
share the making of a batch and do not change it (`examples` says how).

It knows no file format, no network, no loss.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from typing import cast

import numpy as np
from torch.utils.data import DataLoader, Dataset

from embed.errors import BackendFailed, BadInput
from embed.training.data.source import Source
from embed.training.examples import Done, Job, Numbers, Preparer, Reader
from embed.training.types import Batch, Miner
from embed.types import Modality

log = logging.getLogger(__name__)

PREFETCH = 2  # batches a worker is ahead


class Batches:
    """Implements `embed.training.types.Feed`."""

    def __init__(
        self,
        source: Source,
        preparer: Preparer,
        modalities: Collection[Modality],
        *,
        batch: int,
        seed: int,
        augment: bool = True,
        workers: int = 0,
        cache: int = 0,
        slice_of: tuple[int, int] = (0, 1),
        neighbours: Numbers | None = None,
        pin: bool = False,
    ) -> None:
        """modalities: what is taken of a record. batch: records, over all processes.

        cache: bytes of prepared media that are kept, where nothing is augmented.
        slice_of: this process and how many there are; each gets its part of every batch.
        neighbours: `(N, k)`, by record those that come after it in an epoch; -1 for none. pin: into
        memory that a GPU reads from. Raises BadInput when there are too few records.
        """
        rank, world = slice_of
        if batch % world:
            raise BadInput(
                f"[run] batch is {batch} and {world} processes share it: they must go in"
            )
        if len(source) < batch:
            raise BadInput(
                f"[run] batch is {batch} and there are {len(source)} records to train on: take a "
                "smaller batch, or hold fewer out"
            )
        self.per_epoch = len(source) // batch
        self.failures: dict[int, str] = {}
        self._reader = Reader(source, preparer, modalities, seed=seed, augment=augment, cache=cache)
        self._batch = batch
        self._seed = seed
        self._part = slice(rank * batch // world, (rank + 1) * batch // world)
        self._workers = workers
        self._neighbours = neighbours
        self._pin = pin

    def batches(self, *, start: int) -> Iterator[Batch]:
        """Raises CorruptMedia when record after record is broken, BackendFailed for a dead worker.

        What cannot be read is logged and kept in `failures`, by its number in the source.
        """
        loader: DataLoader[Done] = DataLoader(
            cast("Dataset[Done]", self._reader),
            sampler=self._jobs(start),
            batch_size=None,
            num_workers=self._workers,
            multiprocessing_context="spawn" if self._workers else None,
            prefetch_factor=PREFETCH if self._workers else None,
            pin_memory=self._pin,
        )
        try:
            for done in loader:
                self._report(done.failures)
                if done.error:
                    raise done.error
                yield done.batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise BackendFailed(
                f"a process that prepares media died ({error}): try fewer [run] workers, or 0"
            ) from error

    def _jobs(self, start: int) -> Iterator[Job]:
        order, of = np.empty(0, np.int64), -1
        for number in count(start):
            epoch, place = divmod(number, self.per_epoch)
            if epoch != of:
                order, of = self._order(epoch), epoch
            first = place * self._batch
            yield Job(epoch, first, order[first : first + self._batch], self._part)

    def _order(self, epoch: int) -> Numbers:
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._reader.source))
        return order if self._neighbours is None else _beside(order, self._neighbours)

    def _report(self, failures: Mapping[int, str]) -> None:
        for number, reason in failures.items():
            if number not in self.failures:
                self.failures[number] = reason
                log.warning("record %d is left out: %s", number, reason)


def near(source: Source, miner: Miner, k: int) -> Numbers:
    """`(N, k)`: by record the numbers of up to k others that the miner finds near; -1 for none."""
    ids = [source.id(number) for number in range(len(source))]
    numbers = {id_: number for number, id_ in enumerate(ids)}
    found = np.full((len(ids), k), -1, np.int64)
    for row, others in zip(found, miner.neighbours(ids, k), strict=True):
        known = [numbers[other] for other in others if other in numbers][:k]
        row[: len(known)] = known
    return found


def _beside(order: Numbers, neighbours: Numbers) -> Numbers:
    """The same records, each followed by those of its neighbours that have not come yet."""
    taken = np.zeros(len(order), bool)
    found: list[int] = []
    for number in order.tolist():
        for one in [number, *neighbours[number].tolist()] if not taken[number] else ():
            if one >= 0 and not taken[one]:
                taken[one] = True
                found.append(one)
    return np.array(found, np.int64)

"""Vectors of all processes of a run, with gradients that find their way home.

Each process computes the part of a loss that its own rows ask for, times the number of processes,
so that the mean over processes (what DDP makes of gradients) is the loss of all rows. A row is
also a negative elsewhere: the exchange carries those gradients back and adds them up. Leaving them
out makes a biased gradient (open_clip issues 616 and 894).

Processes may hold different numbers of rows, 0 too; all of them must call these functions in the
same order. Without a process group there is one process and nothing is exchanged.
It knows no loss.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import Parameter
from torch.nn.functional import pad

BUCKET = 1 << 22  # numbers of gradients that are exchanged at once: 16 MiB in fp32

Counts = tuple[int, ...]
"""How many rows each process holds."""


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _together() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if _together() else 0


@contextmanager
def processes() -> Iterator[None]:
    """Under torchrun, together with the others that it started."""
    if not dist.is_torchelastic_launched():
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def leave(status: int) -> NoReturn:
    """Ends this process without Python's own shutdown.

    During it a thread of the process group that still holds one of Python's objects aborts the
    process, now and then, though all of the run is done and kept.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def is_share(tensor: Tensor) -> bool:
    """Whether this process has but its share of it: a DTensor, whose module is slow to load."""
    return hasattr(tensor, "full_tensor")


def counts_of(lengths: Sequence[int], device: torch.device) -> list[Counts]:
    """For each of several sets of rows, all at once, how many rows each process holds."""
    if not _together():
        return [(length,) for length in lengths]
    own = torch.tensor(lengths, device=device)
    everyone = [torch.empty_like(own) for _ in range(world())]
    dist.all_gather(everyone, own)
    return [tuple(column) for column in torch.stack(everyone, 1).tolist()]


def gather(rows: Tensor, counts: Counts) -> Tensor:
    """`(Σ counts, …)`: the rows of all processes, by rank. Gradients return to their owner."""
    if not _together():
        return rows
    blocks = _gathered(_padded(rows, max(counts)))
    return torch.cat([block[:count] for block, count in zip(blocks, counts, strict=True)])


def ring(blocks: Sequence[Tensor], counts: Counts) -> Iterator[tuple[Tensor, ...]]:
    """These rows, then those of each other process, handed on around a ring (SigLIP, section 3.3).

    blocks: several tensors with the same rows. Only one process's rows are received at a time.
    """
    held = tuple(_padded(block, max(counts)) for block in blocks)
    for step in range(world()):
        if step:
            held = tuple(_handed_on(block) for block in held)
        count = counts[(rank() - step) % world()]
        yield tuple(block[:count] for block in held)


def total(value: Tensor) -> Tensor:
    """The sum of a tensor over processes, without a gradient."""
    result = value.detach().clone()
    if _together():
        dist.all_reduce(result)
    return result


def average_gradients(parameters: Iterable[Parameter]) -> None:
    """The mean of each parameter's gradient over processes; none counts as 0.

    Of a parameter that is shared out (`sharding`) it is that already.

    What DDP does, for training steps that DDP cannot follow: networks that run several times a
    step (a limb per modality, GradCache), and processes whose records lack a modality.
    """
    if not _together():
        return
    gradients = []
    for parameter in parameters:
        if parameter.requires_grad and not is_share(parameter):
            parameter.grad = (
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            )
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        # one exchange for many: hundreds of small ones would each wait for the network
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket]).div_(world())
        dist.all_reduce(flat)
        for gradient, mean in zip(
            bucket, torch.split(flat, [g.numel() for g in bucket]), strict=True
        ):
            gradient.copy_(mean.view_as(gradient))


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """In their order, some `BUCKET` numbers each, of one kind and on one device."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        alike = not bucket or (tensor.dtype, tensor.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and (not alike or sum(one.numel() for one in bucket) + tensor.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def _padded(rows: Tensor, length: int) -> Tensor:
    """With zero rows up to `length`: what is exchanged has one shape everywhere."""
    return pad(rows, (0, 0) * (rows.ndim - 1) + (0, length - len(rows)))


def _gathered(rows: Tensor) -> tuple[Tensor, ...]:
    if not rows.is_floating_point():
        return _of_everyone(rows)
    blocks: tuple[Tensor, ...] = _Gather.apply(_tracked(rows))
    return blocks


def _handed_on(rows: Tensor) -> Tensor:
    if not rows.is_floating_point():
        return _shifted(rows, 1)
    block: Tensor = _HandOn.apply(_tracked(rows))
    return block


def _tracked(rows: Tensor) -> Tensor:
    """Rows that ask for a gradient, wanted or not: backward exchanges need every process."""
    return rows if rows.requires_grad else rows.detach().requires_grad_()


class _Gather(Function):
    @staticmethod
    def forward(_ctx: Any, rows: Tensor) -> tuple[Tensor, ...]:
        return _of_everyone(rows)

    @staticmethod
    @once_differentiable
    def backward(_ctx: Any, *by_blocks: Tensor) -> Tensor:
        # reduce-scatter would carry less, and not every backend has it
        gradient = torch.stack(by_blocks)
        dist.all_reduce(gradient)
        return gradient[rank()]


class _HandOn(Function):
    @staticmethod
    def forward(_ctx: Any, rows: Tensor) -> Tensor:
        return _shifted(rows, 1)

    @staticmethod
    @once_differentiable
    def backward(_ctx: Any, by_rows: Tensor) -> Tensor:
        return _shifted(by_rows, -1)


def _of_everyone(rows: Tensor) -> tuple[Tensor, ...]:
    blocks = [torch.empty_like(rows) for _ in range(world())]
    dist.all_gather(blocks, rows.contiguous())
    return tuple(blocks)


def _shifted(rows: Tensor, by: int) -> Tensor:
    """What the process `by` places before this one holds; this one's goes as far ahead."""
    rows, received = rows.contiguous(), torch.empty_like(rows)
    ahead, behind = (rank() + by) % world(), (rank() - by) % world()
    exchange = [dist.P2POp(dist.isend, rows, ahead), dist.P2POp(dist.irecv, received, behind)]
    for work in dist.batch_isend_irecv(exchange):
        work.wait()
    return received

"""The loop: `train`, read from top to bottom, is all that happens in a run.

A step sees `accumulate` batches. Each gives a loss of its own, whose negatives are the records of
that batch alone, and the gradient is that of their mean: for a contrastive loss this is not what
one larger batch gives, for there every record would be a negative of every other. A batch larger
than memory is what `chunk` is for (GradCache: Gao et al., 2021), whose gradient is exact.

Several processes (torchrun) each take their slice of every batch. Their objectives gather vectors
with gradients, so that the mean of the processes' gradients is the gradient of the whole batch; it
is taken once, after all of a step's backward passes, in place of DistributedDataParallel, whose
hooks expect one forward a step where binding and GradCache need many. Two processes walk the
same path as one.

Random numbers of a step are a function of (seed, step, process), and batches come by number: the
loop has no state but the learner's, and goes on from any step as if it had never stopped.

It knows students, objectives and feeds by their protocols; no modality, no file.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from embed.training import distributed, gradcache
from embed.training.checkpoint import Learner
from embed.training.config import RunOptions
from embed.training.gradcache import Encode
from embed.training.journal import Journal
from embed.training.optimiser import rate_at
from embed.training.probe import Standing
from embed.training.types import Batch, Feed, Loss, Objective
from embed.types import Modality


def train(
    learner: Learner,
    feed: Feed,
    run: RunOptions,
    journal: Journal,
    *,
    start: int,
    steps: int,
    evaluate: Callable[[Encode], Standing] | None,
    save: Callable[[int], Any],
) -> None:
    """Takes `learner` from after step `start` to after step `steps`.

    evaluate: how what encodes so stands now. save: keeps the learner as it is after a step.
    Raises BackendFailed at a loss or gradient that is not finite, and what `feed` raises.
    """
    objective, optimiser = cast("Objective", learner.objective), learner.optimiser
    device = optimiser.parameters[0].device
    encode = encoder(learner.student, run.precision, device)
    batches = feed.batches(start=start * run.accumulate)
    learner.student.train()

    for step in range(start + 1, steps + 1):
        began = time.perf_counter()
        seed_all(run.seed, step)

        losses = [
            backward(encode, objective, placed(batch, device), run.chunk)
            for batch in islice(batches, run.accumulate)
        ]
        loss, parts = mean_loss(losses)
        mean_gradients(optimiser.parameters, run.accumulate)

        rate = rate_at(step, steps, optimiser.options)
        norm = optimiser.step(rate)
        objective.clamp()
        learner.average.update(step)

        seconds = time.perf_counter() - began
        journal.note(step, loss, norm, records=run.batch * run.accumulate, seconds=seconds)
        last = step == steps
        if last or step % run.log_every == 0:
            journal.log(step, parts, objective.scales(), rate)
        if evaluate and (last or step % run.eval_every == 0):
            with learner.average.applied(), evaluating(learner.student):
                journal.evaluated(step, evaluate(encode))
        if last or step % run.save_every == 0:
            journal.check()
            save(step)


def encoder(student: nn.Module, precision: str, device: torch.device) -> Encode:
    """The student as a function, its matrix products in bf16 where that is wanted.

    Each call casts weights anew: autocast's cache would hand a forward without gradients
    (GradCache's first) to one that needs them.
    """

    def encode(modality: Modality, inputs: tuple[Tensor, ...]) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            vectors: Tensor = student(modality, inputs)
        return vectors.float()

    return encode


def backward(encode: Encode, objective: Objective, batch: Batch, chunk: int) -> Loss:
    """Adds the gradient of a batch's loss to every parameter's; `chunk` records at a time, or 0."""
    if chunk:
        return gradcache.backward(encode, objective, batch, chunk)
    vectors = {
        modality: normalize(encode(modality, inputs), dim=-1)
        for modality, inputs in batch.inputs.items()
    }
    loss = objective(vectors, batch)
    loss.total.backward()  # type: ignore[no-untyped-call]
    return loss


def mean_loss(losses: Sequence[Loss]) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The total and the parts, over the batches of a step and over processes, without gradients."""
    share = 1 / (len(losses) * distributed.world())
    numbers = [torch.stack([loss.total, *loss.parts.values()]).detach() for loss in losses]
    total, *parts = distributed.total(torch.stack(numbers).sum(0) * share)
    return total, dict(zip(losses[0].parts, parts, strict=True))


def mean_gradients(parameters: Sequence[nn.Parameter], batches: int) -> None:
    """What has been added up over the batches of a step, as their mean; then over processes.

    A parameter that no batch had use for has a gradient of 0, with one process as with many.
    """
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        elif batches > 1:
            parameter.grad /= batches
    distributed.average_gradients(parameters)


def seed_all(seed: int, step: int) -> None:
    """Every source of random numbers that a network may draw from, for this step and process."""
    words = np.random.SeedSequence([seed, step, distributed.rank()]).generate_state(2)
    torch.manual_seed(int(words[0]))
    random.seed(int(words[1]))
    np.random.seed(int(words[1]))  # noqa: NPY002 (for networks that draw from the global one)


def placed(batch: Batch, device: torch.device) -> Batch:
    """The batch on `device`."""
    if device.type == "cpu":
        return batch

    def over(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    return Batch(
        batch.ids,
        {modality: tuple(map(over, inputs)) for modality, inputs in batch.inputs.items()},
        {modality: over(rows) for modality, rows in batch.rows.items()},
        {modality: over(group) for modality, group in batch.group.items()},
    )


@contextmanager
def evaluating(student: nn.Module) -> Iterator[None]:
    """The student as it is served: no dropout, norms by their running statistics."""
    student.eval()
    try:
        yield
    finally:
        student.train()

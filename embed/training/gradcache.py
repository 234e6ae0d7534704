"""GradCache: the gradient of a batch larger than memory, exactly (Gao et al. 2021, section 3).

The loss needs all vectors of a batch at once; networks need but a chunk of inputs at a time. So:
vectors of each chunk without a gradient; the loss of all of them, and its gradient by each vector;
then each chunk again, with a gradient, which begins at what the loss said of its vectors. A chunk
is read twice with the same random numbers, so dropout falls alike. Cost: one more forward pass.

Networks must treat rows apart: a BatchNorm in training mode would see a chunk where it should see
the batch. Objectives keep the gradients of their own parameters from the one loss step. Processes
exchange vectors in that step alone; parameters' gradients are averaged once, after it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.modules.batchnorm import _BatchNorm

from embed.errors import BadInput
from embed.training.types import Batch, Loss, Objective
from embed.types import Modality

Encode = Callable[[Modality, tuple[Tensor, ...]], Tensor]
"""A `Student`, or what calls one: `(N, dim)`, at least fp32, any length."""


def backward(encode: Encode, objective: Objective, batch: Batch, chunk: int) -> Loss:
    """Adds the gradient of the batch's loss to every parameter's `.grad`; returns the loss.

    chunk: rows that a network reads at once.
    """
    pieces = [
        (modality, piece)
        for modality, inputs in batch.inputs.items()
        for piece in zip(*(torch.split(tensor, chunk) for tensor in inputs), strict=True)
    ]
    device = pieces[0][1][0].device
    states, vectors = [], []
    with torch.no_grad():
        for modality, piece in pieces:
            states.append(_random_state(device))
            vectors.append(normalize(encode(modality, piece), dim=-1).requires_grad_())
    torch.clear_autocast_cache()  # of weights cast without a gradient, which the replay needs

    loss = objective(_by_modality(pieces, vectors), batch)
    _backward(loss.total)

    for (modality, piece), state, vector in zip(pieces, states, vectors, strict=True):
        with _replayed(state, device):
            again = normalize(encode(modality, piece), dim=-1)
        if again.requires_grad and vector.grad is not None:  # not of a locked tower, or unpaired
            _backward(again, vector.grad)
    return loss


def refuse_batch_norm(student: nn.Module) -> None:
    """Raises BadInput for a student whose vectors would depend on how a batch is cut."""
    for name, module in student.named_modules():
        if isinstance(module, _BatchNorm) and module.training:
            raise BadInput(
                f"{name} is a BatchNorm: it learns from whole batches, and chunk cuts them. Freeze "
                "it (eval mode), use GroupNorm or LayerNorm, or train without chunk",
                param="chunk",
            )


def _by_modality(
    pieces: list[tuple[Modality, tuple[Tensor, ...]]], vectors: list[Tensor]
) -> Mapping[Modality, Tensor]:
    whole: dict[Modality, list[Tensor]] = {}
    for (modality, _), vector in zip(pieces, vectors, strict=True):
        whole.setdefault(modality, []).append(vector)
    return {modality: torch.cat(parts) for modality, parts in whole.items()}


def _backward(tensor: Tensor, gradient: Tensor | None = None) -> None:
    """In the precisions that forward chose, whatever autocast surrounds the caller."""
    with torch.autocast(tensor.device.type, enabled=False):
        torch.autograd.backward(tensor, gradient)


def _random_state(device: torch.device) -> tuple[Tensor, ...]:
    own = () if device.type == "cpu" else (torch.get_device_module(device).get_rng_state(device),)
    return (torch.get_rng_state(), *own)


@contextmanager
def _replayed(state: tuple[Tensor, ...], device: torch.device) -> Iterator[None]:
    """Random numbers as they were at `state`; afterwards they go on from where they had got to."""
    now = _random_state(device)
    _set_random_state(state, device)
    try:
        yield
    finally:
        _set_random_state(now, device)


def _set_random_state(state: tuple[Tensor, ...], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type != "cpu":
        module: Any = torch.get_device_module(device)
        module.set_rng_state(state[1], device)

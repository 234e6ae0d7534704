"""GradCache: the gradient of the whole batch, whatever the chunk, dropout and autocast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from embed.errors import BadInput
from embed.training.gradcache import backward, refuse_batch_norm
from embed.training.objective import Contrastive
from embed.training.types import Batch
from embed.types import Modality

TEXT, IMAGE, AUDIO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO
WIDTHS = {IMAGE: 12, TEXT: 6, AUDIO: 9}


class Limbs(nn.Module):
    """A small network a modality, with dropout; texts come with a mask."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.limbs = nn.ModuleDict(
            {
                m.value: nn.Sequential(
                    nn.Linear(width, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 8)
                )
                for m, width in WIDTHS.items()
            }
        )

    def forward(self, modality: Modality, inputs: tuple[Tensor, ...]) -> Tensor:
        values, *mask = inputs
        made: Tensor = self.limbs[modality.value](values * mask[0] if mask else values)
        return made if made.dtype == torch.float64 else made.float()


def setting(
    dropout: float = 0.0, dtype: torch.dtype = torch.float64
) -> tuple[Limbs, Contrastive, Batch]:
    torch.manual_seed(0)
    rows = {
        IMAGE: torch.arange(11),
        TEXT: torch.tensor([0, 1, 2, 4, 5, 6, 7, 9]),
        AUDIO: torch.tensor([0, 2, 4, 5, 9]),
    }
    inputs = {m: (torch.randn(len(r), WIDTHS[m], dtype=dtype),) for m, r in rows.items()}
    inputs[TEXT] = (*inputs[TEXT], torch.rand(len(rows[TEXT]), WIDTHS[TEXT]).round().to(dtype))
    objective = Contrastive([(IMAGE, TEXT), (TEXT, AUDIO)])
    batch = Batch([str(i) for i in range(11)], inputs, rows, rows)
    return Limbs(dropout).to(dtype), objective.to(dtype), batch


def gradients(*modules: nn.Module) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for module in modules:
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            named[name] = parameter.grad
    return named


def whole(student: Limbs, objective: Contrastive, batch: Batch, chunk: int) -> Tensor:
    """The full batch, every activation kept; chunks only decide who draws dropout when."""
    vectors: Mapping[Modality, Tensor] = {
        m: normalize(
            torch.cat([student(m, p) for p in zip(*(t.split(chunk) for t in inputs), strict=True)]),
            dim=1,
        )
        for m, inputs in batch.inputs.items()
    }
    loss = objective(vectors, batch).total
    loss.backward()
    return loss


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_gradients_are_those_of_the_full_batch(dropout: float, chunk: int) -> None:
    made = []
    for run in (backward, whole):
        student, objective, batch = setting(dropout)
        torch.manual_seed(7)
        loss = run(student, objective, batch, chunk)
        total = loss if isinstance(loss, Tensor) else loss.total
        made.append((total.detach(), gradients(student, objective), torch.rand(1)))
    (ours, by_ours, next_ours), (theirs, by_theirs, next_theirs) = made
    assert ours == theirs
    for name, gradient in by_theirs.items():
        difference = (by_ours[name] - gradient).norm() / gradient.norm()
        assert difference < 3e-16 * 4, name  # a few roundings: sums are taken in another order
    assert next_ours == next_theirs  # and the stream of random numbers goes on as it would have


def test_gradients_add_up_and_a_locked_limb_gets_none() -> None:
    student, objective, batch = setting()
    student.limbs[IMAGE.value].requires_grad_(False)
    backward(student, objective, batch, 4)
    once = {n: p.grad.clone() for n, p in student.named_parameters() if p.grad is not None}
    assert not any("image" in name for name in once)
    backward(student, objective, batch, 4)
    for name, parameter in student.named_parameters():
        if name in once:
            torch.testing.assert_close(parameter.grad, 2 * once[name])


def test_autocast_trains_the_same_weights_as_the_full_batch_does() -> None:
    made = []
    for run in (backward, whole):
        student, objective, batch = setting(0.5, torch.float32)
        torch.manual_seed(7)
        with torch.autocast("cpu", torch.bfloat16):
            run(student, objective, batch, 4)
        made.append(gradients(student, objective))
    ours, theirs = made
    for name, gradient in theirs.items():
        assert gradient.norm() > 0
        assert (ours[name] - gradient).norm() / gradient.norm() < 0.02, name


def test_only_a_chunk_of_activations_is_kept() -> None:
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(len(tensor) if tensor.ndim and tensor.shape[-1] == 16 else 0)
        return tensor

    student, objective, batch = setting()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        backward(student, objective, batch, 3)
    assert max(kept) <= 16  # a weight matrix has 8 or 16 rows, activations 3


def test_batch_norm_is_refused_by_name() -> None:
    student: Any = nn.ModuleDict({"image": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))})
    with pytest.raises(BadInput, match=r"image\.1 is a BatchNorm"):
        refuse_batch_norm(student)
    refuse_batch_norm(student.eval())

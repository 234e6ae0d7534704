from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from embed.errors import BadInput
from embed.training.optimiser import Average, Optimiser, OptimiserOptions, rate_at


class Tower(nn.Module):
    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(2, 2, bias=False)
        self.blocks = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(blocks))
        self.head = nn.Linear(2, 2)


def student_of(**limbs: nn.Module) -> nn.Module:
    student = nn.Module()
    student.limbs = nn.ModuleDict(limbs)
    return student


def objective_of() -> nn.Module:
    objective = nn.Module()
    objective.theta = nn.Parameter(torch.tensor(2.0))
    objective.table = nn.Parameter(torch.ones(2, 2))
    return objective


def groups(optimiser: Optimiser) -> dict[str, tuple[float, float]]:
    """By parameter its factor and decay."""
    by_id = {
        id(parameter): (group["factor"], group["weight_decay"])
        for group in optimiser.adam.param_groups
        for parameter in group["params"]
    }
    return {name: by_id[id(parameter)] for name, parameter in optimiser.named.items()}


def test_rates_rise_then_follow_the_schedule() -> None:
    options = OptimiserOptions(lr=2.0, warmup=10, floor=0.1)
    rates = [rate_at(step, 110, options) for step in range(1, 111)]
    assert rates[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert rates[59] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))  # half-way down the cosine
    assert rates[-1] == pytest.approx(0.2)
    assert all(a > b for a, b in pairwise(rates[9:]))
    constant = OptimiserOptions(lr=2.0, warmup=10, schedule="constant")
    assert {rate_at(step, 110, constant) for step in (10, 50, 110)} == {2.0}
    root = OptimiserOptions(lr=2.0, warmup=10, schedule="inverse-sqrt")
    assert rate_at(40, 110, root) == pytest.approx(1.0)
    assert rate_at(1, 1, OptimiserOptions(lr=2.0, warmup=0)) == pytest.approx(0.0)
    assert rate_at(3, 3, OptimiserOptions(lr=2.0, warmup=100)) == 2.0  # a run within its warm-up


def test_vectors_and_the_objective_are_not_decayed() -> None:
    student = student_of(image=Tower())
    student.limbs["image"].stem.requires_grad_(False)
    found = groups(Optimiser(student, objective_of(), OptimiserOptions(decay=0.3)))
    assert {name for name, (_, decay) in found.items() if decay} == {
        "student.limbs.image.blocks.0.weight",
        "student.limbs.image.blocks.1.weight",
        "student.limbs.image.blocks.2.weight",
        "student.limbs.image.head.weight",
    }
    assert found["objective.table"] == (1.0, 0.0)
    assert "student.limbs.image.stem.weight" not in found  # locked


def test_deeper_blocks_and_named_parts_learn_slower() -> None:
    student = student_of(image=Tower(), text=Tower(1))
    options = OptimiserOptions(layer_decay=0.5, rates={"limbs.text": 0.1})
    found = {
        name.removeprefix("student.limbs."): factor
        for name, (factor, _) in groups(Optimiser(student, objective_of(), options)).items()
    }
    assert found["image.stem.weight"] == 0.5**4
    assert found["image.blocks.0.weight"] == 0.5**3
    assert found["image.blocks.2.weight"] == 0.5
    assert found["image.head.weight"] == found["image.head.bias"] == 1
    assert found["text.stem.weight"] == pytest.approx(0.1 * 0.5**2)
    assert found["text.head.weight"] == pytest.approx(0.1)
    assert found["objective.theta"] == 1
    with pytest.raises(BadInput, match=r"rates names 'limbs.sound'.*: limbs.image, limbs.text"):
        Optimiser(student, objective_of(), OptimiserOptions(rates={"limbs.sound": 0.1}))


def test_a_step_is_adamw_s_with_its_gradient_clipped() -> None:
    student, twin = student_of(a=nn.Linear(2, 2)), student_of(a=nn.Linear(2, 2))
    twin.load_state_dict(student.state_dict())
    optimiser = Optimiser(student, nn.Module(), OptimiserOptions(clip=0.5, decay=0.1))
    weight, bias = twin.parameters()
    peer = torch.optim.AdamW(
        [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.98),
        eps=1e-6,
        weight_decay=0.1,
    )
    for step in range(3):
        for module in (student, twin):
            torch.manual_seed(step)
            for parameter in module.parameters():
                parameter.grad = 4 * torch.randn_like(parameter)
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in twin.parameters()))
        assert float(optimiser.step(0.01)) == pytest.approx(norm, rel=1e-6)
        assert norm > 0.5
        nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        peer.step()
    for ours, theirs in zip(student.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)
        assert ours.grad is None


def test_a_student_that_is_all_locked_is_refused() -> None:
    student = student_of(a=nn.Linear(2, 2)).requires_grad_(False)
    with pytest.raises(BadInput, match="nothing to train"):
        Optimiser(student, objective_of(), OptimiserOptions())


def test_the_average_forgets_its_beginning_and_is_put_back() -> None:
    student = student_of(a=nn.Linear(1, 1, bias=False))
    weight = student.limbs["a"].weight.data
    average = Average(student, 0.5)
    expected = float(weight)
    for step in range(1, 6):
        weight.fill_(step)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with average.applied():
        assert float(weight) == pytest.approx(expected, rel=1e-6)
    assert float(weight) == 5
    with Average(student, 0.0).applied():
        assert float(weight) == 5

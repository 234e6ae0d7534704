"""The loop on a toy: two linear maps of one hidden thing learn to meet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from embed.errors import BackendFailed
from embed.training.checkpoint import Checkpoints, Learner
from embed.training.config import RunOptions
from embed.training.journal import Journal, Told, read
from embed.training.loop import train
from embed.training.objective import Contrastive
from embed.training.optimiser import Average, Optimiser, OptimiserOptions
from embed.training.probe import standing
from embed.training.types import Batch
from embed.types import Modality

IMAGE, TEXT = Modality.IMAGE, Modality.TEXT
HIDDEN, SEEN, SIZE = 4, 6, 16


class Student(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({m.value: nn.Linear(SEEN, HIDDEN) for m in (IMAGE, TEXT)})
        self.dropout = nn.Dropout(dropout)

    def forward(self, modality: Modality, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.maps[modality.value](self.dropout(inputs[0])).float()


class Feed:
    """Batch k is a function of k: each thing seen through two fixed matrices."""

    def __init__(self, broken: int | None = None, size: int = SIZE) -> None:
        views = torch.randn((2, HIDDEN, SEEN), generator=torch.Generator().manual_seed(7))
        self.views = dict(zip((IMAGE, TEXT), views, strict=True))
        self.broken = broken
        self.size = size

    def batch(self, number: int) -> Batch:
        things = torch.randn((self.size, HIDDEN), generator=torch.Generator().manual_seed(number))
        if number == self.broken:
            things[3, 2] = math.nan
        rows = torch.arange(self.size)
        group = rows + self.size * number
        return Batch(
            [f"{number}-{row}" for row in range(self.size)],
            {m: (things @ view,) for m, view in self.views.items()},
            dict.fromkeys(self.views, rows),
            dict.fromkeys(self.views, group),
        )

    def batches(self, *, start: int) -> Iterator[Batch]:
        while True:
            yield self.batch(start)
            start += 1


def learner_of(options: OptimiserOptions, dropout: float = 0.0) -> Learner:
    torch.manual_seed(0)
    student, objective = Student(dropout), Contrastive([(IMAGE, TEXT)])
    return Learner(
        student, objective, Optimiser(student, objective, options), Average(student, options.ema)
    )


def run(
    folder: Path,
    *,
    steps: int = 30,
    optimiser: Mapping[str, Any] | None = None,
    dropout: float = 0.0,
    feed: Feed | None = None,
    resume: bool = False,
    told: list[Told] | None = None,
    **options: Any,
) -> Learner:
    settings = {"log_every": 1, "eval_every": 10, "save_every": 10, "batch": SIZE} | options
    asked = RunOptions(out=folder, steps=steps, **settings)
    learner = learner_of(replace(OptimiserOptions(lr=0.05, warmup=5), **(optimiser or {})), dropout)
    kept = Checkpoints(folder / "checkpoints", {}, keep=asked.keep)
    found = kept.last() if resume else None
    start = 0
    if found:
        start, state = found
        learner.restore(state)
    held = [Feed().batch(10_000)]
    train(
        learner,
        feed or Feed(),
        asked,
        Journal(folder, start=start, steps=steps, tell=(told if told is not None else []).append),
        start=start,
        steps=steps,
        evaluate=lambda encode: standing(encode, held),
        save=lambda step: kept.save(learner, step),
    )
    return learner


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read(folder / "metrics.jsonl") if "loss" in line]


def weights(learner: Learner) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in learner.optimiser.named.items()}


def test_it_learns_and_tells_how(tmp_path: Path) -> None:
    told: list[Told] = []
    learner = run(tmp_path, steps=60, told=told, optimiser={"ema": 0.9})
    curve = losses(tmp_path)
    assert len(curve) == len(told) == 60
    assert curve[-1] < 0.25 * curve[0]
    standings = [line["r1"] for line in read(tmp_path / "metrics.jsonl") if "r1" in line]
    assert len(standings) == 6
    assert standings[-1] > 0.9 > standings[0]
    assert told[-1].r1 == standings[-2]  # R@1 is told as it was last measured
    assert told[0].scales["temperature image-text"] == pytest.approx(0.07, rel=0.1)
    assert learner.student.training


def test_a_resumed_run_walks_the_same_path_to_the_bit(tmp_path: Path) -> None:
    """Dropout, moments, the average, the temperature: all of it goes on as if nothing happened."""
    settings: dict[str, Any] = {"dropout": 0.2, "optimiser": {"ema": 0.9}, "accumulate": 2}
    whole = run(tmp_path / "whole", **settings)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", feed=Dying(at=2 * 24), **settings)
    resumed = run(tmp_path / "cut", resume=True, **settings)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in pairs_of(weights(whole), weights(resumed)))
    assert all(
        torch.equal(a, b) for a, b in pairs_of(whole.average.weights, resumed.average.weights)
    )


class Dying(Feed):
    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def batch(self, number: int) -> Batch:
        if number == self.at:
            raise ZeroDivisionError
        return super().batch(number)


def pairs_of(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    assert a.keys() == b.keys()
    return ((a[name], b[name]) for name in a)


def test_random_numbers_of_a_step_do_not_depend_on_how_often_it_is_evaluated(
    tmp_path: Path,
) -> None:
    run(tmp_path / "rarely", dropout=0.2, eval_every=30)
    run(tmp_path / "often", dropout=0.2, eval_every=2)
    assert losses(tmp_path / "rarely") == losses(tmp_path / "often")


def test_chunks_change_nothing(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", steps=5)
    chunked = run(tmp_path / "chunked", steps=5, chunk=5)
    for a, b in pairs_of(weights(whole), weights(chunked)):
        assert torch.allclose(a, b, atol=1e-5)


def test_accumulation_is_the_mean_of_losses_that_do_not_see_each_other(tmp_path: Path) -> None:
    learner = run(tmp_path, steps=1, accumulate=2, optimiser={"clip": 0.0})
    alone = learner_of(OptimiserOptions())
    total = torch.zeros(())
    for number in (0, 1):
        batch = Feed().batch(number)
        vectors = {
            m: nn.functional.normalize(alone.student(m, x), dim=-1) for m, x in batch.inputs.items()
        }
        total = total + alone.objective(vectors, batch).total / 2
    assert losses(tmp_path)[0] == pytest.approx(total.item(), abs=1e-6)
    total.backward()
    norm = torch.stack([p.grad.norm() for p in alone.optimiser.parameters]).norm()
    line = read(tmp_path / "metrics.jsonl")[0]
    assert line["grad_norm"] == pytest.approx(norm.item(), rel=1e-5)
    assert learner.optimiser.parameters[0].grad is None


def test_bf16_learns_too_and_keeps_weights_and_loss_in_fp32(tmp_path: Path) -> None:
    learner = run(tmp_path, steps=60, precision="bf16")
    assert losses(tmp_path)[-1] < 0.3 * losses(tmp_path)[0]
    assert {p.dtype for p in learner.optimiser.parameters} == {torch.float32}


def test_numbers_that_are_not_finite_stop_the_run_and_name_the_step(tmp_path: Path) -> None:
    with pytest.raises(BackendFailed, match=r"step 14: .* lower \[optimiser\] lr"):
        run(tmp_path, feed=Feed(broken=13), log_every=10)
    found = Checkpoints(tmp_path / "checkpoints", {}, keep=3).last()
    assert found is not None
    assert found[0] == 10  # what was saved before is whole
    assert all(value.isfinite().all() for value in found[1]["student"].values())

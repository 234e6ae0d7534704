"""Trains the network of the audio tower: which of K concepts a sound is.

Cross-entropy with softened labels; every clip is augmented anew each time, and some are two clips
at once with both labels (Tokozume et al., Learning from Between-class Examples, 2018). It knows no
class, no file and no text.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from embed.training.audio.augment import Augmenter
from embed.training.audio.features import band_centres
from embed.training.audio.network import Ear


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how hard to train. frames: of a crop, 12.5 ms each."""

    steps: int = 500
    batch: int = 64
    rate: float = 3e-3
    decay: float = 0.05
    smoothing: float = 0.1
    mixed: float = 0.2
    frames: int = 320


def train(
    clips: Tensor,
    labels: Tensor,
    concepts: int,
    schedule: Schedule,
    seed: int,
    start: Ear | None = None,
) -> Ear:
    """The network, in eval mode: a fresh one, or a copy of `start`, trained.

    clips: `(N, T, 64)` decibels. labels: `(N,)` below `concepts`.
    """
    torch.manual_seed(seed)
    student = (
        (copy.deepcopy(start) if start else Ear(concepts))
        .train()
        .to(memory_format=torch.channels_last)
    )
    optimiser = torch.optim.AdamW(_groups(student, schedule.decay), lr=schedule.rate)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, schedule.rate, total_steps=schedule.steps, pct_start=0.15
    )
    feed = _Feed(clips, functional.one_hot(labels, concepts).float(), schedule, seed)
    for _ in range(schedule.steps):
        heard, targets = feed.batch()
        with torch.autocast("cpu", torch.bfloat16):
            logits = student(heard)
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=schedule.smoothing)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), 2.0)
        optimiser.step()
        rates.step()
    return student.eval()


class _Feed:
    """Endless augmented batches, the same for the same seed."""

    def __init__(self, clips: Tensor, targets: Tensor, schedule: Schedule, seed: int) -> None:
        self._clips, self._targets = clips, targets
        self._schedule = schedule
        self._augment = Augmenter(band_centres(), schedule.frames, seed)
        self._dice = torch.Generator().manual_seed(seed + 1)

    def batch(self) -> tuple[Tensor, Tensor]:
        """`(B, 1, frames, 64)` and soft labels `(B, K)`."""
        count = self._schedule.batch
        rows = torch.randint(len(self._clips), (count,), generator=self._dice)
        clips, targets = self._augment(self._clips[rows].float()), self._targets[rows]
        order = torch.randperm(count, generator=self._dice)
        both, share = self._augment.mixed(clips, clips[order])
        chosen = torch.rand(count, generator=self._dice) < self._schedule.mixed
        share = torch.where(chosen, share, 1.0)[:, None]
        mixed = torch.where(chosen[:, None, None], both, clips)
        return mixed[:, None], share * targets + (1 - share) * targets[order]


def _groups(network: nn.Module, decay: float) -> list[dict[str, object]]:
    """Matrices decay; norms and biases do not."""
    matrices = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]

"""Samples a second in training: our loop against open_clip's own, on equal networks and batches.

    python benchmarks/train_speed.py                       # --quick for a first look

Both train the same open_clip model on the same tensors, with AdamW, clipping, a warm-up and a
cosine, and log as often. Each has a process of its own, as a run has, so that neither's memory lies
in the other's way: ours holds what it frees (`embed.training.memory`), theirs is as its command
line starts it. They take turns, the order within a round alternates; the ratio is the median over
rounds. Then the memory of one step: of a whole batch, and of GradCache.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from open_clip_train import train as theirs
from open_clip_train.scheduler import cosine_lr
from setting import finish, peak_rss_mib, say
from torch import Tensor, nn

from embed.training import loop, memory
from embed.training.checkpoint import Learner
from embed.training.config import RunOptions
from embed.training.journal import Journal
from embed.training.objective import Contrastive
from embed.training.optimiser import Average, Optimiser, OptimiserOptions
from embed.training.types import Batch
from embed.types import Modality

SIDE, TOKENS, WORDS = 112, 32, 8000
RATE, WARMUP, CLIP_NORM, LOG_EVERY = 5e-4, 10, 1.0, 5
PEAK = """
import sys; sys.path[:0] = {path!r}
import train_speed as t
print(t.step_memory({batch}, {chunk}))
"""


class Student(nn.Module):
    """An open_clip model as our loop has it."""

    def __init__(self, model: CLIP) -> None:
        super().__init__()
        self.model = model
        model.logit_scale.requires_grad_(False)  # the objective has one of its own

    def forward(self, modality: Modality, inputs: tuple[Tensor, ...]) -> Tensor:
        read = self.model.encode_image if modality is Modality.IMAGE else self.model.encode_text
        vectors: Tensor = read(*inputs)
        return vectors


class Same:
    """One batch again and again, as both loops take it."""

    def __init__(self, size: int, steps: int) -> None:
        seeded = torch.Generator().manual_seed(0)
        self.pictures = torch.randn((size, 3, SIDE, SIDE), generator=seeded)
        self.texts = torch.randint(1, WORDS - 1, (size, TOKENS), generator=seeded)
        self.texts[:, -1] = WORDS - 1
        self.num_batches, self.num_samples = steps, steps * size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((self.pictures, self.texts) for _ in range(self.num_batches))

    def batches(self, *, start: int) -> Iterator[Batch]:  # noqa: ARG002 (the protocol's)
        rows = torch.arange(len(self.pictures))
        both = (Modality.IMAGE, Modality.TEXT)
        inputs = dict(zip(both, ((self.pictures,), (self.texts,)), strict=True))
        batch = Batch([str(row) for row in rows], inputs, *(dict.fromkeys(both, rows),) * 2)
        while True:
            yield batch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--steps", type=int, default=8, help="of each loop in a round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="one small batch, two rounds")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.batches, args.rounds, args.steps = [16], 2, 3
    result = {f"B={size}": compare(size, args.steps, args.rounds) for size in args.batches}
    size = max(args.batches)
    memory = {
        "whole": peak(size, 0),
        "gradcache": peak(size, 16),
        "gradcache, 8 times the batch": peak(8 * size, 16),
    }
    finish("train_speed", {**result, "peak_mib": {f"B={size}": memory}}, args.out)
    return 0


def compare(size: int, steps: int, rounds: int) -> dict[str, Any]:
    """Samples a second of both loops, and the ratio with the range it was seen in."""
    seen: dict[str, list[float]] = {name: [] for name in WAYS}
    with ExitStack() as stack:
        loops = {name: stack.enter_context(own_process(name, size, steps)) for name in WAYS}
        for number in range(-1, rounds):  # the first warms up and does not count
            for name in sorted(loops, reverse=bool(number % 2)):
                seconds = loops[name].submit(one_round, steps).result()
                if number >= 0:
                    seen[name].append(steps * size / seconds)
            if number >= 0:
                said = ", ".join(f"{name} {rates[-1]:.1f}" for name, rates in seen.items())
                say(f"B={size}, round {number + 1}: {said} samples/s")
    ratios = [mine / other for mine, other in zip(seen["ours"], seen["open_clip"], strict=True)]
    return {
        **{name: round(statistics.median(rates), 2) for name, rates in seen.items()},
        "ratio": round(statistics.median(ratios), 4),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def own_process(name: str, size: int, steps: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=begin, initargs=(name, size, steps)
    )


def begin(name: str, size: int, steps: int) -> None:
    """What the process of one loop starts with."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    going.append(WAYS[name](network(), Same(size, steps)))


def one_round(steps: int) -> float:
    """Seconds."""
    start = time.perf_counter()
    going[0](steps)
    return time.perf_counter() - start


def network() -> CLIP:
    eyes = {"image_size": SIDE, "patch_size": 16, "width": 192, "layers": 4, "head_width": 64}
    words = {"context_length": TOKENS, "vocab_size": WORDS, "width": 192, "heads": 3, "layers": 3}
    return CLIP(embed_dim=128, vision_cfg=eyes, text_cfg=words, output_dict=True)


def ours(model: CLIP, data: Same) -> Any:
    student, objective = Student(model), Contrastive([(Modality.IMAGE, Modality.TEXT)])
    folder = tempfile.TemporaryDirectory()
    options = OptimiserOptions(lr=RATE, warmup=WARMUP, clip=CLIP_NORM, betas=(0.9, 0.98))
    optimiser = Optimiser(student, objective, options)
    learner = Learner(student, objective, optimiser, Average(student, 0.0))
    holding, done = ExitStack(), 0
    holding.enter_context(memory.held())  # as long as the process lasts

    def run(steps: int) -> None:
        nonlocal done
        wanted = RunOptions(
            out=Path(folder.name),
            steps=10_000,
            batch=len(data.pictures),
            log_every=LOG_EVERY,
            save_every=10_000,
        )
        journal = Journal(Path(folder.name), start=done, steps=10_000, tell=lambda _: None)
        loop.train(
            learner,
            data,
            wanted,
            journal,
            start=done,
            steps=done + steps,
            evaluate=None,
            save=lambda _: None,
        )
        done += steps

    return run


def open_clips(model: CLIP, data: Same) -> Any:
    """Its own loop, as its command line sets it up."""
    gains = [p for p in model.parameters() if p.ndim < 2]
    others = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": gains, "weight_decay": 0.0}, {"params": others, "weight_decay": 0.1}]
    adam = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), eps=1e-6, fused=True)
    args = Namespace(
        device="cpu",
        precision="fp32",
        accum_freq=1,
        distill=False,
        skip_scheduler=False,
        grad_clip_norm=CLIP_NORM,
        horovod=False,
        log_every_n_steps=LOG_EVERY,
        batch_size=len(data.pictures),
        world_size=1,
        rank=0,
        local_rank=0,
        log_local=False,
        wandb=False,
    )
    fed = {"train": SimpleNamespace(dataloader=data, set_epoch=lambda _: None)}
    schedule, epoch = cosine_lr(adam, RATE, WARMUP, 10_000), 0
    logging.getLogger().setLevel(logging.WARNING)

    def run(_: int) -> None:  # as many steps as the data have batches
        nonlocal epoch
        theirs.train_one_epoch(
            model, fed, ClipLoss(), epoch, adam, None, schedule, None, args, None
        )
        epoch += 1

    return run


WAYS = {"ours": ours, "open_clip": open_clips}
going: list[Callable[[int], None]] = []
"""The loop of this process."""


def peak(size: int, chunk: int) -> float:
    """MiB that one step added to a process of its own."""
    path = [str(Path(__file__).parent), *sys.path]
    script = PEAK.format(path=path, batch=size, chunk=chunk)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    say(f"B={size}, chunk {chunk or 'none'}: {float(done.stdout):.0f} MiB")
    return float(done.stdout)


def step_memory(size: int, chunk: int) -> float:
    """MiB by which the first forward and backward raise the peak of this process."""
    torch.manual_seed(0)
    student, objective = Student(network()), Contrastive([(Modality.IMAGE, Modality.TEXT)])
    batch = next(Same(size, 1).batches(start=0))
    before = peak_rss_mib(os.getpid())
    loop.backward(student, objective, batch, chunk)
    return round(peak_rss_mib(os.getpid()) - before, 1)


if __name__ == "__main__":
    raise SystemExit(main())

"""A run as people watch it: one line that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from embed.training.journal import Told

EVERY_SECONDS = 5.0


@contextmanager
def ticker(
    stream: TextIO, *, now: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[Told], None]]:
    """What a run tells, written to `stream` while the context lasts. now: seconds, for tests."""
    if stream.isatty():
        with _bar(stream) as tell:
            yield tell
    else:
        yield _lines(stream, now)


def line_of(told: Told) -> str:
    """`step 120/1000  loss 2.31  temperature .071  grad 0.81  R@1 .43  1,204 samples/s`."""
    r1 = "?" if told.r1 is None else f"{told.r1:.3f}"
    heat = min((v for k, v in told.scales.items() if k.startswith("temperature")), default=None)
    return "  ".join(
        [
            f"step {told.step}/{told.steps}",
            f"loss {told.loss:.4f}",
            *([] if heat is None else [f"temperature {heat:.4f}"]),
            f"grad {told.grad_norm:.3g}",
            f"R@1 {r1}",
            f"{told.samples_per_s:,.0f} samples/s",
        ]
    )


def _lines(stream: TextIO, now: Callable[[], float]) -> Callable[[Told], None]:
    """A line every few seconds, and every warning."""
    before = -EVERY_SECONDS

    def tell(told: Told) -> None:
        nonlocal before
        at = now()
        if told.note or told.step == told.steps or at - before >= EVERY_SECONDS:
            before = at
            stream.write(f"{line_of(told)}  {_left(told.seconds_left)} left\n")
            if told.note:
                stream.write(f"  warning: {told.note}\n")
            stream.flush()

    return tell


@contextmanager
def _bar(stream: TextIO) -> Iterator[Callable[[Told], None]]:
    columns = (BarColumn(16), TextColumn("{task.description}"), TimeRemainingColumn())
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("step 0", total=None)

        def tell(told: Told) -> None:
            bar.update(
                task, completed=told.step, total=told.steps, description=line_of(told), refresh=True
            )
            if told.note:
                bar.console.print(Text(f"warning: {told.note}", style="yellow"))

        yield tell


def _left(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

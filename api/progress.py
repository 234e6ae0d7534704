"""Progress of an ingest as plain lines, for logs and pipes: one every few seconds, no colours."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from api.shapes import pace
from index.ingest import Progress

EVERY_SECONDS = 5.0


@dataclass(slots=True)
class Rate:
    """Files per second since the first report; files that were skipped before it do not count."""

    now: Callable[[], float] = time.monotonic
    _start: tuple[float, int] | None = None

    def of(self, done: int) -> float | None:
        """None until there is something to divide."""
        if self._start is None:
            self._start = (self.now(), done)
        seconds, files = self.now() - self._start[0], done - self._start[1]
        return files / seconds if seconds > 0 and files > 0 else None


def plain_progress(
    stream: TextIO, *, now: Callable[[], float] = time.monotonic
) -> Callable[[Progress], None]:
    """A callback for `Service.ingest` that writes to `stream`. now: seconds, for tests."""
    rate = Rate(now)
    told = now()

    def show(progress: Progress) -> None:
        nonlocal told
        speed = rate.of(progress.done) if progress.phase == "indexing" else None
        if now() - told >= EVERY_SECONDS:
            told = now()
            stream.write(_line(progress, speed) + "\n")
            stream.flush()

    return show


def _line(progress: Progress, speed: float | None) -> str:
    if progress.phase == "walking":
        return f"looking for files: {progress.total} so far"
    line = f"{progress.done} of {progress.total} files"
    if progress.failed:
        line += f", {progress.failed} failed"
    if speed is not None:
        line += f", {pace(speed)}, {(progress.total - progress.done) / speed:.0f} s left"
    return line

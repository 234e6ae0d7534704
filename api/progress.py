"""Progress of a long command as lines: plain ones for logs and pipes, JSON ones for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from api.shapes import pace
from index.batch.ingest import Progress

EVERY_SECONDS = 5.0
JSON_EVERY_SECONDS = 0.5


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
    line = f"{progress.done} of {progress.total} {progress.noun}s"
    if progress.failed:
        line += f", {progress.failed} failed"
    if speed is not None:
        line += f", {pace(speed)}, {(progress.total - progress.done) / speed:.0f} s left"
    return line


@dataclass(slots=True)
class JsonLines:
    """Writes `{"progress": {"phase", "done", "total", …}}` to `stream`, a line at a time, and
    `{"failure": {"uri", "code", "message"}}` between them.

    With progress go `per_second` and `seconds_left`, counted since the phase began, unless the
    caller knows better. A new phase is told at once, other news now and then, the end always.
    """

    stream: TextIO
    now: Callable[[], float] = time.monotonic
    _rate: Rate = field(default_factory=Rate)
    _phase: str | None = None
    _told: float = 0.0

    def tell(self, phase: str, done: int, total: int, **more: Any) -> None:
        if phase != self._phase:
            self._rate = Rate(self.now)
        speed = self._rate.of(done)
        if phase == self._phase and done < total and self.now() - self._told < JSON_EVERY_SECONDS:
            return
        self._phase, self._told = phase, self.now()
        left = {"per_second": speed, "seconds_left": speed and (total - done) / speed}
        self._write({"progress": {"phase": phase, "done": done, "total": total, **left, **more}})

    def fail(self, failure: Mapping[str, str]) -> None:
        """Of a single item, as soon as it is known."""
        self._write({"failure": failure})

    def _write(self, document: Mapping[str, Any]) -> None:
        self.stream.write(json.dumps(document) + "\n")
        self.stream.flush()


def json_progress(stream: TextIO) -> Callable[[Progress], None]:
    """A callback for `Service.ingest` that writes JSON lines to `stream`."""
    lines = JsonLines(stream)
    told = 0

    def show(progress: Progress) -> None:
        nonlocal told
        new = progress.failures[told:]
        told = len(progress.failures)
        for one in new:
            lines.fail({"uri": one.uri, "code": one.code, "message": one.message})
        lines.tell(
            progress.phase,
            progress.done,
            progress.total,
            failed=progress.failed,
            current=progress.current,
        )

    return show

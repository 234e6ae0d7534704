"""What a job is, and where it may stand. A job goes

    queued ─▶ running ─▶ done | failed | interrupted        cancelled, paused (at once, when queued)
                   ├▶ cancelling ─▶ cancelled
                   └▶ pausing ─▶ paused

and from failed, interrupted, cancelled and paused back to queued, when it is resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from embed.errors import Conflict


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    PAUSING = "pausing"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def at_work(self) -> bool:
        return self in {JobState.RUNNING, JobState.CANCELLING, JobState.PAUSING}

    @property
    def over(self) -> bool:
        return not self.at_work and self not in {JobState.QUEUED, JobState.PAUSED}

    @property
    def at_rest(self) -> bool:
        """Nothing happens to it by itself."""
        return self.over or self is JobState.PAUSED

    @property
    def can_resume(self) -> bool:
        return self.at_rest and self is not JobState.DONE


STOPPED = {JobState.CANCELLING: JobState.CANCELLED, JobState.PAUSING: JobState.PAUSED}
"""What becomes of a job that was asked to stop, and did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands.

    words: the command line that does it; resume: what is added to it when it goes on. folder: where
    it runs. attempts: how often it was started. pid: of the process that watches over it.
    progress: what the command last told of itself. result: the document that it printed, without
    its `failures`. failures: the first of the single items that failed; failed: how many there are,
    as far as they are kept. error: `{"code", "message"}`, why it did not end
    well.
    """

    id: str
    kind: str
    body: Mapping[str, Any]
    words: Sequence[str]
    resume: Sequence[str]
    folder: str
    state: JobState
    attempts: int
    pid: int | None
    created: str
    started: str | None
    ended: str | None
    progress: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    failures: Sequence[Mapping[str, Any]]
    failed: int
    error: Mapping[str, str] | None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "request": self.body,
            "state": self.state.value,
            "attempts": self.attempts,
            "pid": self.pid,
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
            "progress": self.progress,
            "result": self.result,
            "failures": list(self.failures),
            "failed": self.failed,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a job. seq counts from 1; kind is state, progress or log."""

    seq: int
    kind: str
    data: Mapping[str, Any]


def refuse(job: Job, what: str, way_out: str) -> Conflict:
    """What to raise when a job is in no state for `what`."""
    return Conflict(f"job {job.id} is {job.state} and cannot be {what}: {way_out}", param="id")

"""What is remembered of jobs, in `service.db`: their states, and what happened to them.

It starts nothing and knows no kind of job. What is paused is not forgotten; everything else is
bounded: events a job, failures a job, characters a line, finished jobs.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.job_types import Event, Job, JobState
from embed.errors import NotFound, Overloaded
from index.database import Database, migrations
from index.rows import cursor_after, row_of_cursor

MAX_WAITING = 100
KEPT_JOBS = 500  # finished ones
KEPT_EVENTS = 500  # of one kind, of one job
KEPT_FAILURES = 10_000


_FIELDS = (
    *("id", "kind", "body", "words", "resume", "folder", "state", "attempts", "pid", "created"),
    *("started", "ended", "progress", "result", "error", "failed", "failures"),
)
_FAILURES = (
    "(SELECT count(*) FROM failures WHERE job = jobs.id),"
    " (SELECT json_group_array(json(data)) FROM (SELECT data FROM failures WHERE job = jobs.id"
    " ORDER BY seq LIMIT 100))"
)
_COLUMNS = ", ".join((*_FIELDS[:-2], _FAILURES))
_JSON = ("body", "words", "resume", "progress", "result", "failures", "error")


class JobStore:
    """The jobs of the library at `home`. Safe from several threads and processes."""

    def __init__(self, home: Path) -> None:
        self._database = Database(home / "service.db", scripts=migrations("api"))

    def close(self) -> None:
        self._database.close()

    def add(
        self,
        job_id: str,
        kind: str,
        body: Mapping[str, Any],
        words: Sequence[str],
        resume: Sequence[str],
    ) -> None:
        """A new job, last in the queue. Raises Overloaded when too many wait."""
        with self.writing() as writing:
            writing.check_room()
            writing.sql(
                "INSERT INTO jobs (id, kind, body, words, resume, folder, state, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(job_id, kind, *map(json.dumps, (body, words, resume))),
                    *(str(Path.cwd()), JobState.QUEUED, _now()),
                ),
            )
            writing.tell(job_id, [("state", {"state": JobState.QUEUED.value})])

    def forget_oldest(self) -> list[str]:
        """Forgets finished jobs beyond those that are kept. Returns their ids."""
        with self.writing() as writing:
            return writing.forget_oldest()

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE id = ?",  # noqa: S608 - our own columns
                (job_id,),
            ).fetchone()
        if row is None:
            raise NotFound(
                f"there is no job {job_id!r}; crossbind jobs, or GET /v1/jobs, lists them",
                param="id",
            )
        return _job(row)

    def jobs(self, *, limit: int = 100, state: JobState | None = None) -> list[Job]:
        """The latest first."""
        with self._database.reading() as connection:
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE ? IN (state, '')"  # noqa: S608 - our own columns
                " ORDER BY number DESC LIMIT ?",
                (state or "", limit),
            ).fetchall()
        return [_job(row) for row in found]

    def unfinished(self) -> bool:
        """Whether any job is queued or at work."""
        return any(not state.at_rest for state in self._counts())

    def events(self, job_id: str, *, after: int = 0, kind: str | None = None) -> list[Event]:
        """What happened after event `after`, in order, as far as it is kept. Raises NotFound."""
        self.get(job_id)
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT seq, kind, data FROM events WHERE job = ? AND seq > ? AND ? IN (kind, '')"
                " ORDER BY seq",
                (job_id, after, kind or ""),
            ).fetchall()
        return [Event(seq, kind, json.loads(data)) for seq, kind, data in found]

    def failures(
        self, job_id: str, *, limit: int, cursor: str | None
    ) -> tuple[list[Mapping[str, Any]], str | None]:
        """A page of the single items that failed, as they failed, and the cursor of the next one.

        Raises NotFound, and BadInput for a cursor that is none of ours.
        """
        self.get(job_id)
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT seq, data FROM failures WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?",
                (job_id, row_of_cursor(cursor), limit + 1),
            ).fetchall()
        page = [json.loads(data) for _, data in found[:limit]]
        return page, cursor_after(found[limit - 1][0]) if len(found) > limit else None

    @contextmanager
    def writing(self) -> Iterator[JobWriting]:
        """One transaction; of all processes only one is in it at a time."""
        with self._database.writing() as connection:
            yield JobWriting(connection)

    def _counts(self) -> dict[JobState, int]:
        with self._database.reading() as connection:
            found = connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        return {JobState(state): count for state, count in found}


class JobWriting:
    """The writes of one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.sql = connection.execute

    def in_state(self, *states: JobState) -> list[Job]:
        """The oldest first."""
        marks = ", ".join("?" * len(states))
        found = self.sql(
            f"SELECT {_COLUMNS} FROM jobs WHERE state IN ({marks}) ORDER BY number",  # noqa: S608 - our own columns
            states,
        )
        return [_job(row) for row in found.fetchall()]

    def state(self, job_id: str) -> JobState:
        """Raises NotFound when it was forgotten."""
        row = self.sql("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise NotFound(f"there is no job {job_id!r}", param="id")
        return JobState(row[0])

    def queue(self, job_id: str) -> None:
        """Again, and last."""
        self.sql(
            "UPDATE jobs SET number = (SELECT max(number) + 1 FROM jobs), ended = NULL,"
            " result = NULL, error = NULL WHERE id = ?",
            (job_id,),
        )
        self._forget_failures(job_id)
        self.move(job_id, JobState.QUEUED)

    def begin(self, job_id: str) -> None:
        self.sql(
            "UPDATE jobs SET attempts = attempts + 1, started = ?, progress = NULL WHERE id = ?",
            (_now(), job_id),
        )
        self.move(job_id, JobState.RUNNING)

    def watched_by(self, job_id: str, pid: int) -> None:
        self.sql("UPDATE jobs SET pid = ? WHERE id = ?", (pid, job_id))

    def move(self, job_id: str, state: JobState, error: Mapping[str, str] | None = None) -> None:
        """To another state, and tells so."""
        self.sql("UPDATE jobs SET state = ? WHERE id = ?", (state, job_id))
        self.tell(job_id, [("state", {"state": state.value, "error": error})])

    def end(
        self,
        job_id: str,
        state: JobState,
        *,
        error: Mapping[str, str] | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Its last state, for now. The document knows better which items failed than what was
        told before."""
        left = dict(result or {})
        failures = left.pop("failures", None)
        if failures is not None:
            self._forget_failures(job_id)
            self.fail(job_id, failures)
        self.sql(
            "UPDATE jobs SET pid = NULL, ended = ?, error = ?, result = ? WHERE id = ?",
            (
                _now(),
                error and json.dumps(error),
                None if result is None else json.dumps(left),
                job_id,
            ),
        )
        self.move(job_id, state, error)

    def fail(self, job_id: str, failures: Sequence[Mapping[str, Any]]) -> None:
        """Notes single items that failed, as far as there is room for them."""
        row = self.sql("SELECT count(*) FROM failures WHERE job = ?", (job_id,)).fetchone()
        room = KEPT_FAILURES - int(row[0])
        for seq, failure in enumerate(failures[: max(room, 0)], start=row[0] + 1):
            self.sql(
                "INSERT INTO failures (job, seq, data) VALUES (?, ?, ?)",
                (job_id, seq, json.dumps(failure)),
            )

    def _forget_failures(self, job_id: str) -> None:
        self.sql("DELETE FROM failures WHERE job = ?", (job_id,))

    def tell(self, job_id: str, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Notes what happened; the latest progress is also the job's own."""
        row = self.sql("SELECT max(seq) FROM events WHERE job = ?", (job_id,)).fetchone()
        for seq, (kind, data) in enumerate(events, start=(row[0] or 0) + 1):
            self.sql(
                "INSERT INTO events (job, seq, kind, data) VALUES (?, ?, ?, ?)",
                (job_id, seq, kind, json.dumps(data)),
            )
        for kind, data in reversed(events):
            if kind == "progress":
                self.sql("UPDATE jobs SET progress = ? WHERE id = ?", (json.dumps(data), job_id))
                break
        for kind in {kind for kind, _ in events}:
            self.sql(
                "DELETE FROM events WHERE job = ?1 AND kind = ?2 AND seq <= (SELECT seq FROM events"
                " WHERE job = ?1 AND kind = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3)",
                (job_id, kind, KEPT_EVENTS),
            )

    def check_room(self) -> None:
        """Raises Overloaded when too many wait."""
        waiting = len(self.in_state(JobState.QUEUED))
        if waiting >= MAX_WAITING:
            raise Overloaded(f"{waiting} jobs wait already, and that is the limit; try again later")

    def forget_oldest(self) -> list[str]:
        """Finished jobs beyond those that are kept. Returns their ids."""
        over = [state for state in JobState if state.over]
        marks = ", ".join("?" * len(over))
        forgotten = self.sql(
            f"DELETE FROM jobs WHERE state IN ({marks}) AND number <= (SELECT number FROM jobs"  # noqa: S608 - marks only
            f" WHERE state IN ({marks}) ORDER BY number DESC LIMIT 1 OFFSET ?)"
            " RETURNING id",
            (*over, *over, KEPT_JOBS),
        )
        return [job_id for (job_id,) in forgotten.fetchall()]


def _job(row: tuple[Any, ...]) -> Job:
    fields = dict(zip(_FIELDS, row, strict=True))
    for name in _JSON:
        fields[name] = None if fields[name] is None else json.loads(fields[name])
    return Job(**{**fields, "state": JobState(fields["state"])})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

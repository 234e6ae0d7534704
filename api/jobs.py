"""Work that goes on in the background: a queue of commands, each in a process of its own.

A job is one of our own command lines. Beside each that runs stands a watcher (`job_worker.py`),
which writes down how it goes; so jobs outlive the server that started them. There is no master:
whoever looks tends the queue (`tend`): the server, the command line, and each watcher at its end.

Whether a job still runs is told by a lock (`locks.py`) that its watcher and its command hold
together: no reused process number can be taken for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from api.config import Settings, child_environment
from api.job_store import JobStore
from api.job_types import STOPPED, Event, Job, JobState, refuse
from api.locks import is_taken, take
from embed.errors import CrossbindError, NotFound, StorageFull
from index.disk import make_folder

COMMAND = (sys.executable, "-P", "-m", "api.job_child", "--json", "--json-progress")
WATCHER = (sys.executable, "-P", "-m", "api.job_worker")
LOG_LINES = 50  # of a job that is shown; its events have more
GONE = {"code": "interrupted", "message": "its processes are gone; resume it to go on"}


class Jobs:
    """The jobs of the library at `settings.home`. Safe to use from several threads and processes.

    command: what the words of a job are added to; for tests.
    """

    def __init__(self, settings: Settings, *, command: Sequence[str] = COMMAND) -> None:
        self.command = tuple(command)
        self._settings = settings
        self._store = JobStore(settings.home)

    def close(self) -> None:
        """Lets go of the file; what runs goes on."""
        self._store.close()

    def submit(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        words: Sequence[str],
        resume: Sequence[str] = (),
        makes: str | None = None,
    ) -> Job:
        """Queues a command line, and starts it when there is room.

        resume: words to add when it goes on after it was broken off. makes: the name of the file
        that it writes, in a folder of the job's own; its path becomes the last word. Raises
        Overloaded.
        """
        for forgotten in self._store.forget_oldest():
            self._place(forgotten).unlink(missing_ok=True)
            shutil.rmtree(self._results(forgotten), ignore_errors=True)
        job_id = uuid4().hex
        folder = self._results(job_id)
        if makes is not None:
            words = [*words, str(folder.absolute() / makes)]
            make_folder(folder, 0o700)
        try:
            self._store.add(job_id, kind, body, words, resume)
        except CrossbindError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.tend()
        return self._store.get(job_id)

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        self.tend()
        return self._store.get(job_id)

    def latest(self, *, limit: int = 100, state: JobState | None = None) -> list[Job]:
        """The latest first."""
        self.tend()
        return self._store.jobs(limit=limit, state=state)

    def events(self, job_id: str, *, after: int = 0, kind: str | None = None) -> list[Event]:
        """What happened after event `after`, as far as it is kept. Raises NotFound."""
        self.tend()
        return self._store.events(job_id, after=after, kind=kind)

    def log(self, job_id: str) -> list[str]:
        """The last lines that the command wrote. Raises NotFound."""
        lines = [event.data["line"] for event in self.events(job_id, kind="log")]
        return lines[-LOG_LINES:]

    def file(self, job_id: str) -> Path:
        """What a job has made for whoever asked for it. Raises NotFound."""
        job = self.get(job_id)
        there = [*self._results(job_id).glob("*")] if job.state is JobState.DONE else []
        if not there:
            raise NotFound(f"job {job_id} is {job.state} and has no file to hand out", param="id")
        return there[0]

    def cancel(self, job_id: str) -> Job:
        """Asks a job to stop, and soon makes it. Raises NotFound; Conflict when it is over."""
        with self._store.writing() as writing:
            job = self._store.get(job_id)
            state = writing.state(job_id)
            if state.over:
                raise refuse(job, "cancelled", "it is over")
            if state in {JobState.QUEUED, JobState.PAUSED}:
                writing.end(job_id, JobState.CANCELLED)
            elif state in {JobState.RUNNING, JobState.PAUSING}:
                writing.move(job_id, JobState.CANCELLING)
        return self.get(job_id)

    def pause(self, job_id: str) -> Job:
        """Asks a job to stop until it is resumed; what it finished stays.

        Raises NotFound; Conflict when it is over or about to be.
        """
        with self._store.writing() as writing:
            job = self._store.get(job_id)
            state = writing.state(job_id)
            if state.at_rest or state is JobState.CANCELLING:
                raise refuse(job, "paused", "only what waits or runs can be")
            if state is JobState.QUEUED:
                writing.end(job_id, JobState.PAUSED)
            elif state is JobState.RUNNING:
                writing.move(job_id, JobState.PAUSING)
        return self.get(job_id)

    def failures(
        self, job_id: str, *, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[Mapping[str, Any]], str | None]:
        """A page of the single items that failed. Raises NotFound, BadInput."""
        self.tend()
        return self._store.failures(job_id, limit=limit, cursor=cursor)

    def resume(self, job_id: str) -> Job:
        """Queues again what was paused or broken off. Raises NotFound; Conflict when it was not."""
        self.tend()
        with self._store.writing() as writing:
            job = self._store.get(job_id)
            if not writing.state(job_id).can_resume:
                raise refuse(
                    job, "resumed", "only what is paused, failed, cancelled or interrupted can be"
                )
            writing.queue(job_id)
        return self.get(job_id)

    def tend(self) -> None:
        """Notes which jobs are gone, and starts those that wait, as many as may run at once.

        On a full disk all stays as it is, and can still be read.
        """
        if not self._store.unfinished():
            return
        locks: dict[str, int] = {}
        try:
            self._take_turns(locks)
        except BaseException as error:  # nothing was begun, so nothing may stay locked
            for lock in locks.values():
                os.close(lock)
            if isinstance(error, StorageFull):
                return
            raise
        for job_id, lock in locks.items():
            self._start(job_id, lock)

    def _take_turns(self, locks: dict[str, int]) -> None:
        """Writes down who is gone and who begins; into `locks` goes what those hold."""
        with self._store.writing() as writing:
            at_work = writing.in_state(*(state for state in JobState if state.at_work))
            gone = [job for job in at_work if not is_taken(self._place(job.id))]
            for job in gone:
                asked = STOPPED.get(job.state)
                state = asked or JobState.INTERRUPTED
                writing.end(job.id, state, error=None if asked else GONE)
            room = self._settings.jobs_at_once - len(at_work) + len(gone)
            for job in writing.in_state(JobState.QUEUED) if room > 0 else ():
                place = self._place(job.id)
                if len(locks) < room and not is_taken(place):  # by what is left of an attempt
                    locks[job.id] = take(place)  # before anybody can read that it runs
                    writing.begin(job.id)

    def _start(self, job_id: str, lock: int) -> None:
        for left in self._results(job_id).glob("*"):  # by an attempt that was killed
            left.unlink(missing_ok=True)
        try:
            watcher = subprocess.Popen(  # noqa: S603  our own interpreter
                [*WATCHER, job_id, str(lock), *self.command],
                env=child_environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[lock],
                start_new_session=True,
            )
        except OSError as error:
            fault = {"code": "not_available", "message": f"no process could be started: {error}"}
            with self._store.writing() as writing:
                writing.end(job_id, JobState.FAILED, error=fault)
        else:
            threading.Thread(target=watcher.wait, daemon=True).start()  # leaves no zombie
        finally:
            os.close(lock)

    def _place(self, job_id: str) -> Path:
        return self._settings.home / "jobs" / f"{job_id}.lock"

    def _results(self, job_id: str) -> Path:
        return self._settings.home / "jobs" / job_id

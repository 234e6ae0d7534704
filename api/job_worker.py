"""Stands beside one job: runs its command, notes what it says, and writes down how it ended.

`python -m api.job_worker JOB LOCK COMMAND…`, started by `jobs.py`. What the command prints is kept
in bounds; lines of progress (`progress.py`) become events, lines of failures are kept as such, all
others are a log. It looks now and then whether the job was cancelled or paused, and then ends the
command: first SIGTERM, later SIGKILL for it and all that it started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from api.config import load_settings
from api.errors import OK, SOME_FAILED
from api.job_child import GRACE_SECONDS
from api.job_store import JobStore
from api.job_types import STOPPED, JobState
from api.jobs import Jobs
from embed.errors import CatalogError, StorageFull

LOOK_SECONDS = 0.3
MAX_LINE = 2000  # characters of a line of the log
MAX_LINES = 200  # of the log, between two looks
MAX_RESULT = 64 * 2**20

_ENDED_BY_SIGNAL = 130


class Watch:
    """One attempt at a job. lock: the open file that says that the job runs."""

    def __init__(self, store: JobStore, job_id: str, lock: int) -> None:
        self._store = store
        self._job = job_id
        self._lock = lock
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._progress: Mapping[str, Any] | None = None
        self._failures: list[Mapping[str, Any]] = []
        self._printed = bytearray()
        self._changed = threading.Lock()
        self._asked: float | None = None
        self._shutting_down = False

    def run(self, command: Sequence[str], folder: str) -> None:
        """Until the command has ended, and that is written down."""
        signal.signal(signal.SIGTERM, self._shut_down)
        with self._store.writing() as writing:
            writing.watched_by(self._job, os.getpid())
        child = subprocess.Popen(  # noqa: S603  our own command line
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[self._lock],
            start_new_session=True,
        )
        readers = [
            self._read(child.stdout, self._take_result),
            self._read(child.stderr, self._take_line),
        ]
        try:
            while child.poll() is None:
                if self._look() in STOPPED or self._shutting_down:
                    self._stop(child)
                time.sleep(LOOK_SECONDS)
        finally:
            _kill_group(child)  # what it left behind; or itself, when we break
        for reader in readers:
            reader.join(2)
        self._end(child.returncode, self._look())

    def _shut_down(self, *_: object) -> None:
        self._shutting_down = True

    def _stop(self, child: subprocess.Popen[bytes]) -> None:
        if self._asked is None:
            self._asked = time.monotonic()
            child.terminate()
        elif time.monotonic() - self._asked > GRACE_SECONDS:
            _kill_group(child)

    def _read(self, stream: IO[bytes] | None, take: Callable[[bytes], None]) -> threading.Thread:
        def read() -> None:
            assert stream is not None
            for line in iter(lambda: stream.readline(2**20), b""):
                with self._changed:
                    take(line)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def _take_result(self, part: bytes) -> None:
        if len(self._printed) < MAX_RESULT:
            self._printed += part

    def _take_line(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        told = _document(text) if text.startswith('{"progress":') else None
        if told is not None:
            self._progress = told["progress"]
            return
        failed = _document(text) if text.startswith('{"failure":') else None
        if failed is not None:
            self._failures.append(failed["failure"])
            return
        self._lines.append(text[:MAX_LINE])
        if len(self._lines) > MAX_LINES:
            self._lines.popleft()
            self._dropped += 1

    def _look(self) -> JobState:
        """Writes down what was said meanwhile. Returns the job's state."""
        with self._changed:
            events: list[tuple[str, Mapping[str, Any]]] = []
            if self._dropped:
                events.append(("log", {"line": f"… {self._dropped} lines left out"}))
            events += [("log", {"line": line}) for line in self._lines]
            if self._progress is not None:
                events.append(("progress", self._progress))
            failures, self._failures = self._failures, []
            self._lines.clear()
            self._dropped, self._progress = 0, None
        # On a full disk the work goes on: it is worth more than its log.
        with suppress(StorageFull, CatalogError):
            if events or failures:
                with self._store.writing() as writing:
                    writing.tell(self._job, events)
                    writing.fail(self._job, failures)
        return self._store.get(self._job).state

    def _end(self, code: int, state: JobState) -> None:
        document = _document(self._printed.decode(errors="replace"))
        well = code in {OK, SOME_FAILED} and document is not None
        with self._store.writing() as writing:
            if well:
                writing.end(self._job, JobState.DONE, result=document)
            elif state in STOPPED:
                writing.end(self._job, STOPPED[state])
            elif self._shutting_down or code == _ENDED_BY_SIGNAL:
                writing.end(self._job, JobState.INTERRUPTED, error=_told(code, document))
            else:
                writing.end(self._job, JobState.FAILED, error=_told(code, document))


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _document(text: str) -> dict[str, Any] | None:
    """What can be sent on as JSON: no NaN, and no half surrogate pair of a file's name."""
    with suppress(ValueError, RecursionError):
        loose = json.loads(text, parse_constant=lambda _: None)
        plain = json.dumps(loose, ensure_ascii=False).encode(errors="replace")
        document = json.loads(plain, parse_constant=lambda _: None)
        return document if isinstance(document, dict) else None
    return None


def _told(code: int, document: Mapping[str, Any] | None) -> dict[str, str]:
    """Why the command ended: in its own words, or by which signal."""
    if code < 0:
        name = signal.Signals(-code).name
        why = "; out of memory, perhaps" if -code == signal.SIGKILL else ""
        return {"code": "killed", "message": f"the command was ended by {name}{why}"}
    error = (document or {}).get("error") or {}
    message = error.get("message") or f"the command ended with code {code} and gave no reason"
    return {"code": error.get("code") or "internal", "message": message}


def main(job_id: str, lock: str, *command: str) -> None:
    """Watches over one job, then tends the queue."""
    settings = load_settings()
    store = JobStore(settings.home)
    try:
        job = store.get(job_id)
        again = job.resume if job.attempts > 1 else ()
        Watch(store, job_id, int(lock)).run([*command, *job.words, *again], job.folder)
    except Exception as error:  # noqa: BLE001  nobody else is there to be told
        fault = {"code": "internal", "message": f"{type(error).__name__}: {error}"}
        with store.writing() as writing:
            writing.end(job_id, JobState.FAILED, error=fault)
    finally:
        os.close(int(lock))
        store.close()
    jobs = Jobs(settings, command=command)
    jobs.tend()
    jobs.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

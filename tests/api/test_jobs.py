"""Jobs through both doors: real processes, with a small command in the place of ours."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli import main
from api.config import Settings
from api.job_kinds import KINDS
from api.job_store import KEPT_EVENTS, JobStore, JobWriting
from api.job_types import Job, JobState
from api.jobs import Jobs
from api.locks import is_taken, take
from api.progress import JsonLines, json_progress
from api.service import Service
from embed.errors import Conflict, StorageFull
from index.batch.ingest import Progress
from index.database import Database, migrations
from index.types import Failure

# What a command of ours looks like from outside: words, progress, a log, a document, an exit code.
COMMAND = """
import json, os, signal, sys, time
words = sys.argv[1:]
print("began with", *words, file=sys.stderr, flush=True)
def tell(**about):
    print(json.dumps({"progress": {"phase": "working", **about}}), file=sys.stderr, flush=True)
if "--resume" in words:
    words = ["well"]
if words[0] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if words[0] == "failing":
    for name in "ab":
        failure = {"uri": f"file:///{name}", "code": "corrupt_media", "message": "cut short"}
        print(json.dumps({"failure": failure}), file=sys.stderr, flush=True)
    words[0] = "long"
if words[0] in {"stubborn", "long"}:
    tell(done=1, total=2)
    print(os.getpid(), file=open(words[1], "w"), flush=True)
    os.read(0, 1)  # until nobody watches
    time.sleep(0 if words[0] == "long" else 600)
    sys.exit(130)
if words[0] == "loud":
    for line in range(100_000):
        print(line, "x" * 5000 * (line == 99_999), file=sys.stderr)
if words[0] == "strange":
    tell(done=1, total=2, current="\\udcff.txt", loss=float("nan"))
    print(json.dumps({"loss": float("inf"), "failures": [{"uri": "\\udcff"}]}))
    sys.exit(0)
if words[0] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if words[0] == "refused":
    print(json.dumps({"error": {"code": "bad_input", "message": "no such colour"}}))
    sys.exit(4)
tell(done=2, total=2)
failed = {"code": "corrupt_media", "message": "cut short"}
failures = [{"uri": f"file:///{n}", **failed} for n in range(300)]
print(json.dumps({"painted": 2, "failures": failures}))
sys.exit(1)
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    return [sys.executable, str(script)]


@pytest.fixture
def open_jobs(settings: Settings, command: list[str]) -> Iterator[Callable[..., Jobs]]:
    opened: list[Jobs] = []

    def make(**about: Any) -> Jobs:
        opened.append(Jobs(replace(settings, **about), command=command))
        return opened[-1]

    yield make
    for job in opened[0].latest():
        if not job.state.over:
            opened[0].cancel(job.id)
            _until(lambda job=job: opened[0].get(job.id).state.over)
    for jobs in opened:
        jobs.close()


@pytest.fixture
def jobs(open_jobs: Callable[..., Jobs]) -> Jobs:
    return open_jobs()


def _until(so: Callable[[], Any]) -> Any:
    for _ in range(600):
        if found := so():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


def _ended(jobs: Jobs, job: Job) -> Job:
    _until(lambda: jobs.get(job.id).state.over)
    return jobs.get(job.id)


def _long(jobs: Jobs, tmp_path: Path, word: str = "long") -> tuple[Job, int]:
    """A job under way, and the process of its command."""
    place = tmp_path / f"pid-{time.monotonic_ns()}"
    job = jobs.submit("paint", {}, words=[word, str(place)], resume=["--resume"])
    return job, int(_until(lambda: place.exists() and place.read_text().strip()))


def _is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_a_job_tells_how_it_goes_and_how_it_ended(jobs: Jobs) -> None:
    job = _ended(jobs, jobs.submit("paint", {"colour": "red"}, words=["well"]))
    assert (job.state, job.kind, job.body) == (JobState.DONE, "paint", {"colour": "red"})
    assert job.progress == {"phase": "working", "done": 2, "total": 2}
    assert job.result == {"painted": 2}
    assert len(job.failures) == 100
    assert job.failures[0]["uri"] == "file:///0"
    assert (job.error, job.pid, job.attempts) == (None, None, 1)
    assert jobs.log(job.id) == ["began with well"]
    told = [(event.kind, event.data.get("state")) for event in jobs.events(job.id)]
    states = [state for kind, state in told if kind == "state"]
    assert states == ["queued", "running", "done"]
    assert [event.seq for event in jobs.events(job.id)] == list(range(1, len(told) + 1))


@pytest.mark.parametrize(
    ("word", "code", "message"),
    [("refused", "bad_input", "no such colour"), ("killed", "killed", "SIGKILL; out of memory")],
)
def test_a_job_that_fails_says_why_and_goes_on_when_resumed(
    jobs: Jobs, word: str, code: str, message: str
) -> None:
    job = _ended(jobs, jobs.submit("paint", {}, words=[word], resume=["--resume"]))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == code
    assert message in job.error["message"]
    again = _ended(jobs, jobs.resume(job.id))
    assert (again.state, again.attempts, again.error) == (JobState.DONE, 2, None)
    assert jobs.log(job.id)[-1] == f"began with {word} --resume"
    with pytest.raises(Conflict, match="is done and cannot be resumed"):
        jobs.resume(job.id)


def test_a_loud_command_cannot_fill_the_disk(jobs: Jobs, settings: Settings) -> None:
    job = _ended(jobs, jobs.submit("paint", {}, words=["loud"]))
    lines = jobs.log(job.id)
    assert lines[-1].startswith("99999 xxx")
    assert max(map(len, lines)) <= 2000
    assert len(jobs.events(job.id, kind="log")) <= KEPT_EVENTS
    assert (settings.home / "service.db").stat().st_size < 2**22


def test_only_as_many_run_as_may_and_the_next_starts_by_itself(
    jobs: Jobs, tmp_path: Path, settings: Settings
) -> None:
    first, _ = _long(jobs, tmp_path)
    second = jobs.submit("paint", {}, words=["well"])
    third = jobs.submit("paint", {}, words=["well"])
    assert [job.state for job in jobs.latest()] == ["queued", "queued", "running"]
    assert jobs.cancel(third.id).state is JobState.CANCELLED
    with pytest.raises(Conflict, match="cancelled: it is over"):
        jobs.cancel(third.id)
    jobs.cancel(first.id)
    looked_at = JobStore(settings.home)  # which tends nothing
    _until(lambda: looked_at.get(second.id).state is JobState.DONE)
    looked_at.close()
    assert [job.state for job in jobs.latest()] == ["cancelled", "done", "cancelled"]


def test_more_may_run_at_once(open_jobs: Callable[..., Jobs], tmp_path: Path) -> None:
    jobs = open_jobs(jobs_at_once=2)
    _long(jobs, tmp_path)
    _long(jobs, tmp_path)
    third = jobs.submit("paint", {}, words=["well"])
    assert [job.state for job in jobs.latest()] == ["queued", "running", "running"]
    assert third.state is JobState.QUEUED


def test_a_paused_job_stays_where_it_is_until_it_is_resumed(
    open_jobs: Callable[..., Jobs], tmp_path: Path
) -> None:
    jobs = open_jobs()
    job, pid = _long(jobs, tmp_path)
    waiting = jobs.submit("paint", {}, words=["well"], resume=["--resume"])
    assert jobs.pause(waiting.id).state is JobState.PAUSED, "at once, for it only waited"
    assert jobs.pause(job.id).state in {JobState.PAUSING, JobState.PAUSED}
    _until(lambda: jobs.get(job.id).state is JobState.PAUSED)
    assert _is_gone(pid)
    after = open_jobs()  # as a server that was started again
    assert [one.state for one in after.latest()] == ["paused", "paused"]
    assert after.get(job.id).progress == {"phase": "working", "done": 1, "total": 2}
    with pytest.raises(Conflict, match="is paused and cannot be paused"):
        after.pause(job.id)
    assert _ended(after, after.resume(job.id)).state is JobState.DONE
    assert after.get(job.id).attempts == 2
    assert after.cancel(waiting.id).state is JobState.CANCELLED
    states = [event.data["state"] for event in after.events(job.id, kind="state")]
    assert states == ["queued", "running", "pausing", "paused", "queued", "running", "done"]


def test_a_job_that_is_pausing_can_be_cancelled_and_one_that_died_then_is_paused(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry = "import sys, api.job_worker as w; w.GRACE_SECONDS = 0.5; w.main(*sys.argv[1:])"
    monkeypatch.setattr("api.jobs.WATCHER", (sys.executable, "-c", hurry))
    job, _ = _long(jobs, tmp_path, "stubborn")
    jobs.pause(job.id)
    with pytest.raises(Conflict, match="is pausing and cannot be resumed"):
        jobs.resume(job.id)
    jobs.cancel(job.id)
    assert _ended(jobs, job).state is JobState.CANCELLED
    with pytest.raises(Conflict, match="cannot be paused"):
        jobs.pause(job.id)


def test_what_fails_is_told_while_it_goes_on_and_page_by_page(jobs: Jobs, tmp_path: Path) -> None:
    job, _ = _long(jobs, tmp_path, "failing")
    _until(lambda: jobs.get(job.id).failed == 2)
    assert jobs.get(job.id).failures[1]["uri"] == "file:///b"
    jobs.cancel(job.id)
    assert _ended(jobs, job).failed == 2, "nobody forgets them"
    done = _ended(jobs, jobs.submit("paint", {}, words=["well"]))
    assert (done.failed, len(done.failures)) == (300, 100)
    seen, cursor = [], None
    while True:
        page, cursor = jobs.failures(done.id, limit=120, cursor=cursor)
        seen += [failure["uri"] for failure in page]
        if cursor is None:
            break
    assert seen == [f"file:///{n}" for n in range(300)]
    again = jobs.resume(job.id)
    assert (again.failed, list(again.failures)) == (0, [])


def test_a_command_that_will_not_stop_is_killed(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry = "import sys, api.job_worker as w; w.GRACE_SECONDS = 0.5; w.main(*sys.argv[1:])"
    monkeypatch.setattr("api.jobs.WATCHER", (sys.executable, "-c", hurry))
    job, pid = _long(jobs, tmp_path, "stubborn")
    assert jobs.cancel(job.id).state is JobState.CANCELLING
    assert _ended(jobs, job).state is JobState.CANCELLED
    assert _is_gone(pid)


def test_a_job_whose_watcher_was_killed_is_interrupted_with_its_command(
    jobs: Jobs, tmp_path: Path
) -> None:
    job, pid = _long(jobs, tmp_path)
    watcher = _until(lambda: jobs.get(job.id).pid)
    os.kill(watcher, signal.SIGKILL)
    ended = _ended(jobs, job)
    assert _is_gone(pid)
    assert ended.state is JobState.INTERRUPTED
    assert ended.error is not None
    assert "resume it" in ended.error["message"]
    assert _ended(jobs, jobs.resume(job.id)).state is JobState.DONE


def test_a_job_outlives_whoever_started_it(
    open_jobs: Callable[..., Jobs], tmp_path: Path, settings: Settings, command: list[str]
) -> None:
    place = tmp_path / "pid"
    start = (
        "import sys, json, os; from pathlib import Path; from api.config import Settings;"
        "from api.jobs import Jobs; home = Path(sys.argv[1]);"
        "jobs = Jobs(Settings(home=home, cache=home, threads=1), command=sys.argv[3:]);"
        "jobs.submit('paint', {}, words=['long', sys.argv[2]]); os.kill(os.getpid(), 9)"
    )
    words = [sys.executable, "-c", start, str(settings.home), str(place), *command]
    assert os.spawnv(os.P_WAIT, sys.executable, words) == -signal.SIGKILL
    pid = int(_until(lambda: place.exists() and place.read_text().strip()))
    jobs = open_jobs()
    [job] = jobs.latest()
    assert job.state is JobState.RUNNING
    assert not _is_gone(pid)
    jobs.cancel(job.id)
    assert _ended(jobs, job).state is JobState.CANCELLED
    assert _is_gone(pid)


def test_when_the_disk_is_full_nothing_is_begun_and_later_it_is(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = JobWriting.begin

    def full(writing: JobWriting, job_id: str) -> None:
        begin(writing, job_id)
        raise StorageFull("no room left on the disk")

    with monkeypatch.context() as patch:
        patch.setattr(JobWriting, "begin", full)
        job = jobs.submit("paint", {}, words=["well"])
        assert job.state is JobState.QUEUED
        assert jobs.latest() == [job]  # hangs when the first attempt holds on to the lock
    assert _ended(jobs, job).state is JobState.DONE


def test_what_is_left_of_an_attempt_holds_nobody_up(jobs: Jobs, settings: Settings) -> None:
    failed = _ended(jobs, jobs.submit("paint", {}, words=["refused"], resume=["--resume"]))
    lock = settings.home / "jobs" / f"{failed.id}.lock"
    _until(lambda: not is_taken(lock))
    left_over = take(lock)
    assert jobs.resume(failed.id).state is JobState.QUEUED
    assert _ended(jobs, jobs.submit("paint", {}, words=["well"])).state is JobState.DONE
    os.close(left_over)
    assert _ended(jobs, failed).state is JobState.DONE


def test_a_log_that_cannot_be_written_stops_no_work(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = (
        "import sys, api.job_worker as w\nfrom api.job_store import JobWriting\n"
        "from embed.errors import StorageFull\ntell = JobWriting.tell\n"
        "def full(self, job, events):\n"
        "    if any(kind != 'state' for kind, _ in events): raise StorageFull('no room')\n"
        "    tell(self, job, events)\n"
        "JobWriting.tell = full\nw.main(*sys.argv[1:])"
    )
    monkeypatch.setattr("api.jobs.WATCHER", (sys.executable, "-c", full))
    job = _ended(jobs, jobs.submit("paint", {}, words=["well"]))
    assert (job.state, job.result) == (JobState.DONE, {"painted": 2})


def test_of_a_job_that_is_forgotten_nothing_is_left(
    jobs: Jobs, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.job_store.KEPT_JOBS", 1)
    ended = [_ended(jobs, jobs.submit("paint", {}, words=["well"])) for _ in range(3)]
    last = _ended(jobs, jobs.submit("paint", {}, words=["well"]))
    assert [job.id for job in jobs.latest()] == [last.id, ended[-1].id]
    left = {path.stem for path in (settings.home / "jobs").iterdir()}
    assert left == {last.id, ended[-1].id}


# REST


@pytest.fixture
def rest(
    settings: Settings, command: list[str], client_of: Callable[[Service], Any]
) -> Iterator[Callable[..., Any]]:
    """A client of a server whose settings differ, and whose jobs are the small command's."""
    services: list[Service] = []

    def make(**about: Any) -> Any:
        service = Service(replace(settings, **about))
        service.jobs.command = tuple(command)
        services.append(service)
        return client_of(service)

    yield make
    for service in services:
        for job in service.jobs.latest():
            _ended(service.jobs, job)
        service.close()


def test_a_job_over_rest(rest: Callable[..., Any], tmp_path: Path) -> None:
    client = rest(jobs=True)
    body = {"kind": "ingest", "paths": ["/well"], "collection": "c"}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202
    path = answer.headers["location"]
    left_out = dict.fromkeys(("space", "storage", "columns", "watch", "ray"))
    assert answer.json()["request"] == {**body, **left_out, "prune": False}
    stream = client.get(f"{path}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    messages = [_fields(block) for block in stream.text.strip().split("\n\n")]
    assert [m["data"]["state"] for m in messages if m["event"] == "state"][-1] == "done"
    assert {"state", "progress", "log"} == {m["event"] for m in messages}
    numbers = [int(m["id"]) for m in messages]
    assert numbers == sorted(numbers)

    rest_of_it = client.get(f"{path}/events", headers={"Last-Event-ID": str(numbers[-3])})
    assert [_fields(b)["id"] for b in rest_of_it.text.strip().split("\n\n")] == [
        m["id"] for m in messages[-2:]
    ]
    nothing = client.get(f"{path}/events", headers={"Last-Event-ID": str(numbers[-1])})
    assert nothing.status_code == 204

    job = client.get(path).json()
    assert job["log"][0].endswith("began with ingest /well --collection=c")
    assert job["state"] == "done"
    assert client.get("/v1/jobs").json()["jobs"][0]["id"] == job["id"]
    assert client.get("/v1/jobs?state=failed").json() == {"jobs": []}
    assert client.post(f"{path}/cancel").json()["error"]["code"] == "conflict"
    assert client.post(f"{path}/resume").status_code == 409
    assert client.post(f"{path}/pause").status_code == 409
    assert client.get("/v1/jobs/none").status_code == 404
    page = client.get(f"{path}/failures?limit=200").json()
    assert (len(page["failures"]), page["failures"][0]) == (200, job["failures"][0])
    rest_of_them = client.get(f"{path}/failures", params={"cursor": page["next_cursor"]}).json()
    assert (len(rest_of_them["failures"]), rest_of_them["next_cursor"]) == (100, None)
    assert client.get(f"{path}/failures?cursor=x").status_code == 400


def _fields(block: str) -> dict[str, Any]:
    fields: dict[str, Any] = dict(line.split(": ", 1) for line in block.splitlines())
    return {**fields, "data": json.loads(fields["data"])}


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"kind": "ingest", "paths": ["/etc"]}, 403, "crossbind serve --jobs"),
        ({"kind": "train", "config": "/etc/passwd"}, 403, "crossbind serve --jobs"),
        ({"kind": "export", "space": "builtin", "folder": "/tmp/x"}, 403, "--jobs"),
        ({"kind": "calibrate"}, 403, "--jobs"),
        ({"kind": "migrate", "collection": "c", "space": "onnx:/etc"}, 403, "not open to clients"),
        ({"kind": "migrate", "collection": "c", "space": "smell"}, 404, "no space is called"),
        ({"kind": "paint"}, 422, "the choices are: ingest, train, migrate"),
        ({}, 422, "kind is None"),
        ({"kind": "ingest", "paths": ["relative"]}, 422, "an absolute path"),
        ({"kind": "ingest", "paths": []}, 422, "paths"),
        ({"kind": "train", "config": "/c.toml", "out": "/"}, 422, "unknown field 'out'"),
        ({"kind": "eval", "collection": "x" * 2000}, 422, "at most 1000 characters"),
        ({"kind": "eval", "collection": "a\0b"}, 422, "NUL"),
        ({"kind": "ingest", "paths": ["/a\0b"]}, 422, "NUL"),
    ],
)
def test_what_a_stranger_may_not_start(
    rest: Callable[..., Any], body: dict[str, Any], status: int, told: str
) -> None:
    client = rest(api_keys=("secret",))  # a key alone opens no path
    headers = {"Authorization": "Bearer secret"}
    answer = client.post("/v1/jobs", json=body, headers=headers)
    assert answer.status_code == status
    assert told in answer.json()["error"]["message"]
    assert client.get("/v1/jobs", headers=headers).json() == {"jobs": []}
    assert client.post("/v1/jobs", json=body).status_code == 401


def test_what_was_allowed_once_is_not_resumed_where_it_is_not(
    rest: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_server, shut_server = rest(jobs=True), rest()
    monkeypatch.setattr(KINDS["train"], "words", lambda _: ["refused"])
    body = {"kind": "train", "config": "/c.toml"}
    path = open_server.post("/v1/jobs", json=body).headers["location"]
    open_server.get(f"{path}/events")
    refused = shut_server.post(f"{path}/resume")
    assert refused.status_code == 403
    assert "crossbind serve --jobs" in refused.json()["error"]["message"]
    assert open_server.post(f"{path}/resume").status_code == 202


def test_whatever_a_command_says_can_be_read(
    rest: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = rest()
    monkeypatch.setattr(KINDS["eval"], "words", lambda _: ["strange"])
    path = client.post("/v1/jobs", json={"kind": "eval"}).headers["location"]
    assert "NaN" not in client.get(f"{path}/events").text
    job = client.get(path).json()
    assert job["progress"] == {
        "phase": "working",
        "done": 1,
        "total": 2,
        "current": "?.txt",
        "loss": None,
    }
    assert job["result"] == {"loss": None}
    assert job["failures"] == [{"uri": "?"}]
    assert client.get("/v1/jobs").json()["jobs"][0] == {k: v for k, v in job.items() if k != "log"}


@pytest.mark.parametrize("garbage", ["9" * 5000, "9" * 20, "-1", "1.5", "x"])
def test_an_event_id_that_is_none_begins_at_the_beginning(
    rest: Callable[..., Any], garbage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = rest()
    monkeypatch.setattr(KINDS["eval"], "words", lambda _: ["well"])
    path = client.post("/v1/jobs", json={"kind": "eval"}).headers["location"]
    answer = client.get(f"{path}/events", headers={"Last-Event-ID": garbage})
    assert answer.status_code == 200
    assert answer.text.startswith("id: 1\n")


def test_a_server_that_stops_ends_its_streams(
    rest: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = rest(jobs=True)
    path = client.post("/v1/jobs", json=_staying(monkeypatch, tmp_path)).headers["location"]
    jobs, job_id = client.app.state.service.jobs, path.rpartition("/")[2]

    def stop() -> None:
        _until(lambda: jobs.events(job_id, kind="progress"))
        time.sleep(1)
        client.app.state.stopping.set()

    threading.Thread(target=stop).start()
    assert "event: progress" in client.get(f"{path}/events").text
    assert client.get(path).json()["state"] == "running"
    client.post(f"{path}/cancel")


def _staying(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The body of a job that lasts."""
    words = ["long", str(tmp_path / "pid")]
    monkeypatch.setattr(KINDS["ingest"], "words", lambda _: words)
    return {"kind": "ingest", "paths": ["/"]}


def test_what_begins_with_a_dash_is_no_flag(rest: Callable[..., Any]) -> None:
    client = rest(jobs=True)
    body = {"kind": "migrate", "collection": "--home=/", "space": "--drop", "keep": "-k"}
    path = client.post("/v1/jobs", json=body).headers["location"]
    client.get(f"{path}/events")
    said = "collections migrate --space=--drop --keep=-k -- --home=/"
    assert client.get(path).json()["log"][0].endswith(said)


# The command line


def test_jobs_on_the_command_line(
    jobs: Jobs, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def crossbind(*words: str) -> tuple[int, str]:
        code = main(["--home", str(settings.home), *words])
        return code, capsys.readouterr().out

    assert crossbind("jobs")[1].startswith("no jobs")
    done = _ended(jobs, jobs.submit("paint", {}, words=["well"]))
    failed = _ended(jobs, jobs.submit("paint", {}, words=["refused"]))
    code, out = crossbind("jobs")
    assert code == 0
    assert done.id[:8] in out
    assert "2 of 2" in out
    assert json.loads(crossbind("--json", "jobs", "list", "--state", "failed")[1])["jobs"] == [
        jobs.get(failed.id).to_json()
    ]
    code, out = crossbind("jobs", "show", done.id[:12])
    assert "began with well" in out
    assert "corrupt_media" in out
    assert "no such colour" in crossbind("jobs", "show", failed.id)[1]
    assert json.loads(crossbind("--json", "jobs", "show", done.id)[1])["log"] == ["began with well"]
    assert crossbind("jobs", "show", "zzz")[0] == 3
    assert crossbind("jobs", "cancel", done.id)[0] == 4
    assert crossbind("jobs", "list", "--state", "lazy")[0] == 2


def test_progress_for_programs_is_told_now_and_then() -> None:
    out, now = io.StringIO(), [0.0]
    lines = JsonLines(out, lambda: now[0])
    for now[0], phase, done in (
        (0.0, "walking", 0),
        (0.1, "indexing", 0),
        (0.2, "indexing", 1),
        (2.1, "indexing", 4),
        (2.2, "indexing", 5),
        (2.3, "indexing", 10),
    ):
        lines.tell(phase, done, 10, failed=1)
    told = [json.loads(line)["progress"] for line in out.getvalue().splitlines()]
    assert [(one["phase"], one["done"]) for one in told] == [
        ("walking", 0),
        ("indexing", 0),
        ("indexing", 4),
        ("indexing", 10),
    ]
    assert told[2]["per_second"] == pytest.approx(2.0)
    assert told[2]["seconds_left"] == pytest.approx(3.0)
    assert told[2]["failed"] == 1


def test_each_failure_is_told_once_and_at_once() -> None:
    out = io.StringIO()
    show = json_progress(out)
    failures: list[Failure] = []
    for done in range(4):
        failures += [Failure(uri=f"file:///{done}", code="corrupt_media", message="cut")] * (
            done % 2
        )
        show(Progress(phase="indexing", done=done, total=4, failed=0, failures=failures))
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    failed = [one["failure"]["uri"] for one in told if "failure" in one]
    assert failed == ["file:///1", "file:///3"]
    assert told[-1]["failure"]["code"] == "corrupt_media", "though progress was told just before"


def test_failures_of_jobs_from_before_are_kept(tmp_path: Path) -> None:
    before = Database(tmp_path / "service.db", scripts=migrations("api")[:1])
    failures = [{"uri": f"file:///{n}", "code": "c", "message": "m"} for n in range(3)]
    with before.writing() as connection:
        connection.execute(
            "INSERT INTO jobs (id, kind, body, words, resume, folder, state, created, failures)"
            " VALUES ('a', 'ingest', '{}', '[]', '[]', '/', 'done', '2026-01-01', ?)",
            (json.dumps(failures),),
        )
    before.close()
    store = JobStore(tmp_path)
    job = store.get("a")
    assert (job.failed, list(job.failures)) == (3, failures)
    store.close()


# A real server


def test_a_server_is_killed_and_its_job_goes_on(
    tmp_path: Path, model_cache: Path, settings: Settings
) -> None:
    """Texts are ingested; the server dies meanwhile, and another finds the job."""
    library = tmp_path / "library"
    library.mkdir()
    for number in range(60):
        (library / f"{number}.txt").write_text(f"Note {number} is about nothing much. " * 9)
    first = Server(tmp_path, model_cache)
    body = {"kind": "ingest", "paths": [str(library)], "collection": "notes"}
    path = first.post("/v1/jobs", json=body).headers["location"]
    with httpx.stream("GET", f"{first.url}{path}/events", timeout=60) as stream:
        lines = stream.iter_lines()
        while "event: progress" not in next(lines):
            pass
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(30)
    second = Server(tmp_path, model_cache)
    answer = httpx.get(f"{second.url}{path}/events", timeout=120)
    assert '"state": "done"' in answer.text
    job = second.get(path)
    assert (job["state"], job["attempts"], job["failures"]) == ("done", 1, [])
    assert job["result"]["ingested"] == 60
    assert second.get("/v1/collections/notes")["items"] == 60
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(30) in (0, -signal.SIGTERM)


class Server:
    """`crossbind serve --jobs` of the home at `root`, once it answers."""

    def __init__(self, root: Path, cache: Path) -> None:
        command = [sys.executable, "-m", "api", "--json", "serve", "--port", "0", "--jobs"]
        home = {"CROSSBIND_CACHE": str(cache), "CROSSBIND_HOME": str(root)}
        self.process = subprocess.Popen(
            command, env={**os.environ, **home}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.process.stdout.close()

    def post(self, path: str, **about: Any) -> httpx.Response:
        return httpx.post(self.url + path, timeout=60, **about).raise_for_status()

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, timeout=60).raise_for_status().json()

"""A collection written to a file in the background: the same file as the command line's, fetched
from the job, and nothing left of what was killed."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.cli import main
from api.config import Settings
from api.job_types import Job, JobState
from api.jobs import Jobs
from api.service import Service
from embed.errors import NotFound, Overloaded

# Writes half a file and waits; when it goes on, ends at once.
SLOW = (
    "import os, sys, time\n"
    "if '--resume' in sys.argv: print('{}'); sys.exit(0)\n"
    "open(sys.argv[2] + '.part', 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
)


def until(so: Callable[[], Any]) -> Any:
    for _ in range(600):
        if found := so():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    service = Service(settings)
    service.create_collection("c", space="vectors:4")
    yield service
    service.close()


def test_a_collection_is_fetched_from_the_job_that_wrote_it(
    service: Service, client_of: Callable[[Service], Any], tmp_path: Path
) -> None:
    client = client_of(service)  # of a server that takes no job that names a path
    vectors = np.eye(4, dtype=np.float32)
    for n, vector in enumerate(vectors):
        item = {"modality": "image", "vector": vector.tolist(), "metadata": {"n": n}}
        assert client.post("/v1/collections/c/items", json={"items": [item]}).status_code < 300
    body = {
        "kind": "export_items",
        "collection": "c",
        "filter": {"or": [{"field": "n", "gte": 2}, {"field": "n", "eq": 0}]},
    }
    path = client.post("/v1/jobs", json=body).headers["location"]
    told = client.get(f"{path}/events").text
    assert '"total": 4' in told
    job = client.get(path).json()
    assert job["state"] == "done", job
    assert job["result"]["fragments"] == 3
    assert Path(job["result"]["file"]).is_relative_to(service.settings.home.absolute())
    answer = client.get(f"{path}/file")
    assert 'filename="items.npz"' in answer.headers["content-disposition"]
    by_hand = tmp_path / "by-hand.npz"
    words = ("collections", "export", "c", str(by_hand), "--filter", "n >= 2 or n = 0")
    assert main(["--home", str(service.settings.home), "--quiet", *words]) == 0
    with np.load(io.BytesIO(answer.content)) as held, np.load(by_hand) as same:
        np.testing.assert_array_equal(held["vectors"], vectors[[0, 2, 3]])
        assert all(held[name].tobytes() == same[name].tobytes() for name in same.files)
    assert client.request("DELETE", f"{path}/file").status_code == 204
    assert client.get(f"{path}/file").status_code == 404
    wrong = client.post("/v1/jobs", json={**body, "filter": "n >"})
    assert wrong.json()["error"]["code"] == "invalid_query"


def test_what_a_killed_attempt_left_is_cleared_away(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs(settings, command=(sys.executable, "-c", SLOW))

    def rested(job: Job) -> JobState:
        until(lambda: jobs.get(job.id).state.at_rest)
        return jobs.get(job.id).state

    job = jobs.submit("export", {}, words=["x"], resume=["--resume"], makes="items.npz")
    folder = Path(job.words[-1]).parent
    part = folder / "items.npz.part"
    os.kill(int(until(lambda: part.exists() and part.read_text())), signal.SIGKILL)
    assert rested(job) is JobState.FAILED
    with pytest.raises(NotFound, match="no file"):
        jobs.file(job.id)
    assert part.exists()
    jobs.resume(job.id)
    assert rested(job) is JobState.DONE
    assert not part.exists()
    with pytest.raises(NotFound, match="no file"):
        jobs.file(job.id)
    before = sorted(folder.parent.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("api.job_store.MAX_WAITING", 0)
        with pytest.raises(Overloaded):
            jobs.submit("export", {}, words=["x"], makes="items.npz")
    assert sorted(folder.parent.iterdir()) == before
    monkeypatch.setattr("api.job_store.KEPT_JOBS", 0)
    again = jobs.submit("export", {}, words=["x", "--resume"])
    assert not folder.exists()
    rested(again)
    jobs.close()

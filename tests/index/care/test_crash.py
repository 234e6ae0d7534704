"""A seeded slice of `benchmarks/crash.py`: kill -9 at failpoints, and nothing acknowledged is lost.

In a process of its own, for its children are forked.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from index import failpoints

ROOT = Path(__file__).parents[3]


def test_kills_at_failpoints_lose_nothing() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "crash.py", "--kills", "15", "--seed", "11"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] == 15
    assert (told["lost"], told["doubled"], told["unclean"], told["problems"]) == (0, 0, 0, [])
    assert told["acknowledged"] > 50


def test_the_variable_kills_at_the_nth_passing() -> None:
    code = """
from index.failpoints import reach
for number in range(5):
    print(number, flush=True)
    reach("elsewhere")
    reach("here")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={failpoints.VARIABLE: "here:3", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["0", "1", "2"]


def test_a_place_costs_nothing_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(failpoints.os, "kill", lambda process, _: killed.append(process))
    failpoints.arm("here")
    try:
        failpoints.reach("there")
        assert killed == []
        failpoints.reach("here")
        failpoints.reach("here")
        assert len(killed) == 1
    finally:
        failpoints.arm(None)
    failpoints.reach("here")
    assert len(killed) == 1

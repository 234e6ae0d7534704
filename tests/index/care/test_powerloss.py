"""A seeded slice of `benchmarks/powerloss.py`, and the disk that it replays to, by hand."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import powerloss_disk

    return powerloss_disk


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build the recorder with")
def test_no_loss_of_power_loses_what_was_acknowledged() -> None:
    words = ["--points", "40", "--steps", "60", "--seed", "5"]
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "powerloss.py", *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["points"], told["problems"]) == (40, [])
    assert told["acknowledged"] > 20


def left(disks, records, mode, seed=0):
    disk = disks.Disk()
    for record in records:
        disk.take(disks.Record(*record))
    return dict(disk.lose_power(mode, random.Random(seed)))


def test_what_was_synced_is_certain_and_nothing_else(disks) -> None:
    written = [("c", "a", 0, b""), ("w", "a", 0, b"old"), ("f", "a", 0, b""), ("f", ".", 0, b"")]
    assert left(disks, written, "nothing") == {"a": b"old"}
    assert left(disks, written[:2], "nothing") == {}
    assert left(disks, [*written[:2], written[3]], "nothing") == {"a": b""}
    more = [*written, ("w", "a", 2, b"newer"), ("t", "a", 4, b"")]
    assert left(disks, more, "nothing") == {"a": b"old"}
    assert left(disks, more, "everything") == {"a": b"olne"}
    assert {left(disks, more, "some", seed)["a"] for seed in range(20)} == {
        *(b"old", b"olnewer", b"old\0", b"olne")
    }


def test_a_rename_needs_its_folder(disks) -> None:
    steps = [
        ("m", "d", 0, b""),
        ("f", ".", 0, b""),
        ("c", "d/new", 0, b""),
        ("w", "d/new", 0, b"x"),
        ("f", "d/new", 0, b""),
        ("r", "d/new", 0, b"d/kept"),
    ]
    assert left(disks, steps, "nothing") == {"d": None}
    assert left(disks, [*steps, ("f", "d", 0, b"")], "nothing") == {"d": None, "d/kept": b"x"}
    seen = {tuple(left(disks, steps, "some", seed)) for seed in range(20)}
    assert ("d", "d/kept") in seen
    assert ("d", "d/kept", "d/new") not in seen


def test_a_torn_write_is_torn_at_sectors(disks) -> None:
    steps = [("c", "a", 0, b""), ("f", ".", 0, b""), ("w", "a", 256, b"x" * 1024)]
    sizes = {len(left(disks, steps, "torn", seed)["a"]) for seed in range(50)}
    assert sizes == {0, 512, 1024, 1280}

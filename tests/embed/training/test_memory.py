"""In a process of its own: where other tests left blocks, glibc may find no place to hold more."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from embed.training.memory import held

BLOCK = 64 << 20
PAGE = resource.getpagesize()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def filled() -> None:
    """Takes a large block, writes all of it, and frees it."""
    torch.ones(BLOCK, dtype=torch.uint8)


def measured() -> dict[str, int]:
    with held():
        # Aligned blocks find their place after some; without `held` none ever does.
        faults = min(faults_of(filled) for _ in range(24))
        holding = resident()
    return {"faults": faults, "given_back": holding - resident()}


def faults_of(work: Callable[[], None]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is told")
def test_what_is_freed_is_held_for_the_next_and_given_back_at_the_end() -> None:
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(done.stdout)
    assert found["faults"] < BLOCK / PAGE / 20
    assert found["given_back"] > BLOCK / 2


if __name__ == "__main__":
    print(json.dumps(measured()))

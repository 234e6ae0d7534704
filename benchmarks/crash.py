"""kill -9 at seeded places: is every acknowledged write there afterwards, and none of them twice?

    python benchmarks/crash.py --kills 500 --seed 0
    python benchmarks/crash.py --kills 500 --out benchmarks/results/DATE-crash.json

A child works on a library (`benchmarks/crash_child.py` says at what) and tells each step over a
pipe before it begins and when it is acknowledged. It dies by SIGKILL: at the n-th passing of a
failpoint, or at a moment of the clock. What is found then must be exactly the acknowledged steps,
or these and the one step that was under way; `verify` must be clean. Then the next child goes on
with the same library. Children are forked from this process, which has no threads, so that a kill
costs milliseconds.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from crash_child import ENGINE, FAILPOINTS, Model, State, held, work
from setting import finish, say

from index import failpoints
from index.care.verify import verify
from index.catalog import Catalog
from index.home import Home

_BY_CLOCK = 0.2  # share of kills at a moment of the clock, the rest at failpoints
_FRESH = 40  # kills of one library, before another is begun
_PATIENCE = 60.0

T = TypeVar("T")
Told = list[tuple[str, tuple[str, ...]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    start = time.monotonic()
    run = Run(random.Random(arguments.seed))
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        while run.kills < arguments.kills:
            run.library(Path(folder) / "library" / "home", min(_FRESH, arguments.kills - run.kills))
    finish(
        "crash",
        {
            "seed": arguments.seed,
            "engine": ENGINE,
            "kills": run.kills,
            "at": dict(sorted(run.places.items())),
            "under_way": dict(sorted(run.interrupted.items())),
            "acknowledged": run.acknowledged,
            "lost": run.lost,
            "doubled": run.doubled,
            "unclean": run.unclean,
            "problems": run.problems[:20],
            "leftovers": dict(sorted(run.leftovers.items())),
            "seconds": round(time.monotonic() - start, 1),
        },
        arguments.out,
    )
    if run.problems:
        sys.exit(1)


def memory() -> Path | None:
    """A kill leaves to the system what was written, so files may lie in memory: that is faster."""
    there = Path("/dev/shm")
    return there if there.is_dir() and os.access(there, os.W_OK) else None


class Run:
    """All kills, and what came to light."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.kills = self.acknowledged = self.lost = self.doubled = self.unclean = 0
        self.places: Counter[str] = Counter()
        self.interrupted: Counter[str] = Counter()
        self.leftovers: Counter[str] = Counter()
        self.problems: list[str] = []

    def library(self, root: Path, kills: int) -> None:
        """One library, killed so many times over."""
        home, model = Home(root), Model()
        for _ in range(kills):
            self.kill(home, model)
        shutil.rmtree(root.parent)

    def kill(self, home: Home, model: Model) -> None:
        seed = self.rng.getrandbits(32)
        by_clock = self.rng.random() < _BY_CLOCK
        place = None if by_clock else self.rng.choice(FAILPOINTS)
        passing = self.rng.randrange(1, 12) if place and place.startswith(("trans", "item")) else 1
        seconds = 0.02 + 0.3 * self.rng.random() if by_clock else _PATIENCE
        steps, by_clock = run_child(home, seed, place and f"{place}:{passing}", seconds)
        place = None if by_clock else place
        self.kills += 1
        self.places[place or "clock"] += 1
        pending = None
        for kind, step in steps:
            if kind == "begin":
                pending = step
                model.begin(step)
            else:
                assert pending is not None
                model.take(pending)
                self.acknowledged += 1
                pending = None
        self.interrupted[pending[0] if pending else "nothing"] += 1
        self.judge(home, model, pending, f"seed {seed}, {place or 'clock'}:{passing}")

    def judge(self, home: Home, model: Model, pending: tuple[str, ...] | None, how: str) -> None:
        """Compares what is there with both states that may be, and goes on with the one it is."""
        if not home.catalog.exists():  # the first child was killed before it had made one
            if model.state:
                self.problem(f"{how}: there is no catalog any more")
            return
        found, there = apart(lambda: look(home))
        for code, severity, message in found:
            self.leftovers[code] += 1
            if severity == "damage":
                self.unclean += 1
                self.problem(f"{how}: {message}")
        before, after = model.state, model.after(pending)
        if there == after:
            if pending is not None:
                model.take(pending)
        elif there != before:
            self.compare(there, before, after, how)
            model.state = there

    def compare(self, there: State, before: State, after: State, how: str) -> None:
        sure = before.items() & after.items()
        lost = {key for key, value in sure if there.get(key) != value}
        doubled = there.keys() - before.keys() - after.keys()
        self.lost += len(lost)
        self.doubled += len(doubled)
        self.problem(f"{how}: lost {sorted(lost)[:3]}, came from nowhere {sorted(doubled)[:3]}")

    def problem(self, what: str) -> None:
        say(what)
        self.problems.append(what)


def look(home: Home) -> tuple[list[tuple[str, str, str]], State]:
    """What `verify` finds, and what the library holds."""
    Catalog(home.catalog).close()  # as any start does: it may be a file without tables yet
    found = [(f.code, f.severity.value, f.message) for f in verify(home).findings]
    return found, held(home)


def apart(work: Callable[[], T]) -> T:
    """What `work` gives in a process of its own: engines bring threads, which forks forbid."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(work(), pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    made: T = pickle.loads(told)
    return made


def run_child(home: Home, seed: int, failpoint: str | None, seconds: float) -> tuple[Told, bool]:
    """What a child told until it was dead, and whether it was the clock that killed it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            failpoints.arm(failpoint)
            work(home, seed, writer)
        except BaseException as error:  # noqa: BLE001 - a child must not return into the parent
            print(f"child: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(3)
    os.close(writer)
    return listen(reader, child, seconds)


def listen(reader: int, child: int, seconds: float) -> tuple[Told, bool]:
    told, late = b"", False
    os.set_blocking(reader, False)
    deadline = time.monotonic() + seconds
    while True:
        try:
            chunk = os.read(reader, 1 << 16)
        except BlockingIOError:
            chunk = None
        if chunk == b"":
            break
        told += chunk or b""
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            deadline, late = float("inf"), True
        if chunk is None:
            time.sleep(0.0005)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        raise RuntimeError(f"a child ended by itself ({os.WEXITSTATUS(status)}): {told[-200:]!r}")
    lines = told.decode().split("\n")[:-1]  # the last may be cut
    return [(kind, tuple(step)) for kind, *step in (line.split(" ") for line in lines)], late


if __name__ == "__main__":
    main()

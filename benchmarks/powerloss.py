"""The power goes at seeded moments: is every acknowledged write there afterwards?

    python benchmarks/powerloss.py --points 400 --seed 0
    python benchmarks/powerloss.py --points 400 --out benchmarks/results/DATE-powerloss.json

A child does what `crash_child.py` says, and everything it does to its files is recorded by a small
library in C that is put before libc's own functions. Then the record is replayed to many moments,
and what was not synced is dropped, kept, or kept in part, down to single sectors
(`powerloss_disk.py`). What is left is opened: it must hold exactly what was acknowledged, or that
and the one step under way; `verify` must be clean, and an acknowledged snapshot can be restored.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from crash import memory
from crash_child import Child, Model, held
from powerloss_disk import MODES, Disk, Record, read_log
from setting import finish, say

from index.care.restore import restore
from index.care.verify import verify
from index.catalog import Catalog
from index.home import Home

ACKS = "acks"  # a file beside the library, written to like the pipe of crash.py
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.child:
        live(arguments.child, arguments.seed, arguments.steps)
        return
    if shutil.which("cc") is None:
        finish("powerloss", {"skipped": "there is no C compiler"}, arguments.out)
        return
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        records = recorded(Path(folder), arguments.seed, arguments.steps)
        say(f"{len(records)} records")
        run = Replay(records, random.Random(arguments.seed), Path(folder) / "left")
        run.points(arguments.points)
    finish(
        "powerloss",
        {
            "seed": arguments.seed,
            "steps": arguments.steps,
            "records": dict(Counter(record.op for record in records)),
            "points": run.count,
            "modes": dict(run.modes),
            "acknowledged": run.acknowledged,
            "snapshots_restored": run.snapshots,
            "problems": run.problems[:20],
            "seconds": round(time.monotonic() - start, 1),
        },
        arguments.out,
    )
    if run.problems:
        sys.exit(1)


def live(root: Path, seed: int, steps: int) -> None:
    """So many steps on a new library, which is opened and closed now and then."""
    pipe = os.open(root / ACKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    rng = random.Random(seed)
    for _ in range(max(1, steps // 50)):
        child = Child(Home(root / "home"), rng, pipe)
        child.run(min(steps, 50))
        child.catalog.close()


def recorded(folder: Path, seed: int, steps: int) -> list[Record]:
    """What a child does to its files. Raises CalledProcessError when it fails."""
    library, log, root = folder / "powerloss.so", folder / "log", folder / "disk"
    root.mkdir()
    build = ["cc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "powerloss.c", "-ldl"]
    subprocess.run(build, check=True)
    words = ["--child", root, "--seed", str(seed), "--steps", str(steps)]
    subprocess.run(
        [sys.executable, Path(__file__), *words],
        check=True,
        env=os.environ
        | {"LD_PRELOAD": str(library), "POWERLOSS_ROOT": str(root), "POWERLOSS_LOG": str(log)},
    )
    return read_log(log, str(root))


class Replay:
    """Losses of power at many moments of one record."""

    def __init__(self, records: list[Record], rng: random.Random, place: Path) -> None:
        self.records = records
        self.rng = rng
        self.place = place
        self.modes: Counter[str] = Counter()
        self.count = self.acknowledged = self.snapshots = 0
        self.problems: list[str] = []

    def points(self, count: int) -> None:
        moments = self.rng.choices(range(1, len(self.records) + 1), k=count)
        disk, model, pending, done = Disk(), Model(), None, 0
        for moment in sorted(moments):
            for record in self.records[done:moment]:
                if record.path == ACKS:
                    pending = self.told(record, model, pending)
                else:
                    disk.take(record)
            done = moment
            mode = MODES[self.count % len(MODES)]
            self.lose(disk, mode)
            self.judge(model, pending, f"record {moment}, {mode}")
            self.count += 1
            self.modes[mode] += 1

    def told(
        self, record: Record, model: Model, pending: tuple[str, ...] | None
    ) -> tuple[str, ...] | None:
        if record.op != "w":
            return pending
        kind, *step = record.data.decode().split()
        if kind == "begin":
            model.begin(tuple(step))
            return tuple(step)
        assert pending is not None
        model.take(pending)
        self.acknowledged += 1
        return None

    def lose(self, disk: Disk, mode: str) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        for path, data in disk.lose_power(mode, self.rng):  # type: ignore[arg-type]
            if data is None:
                (self.place / path).mkdir()
            else:
                (self.place / path).write_bytes(data)

    def judge(self, model: Model, pending: tuple[str, ...] | None, how: str) -> None:
        try:
            self.compare(model, pending)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is what we look for
            text = f"{how}: {type(error).__name__}: {error}; under way: {pending}"
            say(text)
            self.problems.append(text)

    def compare(self, model: Model, pending: tuple[str, ...] | None) -> None:
        home = Home(self.place / "home")
        if model.state or home.catalog.exists():
            Catalog(home.catalog).close()  # as any start does: it may be a file without tables yet
            found = verify(home)
            assert found.clean, [finding.message for finding in found.findings][:3]
            items = held(home)
            assert items in (model.state, model.after(pending)), difference(items, model.state)
        last = model.last or ""
        there = [path for path in self.place.glob("snap-*") if path.name[5:] >= last]
        for path in there:  # older ones may be half deleted
            other = Home(self.place / f"other-{path.name}")
            restore(path, other)
            assert held(other) == model.kept[path.stem.removeprefix("snap-")]
            self.snapshots += 1
        assert there or not last, "an acknowledged snapshot is gone"


def difference(there: object, state: object) -> str:
    return f"there is {str(there)[:300]}, where {str(state)[:300]} was acknowledged"


if __name__ == "__main__":
    main()

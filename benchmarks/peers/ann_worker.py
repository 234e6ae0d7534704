"""One system of ann.py in a process of its own: builds or loads its index, then is swept.

    PYTHON benchmarks/peers/ann_worker.py SYSTEM DATA CACHE QUICK

DATA holds base.npy, queries.npy, probes.npy, field.npy and the true neighbours, see ann.py; CACHE
keeps what was built. Ends in one line of JSON: points of the curve, filtered searches, build
seconds, and resident bytes a vector once loaded and searched, the vectors themselves included.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from ann_others import Chroma, Hnswlib, Lancedb, QdrantEdge, Usearch
from ann_ours import Faiss, Ours, OursExact
from ann_system import Rows, System

BATCH = 64
SELECTED = (1, 10, 100, 500)  # of 1,000: rows whose field is below may answer
ENOUGH = 4.0  # seconds; who takes longer is measured once
WIDTHS = (16, 32, 64, 96, 128, 192, 256, 384, 512)
LISTS = (4, 8, 16, 32, 64, 128, 256)
SYSTEMS: dict[str, Callable[[], System]] = {
    "ours": lambda: Ours("faiss:hnsw"),
    "ours-exact": OursExact,
    "ours-ivf-sq8": lambda: Ours("faiss:ivf-sq8"),
    "ours-rabitq": lambda: Ours("faiss:rabitq"),
    "faiss-hnsw": lambda: Faiss("HNSW32,Flat", "efSearch", WIDTHS),
    "faiss-ivf": lambda: Faiss("IVF1024,Flat", "nprobe", LISTS),
    "faiss-ivf-pq": lambda: Faiss(
        "IVF1024,PQ96x4fs,RFlat", "nprobe", LISTS, extra=",k_factor_rf=20"
    ),
    "hnswlib": Hnswlib,
    "usearch-f32": lambda: Usearch("f32"),
    "usearch-bf16": lambda: Usearch("bf16"),
    "qdrant-edge": QdrantEdge,
    "lancedb": Lancedb,
    "chroma": Chroma,
}


def main() -> int:
    name, data, cache, quick = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "1"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; stdout is for the answer
    system = SYSTEMS[name]()
    seconds = built(system, data, cache)
    for module in system.needs:
        import_module(module)
    before = resident()
    system.load(cache / "index")
    queries, truth = np.load(data / "queries.npy"), np.load(data / "truth.npy")
    queries, truth = queries[: 200 if quick else None], truth[: 200 if quick else None]
    points = [point(system, knob, queries, truth, quick) for knob in system.knobs]
    result = {
        "build_seconds": seconds,
        "bytes_per_vector": round((resident() - before) / len(np.load(data / "field.npy"))),
        "points": points,
    }
    if system.filters:
        result["filtered"] = filtered(system, queries, data, points, quick)
    print(json.dumps(result), file=answers, flush=True)
    return 0


def built(system: System, data: Path, cache: Path) -> float:
    """Seconds of the build, now or when it was made."""
    note = cache / "built.json"
    if not note.exists():
        shutil.rmtree(cache, ignore_errors=True)
        (cache / "index").mkdir(parents=True)
        rows = Rows(*(np.load(data / f"{name}.npy") for name in Rows._fields))
        start = time.perf_counter()
        system.build(rows, cache / "index")
        note.write_text(json.dumps(round(time.perf_counter() - start, 2)))
    seconds: float = json.loads(note.read_text())
    return seconds


def point(system: System, knob: Any, queries: Any, truth: Any, quick: bool) -> dict[str, Any]:
    system.turn(knob)
    batches = [queries[start : start + BATCH] for start in range(0, len(queries), BATCH)]
    start = time.perf_counter()
    found = np.concatenate([system.search(batch) for batch in batches])
    first = time.perf_counter() - start
    singles = [queries[row : row + 1] for row in range(min(len(queries), 50 if quick else 300))]
    return {
        "knob": knob,
        "recall": recall(found, truth),
        "single": round(len(singles) / least(system, singles, quick), 1),
        "batch": round(len(queries) / min(first, least(system, batches, quick)), 1),
    }


def filtered(
    system: System, queries: Any, data: Path, points: list[dict[str, Any]], quick: bool
) -> list[dict[str, Any]]:
    """Where recall is a knob, the first that finds .95 of all; the others are swept to .98."""
    queries = queries[: 50 if quick else 100]
    results = []
    for below in SELECTED:
        truth = np.load(data / f"truth-{below}.npy")[: len(queries)]
        for knob in [p["knob"] for p in points if p["recall"] >= 0.945] or [points[-1]["knob"]]:
            system.turn(knob)
            found = np.concatenate([system.among(query[None], below) for query in queries])
            share = recall(found, truth)
            if share >= 0.98:
                break
        seconds = []
        for _ in range(1 if quick else 3):
            for query in queries:
                start = time.perf_counter()
                system.among(query[None], below)
                seconds.append(time.perf_counter() - start)
        milliseconds = round(statistics.median(seconds) * 1e3, 4)
        results.append({"share": below / 1000, "knob": knob, "recall": share, "ms": milliseconds})
    return results


def least(system: System, parts: Sequence[Any], quick: bool) -> float:
    seconds = []
    for _ in range(1 if quick else 3):
        start = time.perf_counter()
        for part in parts:
            system.search(part)
        seconds.append(time.perf_counter() - start)
        if sum(seconds) > ENOUGH:
            break
    return min(seconds)


def recall(found: Any, truth: Any) -> float:
    shares = [np.isin(best, ids).mean() for best, ids in zip(truth, found, strict=True)]
    return round(float(np.mean(shares)), 4)


def resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


if __name__ == "__main__":
    sys.exit(main())

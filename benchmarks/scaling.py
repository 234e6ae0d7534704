"""A plan for 10⁹ items as a simulation: how long it takes to build, and how long a query takes.

    python benchmarks/scaling.py

Constants are measured: pictures a second and core from `results/*-ingest.json`; writing, bytes an
item and one shard's latency here, on this machine. What cannot be measured on one machine (how
often machines are lost, how uneven they are, what the network adds, prices) is in `Assumed`, and
printed with the result. `docs/SCALING.md` shows the table that this prints.

The build is a discrete-event simulation: workers draw batches, lose what they have in hand when
their machine goes, and hand what is done to the writer of a shard, which writes one batch at a
time. A query goes to every shard and ends with the slowest; single-shard times are drawn from those
that were measured.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from setting import finish, say

from embed.types import Modality, Space, normalise
from index.catalog import Catalog
from index.collection import Collection
from index.factory import open_index
from index.types import Entry, NewFragment

RESULTS = Path(__file__).parent / "results"
ITEMS = 1_000_000_000
BATCH = 8192  # a wave of index.batch.distributed
DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What no benchmark of ours measures.

    cores: of a machine. days_between_losses: of one machine, spot; minutes_to_replace: a lost one.
    unevenness: sigma of the logarithm of a machine's speed. network_ms: there and back, and its
    sigma of the logarithm. dollars: a core hour, a GB of memory an hour, a TB of disk a month.
    """

    cores: int = 16
    days_between_losses: float = 2.0
    minutes_to_replace: float = 10.0
    unevenness: float = 0.15
    network_ms: float = 0.5
    network_sigma: float = 0.5
    dollars_core_hour: float = 0.02
    dollars_gb_hour: float = 0.003
    dollars_tb_month: float = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """per_core: items decoded and embedded a second. written: items a second by one writer.
    item_bytes: of a catalog. loaded: vectors a second from a catalog into an engine. shard_ms: of
    each query of a shard of `shard_rows`, on `cores_here`. batched: queries a second of it, 64 at a
    time.
    """

    cores_here: int
    per_core: float
    written: float
    item_bytes: float
    loaded: float
    shard_rows: int
    dim: int
    shard_ms: tuple[float, ...]
    batched: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="of the shard that is measured")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    assumed, rng = Assumed(), np.random.default_rng(0)
    measured = measure(args.rows, args.dim)
    builds = [
        build(machines, shards, measured, assumed, rng, losses=losses)
        for machines, shards in ((32, 32), (100, 100), (320, 100))
        for losses in (False, True)
    ]
    writers = [build(320, shards, measured, assumed, rng) for shards in (1, 4, 16)]
    queries = [
        fan_out(shards, ITEMS // shards, measured, assumed, rng, hedged=hedged)
        for shards in (32, 100, 320)
        for hedged in (False, True)
    ]
    for title, table in (("build", builds), ("writers", writers), ("query", queries)):
        say(f"\n{title}\n{markdown(table)}")
    brief = {**asdict(measured), "shard_ms": quantiles(np.array(measured.shard_ms))}
    finish(
        "scaling",
        {
            "items": ITEMS,
            "assumed": asdict(assumed),
            "measured": brief,
            "build": builds,
            "writers": writers,
            "query": queries,
        },
        args.out,
    )
    return 0


# What is measured


def measure(rows: int, dim: int) -> Measured:
    ingest = json.loads(sorted(RESULTS.glob("*-ingest.json"))[-1].read_text())
    per_core = ingest["small"]["images_per_second"]["ours"] / ingest["cores"]
    rng = np.random.default_rng(1)
    vectors = normalise(rng.standard_normal((rows, dim), np.float32))
    written, item_bytes, loaded = write(vectors[: rows // 5])
    shard_ms, batched = search(vectors, normalise(rng.standard_normal((400, dim), np.float32)))
    say(
        f"a core embeds {per_core:.0f} items/s; a writer takes {written:.0f}/s at "
        f"{item_bytes:.0f} bytes each, and {loaded:.0f}/s come out again; {rows} rows answer in "
        f"{np.median(shard_ms):.1f} ms, {batched:.0f} queries/s in batches"
    )
    return Measured(
        cores_here=len(os.sched_getaffinity(0)),
        per_core=per_core,
        written=written,
        item_bytes=item_bytes,
        loaded=loaded,
        shard_rows=rows,
        dim=dim,
        shard_ms=tuple(shard_ms),
        batched=batched,
    )


def write(vectors: np.ndarray) -> tuple[float, float, float]:
    """Items a second into a real catalog, synced at each commit; bytes of it an item; and vectors a
    second out of it, which is how an engine fills."""
    space = Space(name="s", revision="1", preprocessing="1", precision="fp32", dim=vectors.shape[1])
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "catalog.db"
        catalog = Catalog(path)
        collection = Collection(catalog, catalog.create_collection("c", space=space, chunker="1"))
        taken = []
        for first in range(0, len(vectors), 256):
            entries = [entry(n, v) for n, v in enumerate(vectors[first : first + 256], first)]
            start = time.perf_counter()
            collection.write(entries)
            taken.append((time.perf_counter() - start) / len(entries))
        contents = catalog.contents(collection.info)
        start = time.perf_counter()
        with contents.changes_since(contents.partitions()[0], 0) as changes:
            loaded = sum(len(ids) for ids, _ in changes.added) / (time.perf_counter() - start)
        catalog.close()
        size = sum(file.stat().st_size for file in path.parent.iterdir())
    # Disks and other work disturb some commits; a quarter of them went better than this.
    return 1 / float(np.quantile(taken, 0.25)), size / len(vectors), loaded


def entry(number: int, vector: np.ndarray) -> Entry:
    return Entry(
        modality=Modality.IMAGE,
        digest=f"{number:064x}",
        fragments=[NewFragment(None, vector)],
        uri=f"tar://{number:09}.jpg::s3://bucket/shards/{number // 10_000:05}.tar",
        title=f"{number:09}.jpg",
        metadata={"width": 640, "height": 480, "url": f"https://example.org/{number}"},
    )


def search(vectors: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, float]:
    """Milliseconds of each query, one after the other, the best of three, for other work on this
    machine is none of the plan's; and queries a second when 64 go together."""
    engine = open_index("exact", vectors.shape[1])
    engine.upsert(np.arange(len(vectors)), vectors)
    rounds = np.empty((3, len(queries)))
    for turn in rounds:
        for number, query in enumerate(queries):
            start = time.perf_counter()
            engine.search(query[None], 10)
            turn[number] = (time.perf_counter() - start) * 1e3
    batches = []
    for first in 6 * [*range(0, 384, 64)]:
        start = time.perf_counter()
        engine.search(queries[first : first + 64], 10)
        batches.append(time.perf_counter() - start)
    batched = 64 / float(np.quantile(batches, 0.25))
    engine.close()
    return rounds.min(axis=0), batched


# What is simulated


def build(
    machines: int,
    shards: int,
    measured: Measured,
    assumed: Assumed,
    rng: np.random.Generator,
    *,
    losses: bool = True,
) -> dict[str, Any]:
    """Events are batches that end and machines that go. A machine works on one batch with all its
    cores but one, and a writer on one batch at a time."""
    rate = (
        measured.per_core
        * (assumed.cores - 1)
        / np.exp(rng.normal(0, assumed.unevenness, machines))
    )
    gone_at = lost_at(machines, assumed, rng) if losses else np.full(machines, np.inf)
    # So that a thousand million items stay a few hundred thousand events.
    size = BATCH * max(1, ITEMS // (BATCH * 200_000))
    left = -(-ITEMS // size)
    free = [(0.0, machine) for machine in range(machines)]
    writer = np.zeros(shards)
    busy, again, turn = np.zeros(shards), 0, 0
    while left:
        now, machine = heapq.heappop(free)
        takes = size / rate[machine]
        if now + takes > gone_at[machine]:  # what it has in hand goes out again
            again += 1
            back = gone_at[machine] + assumed.minutes_to_replace * 60
            gone_at[machine] = back + rng.exponential(assumed.days_between_losses * DAY)
            heapq.heappush(free, (back, machine))
            continue
        left -= 1
        shard, turn = turn % shards, turn + 1
        begins = max(now + takes, writer[shard])
        writer[shard] = begins + size / measured.written
        busy[shard] += size / measured.written
        # A worker's answers wait in a bounded queue: it goes on when they are taken.
        heapq.heappush(free, (begins, machine))
    hours = float(writer.max()) / 3600
    cores = machines * assumed.cores
    return {
        "machines": machines,
        "shards": shards,
        "losses": losses,
        "hours": round(hours, 1),
        "batches_done_again": again,
        "writers_busy": round(float(busy.mean()) / (hours * 3600), 3),
        "dollars": round(hours * cores * assumed.dollars_core_hour),
    }


def lost_at(machines: int, assumed: Assumed, rng: np.random.Generator) -> np.ndarray:
    return rng.exponential(assumed.days_between_losses * DAY, machines)


def fan_out(
    shards: int,
    rows: int,
    measured: Measured,
    assumed: Assumed,
    rng: np.random.Generator,
    *,
    hedged: bool,
) -> dict[str, Any]:
    """An exact search of everything, a shard of `rows` a machine, each with all its cores.

    An exact scan takes as long as there is to read, so times grow with rows and shrink with cores.
    hedged: what is not back after the 95th percentile is asked of a replica as well.
    """
    longer = rows / measured.shard_rows * measured.cores_here / assumed.cores
    times = np.array(measured.shard_ms) * longer

    def drawn(*shape: int) -> np.ndarray:
        network = assumed.network_ms * np.exp(rng.normal(0, assumed.network_sigma, shape))
        return rng.choice(times, shape) + network

    first = drawn(4000, shards)
    if hedged:
        late = float(np.quantile(drawn(20_000), 0.95))
        first = np.minimum(first, late + drawn(4000, shards))
    slowest = first.max(axis=1)
    return {
        "shards": shards,
        "rows_each": rows,
        "hedged": hedged,
        **{f"{name}_ms": value for name, value in quantiles(slowest).items()},
        "batched_per_second": round(measured.batched / longer, 1),
        "GB_of_float32_each": round(rows * measured.dim * 4 / 1e9),
        "dollars_an_hour": round(
            shards
            * (
                assumed.cores * assumed.dollars_core_hour
                + rows * measured.dim * 5 / 1e9 * assumed.dollars_gb_hour
            ),
            1,
        ),
    }


def quantiles(times: np.ndarray) -> dict[str, float]:
    return {
        name: round(float(np.quantile(times, share)), 2)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


def markdown(table: list[dict[str, Any]]) -> str:
    heads = list(table[0])
    lines = [heads, ["---"] * len(heads), *([str(row[head]) for head in heads] for row in table)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())

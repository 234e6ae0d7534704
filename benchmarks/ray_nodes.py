"""A machine is lost in the middle of a distributed ingest: is the result that of one process?

    python benchmarks/ray_nodes.py

Two raylets beside the head on one machine, with workers on each. Half-way one raylet and all its
workers are killed (SIGKILL, as a spot machine goes). What the catalog holds then is compared with
an ingest of the same archives in one process: the same items, digests, texts, metadata, and vectors
bit for bit. Another shard is cut short, and must be told as the same failure by both.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sqlite3
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
from PIL import Image
from ray.cluster_utils import Cluster as Machines
from setting import finish, say

from api.config import Settings, load_settings
from api.service import Service
from index.batch.ingest import Progress
from index.batch.locations import name_of

STORE = 100 * 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=600, help="a picture and a caption each")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        paths = write_shards(root, args.records)
        alone, seconds = ingest(root / "alone", paths)
        say(f"one process: {alone['ingested']} items in {seconds:.1f} s")
        with machines() as cluster:
            spread, spread_seconds = ingest(root / "spread", paths, kill=cluster)
        say(f"two machines, one lost: {spread['ingested']} items in {spread_seconds:.1f} s")
        first, second = contents(root / "alone"), contents(root / "spread")
        result = {
            "records": args.records,
            "items": len({uri for uri, _, _ in first}),
            "vectors": len(first),
            "equal": first == second,
            "vectors_that_differ": sum(first[key] != second.get(key) for key in first),
            "killed_after_items": cluster.killed_after,
            "workers_before": cluster.workers_before,
            "failures_equal": codes(alone) == codes(spread),
            "failures": codes(alone),
            "seconds": {"alone": round(seconds, 1), "spread": round(spread_seconds, 1)},
            "ray": ray.__version__,
        }
    finish("ray_nodes", result, args.out)
    return 0 if result["equal"] and result["failures_equal"] and cluster.killed_after else 1


def write_shards(root: Path, records: int) -> list[str]:
    """Four webdataset shards of small pictures with captions and JSON, the last one cut short."""
    rng = np.random.default_rng(0)
    for shard in range(4):
        with tarfile.open(root / f"{shard}.tar", "w") as tar:
            for number in range(shard, records, 4):
                pixels = rng.integers(0, 255, (12, 16, 3), np.uint8)
                picture = io.BytesIO()
                Image.fromarray(pixels).resize((320, 240)).save(picture, "JPEG")
                for ending, data in (
                    ("jpg", picture.getvalue() if number % 97 else b"\xff\xd8\xff broken"),
                    ("json", json.dumps({"number": number, "even": number % 2 == 0}).encode()),
                    ("txt", f"picture {number} of shard {shard}".encode()),
                ):
                    info = tarfile.TarInfo(f"{number:05}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    last = root / "3.tar"
    os.truncate(last, last.stat().st_size * 3 // 4)
    return [str(root / "{0..3}.tar")]


class machines:  # noqa: N801  read as a verb at its one use
    """A head without cores for workers, and two raylets, of which `lose_one` kills one."""

    killed_after = 0
    workers_before = 0

    def __enter__(self) -> machines:
        # The driver must be inside: Ray writes its address down for whoever comes.
        about = {"object_store_memory": STORE, "include_dashboard": False}
        self.cluster = Machines(initialize_head=True, head_node_args={"num_cpus": 0, **about})
        self.nodes = [self.cluster.add_node(num_cpus=2, object_store_memory=STORE) for _ in "ab"]
        ray.init(address=self.cluster.address, logging_level=logging.ERROR, log_to_driver=False)
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()
        self.cluster.shutdown()

    def lose_one(self, done: int) -> None:
        """Kills a machine that has workers on it, once."""
        self.killed_after = done
        # The public state API asks the dashboard, which is not there.
        actors = ray._private.state.actors().values()
        places = [
            one["Address"]["NodeID"]
            for one in actors
            if one["State"] == "ALIVE" and "MapWorker" in one["ActorClassName"]
        ]
        self.workers_before = len(set(places))
        victim = next(node for node in self.nodes if node.node_id in places)
        say(
            f"killing {victim.node_id[:8]} after {done} items; actors: "
            f"{[place[:8] for place in places]}"
        )
        threading.Thread(
            target=self.cluster.remove_node, args=(victim,), kwargs={"allow_graceful": False}
        ).start()


def ingest(
    home: Path, paths: list[str], kill: machines | None = None
) -> tuple[dict[str, Any], float]:
    settings = load_settings(home)
    service = Service(Settings(home=home, cache=settings.cache, threads=2, offline=True))

    def watch(progress: Progress) -> None:
        if kill and not kill.killed_after and progress.done > 200:
            kill.lose_one(progress.done)

    start = time.monotonic()
    try:
        report = service.ingest(paths, ray="" if kill else None, progress=watch)
    finally:
        service.close()
    return report.to_json(), time.monotonic() - start


def contents(home: Path) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    """What the catalog holds, but for ids and times."""
    connection = sqlite3.connect(home / "catalog.db")
    found = connection.execute(
        "SELECT i.uri, coalesce(f.span, ''), p.kind, i.modality, i.digest, r.key, i.title, i.text,"
        " i.metadata, v.vector FROM items i JOIN records r ON r.id = i.record"
        " JOIN fragments f ON f.item = i.id JOIN vectors v ON v.fragment = f.id"
        " JOIN partitions p ON p.id = v.partition"
    ).fetchall()
    connection.close()
    return {row[:3]: row[3:] for row in found}


def codes(report: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((name_of(one["uri"]), one["code"]) for one in report["failures"])


if __name__ == "__main__":
    sys.exit(main())

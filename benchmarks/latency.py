"""How long a person waits: a search from a cold process, and one in the running service.

    python benchmarks/latency.py

The collection holds 10,000 pictures with random vectors: the time to search does not depend on
their values. Cold: the whole `crossbind search` process, page cache warm. Warm: REST on loopback,
one client, texts never asked before.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from setting import finish, say

from api.config import load_settings
from api.service import Service
from embed.types import Modality, normalise
from index.catalog import Catalog
from index.collection import Collection
from index.types import Entry, NewFragment

WORDS = ("red", "blue", "old", "new", "small", "large", "wooden", "stone", "quiet", "fast", "wild")
THINGS = ("dog", "cat", "boat", "car", "house", "tree", "river", "bird", "horse", "train", "cup")
PLACES = ("beach", "street", "forest", "garden", "kitchen", "field", "station", "desert", "park")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--cold", type=int, default=15, help="cold processes")
    parser.add_argument("--warm", type=int, default=500, help="queries to the service")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        fill(home, args.items)
        result = {
            "items": args.items,
            "cold_search_seconds": cold(home, args.cold),
            "warm_query_ms": warm(home, args.warm),
        }
    finish("latency", result, args.out)
    return 0


def fill(home: Path, count: int) -> None:
    """A collection of `count` pictures with random joint and native vectors."""
    service = Service(load_settings(home))
    service.create_collection("default")
    service.warm()
    service.close()
    rng = np.random.default_rng(0)
    catalog = Catalog(home / "catalog.db")
    collection = Collection(catalog, catalog.collection("default"))
    for first in range(0, count, 256):
        rows = min(256, count - first)
        joint = normalise(rng.standard_normal((rows, 384)))
        native = normalise(rng.standard_normal((rows, 1280)))
        entries = []
        for row in range(rows):
            name = f"{first + row:06}.jpg"
            fragments = [NewFragment(None, joint[row], native[row])]
            entries.append(
                Entry(
                    modality=Modality.IMAGE,
                    digest=hashlib.sha256(name.encode()).hexdigest(),
                    fragments=fragments,
                    uri=f"file:///photos/{name}",
                    title=name,
                )
            )
        collection.write(entries)
    catalog.close()


def cold(home: Path, times: int) -> dict[str, float]:
    command = [sys.executable, "-m", "api", "--json", "--home", str(home), "search"]
    seconds = []
    for query in queries(times + 1, seed=1):
        start = time.perf_counter()
        done = subprocess.run([*command, query], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
        assert len(json.loads(done.stdout)["hits"]) == 10
    summary = describe(seconds[1:])  # the first one fills the page cache
    say(f"cold search: {summary}")
    return summary


def warm(home: Path, times: int) -> dict[str, float]:
    with serving(home) as url:
        milliseconds = []
        for query in queries(times + 20, seed=2):
            start = time.perf_counter()
            answer = post(f"{url}/v1/collections/default/search", {"query": {"text": query}})
            milliseconds.append((time.perf_counter() - start) * 1e3)
            assert len(answer["hits"]) == 10
    summary = describe(milliseconds[20:])
    say(f"warm query: {summary}")
    return summary


@contextlib.contextmanager
def serving(home: Path) -> Iterator[str]:
    """`crossbind serve` in a process of its own, ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "api", "--quiet", "--home", str(home)]
    server = subprocess.Popen([*command, "serve", "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/health/ready").close()
                break
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def queries(count: int, *, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [
        f"a {rng.choice(WORDS)} {rng.choice(THINGS)} and a {rng.choice(WORDS)} "
        f"{rng.choice(THINGS)} near the {rng.choice(PLACES)}"
        for _ in range(count)
    ]


def describe(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 4),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 4),
        "least": round(ordered[0], 4),
    }


if __name__ == "__main__":
    sys.exit(main())

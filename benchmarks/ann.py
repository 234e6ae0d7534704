"""Queries a second against recall@10: ours, FAISS, hnswlib, usearch, qdrant-edge, lancedb, chroma.

    benchmarks/peers/make_ann.sh            # once: lancedb and chroma, each in an environment
    PYTHONPATH=. python benchmarks/ann.py --work DIR [--data PHOTOS --cache DIR] [--only ours]

Each system runs in a process of its own, one after the other, on all cores: single queries from one
client, and batches of 64; and all of them again in the next round, so that what else the machine
does falls on all alike: a figure is the median of its rounds. Its knobs are swept; what counts is
the best rate at a recall of at least .95 and .99. Filters: the
median of single searches among .001, .01, .1 and .5 of the rows.

`clustered`: a mixture of Gaussians, asked by more of the same. `cross`: the same rows, asked as
texts ask for pictures: near rows, but all off to one side, with noise of their own. `photos`, with
`--data`: every photo below PHOTOS and crops of it, in the built-in space, asked in words. Indexes
and answers are kept below DIR; what is there is not made again (`--fresh`: measured again).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from latency import PLACES, WORDS
from numpy.typing import NDArray
from setting import finish, say

from embed.types import Floats, normalise

HERE = Path(__file__).parent
K, QUERIES, PROBES, DIM = 10, 1000, 256, 384
SELECTED = (1, 10, 100, 500)
BARS = (0.95, 0.99)
# The default ones; ours-ivf-sq8 and ours-rabitq are there too.
OURS = ("ours", "ours-exact")
OTHERS = ("faiss-hnsw", "faiss-ivf", "faiss-ivf-pq", "hnswlib", "usearch-f32", "usearch-bf16")
APART = {"lancedb": "lancedb", "chroma": "chroma"}
THINGS = (
    "dress",
    "hat",
    "long sleeve shirt",
    "jacket",
    "pair of trousers",
    "shirt",
    "pair of shoes",
)
MORE = (
    "shorts",
    "skirt",
    "t-shirt",
    "airplane",
    "car",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
)
PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
COLOURS = ("red", "blue", "white", "black", "green", "yellow", "striped", "grey", "pink", "brown")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--work", type=Path, required=True, help="indexes and answers are kept here"
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", help="systems, by comma")
    parser.add_argument("--sets", default="clustered,cross", help="data sets, by comma")
    parser.add_argument("--data", type=Path, nargs="+", help="folders of photos, for `photos`")
    parser.add_argument("--cache", type=Path, help="weights, for the set `photos`")
    parser.add_argument("--peers", type=Path, default=Path("build/peers"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few queries, once")
    parser.add_argument("--fresh", action="store_true", help="measure again; builds are kept")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    names = args.only.split(",") if args.only else [*OURS, *OTHERS, "qdrant-edge", *APART]
    sets = dict.fromkeys([*args.sets.split(","), *(["photos"] if args.data else [])])
    result = {name: compared(name, names, args) for name in sets}
    finish("ann", {"rows": args.rows, "packages": packages(), "sets": result}, args.out)
    return 0


def compared(dataset: str, names: list[str], args: argparse.Namespace) -> dict[str, Any]:
    folder = args.work / f"{dataset}-{args.rows}"
    prepare(dataset, folder, args)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(args.rounds):
        for name in names:
            if (found := measure(name, number, folder, args)) is not None:
                rounds[name].append(found)
    measured = {name: median_of(several) for name, several in rounds.items() if several}
    return {
        "rows": len(np.load(folder / "field.npy")),
        "best": {str(bar): best(measured, bar) for bar in BARS},
        "filtered": filtered(measured),
        "systems": measured,
    }


def median_of(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of what was timed the median; all else is the same in every round, or nearly."""
    last = dict(rounds[-1])
    for part, timed in (("points", ("single", "batch")), ("filtered", ("ms",))):
        if part in last:
            last[part] = [
                several[-1] | {key: round(median(one[key] for one in several), 4) for key in timed}
                for several in zip(*(found[part] for found in rounds), strict=True)
            ]
    return last


def measure(
    name: str, number: int, folder: Path, args: argparse.Namespace
) -> dict[str, Any] | None:
    """What the system's own process answers; None, and a word, where it cannot run."""
    cache = folder / name
    kept = cache / f"answer-{number}{'-quick' if args.quick else ''}.json"
    if kept.exists() and not args.fresh:
        known: dict[str, Any] = json.loads(kept.read_text())
        return known
    python = str(args.peers / APART[name] / "bin" / "python") if name in APART else sys.executable
    command = [python, str(HERE / "peers" / "ann_worker.py"), name, str(folder), str(cache)]
    threads = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))), "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        done = subprocess.run(
            [*command, str(int(args.quick))],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, **threads},
        )
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"{folder.name} {name}: left out, {error}")
        return None
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    kept.write_text(json.dumps(answer))
    say(f"{folder.name} {name}: built in {answer['build_seconds']} s")
    for point in answer["points"]:
        say(f"    {point}")
    for point in answer.get("filtered", []):
        say(f"    among {point}")
    return answer


def best(measured: dict[str, Any], bar: float) -> dict[str, Any]:
    """By way of asking: the best rate of each system that reaches the bar, and ours to the rest."""
    table: dict[str, Any] = {}
    for way in ("single", "batch"):
        rates = {
            name: max((p[way] for p in found["points"] if p["recall"] >= bar), default=0.0)
            for name, found in measured.items()
        }
        ours = max((rate for name, rate in rates.items() if name.startswith("ours")), default=0.0)
        others = max((r for name, r in rates.items() if not name.startswith("ours")), default=0.0)
        table[way] = {"rates": rates, "ratio": round(ours / others, 3) if others else None}
    return table


def filtered(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """For each share, what each system took and found, and the latency of ours to the others'."""
    rows = []
    for place, below in enumerate(SELECTED):
        row = {name: m["filtered"][place] for name, m in measured.items() if "filtered" in m}
        ratios = {
            name: round(row["ours"]["ms"] / found["ms"], 3)
            for name, found in row.items()
            if "ours" in row and not name.startswith("ours")
        }
        rows.append({"share": below / 1000, "systems": row, "ours_to": ratios})
    return rows


def prepare(dataset: str, folder: Path, args: argparse.Namespace) -> None:
    """Writes base, probes, queries and field, and last the true neighbours."""
    if (folder / "truth.npy").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if dataset == "photos":
        base, asking = photos(args.data, args.cache, folder, args.rows)
    else:
        base, asking = mixture(args.rows, off_centre=dataset == "cross")
    field = np.random.default_rng(5).integers(0, 1000, len(base))
    arrays = {
        "base": base,
        "probes": asking[:PROBES],
        "queries": asking[PROBES:],
        "field": field,
        **{f"truth-{below}": true(base, asking[PROBES:], field < below) for below in SELECTED},
        "truth": true(base, asking[PROBES:], np.ones(len(base), bool)),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def true(base: Floats, queries: Floats, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    rows = np.flatnonzero(allowed)
    scores = queries @ base[rows].T
    return rows[np.argsort(-scores, axis=1)[:, :K]]


def mixture(count: int, *, off_centre: bool) -> tuple[Floats, Floats]:
    """Rows of 2,000 clusters of uneven size in 64 directions of falling weight, and queries."""
    rng = np.random.default_rng(0)
    weights = 1 / np.sqrt(1 + np.arange(64))
    directions = rng.standard_normal((64, DIM)) * weights[:, None]
    centres = rng.standard_normal((2000, 64))
    mean = 0.3 * rng.standard_normal(DIM) / DIM**0.5

    def drawn(count: int) -> Floats:
        latent = centres[rng.zipf(1.3, count) % 2000] + 0.6 * rng.standard_normal((count, 64))
        noise = 0.02 * rng.standard_normal((count, DIM))
        return normalise(normalise(latent @ directions) + noise + mean)

    base, asking = drawn(count), drawn(PROBES + QUERIES)
    if off_centre:
        aside = normalise(rng.standard_normal((1, DIM)))
        own = normalise(rng.standard_normal(asking.shape))
        asking = normalise(asking + 0.8 * aside + 0.9 * own)
    return base, asking


def photos(data: list[Path], cache: Path, folder: Path, limit: int) -> tuple[Floats, Floats]:
    """Photos whole and cropped, at most `limit` vectors, and sentences, in the built-in space."""
    from PIL import Image

    from embed import registry
    from embed.types import Media, Modality

    threads = len(os.sched_getaffinity(0))
    embedder = registry.load(
        "builtin", registry.LoadOptions(cache=cache, threads=threads, offline=True)
    )
    paths = sorted(p for one in data for p in one.rglob("*") if p.suffix.lower() in PICTURES)
    rng, crops = np.random.default_rng(2), min(7, limit // max(1, len(paths)) - 1)
    parts = []
    for place, path in enumerate(paths[:limit]):
        kept = folder / f"photo-{place}.npy"
        if not kept.exists():
            with Image.open(path) as opened:
                whole = opened.convert("RGB")
            several = [whole, *(cropped(whole, rng) for _ in range(crops))]
            media = [Media(Modality.IMAGE, np.asarray(one)) for one in several]
            np.save(kept, embedder.embed(media).joint)
        parts.append(np.load(kept))
    asked = rng.permutation([f"a {c} {t} {p}" for c in COLOURS for t in THINGS + MORE for p in AT])
    texts = [Media(Modality.TEXT, str(text)) for text in asked[: PROBES + QUERIES]]
    vectors = [embedder.embed(texts[i : i + 64]).joint for i in range(0, len(texts), 64)]
    return np.concatenate(parts), np.concatenate(vectors)


AT = tuple(f"{word} {place}" for word in ("in a", "near the") for place in PLACES) + WORDS


def cropped(picture: Any, rng: np.random.Generator) -> Any:
    """From .4 to .9 of each side, anywhere."""
    width, height = (int(side * rng.uniform(0.4, 0.9)) + 1 for side in picture.size)
    left, top = (
        rng.integers(0, picture.width - width + 1),
        rng.integers(0, picture.height - height + 1),
    )
    return picture.crop((left, top, left + width, top + height))


def packages() -> dict[str, str]:
    found = {}
    for name in ("numkong", "hnswlib", "usearch", "qdrant-edge-py"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


if __name__ == "__main__":
    sys.exit(main())

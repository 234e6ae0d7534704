"""Pictures and texts a second through CLIP towers: ours against five others, side by side.

    benchmarks/peers/make.sh                      # once: an environment for each peer
    python benchmarks/embed_throughput.py         # --quick for a first look

Random weights of ViT-B/32 and ViT-L/14 (speed does not depend on them), the same JPEG files, small
ones and of 12 megapixels, each system in a process of its own, rounds interleaved, precision by
precision. Ratios are medians over rounds of what was measured next to each other.
  ours            decode and prepare in as many threads as cores, the network in the batcher
  ours, single    as many clients at once as fill the batcher twice, each waiting for its answer
  our-network     our network alone, on prepared pictures
  plain-network   open_clip's network alone, eager
The cosine is ours against open_clip's own loop in fp32, on the same weights. Texts are short ones
of one length, and ("mixed") of one to four of those. What takes long can be measured in pieces:

    embed_throughput.py --architectures ViT-L-14 --precisions bf16 --kinds large --out F --merge
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ingest import make_photos
from latency import queries
from setting import finish, say, setting

HERE = Path(__file__).resolve().parent
KINDS = ("small", "large", "texts", "mixed")
PEERS = ("open_clip", "transformers", "sentence-transformers", "clip-retrieval", "infinity-emb")
NETWORKS = ("our-network", "plain-network")
OWN_ENVIRONMENT = ("sentence-transformers", "clip-retrieval", "infinity-emb")
SHARE = {"ViT-L-14": 8}  # of the files and texts one in so many: it is that much slower
NO_HALF = ("clip-retrieval",)
NO_TEXTS = ("clip-retrieval", *NETWORKS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, default=Path("build/peers"), help="environments")
    parser.add_argument("--models", type=Path, default=Path("build/models"), help="random weights")
    parser.add_argument("--architectures", nargs="+", default=["ViT-B-32", "ViT-L-14"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--small", type=int, default=192, help="small JPEGs a round")
    parser.add_argument("--large", type=int, default=48, help="12-megapixel JPEGs a round")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="ViT-B/32, one round, few files")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--merge", action="store_true", help="keep what --out holds already")
    args = parser.parse_args()
    before = kept_before(args.out) if args.merge else {}
    if args.quick:
        args.architectures, args.rounds = args.architectures[:1], 1
        args.small, args.large, args.texts = 64, 16, 64
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        work: dict[str, Any] = {"texts": queries(args.texts, seed=0), "mixed": mixed(args.texts)}
        for kind, count, size in (
            ("small", args.small, (500, 375)),
            ("large", args.large, (4000, 3000)),
        ):
            if kind in args.kinds:
                make_photos(root / kind, count, size)
                work[kind] = str(root / kind)
        result = {
            name: compare(name, part_of(work, SHARE.get(name, 1)), args, root)
            for name in args.architectures
        }
    document = {"peers": versions(args.peers), "models": merged(before, result)}
    finish("embed_throughput", document, args.out)
    return 0


def kept_before(out: Path) -> dict[str, Any]:
    """The models of an earlier run into `out`, which must have been made here, with the same."""
    if not out.is_file():
        return {}
    before = json.loads(out.read_text(encoding="utf-8"))
    now = setting()
    other = [name for name in ("processor", "cores", "versions") if before[name] != now[name]]
    if other:
        raise SystemExit(f"{out} was measured with other {', '.join(other)}: name another --out")
    models: dict[str, Any] = before["models"]
    return models


def merged(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Both; where they differ, what came later. Figures of one kind of work are never mixed."""
    found = {**before, **after}
    for name in before.keys() & after.keys():
        if "a_second" not in after[name] and isinstance(after[name], Mapping):
            found[name] = merged(before[name], after[name])
    return found


def mixed(count: int) -> list[str]:
    """Texts of one to four clauses, each 10 words long."""
    clauses = iter(queries(4 * count, seed=1))
    rng = np.random.default_rng(1)
    return [", ".join(islice(clauses, int(rng.integers(1, 5)))) for _ in range(count)]


def part_of(work: Mapping[str, Any], share: int) -> dict[str, Any]:
    """One in `share` of the texts and of each folder's files."""
    part = {kind: work[kind][::share] for kind in ("texts", "mixed")}
    for kind in work.keys() - part.keys():
        folder = Path(f"{work[kind]}-{share}")
        folder.mkdir()
        for path in sorted(Path(work[kind]).iterdir())[::share]:
            (folder / path.name).hardlink_to(path)
        part[kind] = str(folder)
    return part


def compare(
    architecture: str, work: Mapping[str, Any], args: argparse.Namespace, root: Path
) -> dict[str, Any]:
    folder = args.models.resolve() / architecture
    maker = [sys.executable, "-W", "ignore", str(HERE / "peers" / "models.py")]
    subprocess.run([*maker, architecture, str(folder)], check=True, stdout=sys.stderr)
    found: dict[str, Any] = {}
    kept: dict[str, Path] = {}
    for precision in args.precisions:
        with contextlib.ExitStack() as stack:
            systems = {
                name: stack.enter_context(system(name, folder, precision, args.peers))
                for name in ("ours", *NETWORKS, *PEERS)
                if precision == "fp32" or name not in NO_HALF
            }
            say(f"{architecture} {precision}: {', '.join(systems)} are ready")
            found[precision] = measure(systems, work, args.kinds, args.rounds)
            for name in ("ours", "open_clip"):
                kept[f"{name} {precision}"] = root / f"{architecture}-{name}-{precision}.npy"
                for kind in pictures_of(args.kinds):
                    save = kept[f"{name} {precision}"].with_suffix(f".{kind}.npy")
                    ask(systems[name], {"images": work[kind], "save": str(save)})
        if "fp32" in found and pictures_of(args.kinds):
            found[precision]["cosine_to_fp32"] = cosines(kept, precision, args.kinds)
            say(f"{architecture} {precision}: cosine {found[precision]['cosine_to_fp32']}")
    return found


@contextlib.contextmanager
def system(name: str, folder: Path, precision: str, peers: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker of its own (see `peers/worker.py`), ready."""
    own = peers.resolve() / name / "bin" / "python"
    python = str(own) if name in OWN_ENVIRONMENT else sys.executable
    command = [python, "-W", "ignore", str(HERE / "peers" / "worker.py"), name, str(folder)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if name.startswith("our"):
        # What `crossbind` sets before anything is imported.
        environment |= {"PYTHONPATH": str(HERE.parent), "OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.Popen(
        [*command, precision],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("SHOW") else subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        answer(process, name)
        yield process
    finally:
        process.kill()
        process.wait()


def answer(process: subprocess.Popen[str], name: str) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{name} ended: run it by hand with peers/worker.py to see why")
    document: dict[str, Any] = json.loads(line)
    return document


def ask(process: subprocess.Popen[str], order: Mapping[str, Any]) -> float:
    """Items a second."""
    assert process.stdin is not None
    print(json.dumps(order), file=process.stdin, flush=True)
    said = answer(process, str(process.args))
    return float(said["count"] / said["seconds"])


def measure(
    systems: Mapping[str, subprocess.Popen[str]],
    work: Mapping[str, Any],
    kinds: Sequence[str],
    rounds: int,
) -> dict[str, Any]:
    """Rates and ratios for each kind of work; the first pass over all of it is not counted."""
    found = {}
    for kind in kinds:
        field = "images" if pictures_of([kind]) else "texts"
        orders = {
            name: {field: work[kind]}
            for name in systems
            if field == "images" or name not in NO_TEXTS
        }
        if kind == "large":  # a network does not know how large its pictures were
            orders = {name: order for name, order in orders.items() if name not in NETWORKS}
        rates: dict[str, list[float]] = {name: [] for name in orders}
        if field == "images":
            rates["ours, single"] = []
        for number in range(rounds + 1):
            for name, order in orders.items():
                rates[name].append(ask(systems[name], order))
            if field == "images":
                rates["ours, single"].append(ask(systems["ours"], {"single": work[kind]}))
            if number == 0:
                rates = {name: [] for name in rates}
        found[kind] = summary(rates)
        say(f"  {kind}: {found[kind]}")
    return found


def summary(rates: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    ours = rates["ours"]
    best = [
        max(of_round) for of_round in zip(*(rates[p] for p in PEERS if p in rates), strict=True)
    ]
    ratios = {"best peer": ratio(ours, best)}
    for name in ("clip-retrieval", "our-network", "plain-network"):
        if name in rates:
            ratios[name] = ratio(ours, rates[name])
    if "ours, single" in rates:
        ratios["single over ours"] = ratio(rates["ours, single"], ours)
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    return {"a_second": medians, "ours_over": ratios}


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(over, under, strict=True)), 3)


def pictures_of(kinds: Sequence[str]) -> list[str]:
    return [kind for kind in kinds if kind in ("small", "large")]


def cosines(kept: Mapping[str, Path], precision: str, kinds: Sequence[str]) -> dict[str, float]:
    """Least cosine of our vectors to open_clip's own loop in fp32, and of open_clip's own."""
    found = {}
    for name in ("ours", "open_clip"):
        for kind in pictures_of(kinds):
            truth = np.load(kept["open_clip fp32"].with_suffix(f".{kind}.npy"))
            rows = np.load(kept[f"{name} {precision}"].with_suffix(f".{kind}.npy"))
            found[f"{name} {kind}"] = round(float((rows * truth).sum(axis=1).min()), 6)
    return found


def versions(peers: Path) -> dict[str, str]:
    found = {name: version(name) for name in ("open_clip_torch", "transformers")}
    for name in OWN_ENVIRONMENT:
        code = (
            f"import importlib.metadata as m, torch; print(m.version({name!r}), torch.__version__)"
        )
        own = peers / name / "bin" / "python"
        said = subprocess.run([own, "-c", code], capture_output=True, text=True, check=True)
        number, torch = said.stdout.split()
        found[name] = f"{number} on torch {torch}"
    return found


if __name__ == "__main__":
    sys.exit(main())

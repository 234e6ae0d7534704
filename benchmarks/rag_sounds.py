"""Sounds that no network has heard, completed: is the word that is borrowed for them right?

    python benchmarks/rag_sounds.py --data ../shared/data --cache CACHE

`rag_media.py` asks the shipped ear, which was trained on these very recordings. Here, for each fold
of ESC-10 (Piczak 2015), an ear is made by the recipe from all other folds; those are the library,
each sound with its word beside it, and the fold left out lacks words. Needs fluidsynth,
fluid-soundfont-gm and espeak-ng.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from setting import finish, say

from embed import registry
from embed.batcher import Batcher
from embed.registry import LoadOptions
from embed.training.audio import esc, recipe, sources, vocabulary
from embed.training.audio.memory import Tower
from embed.training.audio.sources import Sounds
from embed.training.metrics import bootstrap_interval
from embed.types import Floats, Media, Modality, normalise
from index.catalog import Catalog
from index.collection import Collection
from index.types import Entry, NewFragment
from rag.complete import Completer
from rag.library import Library

ARCHIVE = "esc10-folds1-4.zip"
FOLDS = (1, 2, 3, 4)
GOAL = 0.85
AUDIO, TEXT = Modality.AUDIO, Modality.TEXT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is derived")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not (args.data / ARCHIVE).is_file():
        say(f"{args.data} lacks {ARCHIVE}; point --data to the folder that has it")
        return 3
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        zipfile.ZipFile(args.data / ARCHIVE).extractall(scratch)
        rendered = sources.rendered(args.cache / "sounds")
        recorded = sources.recorded(Path(scratch) / "esc10", args.cache / "sounds")
        batcher = Batcher(registry.load("builtin", LoadOptions(cache=args.cache, threads=2)))
        words = vocabulary.prototypes(batcher.embedder)
        describer = recipe.listener(rendered)
        flags, told = [], []
        for fold in FOLDS:
            heard = recorded.where((recorded.folds != fold) & recorded.free)
            tower = recipe.made(describer, heard, rendered, words)
            right, sure = completed(Path(scratch) / f"{fold}", tower, recorded, fold, batcher)
            say(f"fold {fold}: {np.mean(right):.3f}, of those told {np.mean(right[sure]):.3f}")
            flags.append(right)
            told.append(sure)
        batcher.close()
    right, sure = np.concatenate(flags), np.concatenate(told)
    accuracy = float(right.mean())
    result = {
        "sounds": len(right),
        "by fold": [round(float(each.mean()), 4) for each in flags],
        "accuracy of all": with_interval(right),
        "accuracy of those told": with_interval(right[sure]),
        "told": round(float(sure.mean()), 4),
        "goal": GOAL,
        "met": accuracy >= GOAL,
        "seconds": round(time.monotonic() - began, 1),
    }
    finish("rag_sounds", result, args.out)
    return 0


def completed(
    folder: Path, tower: Tower, recorded: Sounds, fold: int, batcher: Batcher
) -> tuple[np.ndarray, np.ndarray]:
    """`(N,)` of the fold left out: whether its word is right, and whether it is likely enough to
    be told."""
    folder.mkdir()
    space = batcher.embedder.space
    catalog = Catalog(folder / "catalog.db")
    info = catalog.create_collection("c", space=space, chunker=batcher.embedder.chunker)
    collection = Collection(catalog, info)
    names = list(esc.TRAINED)
    label_of = dict(zip(vocabulary.numbers(names).tolist(), names, strict=True))
    labels = [label_of[int(concept)] for concept in recorded.concepts]
    said = {name: batcher.embed([Media(TEXT, name)])[0].joint for name in names}
    joint, native = vectors_of(tower, recorded)
    for n, name in enumerate(labels):
        sound = NewFragment(None, joint[n], native[n])
        entries = [
            Entry(id=f"s{n}", record=f"r{n}", modality=AUDIO, digest=f"{n}", fragments=[sound])
        ]
        if int(recorded.folds[n]) != fold:
            word = NewFragment(None, said[name])
            entries.append(
                Entry(
                    id=f"w{n}",
                    record=f"r{n}",
                    modality=TEXT,
                    digest=name,
                    text=name,
                    fragments=[word],
                )
            )
        collection.write(entries)
    completer = Completer(Library(collection, batcher, None, lambda *_: None))
    completer.complete_all([TEXT])
    lacking = [n for n in range(len(labels)) if int(recorded.folds[n]) == fold]
    kept = collection.completions.of_records([f"r{n}" for n in lacking], least=0.0)
    right = np.array(
        [any(one.value == labels[n] for one in kept.get(f"r{n}", [])) for n in lacking]
    )
    sure = np.array([any(one.p >= 0.5 for one in kept.get(f"r{n}", [])) for n in lacking])
    collection.close()
    catalog.close()
    return right, sure


def vectors_of(tower: Tower, sounds: Sounds) -> tuple[Floats, Floats]:
    """`(N, D)` joint and `(N, M)` native, unit rows."""
    rows: list[tuple[Floats, Floats]] = []
    with torch.inference_mode():
        for start in range(0, len(sounds.clips), 32):
            clips = sounds.clips[start : start + 32].float()[:, None]
            joint, native = tower(clips)
            rows.append((joint.numpy(), native.numpy()))
    return (
        normalise(np.concatenate([joint for joint, _ in rows])),
        normalise(np.concatenate([native for _, native in rows])),
    )


def with_interval(flags: Any) -> list[float]:
    low, high = bootstrap_interval(flags.astype(float))
    return [round(float(number), 4) for number in (flags.mean(), low, high)]


if __name__ == "__main__":
    sys.exit(main())

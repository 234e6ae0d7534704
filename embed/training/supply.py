"""What a run learns from and what it is measured on, out of its config.

It knows no file format (`data`) and not how batches are made (`feed`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from embed.errors import BadInput
from embed.registry import LoadOptions
from embed.training import distributed, examples, feed, loop
from embed.training.config import Config, RunOptions
from embed.training.data.source import Part, Source, open_source
from embed.training.gradcache import Encode
from embed.training.limbs import image_side
from embed.training.parts import part_specs
from embed.training.probe import Standing, standing
from embed.training.student import Limbs
from embed.training.types import Miner
from embed.types import Modality

MIB = 1 << 20
NEIGHBOURS = "neighbours.npy"
MOST_HELD_OUT = 5  # at most one record in so many
CAPTIONS = 4_096  # records whose words a tokenizer is made of


def parted(config: Config, source: Source | None, options: LoadOptions) -> tuple[Source, Source]:
    """What is learnt from, and what R@1 is measured on: of another split, or set aside by seed."""
    if source is None:
        seen = {"image_side": image_side(part_specs(config.model), options)}
        whole = open_source(config.data, seen)
    else:
        whole = source
    if source is None and config.data.get("split") == "train" and config.run.held_out:
        others = open_source({**config.data, "split": "validation"}, seen)
        return whole, _some(others, min(config.run.held_out, len(others)), config.run.seed)[0]
    count = min(config.run.held_out, len(whole) // MOST_HELD_OUT)
    held_out, learnt = _some(whole, count, config.run.seed)
    return learnt, held_out


def _some(source: Source, count: int, seed: int) -> tuple[Source, Source]:
    """`count` records, drawn by seed, and all the others."""
    order = np.random.default_rng(seed).permutation(len(source))
    return Part(source, np.sort(order[:count])), Part(source, np.sort(order[count:]))


def batches(
    config: Config,
    learnt: Source,
    student: Limbs,
    near: examples.Numbers | None,
    device: torch.device,
) -> feed.Batches:
    run = config.run
    return feed.Batches(
        learnt,
        student.preparer,
        student.modalities,
        batch=run.batch,
        seed=run.seed,
        augment=run.augment,
        workers=run.workers,
        cache=run.cache * MIB,
        slice_of=(distributed.rank(), distributed.world()),
        neighbours=near,
        pin=device.type == "cuda",
    )


def neighbours(
    run: RunOptions, learnt: Source, miner: Miner | None, start: int
) -> examples.Numbers | None:
    """The neighbours of each record: asked for once a run, for the answer changes with an index.

    Raises BadInput without anyone to ask.
    """
    if not run.neighbours:
        return None
    path = run.out / NEIGHBOURS
    if start and path.is_file():
        return np.asarray(np.load(path, allow_pickle=False))
    if miner is None:
        raise BadInput(
            f"[run] neighbours is {run.neighbours} and nobody knows which records are near: train "
            "on a collection, or leave it out"
        )
    found = feed.near(learnt, miner, run.neighbours)
    if distributed.rank() == 0:
        run.out.mkdir(parents=True, exist_ok=True)
        np.save(path, found, allow_pickle=False)
    return found


def evaluation(
    held_out: Source, student: Limbs, device: torch.device
) -> Callable[[Encode], Standing] | None:
    """How an encoder stands on the held-out records; None where there are none."""
    looked_at = examples.held_out(held_out, student.preparer, student.modalities)
    if not looked_at:
        return None
    return lambda encode: standing(encode, (loop.placed(batch, device) for batch in looked_at))


def captions(source: Source) -> Iterator[str]:
    """Words of the first records that can be read."""
    for record in examples.readable(source, CAPTIONS):
        yield from (str(medium.data) for medium in record.media.get(Modality.TEXT, ()))


def asked(config: Config, learnt: Source, student: Limbs) -> dict[str, Any]:
    """What a checkpoint remembers of what was asked: the config, which records there were, and
    what each limb stands on."""
    ids = hashlib.sha256()
    for number in range(len(learnt)):
        ids.update(learnt.id(number).encode("utf-8", "surrogatepass") + b"\n")
    whole = config.plain()
    whole["data"] |= {"records": len(learnt), "ids": ids.hexdigest()[:16]}
    whole["stands on"] = {modality.value: limb.basis for modality, limb in student.parts()}
    return whole

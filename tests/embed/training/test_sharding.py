"""Two gloo processes that share a student out are one process that has it whole.

This file is also the program that each of the two runs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from embed import registry
from embed.errors import BadInput
from embed.registry import LoadOptions
from embed.training.config import config_of
from embed.training.journal import read
from embed.training.run import Summary, train
from embed.types import Media, Modality

STEPS, HALF = 6, 3


def learnt(folder: Path, name: str, *, resume: bool = False, missing: float = 0.0) -> Summary:
    """A run whose vectors come from GradCache, whose weights are averaged and gradients clipped."""
    document: dict[str, Any] = {
        "run": {
            "out": str(folder / name),
            "steps": STEPS,
            "batch": 16,
            "chunk": 4,
            "held_out": 10,
            "log_every": 1,
            "eval_every": HALF,
            "save_every": HALF,
            "shard": True,  # which means nothing to one process
        },
        "data": {"kind": "scenes", "count": 60, "modalities": ["image", "text"]},
        "model": {
            "dim": 16,
            "image": {"network": "convnet", "side": 16, "width": 16, "crop": 0.6},
            "text": {"network": "words", "width": 16, "depth": 2, "heads": 2, "tokens": 24},
        },
        # with gradients that are mere rounding, Adam would make steps of them
        "optimiser": {"lr": 0.003, "warmup": 2, "ema": 0.9, "eps": 1e-3, "clip": 0.5},
    }
    if missing:
        document["data"] |= {"modalities": ["image", "text", "audio"], "missing": missing}
        document["model"]["audio"] = {"network": "spectrum", "width": 8}
    options = LoadOptions(cache=folder / "cache", threads=1)
    return train(config_of(document), lambda _: None, options=options, resume=resume)


def curve(out: Path) -> list[tuple[float, float]]:
    lines = read(out / "metrics.jsonl")
    return [(line["loss"], line["grad_norm"]) for line in lines if "loss" in line]


def kept(out: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint."""
    files = sorted((out / "checkpoints" / f"step-{step:08d}").glob("*.safetensors"))
    assert len(files) == 3
    return {f"{f.stem}/{name}": value for f in files for name, value in load_file(f).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left: a run, and one that went on from half of it."""
    folder = tmp_path_factory.mktemp("shared")
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-W", "ignore", __file__, str(folder)]
    running = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    try:
        assert [process.wait(240) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    return folder


def test_a_student_that_is_shared_out_learns_as_one_that_is_whole(folder: Path) -> None:
    alone = learnt(folder, "one")
    for a, b in zip(curve(folder / "one"), curve(folder / "two"), strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    assert max(norm for _, norm in curve(folder / "one")) > 0.5  # it was clipped
    one, two = kept(folder / "one"), kept(folder / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=1e-6, rtol=0), name
    assert json.loads((folder / "recall.json").read_text()) == alone.recall

    options = LoadOptions(cache=folder / "cache", threads=1)
    words = [Media(Modality.TEXT, "a red disc")]
    ours, theirs = (
        registry.load(f"trained:{folder / name / 'space'}", options).embed(words).joint
        for name in ("one", "two")
    )
    assert abs(ours - theirs).max() < 1e-5


def test_it_goes_on_to_the_bit_and_one_process_goes_on_from_it(folder: Path) -> None:
    assert curve(folder / "again") == curve(folder / "two")
    again, two = kept(folder / "again"), kept(folder / "two")
    assert all(torch.equal(again[name], value) for name, value in two.items())

    halved(folder, "alone")
    assert learnt(folder, "alone", resume=True).resumed_from == HALF
    for a, b in zip(curve(folder / "alone"), curve(folder / "two"), strict=True):
        assert a == pytest.approx(b, rel=1e-5)


def test_who_would_wait_for_ever_is_told_instead(folder: Path) -> None:
    for rank in range(2):
        said = (folder / f"{rank}.txt").read_text()
        assert re.match(r"\[run\] shard: \w+ of a batch is read in \d and \d pieces", said)


def halved(folder: Path, name: str) -> None:
    shutil.copytree(folder / "two", folder / name)
    shutil.rmtree(folder / name / "checkpoints" / f"step-{STEPS:08d}")


def run(folder: Path, rank: int) -> None:
    start = (folder / "start").as_uri()
    dist.init_process_group("gloo", init_method=start, rank=rank, world_size=2)
    summary = learnt(folder, "two")
    if rank == 0:
        (folder / "recall.json").write_text(json.dumps(summary.recall))
        halved(folder, "again")
    dist.barrier()
    assert learnt(folder, "again", resume=True).resumed_from == HALF
    try:
        learnt(folder, "uneven", missing=0.8)
    except BadInput as error:
        (folder / f"{rank}.txt").write_text(error.message)
    dist.destroy_process_group()


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
    os._exit(0)  # as a run of ours ends: Python's shutdown may meet a thread of the group

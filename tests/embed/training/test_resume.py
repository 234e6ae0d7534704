"""Whole runs through the door: killed and resumed, one process and two, damaged and gone on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from embed import registry
from embed.errors import BadInput, Conflict
from embed.registry import LoadOptions
from embed.training.config import Config, config_of
from embed.training.journal import Told, read
from embed.training.run import Summary, train
from embed.types import Media, Modality

STEPS = 60
KILLED_AT = 12


def tables(out: Path, **run: Any) -> dict[str, Any]:
    return {
        "run": {
            "out": str(out),
            "steps": STEPS,
            "batch": 16,
            "held_out": 20,
            "log_every": 1,
            "eval_every": 20,
            "save_every": 10,
        }
        | run,
        "data": {"kind": "scenes", "count": 120, "modalities": ["image", "text"]},
        "model": {
            "dim": 16,
            "image": {"network": "convnet", "side": 16, "width": 16, "crop": 0.6},
            "text": {"network": "words", "width": 16, "depth": 1, "heads": 2, "tokens": 24},
        },
        "optimiser": {"lr": 0.003, "warmup": 5, "ema": 0.9},
    }


def toml(document: dict[str, Any]) -> str:
    """Enough of TOML for the tables above."""

    def written(table: dict[str, Any], name: str) -> str:
        own = {k: v for k, v in table.items() if not isinstance(v, dict)}
        lines = [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in own.items())]
        inner = [written(v, f"{name}.{k}") for k, v in table.items() if isinstance(v, dict)]
        return "\n".join([*lines, *inner])

    return "\n".join(written(table, name) for name, table in document.items())


def run(config: Config, cache: Path, *, resume: bool = False) -> Summary:
    told: list[Told] = []
    return train(config, told.append, options=LoadOptions(cache=cache, threads=1), resume=resume)


def started(*launch: str, config: Path, threads: int) -> subprocess.Popen[str]:
    command = ["-m", "embed.training.run", config, "--cache", config.parent, "--threads", threads]
    return subprocess.Popen(
        [sys.executable, *launch, *map(str, command)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def curve(out: Path) -> list[tuple[int, float, float]]:
    lines = read(out / "metrics.jsonl")
    return [(line["step"], line["loss"], line["grad_norm"]) for line in lines if "loss" in line]


def weights(out: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoints" / f"step-{step:08d}" / "student.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    """A run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, run(config_of(tables(out)), out.parent)


def test_a_run_leaves_a_space_its_curves_and_its_last_checkpoints(
    whole: tuple[Path, Summary],
) -> None:
    out, summary = whole
    assert summary.steps == STEPS
    assert summary.left_out == summary.resumed_from == 0
    assert curve(out)[-1][1] == summary.loss < 0.8 * curve(out)[0][1]
    kept = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert kept == ["step-00000040", "step-00000050", "step-00000060"]
    assert [Path(path).name for path in summary.plots] == ["curves.png", "curves.svg"]
    assert all(Path(path).stat().st_size > 10_000 for path in summary.plots)
    space = registry.load(summary.space, LoadOptions(cache=out.parent, threads=1))
    assert space.modalities >= {Modality.IMAGE, Modality.TEXT}
    assert space.embed([Media(Modality.TEXT, "a red circle")]).joint.shape == (1, 16)


def test_killed_and_resumed_is_as_never_interrupted(
    whole: tuple[Path, Summary], tmp_path: Path
) -> None:
    out, config = tmp_path / "run", tmp_path / "config.toml"
    config.write_text(toml(tables(out)))
    process = started(config=config, threads=1)
    while process.poll() is None and len(curve(out)) < KILLED_AT:
        time.sleep(0.001)
    process.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    assert KILLED_AT <= curve(out)[-1][0] < STEPS

    summary = run(config_of(tables(out)), tmp_path, resume=True)
    assert summary.resumed_from in range(10, STEPS, 10)
    assert curve(out) == curve(whole[0])
    assert summary.recall == whole[1].recall
    ours, theirs = weights(out, STEPS), weights(whole[0], STEPS)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_two_processes_walk_the_path_of_one(tmp_path: Path) -> None:
    one, two = (
        tables(tmp_path / name, steps=5, save_every=5, held_out=0) for name in ("one", "two")
    )
    for document in (one, two):  # biases without effect, as of keys, have gradients of rounding,
        document["optimiser"]["eps"] = 1e-3  # and Adam would make steps of them
    run(config_of(one), tmp_path)
    config = tmp_path / "two.toml"
    config.write_text(toml(two))
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    process = started(*launch, config=config, threads=2)
    answer, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert json.loads(answer)["steps"] == 5  # one of the two answers
    alone, together = weights(tmp_path / "one", 5), weights(tmp_path / "two", 5)
    assert alone.keys() == together.keys()
    for name in alone:
        assert torch.allclose(alone[name], together[name], atol=1e-6, rtol=0), name
    for a, b in zip(curve(tmp_path / "one"), curve(tmp_path / "two"), strict=True):
        assert a == pytest.approx(b, rel=1e-5)


def test_a_damaged_checkpoint_is_passed_over(
    whole: tuple[Path, Summary], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    run(config_of(tables(out, steps=30)), tmp_path)
    kept = out / "checkpoints"
    torn = kept / "step-00000030" / "optimiser.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1])
    (kept / "step-00000020" / "manifest.json").unlink()
    (kept / "tmp-step-00000040").mkdir()  # a kill while it was written
    summary = run(config_of(tables(out, steps=30)), tmp_path, resume=True)
    assert summary.resumed_from == 10
    assert "optimiser.safetensors is not as it was written" in caplog.text
    assert [step for step, _, _ in curve(out)] == list(range(1, 31))


def test_another_run_is_not_resumed(whole: tuple[Path, Summary]) -> None:
    out, _ = whole
    with pytest.raises(Conflict, match=r"a run is in .* already: resume it, or choose"):
        run(config_of(tables(out)), out.parent)
    other = tables(out, seed=5)
    other["optimiser"]["lr"] = 0.1
    with pytest.raises(Conflict, match=r"optimiser.lr was 0.003 and is 0.1; run.seed was 0 and is"):
        run(config_of(other), out.parent, resume=True)
    other = tables(out)
    other["data"]["count"] = 121
    with pytest.raises(Conflict, match=r"data.count was 120 and is 121"):
        run(config_of(other), out.parent, resume=True)


def test_weights_are_not_resumed_on_another_tokenizer(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(6):
        Image.new("RGB", (20, 20), (n * 40, 0, 0)).save(photos / f"{n}.png")
    asked = tables(tmp_path / "run", steps=1, batch=4)
    asked["data"] = {"kind": "folder", "path": str(photos)}
    asked["model"]["text"]["vocabulary"] = 262  # full with either captions
    for n in range(6):
        (photos / f"{n}.txt").write_text(f"stripes number {n} of things")
    run(config_of(asked), tmp_path)
    for n in range(6):
        (photos / f"{n}.txt").write_text(f"zebra {n} and xylophone")
    with pytest.raises(Conflict, match="text was 'tokenizer"):
        run(config_of(asked), tmp_path, resume=True)


@pytest.mark.parametrize("dim", [0, -4, 10_000])
def test_a_space_that_could_not_be_opened_is_not_trained(tmp_path: Path, dim: int) -> None:
    asked = tables(tmp_path / "run", steps=1)
    asked["model"]["dim"] = dim
    with pytest.raises(BadInput, match="from 1 to 8192 is wanted"):
        run(config_of(asked), tmp_path)


def test_a_small_source_needs_no_validation_where_nothing_is_held_out(tmp_path: Path) -> None:
    asked = tables(tmp_path / "run", steps=1, held_out=0)
    asked["data"] |= {"split": "train", "validation_share": 1e-9}
    assert run(config_of(asked), tmp_path).steps == 1


def test_a_finished_run_is_lengthened(whole: tuple[Path, Summary]) -> None:
    """The last to touch the shared run: ten more steps, with a schedule that reaches to them."""
    out, before = whole
    summary = run(config_of(tables(out, steps=STEPS + 10)), out.parent, resume=True)
    assert (summary.resumed_from, summary.steps) == (STEPS, STEPS + 10)
    assert [step for step, _, _ in curve(out)] == list(range(1, STEPS + 11))
    assert summary.loss != before.loss

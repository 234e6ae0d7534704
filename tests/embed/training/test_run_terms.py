"""What a config may add to the contrastive loss, through the door: captions and a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embed import registry
from embed.errors import BadInput
from embed.registry import LoadOptions
from embed.training.config import config_of
from embed.training.journal import METRICS, read
from embed.training.run import Summary, train

IMAGE = {"network": "convnet", "side": 16, "width": 8}
TEXT = {"network": "words", "tokens": 32, "vocabulary": 300, "width": 16, "depth": 1, "heads": 2}


def run(out: Path, steps: int, **objective: Any) -> Summary:
    document = {
        "run": {"out": str(out), "steps": steps, "batch": 8, "held_out": 8, "log_every": 1},
        "data": {"kind": "scenes", "count": 64, "modalities": ["image", "text"]},
        "model": {"dim": 16, "image": IMAGE, "text": TEXT},
        "objective": objective,
    }
    options = LoadOptions(cache=out / "cache", threads=1, offline=True)
    return train(config_of(document), lambda _: None, options=options)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run(tmp_path_factory.mktemp("teacher") / "run", 2).space


def test_captions_and_a_teacher_are_terms_of_the_loss(teacher: str, tmp_path: Path) -> None:
    summary = run(tmp_path, 12, caption=0.5, teacher=teacher, distil=1.0, imitate=4.0)
    lines = [line for line in read(tmp_path / METRICS) if "parts" in line]
    assert len(lines) == 12
    for line in lines:
        assert set(line["parts"]) == {"image-text", "caption", "distil", "imitate"}
        assert line["loss"] == pytest.approx(sum(line["parts"].values()), rel=1e-4)
    assert lines[-1]["parts"]["imitate"] < 0.8 * lines[0]["parts"]["imitate"]
    assert lines[-1]["parts"]["caption"] < lines[0]["parts"]["caption"]
    kept = registry.load(summary.space, LoadOptions(cache=tmp_path / "cache", threads=1))
    assert kept.space.dim == 16


def test_a_teacher_without_a_weight_is_refused(teacher: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="distil"):
        run(tmp_path, 1, teacher=teacher)

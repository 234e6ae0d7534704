"""What is told of a run: lines, warnings, curves, and how a held-out slice is looked at."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from embed.errors import BadInput, MissingDependency, NotFound, StorageFull
from embed.training import plots
from embed.training.journal import Journal, Told, read
from embed.training.probe import Standing, standing
from embed.training.ticker import ticker
from embed.training.types import Batch
from embed.types import Modality

AUDIO, IMAGE, TEXT = Modality.AUDIO, Modality.IMAGE, Modality.TEXT
GOOD = Standing({"image-text": 0.8}, unmatched=0.1, chance=0.01)
FLAT = Standing({"image-text": 0.01}, unmatched=0.99, chance=0.01)


def journal_of(folder: Path, told: list[Told], **options: Any) -> Journal:
    return Journal(folder, **{"start": 0, "steps": 9, "tell": told.append} | options)


def step(journal: Journal, number: int, *, loss: float = 1.0, temperature: float = 0.05) -> None:
    journal.note(number, torch.tensor(loss), torch.ones(()), records=8, seconds=0.1)
    parts = {"image-text": torch.tensor(loss)}
    journal.log(number, parts, {"temperature image-text": temperature}, 1e-3)


def test_a_warning_comes_once_and_is_remembered(tmp_path: Path) -> None:
    told: list[Told] = []
    journal = journal_of(tmp_path, told)
    for number in range(1, 7):
        step(journal, number, loss=5 / number, temperature=0.01 if number > 4 else 0.05)
        journal.evaluated(number, FLAT)
    kinds = [line["kind"] for line in read(tmp_path / "metrics.jsonl") if "warning" in line]
    assert kinds == ["alike", "chance", "temperature image-text"]
    assert [one.note is not None for one in told] == [False, True, False, True, True, False]
    again = journal_of(tmp_path, told, start=4)
    assert again.warnings.keys() == {"alike", "chance"}
    assert again.r1 == 0.01
    assert max(line["step"] for line in read(tmp_path / "metrics.jsonl")) == 4


def test_a_run_that_goes_well_is_not_warned_of(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, [])
    for number in range(1, 7):
        step(journal, number, loss=5 / number)
        journal.evaluated(number, GOOD)
    assert not journal.warnings


def test_a_run_without_pairs_is_warned_of(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, [])
    journal.note(1, torch.zeros(()), torch.zeros(()), records=8, seconds=0.1)
    journal.log(1, {"image-text": torch.zeros(())}, {}, 1e-3)
    assert "whether captions are found" in journal.warnings["nothing"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInput, match="taken cannot be written"):
        journal_of(tmp_path / "taken", [])
    journal = journal_of(tmp_path, [])
    journal.path.unlink()
    journal.path.symlink_to("/dev/full")
    with pytest.raises(StorageFull, match="free some"):
        step(journal, 1)


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step": 2, "lo')
    assert read(path) == [{"step": 1, "loss": 2.0}]
    step(journal_of(tmp_path, [], start=1), 2)
    assert [line["step"] for line in read(path)] == [1, 2]


def test_lines_for_logs_come_every_few_seconds_and_with_every_warning() -> None:
    clock = iter([0.0, 1.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    stream = io.StringIO()
    one = {"steps": 9, "loss": 2.5, "grad_norm": 0.5, "samples_per_s": 1234.0, "seconds_left": 300}
    with ticker(stream, now=lambda: next(clock)) as tell:
        for number in range(1, 5):
            tell(
                Told(
                    step=number,
                    scales={"temperature image-text": 0.07, "bias image-text": -3.0},
                    r1=0.5 if number > 2 else None,
                    note="look out" if number == 4 else None,
                    **one,
                )
            )
    lines = stream.getvalue().splitlines()
    assert lines[0] == (
        "step 1/9  loss 2.5000  temperature 0.0700  grad 0.5  R@1 ?  1,234 samples/s  5 min left"
    )
    assert [line.split()[1] for line in lines] == ["1/9", "3/9", "4/9", "look"]
    assert "R@1 0.500" in lines[1]


def test_a_terminal_has_one_line_that_moves() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with ticker(stream) as tell:
        tell(
            Told(
                step=3,
                steps=9,
                loss=2.5,
                scales={},
                grad_norm=0.5,
                samples_per_s=9.0,
                seconds_left=1.0,
                note="look out",
            )
        )
    assert "step 3/9" in stream.getvalue()
    assert "look out" in stream.getvalue()


def test_tensorboard_has_the_same_numbers(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    journal = journal_of(tmp_path, [], tensorboard=True)
    for number in range(1, 4):
        step(journal, number, loss=5 / number)
    journal.evaluated(3, GOOD)
    journal.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([5, 2.5, 5 / 3])
    assert events.Scalars("recall/image-text")[0].step == 3


def test_curves_are_drawn_of_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(NotFound, match="holds no step yet"):
        plots.draw(tmp_path)
    journal = journal_of(tmp_path, [])
    for number in range(1, 4):
        step(journal, number, loss=5 / number)
    journal.evaluated(3, GOOD)
    png, svg = plots.draw(tmp_path)
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in svg.read_text()
    shown = {panel.title: panel.curves for panel in plots.panels(read(journal.path))}
    assert shown["loss"] == {"loss": ([1, 2, 3], [5, 2.5, pytest.approx(5 / 3)])}
    assert shown["R@1, held out"] == {"image-text": ([3], [0.8])}
    assert shown["temperature"].keys() == {"image-text"}
    assert not shown["bias"]


def test_without_matplotlib_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependency, match=r"pip install 'crossbind\[train\]'"):
        plots.draw(tmp_path)


def test_a_slice_is_judged_both_ways_and_equal_media_count() -> None:
    def batch(at: int, having: list[int], angles: dict[Modality, list[float]]) -> Batch:
        rows = {m: torch.tensor(having if m is AUDIO else range(2)) for m in angles}
        return Batch(
            [str(at), str(at + 1)],
            {m: (torch.tensor(values),) for m, values in angles.items()},
            rows,
            {m: torch.tensor([at + int(row) for row in rows[m]]) for m in angles},
        )

    def encode(modality: Modality, inputs: tuple[Tensor, ...]) -> Tensor:
        angle = inputs[0] * math.pi / 180
        return 3 * torch.stack([angle.cos(), angle.sin()], 1)  # of no unit length

    batches = [
        batch(0, [1], {IMAGE: [0.0, 40.0], TEXT: [5.0, 45.0], AUDIO: [42.0]}),
        batch(2, [0], {IMAGE: [80.0, 120.0], TEXT: [85.0, 5.0], AUDIO: [79.0]}),
    ]
    found = standing(encode, batches)
    # Text 3 lies on text 0: image 3 finds no text of its own, and text 3 image 0.
    assert found.recall == {"audio-image": 1.0, "audio-text": 1.0, "image-text": 0.75}
    assert found.r1 == pytest.approx(2.75 / 3)
    batches[1].group[TEXT][1] = 0  # the same words as of record 0: now text 3 is right
    assert standing(encode, batches).recall["image-text"] == pytest.approx((0.75 + 1) / 2)
    assert found.unmatched < 0.95

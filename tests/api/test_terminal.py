"""What people read: moments, pages, counted things, and what an ingest left out."""

from __future__ import annotations

from typing import Any

import pytest

from api.arguments import UsageError, parse
from api.shapes import many, marked, moment, pace, place_in, printable, short
from api.terminal import Terminal
from embed.types import BoxSpan, CharSpan, Modality, PageSpan, Span, TimeSpan
from index.types import Failure, IngestReport


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0:00"), (7.99, "0:07"), (60, "1:00"), (750.5, "12:30"), (3723, "1:02:03")],
)
def test_moments(seconds: float, told: str) -> None:
    assert moment(seconds) == told


@pytest.mark.parametrize(
    ("span", "told"),
    [
        (None, ""),
        (TimeSpan(12, 22.4), "0:12-0:22"),
        (PageSpan(3), "page 3"),
        (CharSpan(0, 9, 4), "page 4"),
        (CharSpan(0, 9), ""),
        (BoxSpan(0, 0, 1, 1), ""),
    ],
)
def test_places(span: Span | None, told: str) -> None:
    assert place_in(span) == told


def test_words() -> None:
    assert [many(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [pace(rate) for rate in (20.04, 1.0, 0.02)] == [
        "20.0 per second",
        "1.0 per second",
        "1.2 per minute",
    ]
    assert printable("a\x1b[31m\n b") == "a�[31m b"
    assert short("one two three", 9) == "one two…"
    assert [marked(Modality.VIDEO), marked(Modality.DEPTH)] == ["▶ video", "· depth"]


def report(**about: Any) -> IngestReport:
    counts = {"ingested": 3, "unchanged": 0, "moved": 0, "pruned": 0, "failed": 0}
    return IngestReport(**{**counts, "seconds": 1.0, "failures": [], **about})


def test_what_a_space_does_not_embed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    left_out = {Modality.AUDIO: 2, Modality.IMAGE: 1}
    Terminal().report(report(left_out=left_out), "c")
    out = capsys.readouterr().out
    assert "left out, because this space does not embed them" in out
    assert "the sound of 2 files, the pictures of 1 file" in out
    assert report(left_out=left_out).to_json()["left_out"] == {"audio": 2, "image": 1}
    assert "crossbind models lists other spaces" in out
    Terminal().report(report(), "c")
    out = capsys.readouterr().out
    assert "left out" not in out
    assert "other spaces" not in out


def test_a_file_that_a_space_refuses_comes_with_the_way_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    deaf = Failure(uri="file:///a.wav", code="unsupported_modality", message="a.wav is a sound")
    Terminal().report(report(failed=1, failures=[deaf]), "c")
    assert "--space SPACE" in capsys.readouterr().out
    torn = Failure(uri="file:///a.wav", code="corrupt_media", message="a.wav is torn")
    Terminal().report(report(failed=1, failures=[torn]), "c")
    assert "--space SPACE" not in capsys.readouterr().out


def test_media_keep_their_order_across_flags() -> None:
    words = ["search", "x", "--audio", "a.wav", "--image", "b.png", "--audio", "c.wav"]
    found = [(kind, str(path)) for kind, path in parse(words).media]
    assert found == [("audio", "a.wav"), ("image", "b.png"), ("audio", "c.wav")]
    assert parse(["search", "x"]).media == []  # nothing is left from the call before


@pytest.mark.parametrize("weights", ["", "1,", "one", "1;2"])
def test_weights_are_numbers(weights: str) -> None:
    with pytest.raises(UsageError, match="list of numbers with commas between"):
        parse(["search", "x", f"--weights={weights}"])

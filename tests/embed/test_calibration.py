"""Curves from cosines to probabilities: recovered, smoothed, kept, and refused for other spaces."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from embed.backends.builtin.space import describe
from embed.calibration import (
    SHIPPED,
    Calibration,
    Calibrations,
    Curve,
    Fit,
    Pair,
    fit_curve,
)
from embed.errors import BadInput, Forbidden, SpaceMismatch, StorageFull
from embed.registry import LoadOptions
from embed.types import Modality, Space

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
SPACE = Space(name="hf:some/where", revision="1", preprocessing="1", precision="fp32", dim=4)
GOOD = Fit(curve=Curve(9.0, -4.0), count=900, positives=300, auroc=0.9, ece=0.03, brier=0.1)


def calibration(space: Space = SPACE) -> Calibration:
    bad = replace(GOOD, auroc=math.nan, refused="a test")
    fits = {Pair(TEXT, IMAGE): GOOD, Pair(IMAGE, IMAGE, native=True): bad}
    return Calibration(space.id, fits, {"of": "a test"})


def test_a_known_logistic_is_found_again() -> None:
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-0.2, 0.6, 40_000)
    truth = Curve(14.0, -3.5)
    chances = np.array([truth(cosine) for cosine in cosines])
    found = fit_curve(cosines, rng.random(len(cosines)) < chances)
    assert found.slope == pytest.approx(truth.slope, rel=0.03)
    assert found.intercept == pytest.approx(truth.intercept, rel=0.03)


def test_probability_rises_with_the_cosine_and_stays_within_its_bounds() -> None:
    told = [calibration().probability(TEXT, IMAGE, cosine) for cosine in np.linspace(-1, 1, 99)]
    assert all(0 < low < high < 1 for low, high in pairwise(told))
    steep = Curve(1e6, 0.0)
    assert (steep(-1), steep(0), steep(1)) == (pytest.approx(0, abs=1e-300), 0.5, 1)


def test_smoothing_keeps_a_few_perfect_answers_from_certainty() -> None:
    few = fit_curve(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    many = fit_curve(
        np.repeat([0.1, 0.2, 0.8, 0.9], 100), np.repeat([False, False, True, True], 100)
    )
    assert few(0.85) == pytest.approx(3 / 4, abs=0.05)  # Platt's target: (2 + 1) / (2 + 2)
    assert few(0.85) < many(0.85) < 1


def test_a_slope_is_told_as_it_is() -> None:
    curve = fit_curve(np.array([0.1, 0.2, 0.3, 0.4]), np.array([True, True, False, False]))
    assert curve.slope < 0


@pytest.mark.parametrize(
    ("cosines", "relevant", "said"),
    [
        ([0.1, math.nan], [True, False], "finite"),
        ([0.1, math.inf], [True, False], "finite"),
        ([0.1, 0.2], [True, True], "2 answers are relevant and 0 are not"),
        ([0.3, 0.3], [True, False], "all cosines are 0.3"),
    ],
)
def test_what_tells_nothing_is_refused(
    cosines: list[float], relevant: list[bool], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        fit_curve(np.array(cosines), np.array(relevant))


def test_a_cosine_that_is_no_number_has_no_probability() -> None:
    with pytest.raises(BadInput, match="nan"):
        calibration().probability(TEXT, IMAGE, math.nan)


def test_pairs_that_were_refused_or_never_fitted_have_none() -> None:
    assert calibration().probability(TEXT, IMAGE, 0.5) == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert calibration().probability(IMAGE, TEXT, 0.5) is None
    assert calibration().probability(IMAGE, IMAGE, 0.5) is None
    assert calibration().probability(IMAGE, IMAGE, 0.5, native=True) is None


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "c.json"
    calibration().write(path)
    found = Calibration.read(path, SPACE.id)
    assert found.to_json() == calibration().to_json()
    assert math.isnan(found.fits[Pair(IMAGE, IMAGE, native=True)].auroc)
    assert [file.name for file in path.parent.iterdir()] == ["c.json"]
    with pytest.raises(SpaceMismatch, match="hf:some/where@"):
        Calibration.read(path, replace(SPACE, revision="2").id)


def test_a_disk_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Forbidden, match=r"file/c\.json cannot be written"):
        calibration().write(tmp_path / "file" / "c.json")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageFull, match=r"c\.json"):
        calibration().write(tmp_path / "c.json")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 9},
        {"pairs": [{"query": "text"}]},
        {"pairs": "none"},
        {"pairs": [{**calibration().to_json()["pairs"][1], "slope": -1.0}]},
        {"pairs": [{**calibration().to_json()["pairs"][1], "slope": 1e999}]},
    ],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**calibration().to_json(), **change}))
    with pytest.raises(BadInput, match=r"c\.json"):
        Calibration.read(path)


def test_a_home_keeps_one_for_each_space(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = Calibrations(tmp_path / "calibrations")
    assert home.of(SPACE) is None
    path = home.keep(calibration(), SPACE)
    assert path.parent == tmp_path / "calibrations"  # though the name of the space has a slash
    assert home.of(SPACE).fits == calibration().fits
    assert home.of(replace(SPACE, revision="2")) is None
    again = Calibration(SPACE.id, {Pair(TEXT, IMAGE): GOOD})
    home.keep(again, SPACE)
    os.utime(path, ns=(1, 1))  # a clock too coarse to tell the two apart
    assert home.of(SPACE) == again
    with pytest.raises(SpaceMismatch):
        home.keep(calibration(), replace(SPACE, revision="2"))
    path.write_text("{")
    with caplog.at_level(logging.WARNING):
        assert home.of(SPACE) is None
    assert str(path) in caplog.text


def test_what_ships_serves_its_space_only_and_the_home_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builtin = replace(SPACE, name="builtin")
    monkeypatch.setattr("embed.calibration.SHIPPED", tmp_path / "shipped.json")
    home = Calibrations(tmp_path / "home")
    assert home.of(builtin) is None
    calibration(builtin).write(tmp_path / "shipped.json")
    assert home.of(builtin).made == {"of": "a test"}
    assert home.of(replace(builtin, revision="new weights")) is None
    assert home.of(SPACE) is None
    mine = {
        Pair(TEXT, IMAGE): replace(GOOD, curve=Curve(3.0, 0.0)),
        Pair(IMAGE, TEXT): GOOD,
        Pair(IMAGE, IMAGE, native=True): Fit(
            curve=Curve(0.0, 0.0), count=5, positives=1, refused="few"
        ),
    }
    home.keep(Calibration(builtin.id, mine, {"of": "my photos"}), builtin)
    found = home.of(builtin)
    assert found.made == {"of": "my photos"}
    assert found.curve(Pair(TEXT, IMAGE)) == Curve(3.0, 0.0)
    assert found.curve(Pair(IMAGE, TEXT)) == GOOD.curve
    assert found.fits[Pair(IMAGE, IMAGE, native=True)].count == 900  # 5 are nothing to judge by


def test_the_one_that_ships_is_of_the_space_that_ships(tmp_path: Path) -> None:
    space = describe("", LoadOptions(cache=tmp_path, threads=1)).space
    shipped = Calibration.read(SHIPPED, space.id)
    assert shipped.curve(Pair(TEXT, IMAGE)) is not None

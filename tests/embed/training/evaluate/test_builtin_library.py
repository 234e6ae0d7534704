"""What the built-in space is calibrated on, from data sets of a few files."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from embed.errors import NotFound
from embed.training.evaluate import builtin_library as made_of
from embed.training.image_head.galleries import Galleries, Gallery
from embed.types import Modality

IMAGE, VIDEO = Modality.IMAGE, Modality.VIDEO

NOUNS = """\
  1 This software and database is being provided to you
00000100 05 n 01 dog 0 001 @ 00000200 n 0000 | a tame animal that barks; "the dog barked"
00000200 05 n 02 beast 0 creature 0 000 | a living thing that is no plant
00000300 05 n 01 ladle 0 000 | a deep spoon to serve soup with
00000400 05 n 01 umiak 0 000 | an open boat of the far north
00000500 05 n 01 kilt 0 000 | a kind of skirt worn by men
00000600 05 n 01 ice_cream 0 000 | frozen cream with sugar and flavour
"""
INDEX = """\
  1 This software and database is being provided to you
dog n 2 1 @ 2 2 00000100 00000200
beast n 1 0 1 1 00000200
ladle n 1 0 1 1 00000300
umiak n 1 0 1 0 00000400
kilt n 1 0 1 1 00000500
ice_cream n 1 0 1 1 00000600
"""


def test_common_nouns_are_words_that_were_met_and_share_none_with_ours(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(NOUNS)
    (tmp_path / "index.noun").write_text(INDEX)
    assert made_of.nouns(tmp_path, ["skirts"]) == {
        "n00000100": ["dog", "a tame animal that barks"],
        "n00000200": ["beast", "a living thing that is no plant"],
        "n00000300": ["ladle", "a deep spoon to serve soup with"],
    }
    with pytest.raises(NotFound, match="wordnet-base"):
        made_of.nouns(tmp_path / "none", [])


def test_classes_are_named_and_drawn_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.noun").write_text(NOUNS)
    listed = ["n00000100", "n00000200", "n00000300", "n00000500"], ["dog", "beast", "ladle", "kilt"]
    monkeypatch.setattr(made_of, "imagenet_classes", lambda: listed)
    barred = np.array([False, False, True, False])
    numbers, words = made_of.named(tmp_path, ["skirts"], barred)
    assert numbers == {0: "n00000100", 1: "n00000200"}
    assert words == {"n00000100": ["dog"], "n00000200": ["beast", "creature"]}

    class Drawn:
        def draw(self, seed: int, strength: float) -> Gallery:
            return Gallery(np.arange(4), np.eye(4, dtype=np.float32) * (seed + 1))

    found = [*made_of.drawn(numbers, cast("Galleries", Drawn()), lambda rows: rows)]
    assert [(one.modality, one.record) for one in found] == [
        (modality, record) for modality in (IMAGE, VIDEO) for record in numbers.values()
    ]
    assert len({one.content for one in found}) == 4
    np.testing.assert_array_equal(found[3].joint, [[0, 2, 0, 0]])


def test_a_pan_moves_over_the_picture() -> None:
    picture = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30, 1).repeat(3, axis=2)
    film = made_of.pan(picture)
    assert film.shape == (made_of.FRAMES, 16, 24, 3)
    np.testing.assert_array_equal(film[0], picture[:16, :24])
    np.testing.assert_array_equal(film[-1], picture[4:, 6:])


def test_stills_and_films_never_share_a_photo() -> None:
    paths = [Path(record, f"{n}.webp") for n in range(30) for record in made_of.CLOTHES]
    still, moving = made_of.clothes(paths)
    for record in made_of.CLOTHES:
        assert len(still[record]) == len(moving[record]) == made_of.PHOTOS
        assert not set(still[record]) & set(moving[record])
        assert {path.parent.name for path in still[record]} == {record}
    with pytest.raises(NotFound, match=r"fewer than 20 photos of .*t-shirt"):
        made_of.clothes(path for path in paths if path.name < "15")


def test_the_sample_photos_are_there_and_each_is_a_still_or_a_film() -> None:
    shown, filmed, said = made_of.samples()
    assert set(shown) | set(filmed) == set(said)
    assert not set(shown) & set(filmed)
    for [path] in [*shown.values(), *filmed.values()]:
        assert made_of.pixels(path).shape[-1] == 3

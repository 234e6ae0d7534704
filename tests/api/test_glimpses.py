"""The media behind evidence: as small as asked for, of the place asked for, and only what was
indexed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from api.blobs import Blobs
from api.glimpses import FRAMES, RATE, glimpses
from embed.types import BoxSpan, CharSpan, Item, Media, Modality, PageSpan, Span, TimeSpan

Of = Callable[[str, Modality, Span | None, int], Media | None]


@pytest.fixture
def look(whole_files: dict[str, bytes], tmp_path: Path) -> Of:
    """The medium of one of the sample files, by name."""
    media_of = glimpses(cast("Blobs", None))  # files have paths of their own

    def look(name: str, modality: Modality, span: Span | None = None, side: int = 0) -> Any:
        path = tmp_path / name
        path.write_bytes(whole_files[name])
        digest = hashlib.sha256(whole_files[name]).hexdigest()
        item = Item(
            id=name, record=name, modality=modality, uri=path.as_uri(), digest=digest, text="abcdef"
        )
        return media_of(item, span, side)

    return look


def pixels(medium: Media | None) -> Any:
    assert medium is not None
    assert isinstance(medium.data, np.ndarray)
    assert medium.data.dtype == np.uint8
    return medium.data


def test_pictures_and_pages(look: Of) -> None:
    whole = pixels(look("a.png", Modality.IMAGE, None, 1000))
    small = pixels(look("a.png", Modality.IMAGE, None, 16))
    assert max(small.shape[:2]) == 16
    left = pixels(look("a.png", Modality.IMAGE, BoxSpan(0, 0, 0.5, 1), 1000))
    np.testing.assert_array_equal(left, whole[:, : whole.shape[1] // 2])
    assert pixels(look("a.png", Modality.IMAGE, BoxSpan(0.5, 0.5, 0.5, 0.5), 9)).shape == (1, 1, 3)
    page = look("a.pdf", Modality.IMAGE, PageSpan(1), 64)
    assert max(pixels(page).shape) == 64
    assert look("a.pdf", Modality.IMAGE, PageSpan(9), 64) is None


def test_sounds_and_films(look: Of) -> None:
    sound = look("a.wav", Modality.AUDIO, TimeSpan(0.25, 0.5), 0)
    assert sound is not None
    assert sound.rate == RATE
    assert np.asarray(sound.data).shape == (RATE // 4,)
    assert look("a.wav", Modality.AUDIO, TimeSpan(90, 91), 0) is None
    film = look("a.mp4", Modality.VIDEO, None, 24)
    frames = pixels(film)
    assert frames.shape[0] == FRAMES
    assert max(frames.shape[1:3]) == 24
    assert look("a.mp4", Modality.AUDIO, None, 0) is not None


def test_words_are_those_of_the_place(look: Of) -> None:
    found = look("a.md", Modality.TEXT, CharSpan(1, 3), 0)
    assert found is not None
    assert found.data == "bc"


def test_what_is_gone_or_another_has_none(look: Of, tmp_path: Path) -> None:
    media_of = glimpses(cast("Blobs", None))
    assert look("a.png", Modality.IMAGE, None, 16) is not None
    path = tmp_path / "a.png"
    item = Item(id="a", record="a", modality=Modality.IMAGE, uri=path.as_uri(), digest="0" * 64)
    assert media_of(item, None, 16) is None  # written over since
    path.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert media_of(item, None, 16) is None
    path.unlink()
    assert media_of(item, None, 16) is None

"""Previews on disk: made once, made again when broken, and never more than there is room for."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from api import drawing
from api.previews import Previews
from api.requests import MediaFile
from embed.errors import CorruptMedia, NotFound, UnsupportedModality
from embed.types import Modality


@pytest.fixture
def photo(tmp_path: Path) -> MediaFile:
    path = tmp_path / "photo.png"
    Image.new("RGB", (400, 200), (250, 0, 0)).save(path)
    return MediaFile(path=path, media_type="image/png", version="1")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sides of all that was really drawn."""
    sides: list[int] = []
    draw: Callable[..., bytes] = drawing.preview

    def counted(source: Path, modality: Modality, *, side: int) -> bytes:
        sides.append(side)
        return draw(source, modality, side=side)

    monkeypatch.setattr(drawing, "preview", counted)
    return sides


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_preview_is_drawn_once_for_each_size_and_version(
    tmp_path: Path, photo: MediaFile, drawn: list[int]
) -> None:
    kept = Previews(tmp_path / "cache", at_once=2)
    first = kept.get(photo, Modality.IMAGE, side=100)
    assert Image.open(io.BytesIO(first)).size == (100, 50)
    assert kept.get(photo, Modality.IMAGE, side=100) == first
    assert Previews(tmp_path / "cache", at_once=2).get(photo, Modality.IMAGE, side=100) == first
    assert drawn == [100]
    kept.get(photo, Modality.IMAGE, side=50)
    newer = MediaFile(path=photo.path, media_type="image/png", version="2")
    kept.get(newer, Modality.IMAGE, side=100)
    assert drawn == [100, 50, 100]


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_broken_one_is_made_again(
    tmp_path: Path, photo: MediaFile, drawn: list[int], damage: bytes | None
) -> None:
    kept = Previews(tmp_path / "cache", at_once=1)
    first = kept.get(photo, Modality.IMAGE, side=100)
    [path] = files(tmp_path / "cache")
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(bytes(flipped) if damage is None else damage)
    assert kept.get(photo, Modality.IMAGE, side=100) == first
    assert kept.get(photo, Modality.IMAGE, side=100) == first
    assert drawn == [100, 100]
    assert files(tmp_path / "cache") == [path]


def test_the_room_is_bounded_and_the_longest_unused_go_first(
    tmp_path: Path, photo: MediaFile, drawn: list[int]
) -> None:
    size = len(Previews(tmp_path / "one", at_once=1).get(photo, Modality.IMAGE, side=64))
    kept = Previews(tmp_path / "cache", at_once=1, max_bytes=(size + 32) * 10)
    for number in range(40):
        file = MediaFile(path=photo.path, media_type="image/png", version=str(number))
        kept.get(file, Modality.IMAGE, side=64)
        kept.get(photo, Modality.IMAGE, side=64)  # "1", asked for all the time
    assert sum(path.stat().st_size for path in files(tmp_path / "cache")) <= (size + 32) * 10
    drawn.clear()
    kept.get(photo, Modality.IMAGE, side=64)
    assert drawn == []


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, photo: MediaFile, drawn: list[int]
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    kept = Previews(tmp_path / "cache", at_once=1)
    assert kept.get(photo, Modality.IMAGE, side=64) == kept.get(photo, Modality.IMAGE, side=64)
    assert drawn == [64, 64]


def test_what_cannot_be_drawn_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("words")
    file = MediaFile(path=path, media_type="text/plain", version="1")
    with pytest.raises(UnsupportedModality):
        Previews(tmp_path / "cache", at_once=1).get(file, Modality.TEXT, side=64)
    assert files(tmp_path / "cache") == []


def test_what_is_broken_is_tried_once_and_what_is_gone_each_time(
    tmp_path: Path, photo: MediaFile, drawn: list[int]
) -> None:
    kept = Previews(tmp_path / "cache", at_once=1)
    photo.path.rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(NotFound):
            kept.get(photo, Modality.IMAGE, side=64)
    photo.path.write_bytes((tmp_path / "elsewhere").read_bytes()[:90])
    for _ in range(2):
        with pytest.raises(CorruptMedia, match=r"photo\.png"):
            kept.get(photo, Modality.IMAGE, side=64)
    assert len(drawn) == 3
    (tmp_path / "elsewhere").replace(photo.path)
    mended = MediaFile(path=photo.path, media_type="image/png", version="2")
    assert kept.get(mended, Modality.IMAGE, side=64)


def test_a_sound_has_a_shape(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    loud = np.concatenate([np.zeros(8000), np.sin(np.arange(8000) / 3)])
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes((loud * 20000).astype("<i2").tobytes())
    file = MediaFile(path=path, media_type="audio/wav", version="1")
    jpeg = Previews(tmp_path / "cache", at_once=1).get(file, Modality.AUDIO, side=200)
    shape = np.asarray(Image.open(io.BytesIO(jpeg)).convert("L"), dtype=np.float64)
    assert shape.shape[1] == 200
    quiet, noisy = shape[:, :90].std(), shape[:, 110:].std()
    assert noisy > 2 * quiet


@pytest.mark.parametrize("modality", [Modality.IMAGE, Modality.TEXT])
def test_a_document_is_known_by_its_first_page(tmp_path: Path, modality: Modality) -> None:
    path = tmp_path / "scan.pdf"
    red, blue = (Image.new("RGB", (200, 300), colour) for colour in ("red", "blue"))
    red.save(path, save_all=True, append_images=[blue])
    file = MediaFile(path=path, media_type="application/pdf", version="1")
    jpeg = Previews(tmp_path / "cache", at_once=1).get(file, modality, side=90)
    shown = Image.open(io.BytesIO(jpeg))
    assert shown.size == (60, 90)
    pixel = shown.convert("RGB").getpixel((30, 45))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200 > 100 > pixel[2]


def test_the_page_that_was_found_is_drawn(tmp_path: Path) -> None:
    path, kept = tmp_path / "scan.pdf", Previews(tmp_path / "cache", at_once=1)
    red, blue = (Image.new("RGB", (200, 300), colour) for colour in ("red", "blue"))
    red.save(path, save_all=True, append_images=[blue])
    file = MediaFile(path=path, media_type="application/pdf", version="1")
    first = kept.get(file, Modality.TEXT, side=90, page=1)
    second = kept.get(file, Modality.TEXT, side=90, page=2)
    assert first == kept.get(file, Modality.TEXT, side=90)
    assert kept.get(file, Modality.TEXT, side=90, page=2) == second
    pixel = Image.open(io.BytesIO(second)).convert("RGB").getpixel((30, 45))
    assert isinstance(pixel, tuple)
    assert pixel[2] > 200 > 100 > pixel[0]
    with pytest.raises(NotFound, match="no page 3"):
        kept.get(file, Modality.TEXT, side=90, page=3)

from __future__ import annotations

import hashlib
import io
import os
import random
import socket
import wave
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from embed.errors import (
    BadInput,
    CorruptMedia,
    Forbidden,
    NotFound,
    TooLarge,
    UnsupportedMedia,
    UnsupportedModality,
)
from embed.media import read as module
from embed.media.read import open_media
from embed.media.source import shown
from embed.types import Media, Modality

BOTH = frozenset({Modality.IMAGE, Modality.TEXT})


class Read(NamedTuple):
    media: Media
    digest: str


def read(
    source: Path | bytes,
    accepts: frozenset[Modality] = BOTH,
    name: str | None = None,
    image_side: int = 64,
) -> Read:
    raw = open_media(source, accepts=accepts, name=name)
    return Read(raw.decode(raw.modality, image_side=image_side), raw.digest)


def photo(form: str = "JPEG", side: int = 96) -> bytes:
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
    buffer = io.BytesIO()
    small.resize((side, side)).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_picture(tmp_path: Path, form: str) -> None:
    path = tmp_path / "misleading.txt"
    path.write_bytes(photo(form))
    got = read(path)
    assert got.media.modality is Modality.IMAGE
    assert got.media.source == str(path)
    assert isinstance(got.media.data, np.ndarray)
    assert got.media.data.shape == (96, 96, 3)
    assert got.digest == hashlib.sha256(photo(form)).hexdigest()


def test_a_text_longer_than_the_head(tmp_path: Path) -> None:
    text = "Ein Satz über Füchse. 🦊\n" * 999
    path = tmp_path / "fox"
    path.write_text(text, encoding="utf-8")
    got = read(path)
    assert got.media.data == text
    assert got.digest == hashlib.sha256(text.encode()).hexdigest()


def test_bytes_and_their_name() -> None:
    assert read(b"words", name="note.md").media.source == "note.md"
    assert read(b"words").digest == read(b"words", name="other").digest
    with pytest.raises(CorruptMedia, match=r"^up\.png is empty \(0 bytes\)"):
        read(b"", name="up.png")


def test_image_side_is_the_floor() -> None:
    data = read(photo(side=900), image_side=200).media.data
    assert isinstance(data, np.ndarray)
    assert data.shape == (225, 225, 3)


def test_a_zip_named_jpg_is_refused_by_content(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(UnsupportedMedia, match=r"photo\.jpg.*ZIP archive.*reads: image, text"):
        read(path)


@pytest.mark.parametrize(
    ("data", "label"),
    [(b"\x7fELF\2\1\1", "a Linux program"), (b"caf\xe9 noir", "UTF-8"), (b"\0\1\2", "00 01 02")],
)
def test_unknown_media_say_what_they_look_like(data: bytes, label: str) -> None:
    with pytest.raises(UnsupportedMedia, match=label):
        read(data)


@pytest.mark.parametrize(
    ("data", "accepts", "message"),
    [
        (
            b"fLaC\0\0\0\x22" + bytes(40),
            frozenset({Modality.IMAGE}),
            r"a FLAC sound \(audio\); this space reads: image$",
        ),
        (b"RIFF\0\1\0\0AVI LIST", frozenset({Modality.IMAGE}), "an AVI film"),
        (b"%PDF-1.4\n", frozenset({Modality.AUDIO}), r"a PDF document \(text\); .*reads: audio$"),
        (b"words", frozenset({Modality.IMAGE}), r"text \(text\); this space reads: image$"),
        (photo(), frozenset({Modality.TEXT}), "a JPEG picture"),
        (b"words", frozenset({Modality.IMU}), "reads: no files"),
    ],
)
def test_modalities_that_the_space_does_not_read(
    data: bytes, accepts: frozenset[Modality], message: str
) -> None:
    with pytest.raises(UnsupportedModality, match=message):
        read(data, accepts)


ALL = frozenset({Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO})


def captioned() -> bytes:
    tags = Image.Exif()
    tags[0x010E] = "Foxes in the snow"
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=tags)
    return buffer.getvalue()


def test_a_picture_with_a_caption_holds_both() -> None:
    raw = open_media(captioned(), accepts=ALL, name="a.jpg")
    assert raw.modalities == raw.accepted == (Modality.IMAGE, Modality.TEXT)
    assert raw.modality is Modality.IMAGE
    words = raw.decode(Modality.TEXT, image_side=64)
    assert (words.modality, words.data, words.source) == (
        Modality.TEXT,
        "Foxes in the snow",
        "a.jpg",
    )
    assert raw.decode(Modality.IMAGE, image_side=64).modality is Modality.IMAGE


def test_what_is_not_accepted_is_held_all_the_same() -> None:
    raw = open_media(captioned(), accepts=frozenset({Modality.TEXT}))
    assert raw.modalities == (Modality.IMAGE, Modality.TEXT)
    assert raw.accepted == (Modality.TEXT,)
    assert raw.modality is Modality.TEXT


@pytest.mark.parametrize(
    ("name", "data", "kind", "text", "sections"),
    [
        ("t.csv", b"a,b\n1,2\n3,4\n", "text/csv", "a: 1, b: 2\na: 3, b: 4", 2),
        ("t.TSV", b"a\tb\n1\t2\n", "text/csv", "a: 1, b: 2", 1),
        ("t.json", b'{"a": 1}', "application/json", "a: 1", 0),
        ("t.jsonl", b'{"a": 1}\n{"a": 2}', "application/jsonl", "a: 1\na: 2", 2),
        ("t.ndjson", b'{"a": 1}\n{"a": 2}', "application/jsonl", "a: 1\na: 2", 2),
        ("t.html", b"<title>T</title><p>x", "text/html", "T\nx", 0),
        ("t.md", b"# T\n\n*x*", "text/plain; charset=utf-8", "# T\n\n*x*", 0),
        ("t.txt", b"a,b\n1,2\n", "text/plain; charset=utf-8", "a,b\n1,2\n", 0),
        ("t", b'{"a": 1}', "text/plain; charset=utf-8", '{"a": 1}', 0),
        ("t.json", b"not json", "text/plain; charset=utf-8", "not json", 0),
        ("t.html", b"no tags", "text/plain; charset=utf-8", "no tags", 0),
        ("t.jsonl", b"{broken\n{}", "text/plain; charset=utf-8", "{broken\n{}", 0),
        ("t.csv", "a,b\n雪,2\n".encode("utf-16"), "text/csv", "a: 雪, b: 2", 1),
        (
            "t.txt",
            b"<html><meta charset=latin1>caf\xe9 noir</html>",
            "text/html",
            "café noir",
            0,
        ),
    ],
)
def test_among_texts_the_name_decides_if_it_is_true(
    tmp_path: Path, name: str, data: bytes, kind: str, text: str, sections: int
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    for source, given in ((path, None), (data, name)):
        raw = open_media(source, accepts=ALL, name=given)
        media = raw.decode(Modality.TEXT, image_side=64)
        assert (raw.media_type, media.data, len(media.sections)) == (kind, text, sections)
        assert raw.digest == hashlib.sha256(data).hexdigest()


def test_a_picture_stays_one_whatever_its_name() -> None:
    assert open_media(photo(), accepts=ALL, name="a.csv").modality is Modality.IMAGE


def test_a_word_document_by_content() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "word/document.xml",
            '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
            "<w:body><w:p><w:r><w:t>words</w:t></w:r></w:p></w:body></w:document>",
        )
    assert read(buffer.getvalue(), name="no.idea").media.data == "words"


def sound(path: Path, seconds: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\1" * 8000 * seconds)
    return path


def test_a_sound_is_opened_and_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sound(tmp_path / "a.jpg")
    monkeypatch.setattr(module, "read_source", None)
    raw = open_media(path, accepts=ALL)
    assert raw.accepted == (Modality.AUDIO,)
    assert raw.media_type == "audio/wav"
    assert raw.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    media = raw.decode(Modality.AUDIO, image_side=64)
    assert hasattr(media.data, "duration")
    assert media.data.duration == pytest.approx(1.0)


def test_sounds_and_films_have_limits_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sound(tmp_path / "a.wav")
    reading = module._READINGS["audio"]
    monkeypatch.setitem(module._READINGS, "audio", replace(reading, max_bytes=9_999))
    for source in (path, path.read_bytes()):
        with pytest.raises(TooLarge, match=r"has 16,044 bytes; at most 9,999"):
            open_media(source, accepts=ALL)


def test_what_is_refused_by_its_beginning_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(photo())
    monkeypatch.setattr(module, "read_source", None)
    with pytest.raises(UnsupportedModality):
        open_media(path, accepts=frozenset({Modality.AUDIO}))


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(CorruptMedia, match=r"a\.jpg is empty"):
        read(tmp_path / "a.jpg")


def test_a_huge_file_is_refused_by_its_size(tmp_path: Path) -> None:
    for name, head in (("a.jpg", photo()), ("a.txt", b"words\n" * 999)):
        path = tmp_path / name
        path.write_bytes(head)
        os.truncate(path, 2**40)
        with pytest.raises(TooLarge, match=r"1,099,511,627,776 bytes; at most"):
            read(path)


def test_pipes_sockets_devices_and_folders_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsupportedMedia, match="a named pipe; only regular files"):
        read(tmp_path / "pipe")
    with pytest.raises(UnsupportedMedia, match="a folder"):
        read(tmp_path)
    with pytest.raises(UnsupportedMedia, match="a device"):
        read(Path("/dev/zero"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "s"))
        with pytest.raises(UnsupportedMedia, match="a socket"):
            read(tmp_path / "s")


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    missing = [tmp_path / "no", tmp_path / "loop", tmp_path / "file" / "x", tmp_path / ("n" * 300)]
    for path in [*missing, Path("a\0b"), Path("\ud800")]:
        with pytest.raises(NotFound, match="is not there") as caught:
            read(path)
        caught.value.message.encode()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_we_may_not_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(Forbidden, match=r"secret\.txt may not be read.*chmod"):
        read(path)


def test_a_refusal_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "secret.txt"
    path.write_text("x")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Forbidden, match=r"secret\.txt may not be read.*chmod"):
        read(path)


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9\n.txt")
    path.write_text("words")
    source = read(path).media.source
    assert source is not None
    assert source.endswith("caf\\xe9\\n.txt")
    path.write_bytes(b"\0\1")
    with pytest.raises(UnsupportedMedia) as caught:
        read(path)
    assert "caf\\xe9\\n.txt" in caught.value.message
    caught.value.message.encode()


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        (Path("/a/雪 b.jpg"), None, "/a/雪 b.jpg"),
        (Path("\x1b[31m"), None, "\\x1b[31m"),
        (b"", None, "the data"),
        (b"", "up\nload", "up\\nload"),
    ],
)
def test_shown(source: Path | bytes, name: str | None, expected: str) -> None:
    assert shown(source, name) == expected


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_damaged_pictures_only_ever_raise_bad_input(form: str) -> None:
    whole, draw = photo(form), random.Random(form)
    refusals = []
    for _ in range(75):
        cut = whole[: draw.randrange(len(whole))]
        flipped = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            # Headers are where a flipped bit does most.
            at = draw.randrange(draw.choice((64, len(whole))))
            flipped[at] ^= 1 << draw.randrange(8)
        for data in (cut, bytes(flipped)):
            try:
                read(data, name="fuzz")
            except BadInput as error:
                refusals.append(error.message)
    assert len(refusals) > 60
    assert all(message.startswith("fuzz ") for message in refusals)

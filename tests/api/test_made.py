"""What a generator makes besides words: written and sent as what it is, bounded, or told."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image
from starlette.testclient import TestClient

from api import answers_ask, made, voices
from api.app import create_app
from api.cli import main
from api.config import Settings
from api.service import Service
from embed.errors import CatalogError, Forbidden
from embed.types import Media, Modality
from generation.types import Chunk, Prompt, Taste

IMAGE, AUDIO, VIDEO = Modality.IMAGE, Modality.AUDIO, Modality.VIDEO
RED = np.full((30, 40, 3), (200, 0, 0), np.uint8)
TONE = np.sin(np.arange(800, dtype=np.float32) / 5)
PICTURE, SOUND = Media(IMAGE, RED), Media(AUDIO, TONE, rate=8000.0)
FILM = Media(VIDEO, np.zeros((2, 4, 4, 3), np.uint8), rate=1.0)
Printed = pytest.CaptureFixture[str]
ASKED = "which tint is of 120 degrees?"


class Painter:
    """Says a word or two, and makes what it is told to."""

    name = "painter"
    inputs = frozenset({Modality.TEXT})
    outputs = frozenset({Modality.TEXT, IMAGE, AUDIO})
    taste = Taste(context=4096)

    def __init__(self, media: Sequence[Media]) -> None:
        self.media = media

    def count_tokens(self, text: str) -> int:
        return len(text)

    def generate(self, prompt: Prompt) -> Iterator[Chunk]:
        yield Chunk(text="Here you are.")
        yield from (Chunk(media=medium) for medium in self.media)
        yield Chunk(finish="stop")

    def close(self) -> None:
        pass


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    painter = Painter([PICTURE, SOUND, FILM])
    monkeypatch.setattr(voices, "open_generator", lambda name, options: painter)
    return painter


@pytest.fixture
def http(tinted: Path, tmp_path: Path, painter: Painter) -> Iterator[TestClient]:
    settings = Settings(home=tinted, cache=tmp_path / "cache", threads=1, generator="painter")
    service = Service(settings)
    with TestClient(create_app(service), base_url="http://localhost") as http:
        yield http
    service.close()


def of_uri(uri: str, kind: str) -> io.BytesIO:
    head, data = uri.split(",")
    assert head == f"data:{kind};base64"
    return io.BytesIO(base64.b64decode(data, validate=True))


def samples(file: Any) -> tuple[int, int]:
    with wave.open(file) as heard:
        return heard.getframerate(), heard.getnframes()


@pytest.mark.parametrize("stream", [False, True])
def test_the_openai_client_gets_pictures_in_the_message_and_sounds_beside(
    http: TestClient, stream: bool
) -> None:
    client = openai.OpenAI(base_url="http://localhost/v1", api_key="-", http_client=http)
    messages: list[Any] = [{"role": "user", "content": ASKED}]
    made_of: Any = client.chat.completions.create(
        model="crossbind", messages=messages, stream=stream
    )
    last = list(made_of)[-1] if stream else made_of
    said = last.choices[0].delta if stream else last.choices[0].message
    [picture] = said.images
    assert (picture["type"], picture["index"]) == ("image_url", 0)
    seen = Image.open(of_uri(picture["image_url"]["url"], "image/png"))
    assert seen.format == "PNG"
    assert np.array_equal(np.asarray(seen), RED)
    [sound] = last.media
    assert (sound["modality"], sound["type"]) == ("audio", "audio/wav")
    assert samples(of_uri(sound["url"], "audio/wav")) == (8000, 800)
    assert last.notes == ["the video that was made is left out: video is no picture and no sound"]


def test_the_wire_is_as_it_is_documented(http: TestClient, painter: Painter) -> None:
    for painter.media in ([PICTURE, SOUND], []):
        body = {"model": "crossbind", "messages": [{"role": "user", "content": ASKED}]}
        told = http.post("/v1/chat/completions", json=body)
        answers_ask.ChatAnswer.model_validate_json(told.content)
        assert ("images" in told.json()["choices"][0]["message"]) == bool(painter.media)


def test_the_command_line_writes_files_and_never_over_another(
    tinted: Path,
    painter: Painter,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Printed,
) -> None:
    monkeypatch.chdir(tinted.parent)
    words = ["--home", str(tinted), "ask", ASKED, "--generator", "painter"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    folder = Path("crossbind-made")
    assert [(one["modality"], Path(one["path"])) for one in told["media"]] == [
        ("image", folder / "image-1.png"),
        ("audio", folder / "audio-1.wav"),
    ]
    first = (folder / "image-1.png").read_bytes()
    painter.media = [Media(IMAGE, RED[:5])]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ASKED}\n"))
    assert main(["--home", str(tinted), "chat", "--generator", "painter"]) == 0
    assert "made image: crossbind-made/image-2.png" in capsys.readouterr().out
    assert (folder / "image-1.png").read_bytes() == first
    with Image.open(folder / "image-2.png") as second:
        assert second.size == (40, 5)
    assert samples(str(folder / "audio-1.wav")) == (8000, 800)
    painter.media = []
    assert main([*words, "--out", "elsewhere"]) == 0
    assert not Path("elsewhere").exists()
    painter.media = [PICTURE]
    assert main([*words, "--out", "crossbind-made/image-1.png"]) != 0
    assert (folder / "image-1.png").read_bytes() == first


def test_a_picture_that_is_supposed_is_sent_and_written(
    http: TestClient, tinted: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tinted.parent)
    asked = {"text": "a tint of 0 degrees", "missing": ["image"], "method": "synthesis"}
    told = http.post("/v1/collections/default/complete", json=asked)
    answers_ask.ReportAnswer.model_validate_json(told.content)
    [supposed], [picture] = told.json()["completions"], told.json()["media"]
    assert (supposed["origin"], supposed["value"]) == ("generated", None)
    assert picture["modality"] == "image"
    seen = Image.open(of_uri(picture["url"], "image/png"))
    assert np.array_equal(np.asarray(seen), RED)
    words = ["complete", "--text", asked["text"], "--missing", "image", "--method", "synthesis"]
    command = ["--home", str(tinted), *words, "--generator", "painter", "--out", "made"]
    assert main([*command, "--json"]) == 0
    [file] = json.loads(capsys.readouterr().out)["media"]
    assert file == {"modality": "image", "path": "made/image-1.png"}
    assert main(command) == 0
    assert "made image: made/image-2.png" in capsys.readouterr().out
    with Image.open("made/image-2.png") as again:
        assert np.array_equal(np.asarray(again), RED)


def test_what_is_handed_out_is_bounded() -> None:
    wide = Media(IMAGE, np.zeros((8, 3 * made.SIDE, 3), np.uint8))
    long = Media(AUDIO, np.zeros(int(1000 * (made.SECONDS + 9)), np.float32), rate=1000.0)
    media, notes = made.bounded([wide, long, *[PICTURE] * made.MOST])
    shapes = [np.asarray(medium.data).shape for medium in media]
    assert shapes[0][1] == made.SIDE
    assert shapes[1] == (1000 * made.SECONDS,)
    assert len(shapes) == made.MOST
    assert notes == ["6 media were made, and the first 4 are handed out"]


@pytest.mark.parametrize(
    "broken",
    [
        Media(IMAGE, RED.astype(np.float32)),
        Media(IMAGE, RED[0]),
        Media(IMAGE, RED[:0]),
        Media(IMAGE, TONE),
        Media(AUDIO, RED),
        Media(AUDIO, np.full(9, np.nan, np.float32), rate=8000.0),
        Media(AUDIO, TONE),
        Media(AUDIO, TONE, rate=1e12),
        Media(AUDIO, TONE, rate=float("nan")),
        Media(Modality.TEXT, "words"),
    ],
)
def test_what_is_not_what_it_is_called_is_left_out_and_told(broken: Media) -> None:
    media, [note] = made.bounded([broken, PICTURE])
    assert note.startswith(f"the {broken.modality} that was made is left out: ")
    [kept] = made.encoded(media)
    assert (kept.modality, kept.ending) == (IMAGE, ".png")


def test_a_folder_that_is_none_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises((CatalogError, Forbidden), match="file"):
            made.written([PICTURE], folder)

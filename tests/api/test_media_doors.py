"""All four media through both doors: a real service over a tower that sees, hears and reads.

Red is a low tone, green a middle one, blue a high one; a film is the mean of its frames.
"""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from api import answers
from api.cli import main
from api.config import Settings
from api.service import Service
from embed import registry
from embed.backends.tower import (
    AudioEncoder,
    FramesEncoder,
    ImageEncoder,
    Rows,
    TextEncoder,
    Tower,
    pixels_of,
    samples_of,
    text_of,
)
from embed.registry import Capabilities, Family, LoadOptions
from embed.types import CharSpan, Floats, Media, Modality, Space, normalise

SPACE = Space(name="rainbow", revision="1", preprocessing="1", precision="fp32", dim=3)
RGB = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}
HERTZ = {"red": 200, "green": 800, "blue": 3200}
NAMES = list(RGB)


class Read(TextEncoder[Floats]):
    def prepare(self, piece: Media) -> Floats:
        found = text_of(piece).split()
        return np.array([0.01 + found.count(name) for name in NAMES], np.float32)

    def run(self, batch: Sequence[Floats]) -> Rows:
        return Rows(np.stack(batch))

    def spans(self, text: str) -> Iterator[CharSpan | None]:
        yield None

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class See(ImageEncoder[Floats]):
    def prepare(self, piece: Media) -> Floats:
        mean: Floats = pixels_of(piece).reshape(-1, 3).mean(axis=0).astype(np.float32)
        return mean + np.float32(0.01)

    def run(self, batch: Sequence[Floats]) -> Rows:
        return Rows(np.stack(batch))


class Hear(AudioEncoder[Floats]):
    rate, seconds = 16_000, 1.0

    def prepare(self, piece: Media) -> Floats:
        power = np.abs(np.fft.rfft(samples_of(piece, self.rate))) ** 2
        hertz = np.fft.rfftfreq(2 * len(power) - 2, 1 / self.rate)
        bands = np.digitize(hertz, [400, 1600])
        heard = np.array([power[bands == band].sum() for band in range(3)], np.float32)
        return heard / heard.max() + np.float32(0.01)

    def run(self, batch: Sequence[Floats]) -> Rows:
        return Rows(np.stack(batch))


def rainbow(_: str, __: LoadOptions) -> Tower:
    encoders = {
        Modality.TEXT: Read,
        Modality.IMAGE: See,
        Modality.AUDIO: Hear,
        Modality.VIDEO: lambda: FramesEncoder(See(), min_side=16),
    }
    return Tower(SPACE, encoders, chunker="1", image_side=16)


def tone(*colours: str) -> bytes:
    """A WAV, a second of each."""
    time = np.arange(16_000) / 16_000
    sound = np.concatenate([np.sin(2 * np.pi * HERTZ[name] * time) for name in colours])
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((sound * 16_000).astype("<i2").tobytes())
    return out.getvalue()


def photo(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), RGB[colour]).save(out, "PNG")
    return out.getvalue()


def film(*colours: str, heard: str | None = None) -> bytes:
    """An MP4, two seconds of each colour, with a tone under it if any."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        sight = file.add_stream("mpeg4", rate=10)
        sight.width = sight.height = 64
        sound = file.add_stream("aac", rate=16_000, layout="mono") if heard else None
        for name in colours:
            pixels = np.full((64, 64, 3), RGB[name], np.uint8)
            for _ in range(20):
                file.mux(sight.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(sight.encode())
        if sound is not None and heard is not None:
            time = np.arange(32_000 * len(colours)) / 16_000
            samples = np.sin(2 * np.pi * HERTZ[heard] * time).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 16_000
            file.mux(sound.encode(frame))
            file.mux(sound.encode())
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with a sound track, and one of each other medium; every name says what it is."""
    folder = tmp_path_factory.mktemp("rainbow")
    (folder / "red-then-blue.mp4").write_bytes(film("red", "blue", heard="green"))
    (folder / "green.png").write_bytes(photo("green"))
    (folder / "blue.png").write_bytes(photo("blue"))
    (folder / "red-then-green.wav").write_bytes(tone("red", "red", "green"))
    (folder / "blue.wav").write_bytes(tone("blue"))
    (folder / "red.txt").write_text("red")
    (folder / "green.txt").write_text("green")
    return folder


@pytest.fixture(autouse=True)
def _rainbow(monkeypatch: pytest.MonkeyPatch) -> None:
    about = Capabilities(
        space=SPACE,
        summary="colours",
        modalities=frozenset(list(Modality)[:4]),
        native_dims={},
        preprocessing="none",
        licence="none",
        source="this test",
    )
    family = Family(form="rainbow", describe=lambda *_: about, check=lambda *_: None, load=rainbow)
    monkeypatch.setitem(registry._FAMILIES, "rainbow", family)


@pytest.fixture
def service(tmp_path: Path, folder: Path) -> Iterator[Service]:
    settings = Settings(home=tmp_path / "home", cache=tmp_path / "cache", threads=2)
    service = Service(settings)
    report = service.ingest([folder], collection="c", space="rainbow")
    assert (report.ingested, report.failed) == (7, 0), report.failures
    yield service
    service.close()


@pytest.fixture
def http(service: Service, client_of: Callable[[Service], Any]) -> Any:
    return client_of(service)


def uri(data: bytes, kind: str = "application/octet-stream") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def ask(http: Any, query: Any, *modalities: str) -> list[dict[str, Any]]:
    body = {"query": query, **({"modalities": list(modalities)} if modalities else {})}
    answer = http.post("/v1/collections/c/search", json=body)
    assert answer.status_code == 200, answer.text
    answers.HitsAnswer.model_validate_json(answer.content)
    hits: list[dict[str, Any]] = answer.json()["hits"]
    return hits


GREEN = {
    "text": lambda: "green",
    "image": lambda: uri(photo("green"), "image/png"),
    "audio": lambda: uri(tone("green"), "audio/wav"),
    "video": lambda: uri(film("green"), "video/mp4"),
}


@pytest.mark.parametrize("asked", GREEN)
def test_every_medium_finds_every_medium(http: Any, asked: str) -> None:
    query = {asked: GREEN[asked]()}
    assert ask(http, query, "text")[0]["title"] == "green.txt"
    assert ask(http, query, "image")[0]["title"] == "green.png"
    sounds = {hit["title"] for hit in ask(http, query, "audio")[:2]}
    assert sounds == {"red-then-blue.mp4", "red-then-green.wav"}
    assert ask(http, query, "video")[0]["title"] == "red-then-blue.mp4"


def test_a_hit_points_at_its_moment(http: Any) -> None:
    [hit] = ask(http, {"text": "blue"}, "video")
    assert hit["span"] == {"kind": "seconds", "start": 2.0, "end": 4.0}
    [hit, *_] = ask(http, {"image": uri(photo("green"))}, "audio")
    assert hit["title"] in ("red-then-blue.mp4", "red-then-green.wav")
    spans = {h["title"]: h["span"] for h in ask(http, {"text": "green"}, "audio")}
    assert spans["red-then-green.wav"]["start"] == 2.0


def test_weights_and_minus_of_media(http: Any) -> None:
    both = [{"audio": uri(tone("red"))}, {"image": uri(photo("green")), "weight": 0.2}]
    assert ask(http, both, "text")[0]["title"] == "red.txt"
    both[1]["weight"] = 5.0
    assert ask(http, both, "text")[0]["title"] == "green.txt"
    minus = [{"text": "red green"}, {"video": uri(film("red")), "weight": -1}]
    assert ask(http, minus, "text")[0]["title"] == "green.txt"
    minus = [{"text": "green blue"}, {"audio": uri(tone("green")), "weight": -1}]
    assert ask(http, minus, "image")[0]["title"] == "blue.png"


def test_the_wrong_field_for_a_medium_names_the_right_one(http: Any) -> None:
    body = {"query": {"image": uri(tone("red"))}}
    answer = http.post("/v1/collections/c/search", json=body)
    assert answer.status_code == 400
    assert "pass it as audio" in answer.json()["error"]["message"]


def test_embeddings_of_every_medium_and_of_mixtures(http: Any) -> None:
    inputs = [{kind: value()} for kind, value in GREEN.items()]
    mixed = {"audio": uri(tone("red")), "video": uri(film("blue"))}
    answer = http.post("/v1/embeddings", json={"model": "rainbow", "input": [*inputs, mixed]})
    assert answer.status_code == 200, answer.text
    *greens, mixture = (np.array(row["embedding"]) for row in answer.json()["data"])
    for green in greens:
        assert green @ [0, 1, 0] > 0.98
    expected = normalise(np.array([[1.0, 0.0, 1.0]]))[0]
    assert mixture @ expected > 0.98


def test_a_film_is_a_record_of_its_pictures_and_its_sound(http: Any) -> None:
    items = "/v1/collections/c/items"
    [seen] = http.get(f"{items}?modality=video").json()["items"]
    answer = http.get(f"{items}?record={seen['record']}")
    answers.ItemList.model_validate_json(answer.content)
    record = answer.json()["items"]
    assert [item["modality"] for item in record] == ["video", "audio"]
    assert http.get(f"{items}?record=nothing").json() == {"items": [], "next_cursor": None}
    files = [http.get(f"{items}/{item['id']}/media") for item in record]
    assert files[0].content == files[1].content
    assert files[0].headers["content-type"] == "video/mp4"
    assert 'filename="red-then-blue.mp4"' in files[1].headers["content-disposition"]


def colour_of(jpeg: bytes) -> str:
    mean = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).reshape(-1, 3).mean(axis=0)
    return NAMES[int(mean.argmax())]


def test_previews_of_every_medium(http: Any) -> None:
    items = "/v1/collections/c/items"
    by_kind = {item["modality"]: item["id"] for item in http.get(items).json()["items"]}
    for kind in ("image", "audio", "video"):
        answer = http.get(f"{items}/{by_kind[kind]}/preview?side=32")
        assert answer.headers["content-type"] == "image/jpeg"
        assert max(Image.open(io.BytesIO(answer.content)).size) == 32
    answer = http.get(f"{items}/{by_kind['text']}/preview")
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_modality")
    shown = [http.get(f"{items}/{by_kind['video']}/preview?at={at}") for at in (1, 3)]
    assert [colour_of(answer.content) for answer in shown] == ["red", "blue"]
    assert shown[0].headers["etag"] != shown[1].headers["etag"]
    known = {"If-None-Match": shown[0].headers["etag"]}
    again = http.get(f"{items}/{by_kind['video']}/preview?at=1", headers=known)
    assert again.status_code == 304
    assert http.get(f"{items}/{by_kind['video']}/preview?at=-1").status_code == 422


def test_an_uploaded_film_gives_its_sound_as_well(http: Any) -> None:
    items = "/v1/collections/c/items"
    films = {"files": ("party.mp4", film("green", heard="blue"))}
    answer = http.post(items, files=films)
    answers.UploadAnswer.model_validate_json(answer.content)
    [result] = answer.json()["results"]
    assert result["modality"] == "video"
    assert list(result["items"]) == ["video", "audio"]
    record = http.get(f"{items}/{result['id']}").json()["record"]
    listed = http.get(f"{items}?record={record}").json()["items"]
    assert [item["id"] for item in listed] == list(result["items"].values())
    assert ask(http, {"item": result["items"]["audio"]}, "image")[0]["title"] == "blue.png"
    jpeg = http.get(f"{items}/{result['id']}/preview").content
    assert colour_of(jpeg) == "green"


# The command line


@pytest.fixture
def searched(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs `crossbind search` and returns what it printed."""
    monkeypatch.setattr(service, "close", lambda: None)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words: str) -> str:
        capsys.readouterr()
        command = [*words[:1], "search", *words[1:], "--collection", "c"]
        assert main(command, make_service=lambda _: service) == 0
        return capsys.readouterr().out

    return run


def test_media_and_weights_on_the_command_line(
    searched: Callable[..., str], tmp_path: Path
) -> None:
    low, green = tmp_path / "low.wav", tmp_path / "green.mp4"
    low.write_bytes(tone("red"))
    green.write_bytes(film("green"))

    def first(*words: str) -> tuple[str, list[float]]:
        answer = json.loads(searched("--json", *words, "--modality", "text"))
        return answer["hits"][0]["title"], [term["weight"] for term in answer["query"]]

    assert first("--audio", str(low)) == ("red.txt", [1.0])
    assert first("--video", str(green)) == ("green.txt", [1.0])
    media = ("--video", str(green), "--audio", str(low))
    assert first(*media, "--weights", "0.2,1") == ("red.txt", [0.2, 1.0])
    assert first(*media, "--weights=1,0.2") == ("green.txt", [1.0, 0.2])
    minus = ("red green", "--audio", str(low), "--weights", "1,-1", "--without", "blue")
    assert first(*minus) == ("green.txt", [1.0, -1.0, -1.0])


def test_people_see_kinds_and_moments(searched: Callable[..., str]) -> None:
    out = searched("--quiet", "blue", "--modality", "video,audio")
    assert "▶ video" in out
    assert "♪ audio" in out
    assert "0:02-0:04" in out
    assert "\x1b" not in out

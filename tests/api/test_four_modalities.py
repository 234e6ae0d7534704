"""A folder of texts, pictures, films and sounds, indexed and searched from each to each.

The space is bound of two towers: the built-in one, and a tiny CLAP of random weights whose head is
fitted here, so that three kinds of sound come to lie beside the words for them.
"""

from __future__ import annotations

import hashlib
import json
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import skimage
import torch
import transformers
from PIL import Image
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from api.cli import main
from embed import registry
from embed.types import Floats, Media, Modality

RATE = 8000
SOUNDS = {
    "hum": "the low hum of an engine",
    "whistle": "a high whistle",
    "static": "static noise like rain",
}
PHOTOS = {"cat": "chelsea.png", "coffee": "coffee.png", "rocket": "rocket.jpg"}
TEXTS = {
    "hum.txt": "An engine hums, low and steady.",
    "whistle.txt": "Somebody whistles, high and clear.",
    "static.txt": "Static noise, like rain on a roof.",
    "pets.txt": "A cat sleeps on the sofa.",
    "drink.txt": "A cup of coffee with milk.",
    "space.txt": "A rocket leaves its launch pad.",
}

Ask = Callable[..., list[dict[str, Any]]]


def sound(kind: str, seed: int, seconds: float = 1.5) -> Floats:
    """One of three kinds, never twice the same."""
    rng = np.random.default_rng([list(SOUNDS).index(kind), seed])
    time = np.arange(int(RATE * seconds)) / RATE
    if kind == "static":
        return (0.3 * rng.standard_normal(len(time))).clip(-1, 1).astype(np.float32)
    low, high = {"hum": (80, 160), "whistle": (2000, 3000)}[kind]
    pitch, phase = rng.uniform(low, high), rng.uniform(0, 6)
    return (0.6 * np.sin(2 * np.pi * pitch * time + phase)).astype(np.float32)


def write_wav(path: Path, samples: Floats) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def write_film(path: Path, photo: Path, samples: Floats) -> Path:
    """A camera that moves over a photo, and a sound track."""
    picture = Image.open(photo).convert("RGB").resize((320, 240))
    with av.open(str(path), "w") as out:
        pictures = out.add_stream("libx264", rate=Fraction(8))
        pictures.width, pictures.height, pictures.pix_fmt = 256, 224, "yuv420p"
        voice = out.add_stream("aac", rate=RATE, layout="mono")
        for number in range(16):
            view = picture.crop((4 * number, number, 4 * number + 256, number + 224))
            frame = av.VideoFrame.from_image(view)
            frame.pts = number
            out.mux(pictures.encode(frame))
        out.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler("fltp", "mono", RATE, frame_size=voice.frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(voice.encode(piece))
        out.mux(voice.encode(None))
    return path


def write_clap(folder: Path) -> None:
    """A CLAP of a few thousand random weights, saved as the library saves one."""
    torch.manual_seed(0)
    ears = {
        "hidden_size": 16, "patch_embeds_hidden_size": 8, "depths": [1, 1],
        "num_attention_heads": [2, 2], "num_hidden_layers": 2, "spec_size": 64, "window_size": 4,
        "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4], "enable_fusion": False,
    }  # fmt: skip
    words = {
        "vocab_size": 8, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 64,
    }  # fmt: skip
    config = transformers.ClapConfig(text_config=words, audio_config=ears, projection_dim=24)
    transformers.ClapModel(config).save_pretrained(folder)
    bare = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1}, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bare, unk_token="<unk>", pad_token="<pad>"
    )
    features = transformers.ClapFeatureExtractor(
        feature_size=16, sampling_rate=RATE, hop_length=80, max_length_s=2,
        fft_window_size=256, frequency_max=4000,
    )  # fmt: skip
    transformers.ClapProcessor(features, tokenizer).save_pretrained(folder)


def fit_head(clap: str, options: registry.LoadOptions) -> tuple[Floats, Floats]:
    """Weight `(384, 24)` and bias `(384,)`: least squares from sounds to the words for them."""
    heard = registry.load(clap, options).embed(
        [
            Media(Modality.AUDIO, sound(kind, seed), float(RATE))
            for kind in SOUNDS
            for seed in range(40)
        ]
    )
    words = [Media(Modality.TEXT, caption) for caption in SOUNDS.values()]
    goals = np.repeat(registry.load("builtin", options).embed(words).joint, 40, axis=0)
    inputs = np.hstack([heard.joint, np.ones((len(heard), 1), np.float32)])
    ridge = 1e-4 * np.eye(inputs.shape[1])
    map_ = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ goals).astype(np.float32)
    return np.ascontiguousarray(map_[:-1].T), map_[-1]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    photos = Path(skimage.__file__).parent / "data"
    for name, words in TEXTS.items():
        (folder / name).write_text(words)
    for name, photo in PHOTOS.items():
        Image.open(photos / photo).convert("RGB").save(folder / f"{name}-photo.png")
    for kind in SOUNDS:
        write_wav(folder / f"{kind}-1.wav", sound(kind, 1000))
    write_film(folder / "cat-film.mp4", photos / PHOTOS["cat"], sound("whistle", 1001, 2.0))
    write_film(folder / "coffee-film.mp4", photos / PHOTOS["coffee"], sound("hum", 1001, 2.0))
    return folder


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> str:
    folder = tmp_path_factory.mktemp("bound")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    write_clap(folder / "clap")
    transformers.logging.enable_progress_bar()
    transformers.logging.set_verbosity_warning()
    options = registry.LoadOptions(cache=model_cache, threads=2, offline=True)
    weight, bias = fit_head(f"hf:{folder / 'clap'}", options)
    head = folder / "audio.safetensors"
    save_file({"weight": weight, "bias": bias}, head)
    manifest = {
        "format": 1,
        "dim": 384,
        "licence": "made in a test",
        "parts": [
            {"space": "builtin", "modalities": ["text", "image", "video"], "head": "identity"},
            {
                "space": "hf:./clap",
                "modalities": ["audio"],
                "head": {
                    "file": head.name,
                    "sha256": hashlib.sha256(head.read_bytes()).hexdigest(),
                },
            },
        ],
    }
    (folder / "bind.json").write_text(json.dumps(manifest))
    return f"bind:{folder / 'bind.json'}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def run(
    home: Path,
    model_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., dict[str, Any]]:
    monkeypatch.setenv("CROSSBIND_HOME", str(home))
    monkeypatch.setenv("CROSSBIND_CACHE", str(model_cache))

    def run(*words: str) -> dict[str, Any]:
        code = main(["--json", "--quiet", *words])
        out, err = capsys.readouterr()
        assert code == 0, err
        document: dict[str, Any] = json.loads(out)
        return document

    return run


@pytest.fixture
def ask(run: Callable[..., dict[str, Any]], library: Path, space: str) -> Ask:
    """Hits of one search; the library is indexed the first time, and found unchanged after it."""
    report = run("ingest", str(library), "--space", space)
    assert report["failed"] == 0
    assert report["ingested"] + report["unchanged"] == len(list(library.iterdir()))
    assert report["left_out"] == {}
    return lambda *words: run("search", *words)["hits"]


def test_a_folder_of_four_modalities_is_indexed_whole(
    run: Callable[..., dict[str, Any]], ask: Ask
) -> None:
    shown = run("collections", "show", "default")
    assert shown["modalities"] == {"audio": 5, "image": 3, "text": 6, "video": 2}
    ask("anything")


@pytest.mark.parametrize(
    ("asked", "gallery", "best"),
    [
        (["a cat"], "image", "cat-photo.png"),
        (["a cat"], "video", "cat-film.mp4"),
        (["a cat"], "text", "pets.txt"),
        (["a high whistle"], "audio", "whistle-1.wav or cat-film.mp4"),
        (["noise, rain"], "audio", "static-1.wav"),
        (["--image", "coffee-photo.png"], "video", "coffee-film.mp4"),
        (["--image", "coffee-photo.png"], "text", "drink.txt"),
        (["--image", "coffee-photo.png"], "image", "coffee-photo.png"),
        (["--image", "coffee-photo.png"], "audio", ""),
        (["--video", "cat-film.mp4"], "image", "cat-photo.png"),
        (["--video", "cat-film.mp4"], "video", "cat-film.mp4"),
        (["--video", "cat-film.mp4"], "text", "pets.txt"),
        (["--video", "cat-film.mp4"], "audio", ""),
        (["--audio", "static-1.wav"], "text", "static.txt"),
        (["--audio", "static-1.wav"], "audio", "static-1.wav"),
        (["--audio", "whistle-1.wav"], "audio", "whistle-1.wav or cat-film.mp4"),
        (["--audio", "cat-film.mp4"], "text", "whistle.txt"),
        (["--audio", "static-1.wav"], "image", ""),
        (["--audio", "static-1.wav"], "video", ""),
    ],
)
def test_each_modality_finds_each(
    ask: Ask, library: Path, asked: list[str], gallery: str, best: str
) -> None:
    words = [str(library / word) if (library / word).is_file() else word for word in asked]
    hits = ask(*words, "--modality", gallery)
    assert hits
    assert {hit["modality"] for hit in hits} == {gallery}
    if best:
        assert hits[0]["title"] in best.split(" or ")


def test_a_film_and_its_sound_track_are_one_record(ask: Ask) -> None:
    [film, *_] = ask("a cat", "--modality", "video")
    tracks = {hit["title"]: hit for hit in ask("a high whistle", "--modality", "audio")}
    track = tracks["cat-film.mp4"]
    assert track["record"] == film["record"]
    assert track["uri"] == film["uri"] + "#audio"
    assert film["span"]["kind"] == track["span"]["kind"] == "seconds"
    assert track["metadata"]["duration"] == pytest.approx(2.0, abs=0.2)


def test_media_are_weighed_and_taken_away(ask: Ask, library: Path) -> None:
    cat, coffee = library / "cat-photo.png", library / "coffee-photo.png"
    both = ["--image", str(cat), "--image", str(coffee), "--modality", "video"]
    assert ask(*both, "--weights", "1,0.1")[0]["title"] == "cat-film.mp4"
    assert ask(*both, "--weights", "0.1,1")[0]["title"] == "coffee-film.mp4"
    assert ask(*both, "--weights=-1,1")[0]["title"] == "coffee-film.mp4"

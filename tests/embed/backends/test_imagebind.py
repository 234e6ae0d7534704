"""ImageBind as a caller meets it, with a tiny random checkpoint."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from embed import registry
from embed.backends.imagebind import space as imagebind
from embed.backends.imagebind.config import HUGE, TOWERS, Config, Shape
from embed.backends.imagebind.model import ImageBind
from embed.backends.imagebind.weights import Checkpoint
from embed.backends.onnx_runtime.export import export_space
from embed.backends.tower import Tower
from embed.errors import BadInput, MissingWeights, NotFound
from embed.media.read import open_media
from embed.registry import LoadOptions
from embed.types import Embedder, Media, Modality, Pixels

TINY = Config(
    vision=Shape(16, 2, 2),
    text=Shape(12, 2, 2),
    audio=Shape(8, 2, 2),
    depth=Shape(8, 1, 2),
    thermal=Shape(12, 1, 3),
    imu=Shape(8, 1, 2),
    joint=10,
)


def random_state(config: Config) -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = ImageBind(config).state_dict()
    constant = ("mask", "log_logit_scale")
    return {k: v if k.endswith(constant) else torch.randn(v.shape) * 0.3 for k, v in state.items()}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagebind")
    torch.save(random_state(TINY), folder / imagebind.FILE)
    return folder


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagebind, "CONFIG", TINY)


@pytest.fixture
def options(cache: Path) -> LoadOptions:
    return LoadOptions(cache=cache, threads=1)


@pytest.fixture
def tower(options: LoadOptions) -> Tower:
    loaded = registry.load("imagebind:huge", options)
    assert isinstance(loaded, Tower)
    return loaded


def noise(seconds: float, seed: int = 0) -> Media:
    rng = np.random.default_rng(seed)
    samples = rng.uniform(-0.5, 0.5, round(seconds * 16_000)).astype(np.float32)
    return Media(Modality.AUDIO, samples, rate=16_000.0)


def some(photos: dict[str, Pixels]) -> dict[Modality, list[Media]]:
    """Three media of each kind."""
    rng = np.random.default_rng(0)
    films = rng.integers(0, 256, (3, 12, 60, 80, 3), np.uint8)

    def arrays(*shape: int) -> list[np.ndarray]:
        return list(rng.normal(size=(3, *shape)).astype(np.float32))

    texts = ["a cat", "a dog on a beach at night", "word " * 70]
    return {
        Modality.TEXT: [Media(Modality.TEXT, text) for text in texts],
        Modality.IMAGE: [Media(Modality.IMAGE, pixels) for pixels in list(photos.values())[:3]],
        Modality.VIDEO: [Media(Modality.VIDEO, frames, rate=2.0) for frames in films],
        Modality.AUDIO: [noise(seconds) for seconds in (0.01, 2.0, 9.0)],
        Modality.DEPTH: [Media(Modality.DEPTH, array) for array in arrays(1, 224, 224)],
        Modality.THERMAL: [Media(Modality.THERMAL, array) for array in arrays(1, 224, 224)],
        Modality.IMU: [Media(Modality.IMU, array) for array in arrays(6, 2000)],
    }


# What is known before loading.


def test_it_is_described_before_its_weights_are_there(tmp_path: Path) -> None:
    about = registry.describe("imagebind:huge", LoadOptions(cache=tmp_path, threads=1))
    assert about.space.name == "imagebind:huge"
    assert about.space.revision == "unfetched"
    assert about.modalities == frozenset(Modality)
    assert "CC BY-NC" in about.licence
    assert "kaldi" in about.preprocessing


def test_describing_it_imports_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from embed import registry;"
        f"o = registry.LoadOptions(cache=Path({str(tmp_path)!r}), threads=1);"
        "assert registry.describe('imagebind:huge', o).space.dim == 1024;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_missing_weights_say_where_they_are(tmp_path: Path) -> None:
    options = LoadOptions(cache=tmp_path, threads=1)
    for act in (registry.check, registry.load):
        with pytest.raises(MissingWeights) as caught:
            act("imagebind:huge", options)
        assert imagebind.ADDRESS in caught.value.message
        assert str(tmp_path / "imagebind_huge.pth") in caught.value.message
        assert "CC BY-NC" in caught.value.message


@pytest.mark.parametrize("detail", ["", "base", "huge+fp8", "huge+int8"])
def test_another_variant_names_the_choices(detail: str, options: LoadOptions) -> None:
    with pytest.raises(NotFound, match="choices"):
        registry.describe(f"imagebind:{detail}", options)


def test_the_space_is_named_by_weights_and_precision(
    cache: Path, options: LoadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = registry.describe("imagebind:huge", options).space
    other = registry.describe(f"imagebind:{cache / imagebind.FILE}", options).space
    half = registry.describe("imagebind:huge+bf16", options).space
    assert huge.revision == other.revision != "unfetched"
    assert (huge.precision, half.precision) == ("fp32", "bf16")
    assert huge.id != half.id
    monkeypatch.chdir(cache)
    near = registry.describe(f"imagebind:./{imagebind.FILE}+bf16", options).space
    assert near.name == f"imagebind:{cache / imagebind.FILE}+bf16"


# Vectors.


def test_every_modality_has_unit_vectors_in_one_space(
    tower: Tower, photos: dict[str, Pixels]
) -> None:
    assert isinstance(tower, Embedder)
    for modality, media in some(photos).items():
        vectors = tower.embed(media)
        assert vectors.space == tower.space
        assert vectors.joint.shape == (3, TINY.joint)
        assert np.abs(vectors.joint[0] - vectors.joint[1]).max() > 1e-3, modality


def test_a_vector_is_the_same_in_every_batch_and_call(
    tower: Tower, photos: dict[str, Pixels]
) -> None:
    for modality, media in some(photos).items():
        together = tower.embed(media).joint
        alone = np.concatenate([tower.embed([one]).joint for one in media])
        np.testing.assert_allclose(together, alone, atol=2e-6, err_msg=modality)
        np.testing.assert_array_equal(together, tower.embed(media).joint)


def test_vectors_are_those_of_the_model(
    tower: Tower, cache: Path, photos: dict[str, Pixels]
) -> None:
    """From standardised floats, the towers' lengths kept, clips averaged last."""
    model = ImageBind(TINY)
    model.load_state_dict(random_state(TINY))
    model.eval()
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])

    def standard(pixels: Pixels) -> Tensor:
        return ((torch.tensor(pixels) / 255 - mean) / std).movedim(-1, -4 if pixels.ndim > 4 else 0)

    media = some(photos)
    picture, film, sound = (
        tower.prepare(media[kind][0]) for kind in (Modality.IMAGE, Modality.VIDEO, Modality.AUDIO)
    )
    with torch.no_grad():
        wanted = {
            Modality.IMAGE: model("vision", standard(picture)[None, :, None]),
            Modality.VIDEO: model("vision", standard(film)).mean(0, keepdim=True),
            Modality.AUDIO: model("audio", torch.from_numpy(sound)).mean(0, keepdim=True),
        }
    for modality, row in wanted.items():
        unit = torch.nn.functional.normalize(row).numpy()
        np.testing.assert_allclose(tower.embed(media[modality][:1]).joint, unit, atol=1e-5)


def test_files_of_each_kind_meet_in_one_space(
    tower: Tower, tmp_path: Path, photos: dict[str, Pixels]
) -> None:
    Image.fromarray(photos["rocket.jpg"]).save(tmp_path / "rocket.jpg")
    (tmp_path / "words.txt").write_text("a rocket on its pad", encoding="utf-8")
    write_wav(tmp_path / "sound.wav", seconds=12)
    write_mp4(tmp_path / "film.mp4", seconds=3)
    found = {}
    for path in sorted(tmp_path.iterdir()):
        raw = open_media(path, accepts=tower.modalities)
        media = raw.decode(raw.modality, image_side=tower.image_side)
        pieces = list(tower.fragment(media))
        found[raw.modality] = tower.embed([piece for _, piece in pieces]).joint.shape
    assert found == {
        Modality.IMAGE: (1, 10),
        Modality.TEXT: (1, 10),
        Modality.AUDIO: (2, 10),
        Modality.VIDEO: (1, 10),
    }


def write_wav(path: Path, seconds: int) -> None:
    t = np.arange(seconds * 44_100) / 44_100
    left = np.sin(2 * np.pi * 440 * t) * 12_000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(np.stack([left, -left], axis=1).astype("<i2").tobytes())


def write_mp4(path: Path, seconds: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for k in range(10 * seconds):
            pixels = np.full((120, 160, 3), 8 * k, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def test_the_first_channel_is_heard(tower: Tower, tmp_path: Path) -> None:
    """Left and right cancel out in their mean, which would be silence."""
    write_wav(tmp_path / "sound.wav", seconds=3)
    raw = open_media(tmp_path / "sound.wav", accepts=tower.modalities)
    media = raw.decode(Modality.AUDIO, image_side=224)
    ((_, piece),) = tower.fragment(media)
    assert isinstance(piece.data, np.ndarray)
    assert np.abs(piece.data).max() > 0.3


@pytest.mark.parametrize("precise", ["bf16", "fp16"])
def test_lower_precision_is_near(
    precise: str, options: LoadOptions, photos: dict[str, Pixels]
) -> None:
    full = registry.load("imagebind:huge", options)
    half = registry.load(f"imagebind:huge+{precise}", options)
    for media in some(photos).values():
        pairs = zip(full.embed(media).joint, half.embed(media).joint, strict=True)
        assert min(float(one @ other) for one, other in pairs) > 0.99


def test_long_texts_are_cut(tower: Tower) -> None:
    text = "a dog and a cat " * 60
    spans = [span for span, _ in tower.fragment(Media(Modality.TEXT, text))]
    assert len(spans) > 3
    assert tower.count_tokens("a cat") == 4


@pytest.mark.parametrize(
    ("modality", "array"),
    [
        (Modality.DEPTH, np.zeros((224, 224), np.float32)),
        (Modality.THERMAL, np.zeros((1, 224, 224), np.uint8)),
        (Modality.IMU, np.full((6, 2000), np.nan, np.float32)),
        (Modality.IMU, np.zeros((6, 2001), np.float32)),
    ],
)
def test_arrays_of_another_kind_are_refused(
    tower: Tower, modality: Modality, array: np.ndarray
) -> None:
    with pytest.raises(BadInput, match=modality):
        tower.prepare(Media(modality, array))


def test_torch_and_onnx_agree(
    tower: Tower, options: LoadOptions, photos: dict[str, Pixels], tmp_path: Path
) -> None:
    """All seven modalities, clips averaged inside the graph."""
    report = export_space("imagebind:huge", tmp_path / "onnx", options)
    assert report.left_out == ()
    exported = registry.load(report.space, options)
    for modality, media in some(photos).items():
        wanted = tower.embed(media).joint
        np.testing.assert_allclose(exported.embed(media).joint, wanted, atol=1e-5, err_msg=modality)


# The checkpoint.


def test_only_the_tower_asked_for_is_taken(
    tower: Tower, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[str] = []
    take = Checkpoint.tower
    monkeypatch.setattr(
        Checkpoint, "tower", lambda self, name: taken.append(name) or take(self, name)
    )
    with caplog.at_level(logging.WARNING):
        tower.embed([Media(Modality.TEXT, "a cat")])
    assert set(taken) == {"text"}
    assert "CC BY-NC" in caplog.text
    tower.warm()
    assert set(taken) == set(TOWERS)


def test_nothing_is_allocated_twice(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every parameter is the very memory that the file is mapped to."""
    opened: list[dict[str, Tensor]] = []
    load = torch.load

    def spied(*args: object, **kwargs: object) -> dict[str, Tensor]:
        assert kwargs["mmap"] is True
        assert kwargs["weights_only"] is True
        opened.append(load(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(torch, "load", spied)
    checkpoint = Checkpoint(cache / imagebind.FILE, TINY)
    for name in TOWERS:
        for key, value in checkpoint.tower(name).state_dict().items():
            assert value.device.type == "cpu"
            assert value.data_ptr() == opened[0][key].data_ptr(), key
    assert len(opened) == 1


def test_a_wrong_checkpoint_says_what_is_wrong(tmp_path: Path) -> None:
    state = random_state(TINY)
    del state["modality_heads.imu.3.weight"]
    state["optimizer.step"] = torch.zeros(1)
    state["modality_preprocessors.text.pos_embed"] = torch.zeros(1, 76, 12)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(MissingWeights) as caught:
        Checkpoint(tmp_path / "other.pth", TINY)
    for part in (
        "1 tensors are missing (modality_heads.imu.3.weight)",
        "1 are not of this model (optimizer.step)",
        "modality_preprocessors.text.pos_embed is (1, 76, 12) instead of (1, 77, 12)",
    ):
        assert part in caught.value.message


def test_a_checkpoint_of_another_width_is_refused(cache: Path) -> None:
    with pytest.raises(MissingWeights, match="have another shape"):
        Checkpoint(cache / imagebind.FILE, replace(TINY, joint=11))


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code of a checkpoint ran",))


def test_a_file_that_is_no_state_dict_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.pth"
    torch.save([torch.zeros(1)], path)
    with pytest.raises(MissingWeights, match="state dict"):
        Checkpoint(path, TINY)
    for content in (b"", b"not a checkpoint", pickle.dumps(Evil())):
        path.write_bytes(content)
        with pytest.raises(MissingWeights, match="no checkpoint"):
            Checkpoint(path, TINY)
    torch.save({"weights": Evil()}, path)
    with pytest.raises(MissingWeights, match="no checkpoint"):
        Checkpoint(path, TINY)
    assert capsys.readouterr().out == ""


def test_huge_is_what_is_loaded_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert imagebind.CONFIG is HUGE

"""Composite spaces: towers of different dimensions meet through trained heads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from embed import registry
from embed.backends.bind.head import HeadFile, load_head
from embed.backends.tower import ImageEncoder, Rows, TextEncoder, Tower, pixels_of, text_of
from embed.errors import BadInput, CrossbindError, MissingWeights, UnsupportedModality
from embed.registry import Capabilities, Family, LoadOptions
from embed.types import CharSpan, Floats, Media, Modality, Pixels, Space, normalise

OPTIONS = LoadOptions(cache=Path("unused"), threads=1)
WIDE, NARROW = 12, 8
RNG = np.random.default_rng(0)
LATENT = RNG.normal(size=(60, NARROW)).astype(np.float32)
EYE = np.linalg.qr(RNG.normal(size=(WIDE, WIDE)))[0][:, :NARROW].astype(np.float32)
NAMES = [f"thing {row}" for row in range(len(LATENT))]


def picture(row: int) -> Pixels:
    """Number `row`, as a picture."""
    return np.full((2, 2, 3), row, np.uint8)


class Reads(TextEncoder[int]):
    """`thing 7` is row 7 of the latent vectors."""

    def prepare(self, piece: Media) -> int:
        return int(text_of(piece).split()[-1])

    def run(self, batch: Sequence[int]) -> Rows:
        return Rows(LATENT[list(batch)])

    def spans(self, text: str) -> Iterator[CharSpan | None]:
        yield None

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class Sees(ImageEncoder[int]):
    """A picture of 7 is row 7, turned and put into more dimensions; its own features beside it."""

    def prepare(self, piece: Media) -> int:
        return int(pixels_of(piece)[0, 0, 0])

    def run(self, batch: Sequence[int]) -> Rows:
        rows = LATENT[list(batch)]
        return Rows(rows @ EYE.T, rows)


MAKERS: dict[str, tuple[Modality, Any, int]] = {
    "reads": (Modality.TEXT, Reads, NARROW),
    "sees": (Modality.IMAGE, Sees, WIDE),
}


def space(detail: str) -> Space:
    name, _, revision = detail.partition("@")
    dim = MAKERS[name][2]
    return Space(
        name=f"toy:{detail}",
        revision=revision or "1",
        preprocessing=name,
        precision="fp32",
        dim=dim,
    )


def describe(detail: str, _: LoadOptions) -> Capabilities:
    modality = MAKERS[detail.partition("@")[0]][0]
    return Capabilities(
        space=space(detail),
        summary="a toy",
        modalities=frozenset({modality}),
        native_dims={modality: NARROW} if modality is Modality.IMAGE else {},
        preprocessing=detail,
        licence="MIT" if modality is Modality.TEXT else "CC0",
        source=detail,
    )


def load(detail: str, _: LoadOptions) -> Tower:
    modality, make, _dim = MAKERS[detail.partition("@")[0]]
    return Tower(space(detail), {modality: make}, chunker=detail, image_side=7)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FAMILIES", copy(registry._FAMILIES))
    registry.register(
        "toy", Family(form="toy:X", describe=describe, check=lambda *_: None, load=load)
    )


def write_head(folder: Path, name: str, **tensors: Any) -> dict[str, str]:
    """A head file, and what the manifest says of it."""
    arrays = {key.replace("_", "."): np.ascontiguousarray(v) for key, v in tensors.items()}
    data = save(arrays)
    (folder / name).write_bytes(data)
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def least_squares() -> Floats:
    """The linear head from what `sees` gives to what `reads` gives, for the first 40 things."""
    seen, read = normalise(LATENT @ EYE.T)[:40], normalise(LATENT)[:40]
    weight: Floats = np.linalg.lstsq(seen, read, rcond=None)[0].T.astype(np.float32)
    return weight


def manifest(folder: Path, parts: list[dict[str, Any]], **more: Any) -> str:
    path = folder / "bound.json"
    document = {"format": 1, "dim": NARROW, "licence": "CC-BY-4.0", "parts": parts, **more}
    path.write_text(json.dumps(document))
    return f"bind:{path}"


@pytest.fixture
def parts(tmp_path: Path) -> list[dict[str, Any]]:
    head = write_head(tmp_path, "sees.safetensors", weight=least_squares())
    return [
        {"space": "toy:reads", "modalities": ["text"], "head": "identity"},
        {"space": "toy:sees", "modalities": ["image"], "head": head},
    ]


def test_words_find_the_pictures_that_a_trained_head_brings_to_them(
    tmp_path: Path, parts: list[dict[str, Any]]
) -> None:
    bound = registry.load(manifest(tmp_path, parts), OPTIONS)
    unseen = range(40, 60)
    texts = bound.embed([Media(Modality.TEXT, NAMES[row]) for row in unseen])
    pictures = bound.embed([Media(Modality.IMAGE, picture(row)) for row in unseen])
    assert (texts.joint @ pictures.joint.T).argmax(1).tolist() == list(range(20))
    assert pictures.joint.shape == (20, NARROW)
    assert pictures.native is not None
    np.testing.assert_allclose(pictures.native, normalise(LATENT[40:]), atol=1e-6)
    np.testing.assert_array_equal(texts.joint, normalise(LATENT[40:]))


def test_it_says_before_loading_what_it_is(tmp_path: Path, parts: list[dict[str, Any]]) -> None:
    name = manifest(tmp_path, parts)
    about, bound = registry.describe(name, OPTIONS), registry.load(name, OPTIONS)
    registry.check(name, OPTIONS)
    assert about.space == bound.space
    assert about.space.name == name
    assert about.modalities == bound.modalities == {Modality.TEXT, Modality.IMAGE}
    assert about.native_dims == {Modality.IMAGE: NARROW}
    assert about.licence == "MIT; CC0; heads: CC-BY-4.0"
    assert bound.image_side == 7
    assert bound.count_tokens("thing 7") == 2
    with pytest.raises(UnsupportedModality, match="image and text, not audio"):
        bound.prepare(Media(Modality.AUDIO, np.zeros(8, np.float32), 8.0))


def test_its_id_changes_with_every_part_and_head(
    tmp_path: Path, parts: list[dict[str, Any]]
) -> None:
    def revision(changed: list[dict[str, Any]]) -> str:
        return registry.describe(manifest(tmp_path, changed), OPTIONS).space.id

    other = write_head(tmp_path, "other.safetensors", weight=2 * least_squares())
    ids = {
        revision(parts),
        revision([{**parts[0], "space": "toy:reads@2"}, parts[1]]),
        revision([parts[0], {**parts[1], "head": other}]),
        revision(parts[1:]),
    }
    assert len(ids) == 4
    assert revision(parts) == revision([dict(part) for part in parts])


def test_a_deep_head_is_what_torch_computes(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(WIDE, 20), torch.nn.ReLU(), torch.nn.Linear(20, NARROW, bias=False)
    )
    tensors = {key.replace(".", "_"): value.numpy() for key, value in network.state_dict().items()}
    said = write_head(tmp_path, "deep.safetensors", **tensors)
    head = load_head(HeadFile(tmp_path / said["file"], said["sha256"]), WIDE, NARROW)
    rows = RNG.normal(size=(5, WIDE)).astype(np.float32)
    wanted = network(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(head(rows), wanted, atol=1e-6)


def test_the_builtin_space_and_a_toy_share_one(model_cache: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, cache=model_cache)
    words = ["a dog on a beach", "an invoice", "a red car", "hot coffee"]
    wanted = registry.load("builtin", options).embed([Media(Modality.TEXT, w) for w in words]).joint
    seen = normalise(LATENT[: len(words)] @ EYE.T)
    weight = np.linalg.lstsq(seen, wanted, rcond=None)[0].T.astype(np.float32)
    head = write_head(tmp_path, "head.safetensors", weight=weight, bias=np.zeros(384, np.float32))
    name = manifest(
        tmp_path,
        [
            {"space": "builtin", "modalities": ["text"], "head": "identity"},
            {"space": "toy:sees", "modalities": ["image"], "head": head},
        ],
        dim=384,
    )
    bound = registry.load(name, options)
    texts = bound.embed([Media(Modality.TEXT, word) for word in words]).joint
    pictures = bound.embed([Media(Modality.IMAGE, picture(row)) for row in range(len(words))]).joint
    np.testing.assert_array_equal(texts, wanted)
    assert (pictures @ texts.T).argmax(1).tolist() == [0, 1, 2, 3]


def refused(folder: Path, parts: list[dict[str, Any]], **more: Any) -> CrossbindError:
    with pytest.raises(CrossbindError) as caught:
        registry.load(manifest(folder, parts, **more), OPTIONS)
    return caught.value


def test_what_does_not_fit_is_told(tmp_path: Path, parts: list[dict[str, Any]]) -> None:
    reads, sees = parts
    short = write_head(tmp_path, "short.safetensors", weight=np.ones((NARROW, 5), np.float32))
    broken = write_head(
        tmp_path, "broken.safetensors", weight=np.full((NARROW, WIDE), np.nan, np.float32)
    )
    strange = write_head(tmp_path, "strange.safetensors", scale=np.ones(3, np.float32))
    cases: list[tuple[list[dict[str, Any]], str]] = [
        ([reads, {**sees, "head": "identity"}], "has 12 dimensions and .* wants 8"),
        ([reads, {**sees, "head": short}], "one from 12 dimensions is wanted"),
        ([reads, {**sees, "head": broken}], "not finite"),
        ([reads, {**sees, "head": strange}], "a head is a Sequential"),
        ([reads, {**sees, "modalities": ["text"]}], "from one part only"),
        ([{**reads, "modalities": ["audio"]}], "wants audio of toy:reads, which embeds text"),
        ([{**reads, "space": "bind:other.json"}], "not another bind"),
        ([{"space": "toy:reads"}], "lacks 'modalities'"),
        ([], "at least one"),
    ]
    for changed, words in cases:
        error = refused(tmp_path, changed)
        assert isinstance(error, BadInput), error
        assert re.search(words, error.message), error.message
    assert "has format 2" in refused(tmp_path, parts, format=2).message


def test_a_head_that_is_gone_or_another_is_told(
    tmp_path: Path, parts: list[dict[str, Any]]
) -> None:
    path = tmp_path / "sees.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "not the head that this space is made of" in refused(tmp_path, parts).message
    path.unlink()
    with pytest.raises(MissingWeights, match=r"sees\.safetensors is not there"):
        registry.check(manifest(tmp_path, parts), OPTIONS)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format": 1}', "[" * 100_000])
def test_a_manifest_that_is_none_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(BadInput, match=r"bad\.json"):
        registry.describe(f"bind:{tmp_path / 'bad.json'}", OPTIONS)
    with pytest.raises(MissingWeights, match=r"gone\.json cannot be read"):
        registry.describe(f"bind:{tmp_path / 'gone.json'}", OPTIONS)


def test_towers_beside_the_manifest_are_found(tmp_path: Path) -> None:
    from embed.backends.bind.space import read_manifest

    name = manifest(
        tmp_path, [{"space": "onnx:./towers/a", "modalities": ["text"], "head": "identity"}]
    )
    assert read_manifest(name.removeprefix("bind:")).parts[0].space == f"onnx:{tmp_path}/towers/a"


def test_a_head_lies_beside_its_manifest(tmp_path: Path, parts: list[dict[str, Any]]) -> None:
    reads, sees = parts
    for file in ("../sees.safetensors", "/etc/passwd", "a/../../b"):
        head = {**sees["head"], "file": file}
        assert "leads out of" in refused(tmp_path, [reads, {**sees, "head": head}]).message
    for dim in (-8, 0, 10**9, "8"):
        assert "has a wrong value" in refused(tmp_path, parts, dim=dim).message


def test_exported_towers_are_looked_for_beside_the_manifest(tmp_path: Path) -> None:
    from embed.backends.bind.space import read_manifest

    name = manifest(
        tmp_path, [{"space": "onnx:towers/a", "modalities": ["text"], "head": "identity"}]
    )
    assert read_manifest(name.removeprefix("bind:")).parts[0].space == f"onnx:{tmp_path}/towers/a"

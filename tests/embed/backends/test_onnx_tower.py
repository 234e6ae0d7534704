"""Exported folders: whole or refused, and run without torch. The networks are toys."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from embed import registry
from embed.backends.onnx_runtime import export as onnx_export
from embed.backends.onnx_runtime import graph as onnx_graph
from embed.backends.onnx_runtime import writer as onnx_writer
from embed.backends.onnx_runtime.export import export
from embed.backends.onnx_runtime.recall import recall_at_k
from embed.backends.recipe_encoders import PixelsEncoder, WordsEncoder
from embed.backends.recipes import ImageRecipe, TextRecipe
from embed.backends.torch_core import Core
from embed.backends.tower import FramesEncoder, Tower
from embed.backends.words import Words
from embed.errors import BackendFailed, BadInput, Conflict, MissingWeights, NotFound, StorageFull
from embed.registry import Capabilities, LoadOptions
from embed.types import Media, Modality, Space, normalise

WORDS = [
    "a",
    "an",
    "the",
    "dog",
    "cat",
    "bird",
    "car",
    "house",
    "tree",
    "red",
    "blue",
    "old",
    "new",
    "fast",
    "slow",
    "runs",
    "sits",
    "sings",
]
LINES = [f"{a} {b} {c}" for a in WORDS[:3] for b in WORDS[3:9] for c in WORDS[9:]]
DIM = 16


class Mean(torch.nn.Module):
    """Ids and mask to the mean of two layers' rows."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(32, 24)
        self.inner, self.outer = torch.nn.Linear(24, 48), torch.nn.Linear(48, DIM)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        rows = self.outer(torch.tanh(self.inner(self.table(ids))))
        kept = mask.unsqueeze(-1).to(rows.dtype)
        mean: torch.Tensor = (rows * kept).sum(1) / kept.sum(1)
        return mean


class See(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = torch.nn.Linear(8 * 8 * 3, 64), torch.nn.Linear(64, DIM)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        values = pixels.flatten(1).to(self.inner.weight.dtype) / 255 - 0.5
        rows: torch.Tensor = self.outer(torch.tanh(self.inner(values)))
        return rows


class Toy(NamedTuple):
    tower: Tower
    about: Capabilities


def toy(folder: Path) -> Toy:
    torch.manual_seed(0)
    vocabulary = {word: row for row, word in enumerate(["<pad>", "<unk>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.save(str(folder / "words.json"))
    recipe = TextRecipe(tokenizer="words.json", max_tokens=32, clean="lower")
    words = Words(recipe, folder)
    mean, see = Mean().eval(), See().eval()
    pictures = PixelsEncoder(
        ImageRecipe(height=8, width=8), Core(see, precision="fp32", threads=1), see
    )
    space = Space(name="toy", revision="1", preprocessing="none", precision="fp32", dim=DIM)
    tower = Tower(
        space,
        {
            Modality.TEXT: lambda: WordsEncoder(
                words, Core(mean, precision="fp32", threads=1), mean
            ),
            Modality.IMAGE: lambda: pictures,
            Modality.VIDEO: lambda: FramesEncoder(pictures, min_side=8),
        },
        chunker="toy-32",
        image_side=8,
    )
    about = Capabilities(
        space=space,
        summary="a toy",
        modalities=tower.modalities,
        native_dims={},
        preprocessing="none",
        licence="CC0-1.0",
        source="made here",
    )
    return Toy(tower, about)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> LoadOptions:
    return LoadOptions(cache=tmp_path_factory.mktemp("cache"), threads=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, options: LoadOptions) -> Path:
    """An fp32 export."""
    folder = tmp_path_factory.mktemp("toy")
    source = toy(folder)
    report = export(source.tower, source.about, folder / "made", options)
    assert max(report.gaps.values()) < 1e-6
    return folder / "made"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def texts() -> list[Media]:
    return [
        Media(Modality.TEXT, line) for line in ["a dog", "The  OLD red house sings", *LINES[:5]]
    ]


def pictures(count: int = 3) -> list[Media]:
    rng = np.random.default_rng(0)
    return [
        Media(Modality.IMAGE, rng.integers(0, 256, (9 + row % 5, 12, 3), np.uint8))
        for row in range(count)
    ]


def test_it_gives_the_vectors_of_its_source(
    made: Path, options: LoadOptions, tmp_path: Path
) -> None:
    source, tower = toy(tmp_path).tower, registry.load(f"onnx:{made}", options)
    film = Media(Modality.VIDEO, np.stack([picture.data[:9] for picture in pictures()]), 1.0)  # type: ignore[index]
    for batch in (texts(), pictures(), [film]):
        wanted, found = source.embed(batch).joint, tower.embed(batch).joint
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        alone = np.concatenate([tower.embed([one]).joint for one in batch])
        np.testing.assert_allclose(alone, found, atol=1e-6)
    shouted, said = [Media(Modality.TEXT, "A DOG"), Media(Modality.TEXT, "a dog")]
    np.testing.assert_array_equal(tower.embed([shouted]).joint, tower.embed([said]).joint)
    assert tower.count_tokens("a dog") == source.count_tokens("a dog") == 2
    assert tower.chunker == source.chunker


def test_it_is_a_space_of_its_own_and_says_so_before_loading(
    made: Path, options: LoadOptions
) -> None:
    name = f"onnx:{made}"
    about, tower = registry.describe(name, options), registry.load(name, options)
    registry.check(name, options)
    assert about.space == tower.space
    assert (about.space.name, about.space.precision) == (name, "fp32")
    assert about.modalities == tower.modalities == {"text", "image", "video"}
    assert (about.licence, about.source) == ("CC0-1.0", "made here")
    assert about.summary.startswith("Exported from toy@")


def test_neither_describing_nor_running_it_imports_torch(made: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from embed import registry;"
        "from embed.registry import LoadOptions; from embed.types import Media, Modality;"
        "name, options = sys.argv[1], LoadOptions(cache=Path(sys.argv[2]), threads=1);"
        "registry.describe(name, options); registry.check(name, options);"
        "early = {'onnxruntime', 'torch'} & set(sys.modules);"
        "tower = registry.load(name, options); tower.warm();"
        "tower.embed([Media(Modality.TEXT, 'a dog')]);"
        "late = {'torch', 'transformers', 'open_clip'} & set(sys.modules);"
        "sys.exit(f'imported {early} {late}' if early or late else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"onnx:{made}", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_damaged_folder_is_refused(folder: Path, options: LoadOptions) -> None:
    name, graph = f"onnx:{folder}", folder / "text.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    registry.check(name, options)
    with pytest.raises(MissingWeights, match=r"text\.onnx was changed"):
        registry.load(name, options)
    graph.write_bytes(whole[:-1])
    with pytest.raises(MissingWeights, match=r"text\.onnx has \d+ bytes where"):
        registry.check(name, options)
    graph.unlink()
    with pytest.raises(MissingWeights, match=r"text\.onnx is missing"):
        registry.check(name, options)


def test_a_folder_that_was_not_exported_is_refused(folder: Path, options: LoadOptions) -> None:
    manifest = folder / "crossbind.json"
    document = json.loads(manifest.read_text())
    changes: list[tuple[str, str]] = [
        (json.dumps({**document, "format": 99}), "has format 99"),
        (json.dumps({**document, "encoders": {"smell": {}}}), "is not what"),
        (json.dumps({**document, "pairs": [{"parts": ["smell"]}]}), "is not what"),
        (json.dumps({**document, "pairs": [{"parts": ["audio"]}]}), "reads audio together"),
        (json.dumps({**document, "pairs": [{"parts": [], "graph": "x"}]}), "not in its"),
        (json.dumps({**document, "files": {"../x": {"size": 1, "sha256": ""}}}), "not in its"),
        (json.dumps({"format": 1}), "is not what"),
        ("[]", "is not what"),
        ("{", "is no JSON"),
    ]
    for text, words in changes:
        manifest.write_text(text)
        with pytest.raises(BadInput, match=words):
            registry.describe(f"onnx:{folder}", options)
    foreign = {**document["encoders"]["text"], "recipe": {"recipe": "poem"}}
    manifest.write_text(json.dumps({**document, "encoders": {"text": foreign}}))
    with pytest.raises(BadInput, match="does not know"):
        registry.load(f"onnx:{folder}", options).warm()
    manifest.unlink()
    with pytest.raises(MissingWeights, match="that `crossbind export` made"):
        registry.describe(f"onnx:{folder}", options)
    with pytest.raises(BadInput, match="wants a folder"):
        registry.describe("onnx:", options)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_smaller_precision_is_another_space_and_batches_do_not_show(
    precision: str, tmp_path: Path, options: LoadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "LEAST_RECALL", 0.5)
    source = toy(tmp_path)
    check = tmp_path / "media"
    check.mkdir()
    for row, line in enumerate(LINES[:60]):
        (check / f"{row}.txt").write_text(line)
    from PIL import Image

    for row, picture in enumerate(pictures(60)):
        Image.fromarray(np.asarray(picture.data)).save(check / f"{row}.png")
    report = export(
        source.tower, source.about, tmp_path / "small", options, precision=precision, check=check
    )
    tower = registry.load(report.space, options)
    assert tower.space.precision == report.precision == precision
    assert {str(recall).split(":")[0] for recall in report.recalls} == {
        f"{query} → {gallery} (joint, 60)"
        for query in ("image", "text")
        for gallery in ("image", "text")
    }
    written = json.loads((report.folder / "crossbind.json").read_text())["checked"]
    assert [entry["recall"] for entry in written["recalls"]] == [r.recall for r in report.recalls]
    wanted = source.tower.embed(texts()).joint
    found = tower.embed(texts()).joint
    assert 1e-6 < np.abs(found - wanted).max() < (0.01 if precision == "fp16" else 0.2)
    alone = np.concatenate([tower.embed([one]).joint for one in texts()])
    np.testing.assert_allclose(alone, found, atol=2e-3 if precision == "fp16" else 0)
    kinds = {node.op_type for node in onnx.load(report.folder / "text.onnx").graph.node}
    assert ("MatMulInteger" in kinds) == (precision == "int8")


def test_weights_too_large_for_one_file_lie_beside_it(
    tmp_path: Path, options: LoadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "ONE_FILE", 1000)
    source = toy(tmp_path)
    report = export(source.tower, source.about, tmp_path / "large", options)
    assert (report.folder / "image.onnx.data").stat().st_size > 8 * 8 * 3 * 64 * 4
    found = registry.load(report.space, options).embed(pictures()).joint
    np.testing.assert_allclose(found, source.tower.embed(pictures()).joint, atol=1e-6)
    assert sorted(path.name for path in report.folder.iterdir()) == [
        "crossbind.json",
        "image.onnx",
        "image.onnx.data",
        "text.onnx",
        "text.onnx.data",
        "tokenizer.json",
    ]


def test_what_cannot_be_exported_is_told_and_leaves_nothing(
    made: Path, tmp_path: Path, options: LoadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower, about = toy(tmp_path)
    out = tmp_path / "out" / "new"
    empty = tmp_path / "empty"
    empty.mkdir()
    half = replace(about, space=replace(about.space, precision="bf16"))

    def refused(about: Capabilities = about, to: Path = out, **more: Any) -> str:
        with pytest.raises((BadInput, Conflict, NotFound, StorageFull, BackendFailed)) as caught:
            export(more.pop("tower", tower), about, to, options, **more)
        return caught.value.message

    assert "the choices are: fp32, fp16, int8" in refused(precision="int4")
    assert "add --check FOLDER" in refused(precision="int8")
    assert "fewer than 50 pieces of image, text" in refused(precision="int8", check=empty)
    assert "no folder" in refused(check=tmp_path / "gone")
    assert "in bf16 already" in refused(about=half)
    assert "not empty" in refused(to=made)
    assert "none of its encoders" in refused(tower=registry.load(f"onnx:{made}", options))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(onnx_writer.shutil, "disk_usage", lambda _: usage)
    assert "free some" in refused()
    monkeypatch.undo()
    monkeypatch.setitem(onnx_graph.TOLERANCES, "fp32", -1.0)
    assert "is off by" in refused()
    assert list((tmp_path / "out").iterdir()) == []


def test_recall_counts_the_neighbours_that_stay() -> None:
    before = normalise(np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32))
    other = normalise(np.random.default_rng(1).normal(size=(30, 8)).astype(np.float32))
    assert recall_at_k((before, before), (before, before), same=True) == 1.0
    chance = recall_at_k((before, before), (other, other), same=True)
    assert 0.2 < chance < 0.5
    line = np.array([[1, 0], [0.9, 0.1], [0.5, 0.5], [0, 1]], np.float32)
    swapped = line[[0, 2, 1, 3]]
    assert recall_at_k((line[:1], line), (line[:1], swapped), same=False, k=2) == 0.5


def test_only_files_of_its_list_are_opened(folder: Path, options: LoadOptions) -> None:
    manifest = folder / "crossbind.json"
    document = json.loads(manifest.read_text())
    text = document["encoders"]["text"]
    for name in ("../text.onnx", "/etc/passwd", "unlisted.onnx"):
        for entry in ({**text, "graph": name}, {**text, "recipe": {"tokenizer": name}}):
            manifest.write_text(json.dumps({**document, "encoders": {"text": entry}}))
            with pytest.raises(BadInput, match="not in its folder or not in its list"):
                registry.describe(f"onnx:{folder}", options)


@pytest.mark.parametrize("field", ["dim", "image_side"])
@pytest.mark.parametrize("value", [-4, 0, 10**9, "8", None])
def test_numbers_that_no_tower_has_are_refused(
    folder: Path, options: LoadOptions, field: str, value: object
) -> None:
    manifest = folder / "crossbind.json"
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, field: value}))
    with pytest.raises(BadInput, match=r"a dimension is"):
        registry.describe(f"onnx:{folder}", options)


def test_a_folder_from_before_there_were_pairs_is_the_same_space(
    folder: Path, options: LoadOptions
) -> None:
    before = registry.describe(f"onnx:{folder}", options).space
    manifest = folder / "crossbind.json"
    document = json.loads(manifest.read_text())
    assert document.pop("pairs") == []
    manifest.write_text(json.dumps(document))
    assert registry.load(f"onnx:{folder}", options).space == before


def test_a_moved_folder_is_found_through_a_link(folder: Path, options: LoadOptions) -> None:
    before = registry.describe(f"onnx:{folder}", options).space
    moved = folder.rename(folder.with_name("moved"))
    assert registry.describe(f"onnx:{moved}", options).space.id != before.id
    folder.symlink_to(moved)
    assert registry.load(before.name, options).space == before

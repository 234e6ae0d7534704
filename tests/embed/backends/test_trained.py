"""Trained folders: what was learnt is what is served, and a folder that is not whole is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from embed import registry
from embed.backends.builtin.space import Builtin
from embed.backends.onnx_runtime.export import export_space
from embed.errors import BadInput, CrossbindError, MissingWeights
from embed.registry import LoadOptions
from embed.training.parts import part_specs
from embed.training.student import Limbs, save
from embed.types import Floats, Media, Modality, Pixels, normalise

WORDS = ["a photo of a cat", "two dogs on the beach at night", "rain", "the quick brown fox jumps"]
DIM = 12
SMALL: dict[str, dict[str, Any]] = {
    "text": {"network": "words", "width": 16, "heads": 2, "vocabulary": 300, "tokens": 16},
    "image": {"network": "convnet", "side": 32, "width": 8},
    "audio": {"network": "spectrum", "rate": 8000, "seconds": 1.0, "mels": 32, "width": 8},
    "video": {"network": "frames", "side": 32, "frames": 4, "width": 8},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def options(model_cache: Path) -> LoadOptions:
    return LoadOptions(cache=model_cache, threads=1, offline=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny random CLIP, as transformers saves one."""
    folder = tmp_path_factory.mktemp("clip")
    tiny = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    tiny["intermediate_size"] = 32
    text = {**tiny, "vocab_size": 90, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.CLIPConfig(
        text_config=text,
        vision_config={**tiny, "image_size": 32, "patch_size": 8},
        projection_dim=DIM,
    )
    pictures = transformers.CLIPImageProcessor(
        size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}
    )
    torch.manual_seed(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPProcessor(pictures, tokenizer()).save_pretrained(folder)
    transformers.logging.enable_progress_bar()
    transformers.logging.set_verbosity_warning()
    return f"hf:{folder}"


def tokenizer() -> Any:
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    inner.train_from_iterator(WORDS, trainers.BpeTrainer(vocab_size=90, special_tokens=special))
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    named = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), special, strict=True))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, cls_token="<s>", sep_token="</s>", model_max_length=64, **named
    )


def media(modality: Modality) -> list[Media]:
    """Four of them, of different sizes."""
    rng = np.random.default_rng(3)
    if modality is Modality.TEXT:
        return [Media(modality, words) for words in WORDS]
    if modality is Modality.IMAGE:
        return [Media(modality, noise(rng, 40 + row, 50)) for row in range(4)]
    if modality is Modality.VIDEO:
        films = [np.stack([noise(rng, 32, 32) for _ in range(3 + row)]) for row in range(4)]
        return [Media(modality, film, rate=2.0) for film in films]
    sounds = [rng.normal(0, 0.1, 4000 + 1000 * row).astype(np.float32) for row in range(4)]
    return [Media(modality, sound, rate=8000.0) for sound in sounds]


def noise(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Large blots, so that resizing keeps something."""
    small = rng.integers(0, 256, (4, 4, 3), np.uint8)
    return np.kron(small, np.ones((height // 4, width // 4, 1), np.uint8))


def student(tables: Mapping[str, Any], options: LoadOptions, dim: int = DIM) -> Limbs:
    """Made of `tables` and moved a little from where it began, as training would."""
    made = Limbs.of(part_specs(tables), dim, options, captions=WORDS)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return made.eval()


@torch.no_grad()
def vectors(student: Limbs, modality: Modality) -> Floats:
    prepared = [student.prepare(medium, seed=None) for medium in media(modality)]
    return normalise(student(modality, student.collate(modality, prepared)).numpy())


def kept(student: Limbs, folder: Path) -> str:
    save(student, folder, name="birds", licence="CC0-1.0", made={"seed": 0, "loss": float("nan")})
    return f"trained:{folder}"


def assert_served(student: Limbs, name: str, options: LoadOptions) -> None:
    """The space gives what the student gave, and to one medium what it gives among others."""
    tower = registry.load(name, options)
    registry.check(name, options)
    about = registry.describe(name, options)
    assert about.space == tower.space
    assert student.modalities <= about.modalities == tower.modalities
    for modality in student.modalities:
        batch = tower.embed(media(modality))
        np.testing.assert_allclose(batch.joint, vectors(student, modality), atol=1e-6)
        alone = np.concatenate([tower.embed([medium]).joint for medium in media(modality)])
        np.testing.assert_allclose(alone, batch.joint, atol=1e-6)


def test_our_own_networks_are_served_as_they_were_trained(
    tmp_path: Path, options: LoadOptions
) -> None:
    learnt = student(SMALL, options)
    name = kept(learnt, tmp_path / "space")
    assert_served(learnt, name, options)
    about = registry.describe(name, options)
    assert (about.licence, about.source, about.space.dim) == ("CC0-1.0", "birds", DIM)


def test_an_exported_folder_equals_torch(tmp_path: Path, options: LoadOptions) -> None:
    learnt = student(SMALL, options)
    report = export_space(kept(learnt, tmp_path / "space"), tmp_path / "onnx", options)
    assert not report.left_out
    graphs = registry.load(report.space, options)
    for modality in learnt.modalities:
        joint = graphs.embed(media(modality)).joint
        np.testing.assert_allclose(joint, vectors(learnt, modality), atol=1e-5)


@pytest.mark.parametrize(
    "how", [{}, {"lora": 2}, {"last": 1}, {"head": [6]}], ids=["all", "lora", "last", "head"]
)
def test_a_tuned_tower_is_its_base_and_what_changed(
    how: dict[str, Any], clip: str, tmp_path: Path, options: LoadOptions
) -> None:
    tables = {"text": {"base": clip, **how}, "image": {"base": clip, **how}}
    before = registry.load(clip, options)
    learnt = student(tables, options)
    name = kept(learnt, tmp_path / "space")
    assert_served(learnt, name, options)
    for modality in learnt.modalities:
        was = before.embed(media(modality)).joint
        assert np.abs(was - vectors(learnt, modality)).max() > 0.01
    whole = sum(p.numel() for p in transformers.CLIPModel.from_pretrained(clip[3:]).parameters())
    for file in (tmp_path / "space").glob("*.safetensors"):
        assert sum(tensor.numel() for tensor in load_file(file).values()) < 0.9 * whole


def test_a_tuned_tower_is_exported_with_what_it_learnt(
    clip: str, tmp_path: Path, options: LoadOptions
) -> None:
    learnt = student({"image": {"base": clip, "lora": 2, "head": [6]}}, options)
    report = export_space(kept(learnt, tmp_path / "space"), tmp_path / "onnx", options)
    graphs = registry.load(report.space, options)
    joint = graphs.embed(media(Modality.IMAGE)).joint
    np.testing.assert_allclose(joint, vectors(learnt, Modality.IMAGE), atol=1e-5)
    assert Modality.VIDEO in graphs.modalities  # frame by frame


def test_a_trained_space_can_be_trained_on(tmp_path: Path, options: LoadOptions) -> None:
    first = kept(student(SMALL, options), tmp_path / "first")
    second = student({name: {"base": first} for name in SMALL}, options)
    assert_served(second, kept(second, tmp_path / "second"), options)
    assert len(pickle.dumps(second.preparer)) < 50_000


HEADS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "linear": {"head": []},
    "residual": {"head": [8], "residual": True},
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_heads_on_the_builtin_tower(
    head: dict[str, Any], builtin: Builtin, tmp_path: Path, options: LoadOptions
) -> None:
    tables = {
        "text": {"base": "builtin", "lock": True, **head},
        "image": {"base": "builtin", "lock": True, "reads": "native", "head": [16]},
    }
    learnt = student(tables, options, dim=384)
    name = kept(learnt, tmp_path / "space")
    assert_served(learnt, name, options)
    tower, picture = registry.load(name, options), media(Modality.IMAGE)
    np.testing.assert_allclose(
        tower.embed(picture).native, builtin.embed(picture).native, atol=1e-6
    )
    assert registry.describe(name, options).native_dims[Modality.IMAGE] == 1280
    moved = np.abs(
        tower.embed(media(Modality.TEXT)).joint - builtin.embed(media(Modality.TEXT)).joint
    )
    assert (moved.max() > 0.001) == bool(head)
    assert tower.count_tokens("two words") == builtin.count_tokens("two words")
    report = export_space(name, tmp_path / "onnx", options)
    assert report.left_out == ()
    exported = registry.load(report.space, options)
    for modality in (Modality.TEXT, Modality.IMAGE):
        wanted, found = tower.embed(media(modality)), exported.embed(media(modality))
        np.testing.assert_allclose(found.joint, wanted.joint, atol=1e-6)
    assert Modality.VIDEO in exported.modalities


def test_saving_again_replaces_what_was_there(tmp_path: Path, options: LoadOptions) -> None:
    folder = tmp_path / "space"
    name = kept(student(SMALL, options), folder)
    first = registry.describe(name, options).space
    kept(student(SMALL, options), folder)
    second = registry.describe(name, options).space
    assert first.id != second.id
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *listed}
    copied = registry.describe(kept(student(SMALL, options), tmp_path / "copy"), options).space
    assert copied.revision != second.revision


def test_the_same_weights_are_the_same_revision(tmp_path: Path, options: LoadOptions) -> None:
    learnt = student(SMALL, options)
    spaces = [
        registry.describe(kept(learnt, tmp_path / folder), options).space for folder in ("a", "b")
    ]
    assert spaces[0].revision == spaces[1].revision


def test_a_base_that_changed_is_refused(clip: str, tmp_path: Path, options: LoadOptions) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for path in Path(clip.removeprefix("hf:")).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    name = kept(student({"text": {"base": f"hf:{folder}"}}, options), tmp_path / "space")
    weights = load_file(folder / "model.safetensors")
    save_file({key: value + 1 for key, value in weights.items()}, folder / "model.safetensors")
    with pytest.raises(MissingWeights, match="was trained on"):
        registry.load(name, options)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def put(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


def escape(document: dict[str, Any]) -> None:
    facts = next(iter(document["files"].values()))
    document["files"]["../weights"] = facts
    document["parts"]["image"]["weights"] = "../weights"


HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "another format": put("format", value=2),
    "no dimensions": put("dim", value=0),
    "dimensions that are no number": put("dim", value=True),
    "NaN dimensions": put("dim", value=float("nan")),
    "a vast dimension": put("dim", value=10**9),
    "no parts": put("parts", value={}),
    "a list for a part": put("parts", "image", value=[]),
    "a strange modality": put("parts", "smell", value={}),
    "a strange network": put("parts", "image", "network", "kind", value="words"),
    "a vast network": put("parts", "image", "network", "depth", value=10**6),
    "an endless text": put("parts", "text", "recipe", "max_tokens", value=10**12),
    "an endless shot": put("parts", "video", "network", "seconds", value=float("inf")),
    "a missing number": lambda document: document["parts"]["image"]["network"].pop("width"),
    "a recipe of another": put("parts", "image", "recipe", "recipe", value="patches"),
    "a file it does not list": put("parts", "image", "weights", value="other.safetensors"),
    "a path that leads out": escape,
    "a tokenizer elsewhere": put("parts", "text", "recipe", "tokenizer", value="../tokenizer.json"),
    "a name no disk takes": put("files", "a" * 5000, value={"size": 1, "sha256": ""}),
    "a name that is no Unicode": put("files", "\ud800", value={"size": 1, "sha256": ""}),
    "the folder above": put("files", "..", value={"size": 1, "sha256": ""}),
    "numbers for files": put("files", value=7),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_manifests_are_refused(
    change: Callable[[dict[str, Any]], None], tmp_path: Path, options: LoadOptions
) -> None:
    name = kept(student(SMALL, options), tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(BadInput, match=r"manifest\.json"):
        registry.describe(name, options)


def swapped(folder: Path, stem: str, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Another weights file under the old name, with a manifest that vouches for it."""
    (path,) = folder.glob(f"{stem}-*.safetensors")
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    data = path.read_bytes()
    facts = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewritten(folder, put("files", path.name, value=facts))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors["out.bias"].fill_(float("nan")), "no finite numbers"),
        (lambda tensors: tensors.update({"out.bias": tensors["out.bias"].int()}), "no finite num"),
        (lambda tensors: tensors.pop("out.bias"), "lacks 'out.bias'"),
        (lambda tensors: tensors.update(more=torch.zeros(1)), "holds 'more'"),
        (lambda tensors: tensors.update({"out.bias": torch.zeros(3)}), r"\(3,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: Callable[[dict[str, torch.Tensor]], None],
    words: str,
    tmp_path: Path,
    options: LoadOptions,
) -> None:
    name = kept(student({"image": SMALL["image"]}, options), tmp_path)
    swapped(tmp_path, "image", change)
    with pytest.raises(MissingWeights, match=words):
        registry.load(name, options).embed(media(Modality.IMAGE))


def test_a_folder_that_is_not_whole_is_found_out(tmp_path: Path, options: LoadOptions) -> None:
    name = kept(student({"image": SMALL["image"]}, options), tmp_path)
    (path,) = tmp_path.glob("image-*.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(MissingWeights, match="was changed"):
        registry.load(name, options)
    path.write_bytes(data[:-1])
    with pytest.raises(MissingWeights, match="bytes"):
        registry.check(name, options)
    path.unlink()
    with pytest.raises(MissingWeights, match="is missing"):
        registry.check(name, options)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(MissingWeights, match="cannot be read"):
        registry.describe(name, options)


def test_a_space_made_on_itself_is_refused(tmp_path: Path, options: LoadOptions) -> None:
    first = kept(student({"text": SMALL["text"]}, options), tmp_path / "first")
    second = kept(student({"text": {"base": first}}, options), tmp_path / "second")
    rewritten(tmp_path / "second", put("parts", "text", "base", "space", value=second))
    for ask in (registry.check, registry.load):
        with pytest.raises(CrossbindError, match="made on it"):
            ask(second, options)

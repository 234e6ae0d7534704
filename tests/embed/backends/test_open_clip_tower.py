"""open_clip towers against open_clip itself: tiny random models of each kind it has."""

from __future__ import annotations

import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.models import register_model
from timm.models.eva import Eva
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from embed import registry
from embed.backends.onnx_runtime.export import export_space
from embed.backends.openclip import models as open_clip_models
from embed.backends.openclip import space as open_clip_tower
from embed.backends.recipe_encoders import PixelsEncoder
from embed.backends.tower import Tower
from embed.errors import MissingWeights, NotFound, TooLarge
from embed.registry import LoadOptions
from embed.types import CharSpan, Floats, Media, Modality, Pixels

TEXTS = [
    "cat",
    "a photo of a cat, sleeping",
    "It\u2019s \u201cthe Müllers\u2019\u201d caf&eacute; — no. 42!\n\tin   Zürich",
    "two dogs run after a red ball while the sun goes down",
]
LETTERS = list("abcdefghijklmnopqrstuvwxyzäöüé0123456789.,!'—-")

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 64, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16}
SIGLIP_TEXT = {
    "context_length": 64,
    "vocab_size": 64,
    "hf_tokenizer_name": "nobody/tiny",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "width": 32,
    "heads": 2,
    "layers": 2,
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
}
TIMM = {"image_size": 160, "timm_model_name": "test_vit", "timm_proj": "none"}
EVA = {"image_size": 56, "timm_model_name": "eva02_crossbind_test", "timm_pool": "token"}
COCA = {"attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}
COCA_TEXT = {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True}
MULTIMODAL = {"context_length": 76, "width": 32, "heads": 2, "layers": 1, "attn_pooler_heads": 4}

MODELS: dict[str, dict[str, Any]] = {
    "clip": {"embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT},
    "quick": {"embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True},
    "resnet": {
        "embed_dim": 48,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
        "text_cfg": TEXT,
    },
    "siglip": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {**TIMM, "timm_pool": "map"},
        "text_cfg": SIGLIP_TEXT,
    },
    "coca": {
        "embed_dim": 48,
        "vision_cfg": {**VISION, **COCA},
        "text_cfg": COCA_TEXT,
        "multimodal_cfg": MULTIMODAL,
        "custom_text": True,
    },
    "eva": {
        "embed_dim": 48,
        "vision_cfg": {**EVA, "timm_proj": "linear"},
        "text_cfg": TEXT,
        "custom_text": True,
    },
}
PREPROCESSING: dict[str, dict[str, Any]] = {
    "siglip": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"},
    "coca": {"resize_mode": "longest", "fill_color": 7, "interpolation": "bilinear"},
}


@register_model
def eva02_crossbind_test(pretrained: bool = False, **options: Any) -> Eva:
    """EVA-02 as CLIP has it (rotary positions, SwiGLU, norms within), very small."""
    sizes = {"img_size": 56, "patch_size": 14, "embed_dim": 48, "depth": 2, "num_heads": 3}
    kind = {"qkv_fused": False, "swiglu_mlp": True, "scale_mlp": True, "use_rot_pos_emb": True}
    given = {key: options[key] for key in ("num_classes", "global_pool") if key in options}
    model = Eva(**sizes, **kind, ref_feat_shape=(4, 4), **given)
    model.default_cfg = {}
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each kind, as open_clip saves one."""
    root = tmp_path_factory.mktemp("open_clip")
    return {name: save(root / name, name) for name in MODELS}


def save(folder: Path, name: str) -> Path:
    folder.mkdir()
    document = {"model_cfg": MODELS[name], "preprocess_cfg": PREPROCESSING.get(name, {})}
    (folder / "open_clip_config.json").write_text(json.dumps(document), encoding="utf-8")
    if "hf_tokenizer_name" in MODELS[name]["text_cfg"]:
        save_tokenizer(folder)
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}")
    with torch.no_grad():
        for parameter in model.parameters():  # zeros and ones would hide mistakes
            parameter.add_(0.05 * torch.randn_like(parameter))
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


def save_tokenizer(folder: Path) -> None:
    """Letters as tokens, an end mark, and padding: shaped like SigLIP's."""
    vocabulary = {
        token: number for number, token in enumerate(["<pad>", "</s>", "<unk>", *LETTERS])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Split("", "isolated")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> LoadOptions:
    return LoadOptions(cache=tmp_path_factory.mktemp("cache"), threads=1, offline=True)


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, folders: dict[str, Path], options: LoadOptions) -> Any:
    """A tower, and open_clip's own model, transform and tokenizer from the same folder."""
    folder = folders[request.param]
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    return open_clip_tower.load(str(folder), options), model.eval(), transform, tokenize


def texts(*values: str) -> list[Media]:
    return [Media(Modality.TEXT, value) for value in values]


def images(*values: Pixels) -> list[Media]:
    return [Media(Modality.IMAGE, value) for value in values]


def test_texts_are_as_open_clip_has_them(pair: Any) -> None:
    tower, model, _, tokenize = pair
    with torch.inference_mode():
        wanted = model.encode_text(tokenize(TEXTS), normalize=True).numpy()
    # On their own a causal tower pads none of them, all together to the longest.
    alone = np.concatenate([tower.embed(texts(text)).joint for text in TEXTS])
    np.testing.assert_allclose(tower.embed(texts(*TEXTS)).joint, wanted, atol=2e-6)
    np.testing.assert_allclose(alone, wanted, atol=2e-6)


def test_networks_are_as_open_clip_has_them(pair: Any, photos: dict[str, Pixels]) -> None:
    """From the very same pixels, so that only the networks are compared."""
    tower, model, transform, _ = pair
    encoder = tower.encoder(Modality.IMAGE)
    assert isinstance(encoder, PixelsEncoder)
    prepared = [encoder.prepare(media) for media in images(*photos.values())]
    normalize = transform.transforms[-1]
    values = [torch.from_numpy(np.array(pixels)).permute(2, 0, 1) / 255 for pixels in prepared]
    with torch.inference_mode():
        batch = torch.stack([normalize(value) for value in values])
        wanted = model.encode_image(batch, normalize=True).numpy()
    np.testing.assert_allclose(tower.run(Modality.IMAGE, prepared).joint, wanted, atol=1e-5)


def test_preprocessing_is_as_open_clip_has_it(pair: Any, photos: dict[str, Pixels]) -> None:
    tower, model, transform, _ = pair
    tall = photos["coffee.png"][:, 200:480]
    for picture in (*photos.values(), tall):
        own = tower.prepare(Media(Modality.IMAGE, picture)).astype(np.int16)
        theirs = transform(Image.fromarray(picture))
        recipe = tower.encoder(Modality.IMAGE)._recipe
        grey = theirs.permute(1, 2, 0).numpy() * recipe.std + recipe.mean
        gap = np.abs(own - np.rint(grey * 255))
        assert gap.max() <= 1, "one grey level, where a cut falls between two pixels"
        assert (gap > 0).mean() < 0.02
    with torch.inference_mode():
        batch = torch.stack([transform(Image.fromarray(p)) for p in photos.values()])
        wanted = model.encode_image(batch, normalize=True).numpy()
    vectors = tower.embed(images(*photos.values())).joint
    assert (vectors * wanted).sum(axis=1).min() > 0.9999


def test_a_vector_does_not_depend_on_batch_or_call(pair: Any, photos: dict[str, Pixels]) -> None:
    tower = pair[0]
    for batch in (images(*photos.values()), texts(*TEXTS)):
        together = tower.embed(batch).joint
        alone = np.concatenate([tower.embed([media]).joint for media in batch])
        np.testing.assert_allclose(alone, together, atol=1e-6)
        np.testing.assert_allclose(tower.embed(batch).joint, together, atol=1e-7)


def test_long_texts_are_cut_and_never_cut_off(pair: Any) -> None:
    tower = pair[0]
    long = " ".join(f"{text} {number}" for number in range(12) for text in TEXTS)
    media = Media(Modality.TEXT, long)
    with pytest.raises(TooLarge, match="tokens"):
        tower.embed([media])
    pieces = list(tower.fragment(media))
    spans = [span for span, _ in pieces]
    assert len(tower.embed([piece for _, piece in pieces])) == len(pieces) > 2
    read = np.zeros(len(long), bool)
    for span in spans:
        assert isinstance(span, CharSpan)
        read[span.start : span.end] = True
    assert not "".join(c for c, seen in zip(long, read, strict=True) if not seen).strip()
    assert [span for span, _ in tower.fragment(Media(Modality.TEXT, "short"))] == [None]


def clip(folders: dict[str, Path], options: LoadOptions, suffix: str = "") -> Tower:
    return open_clip_tower.load(f"{folders['clip']}{suffix}", options)


def test_half_precision_is_near_and_a_space_of_its_own(
    folders: dict[str, Path], options: LoadOptions, photos: dict[str, Pixels]
) -> None:
    full, half = clip(folders, options), clip(folders, options, "+bf16")
    assert full.space.id != half.space.id
    assert half.space.precision == "bf16"
    for batch in (images(*photos.values()), texts(*TEXTS)):
        cosines = (full.embed(batch).joint * half.embed(batch).joint).sum(axis=1)
        assert 0.999 < cosines.min() < 1.0


def test_a_film_is_the_mean_of_its_frames(
    folders: dict[str, Path], options: LoadOptions, photos: dict[str, Pixels]
) -> None:
    tower = clip(folders, options)
    frames = np.stack([photos[name][:300, :300] for name in ("chelsea.png", "coffee.png")])
    film = tower.embed([Media(Modality.VIDEO, frames, rate=1.0)]).joint[0]
    mean = tower.embed(images(*frames)).joint.mean(axis=0)
    np.testing.assert_allclose(film, mean / np.linalg.norm(mean), atol=1e-6)


def test_threads_share_a_tower(
    folders: dict[str, Path], options: LoadOptions, photos: dict[str, Pixels]
) -> None:
    tower = clip(folders, replace(options, threads=2))  # fresh: the first calls race to pack it
    batch = images(*photos.values())

    def joint(_: int) -> Floats:
        return tower.embed(batch).joint

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(joint, range(8)))
    for vectors in found:
        np.testing.assert_allclose(vectors, found[0], atol=1e-6)


def test_an_exported_network_is_fresh_and_the_same(
    folders: dict[str, Path], options: LoadOptions
) -> None:
    tower = clip(folders, options)
    for modality, batch in (
        (Modality.TEXT, texts("a cat", "two old boats")),
        (Modality.IMAGE, images(*np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), "u1"))),
    ):
        wanted = tower.embed(batch).joint  # it has run before it is exported
        network = tower.encoder(modality).network()  # type: ignore[attr-defined]
        inputs = [torch.from_numpy(array) for array in network.inputs.values()]
        rows = network.module(*inputs).numpy()
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(unit, wanted, atol=1e-6)


def test_a_space_is_described_without_its_weights(options: LoadOptions) -> None:
    named = registry.describe("open_clip:ViT-B-16-SigLIP2/webli+bf16", options)
    assert named.space.dim == 768
    assert named.space.precision == "bf16"
    assert "64 tokens" in named.preprocessing
    assert "squash 224" in named.preprocessing
    assert named.licence == "Apache-2.0"
    assert named.modalities == {Modality.TEXT, Modality.IMAGE, Modality.VIDEO}


def test_weights_bring_the_activation_that_they_were_trained_with(options: LoadOptions) -> None:
    """OpenAI's know QuickGELU, whichever of the two names of their architecture is used."""
    assert open_clip_models.find("ViT-B-32/openai", options).config["quick_gelu"] is True
    assert (
        open_clip_models.find("ViT-B-32/laion2b_s34b_b79k", options).config["quick_gelu"] is False
    )


def test_a_file_is_prepared_as_its_architecture_is(options: LoadOptions, tmp_path: Path) -> None:
    path = tmp_path / "weights+mine.pt"
    path.write_bytes(b"not read to describe")
    described = registry.describe(f"open_clip:ViT-B-16-SigLIP/{path}+fp16", options)
    assert "squash" in described.preprocessing
    assert described.space.precision == "fp16"
    first = described.space.revision
    path.write_bytes(b"other weights")
    os.utime(path, ns=(1, 1))
    assert registry.describe(f"open_clip:ViT-B-16-SigLIP/{path}", options).space.revision != first


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ViT-B-23/openai", "ViT-B-32"),
        ("ViT-B-32/openia", "openai"),
        ("ViT-B-32", "openai"),
        ("ViT-S-32/none", "give a file"),
        ("ViT-B-32/openai+int8", "bf16"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(
    name: str, says: str, options: LoadOptions
) -> None:
    with pytest.raises(NotFound, match=says):
        registry.describe(f"open_clip:{name}", options)


def test_missing_weights_say_what_to_do(options: LoadOptions, tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="hf download"):
        registry.check("open_clip:ViT-B-32/openai", options)
    with pytest.raises(MissingWeights, match="check the path"):
        registry.describe(f"open_clip:ViT-B-32/{tmp_path / 'none.pt'}", options)
    with pytest.raises(MissingWeights, match="open_clip_config"):
        registry.describe(f"open_clip:{tmp_path}", options)


def test_a_tokenizer_that_is_not_here_says_so(
    folders: dict[str, Path], options: LoadOptions, tmp_path: Path
) -> None:
    bare = tmp_path / "siglip"
    bare.mkdir()
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        (bare / name).symlink_to(folders["siglip"] / name)
    with pytest.raises(MissingWeights, match="tokenizer"):
        registry.check(f"open_clip:{bare}", options)


def test_a_pickle_is_never_run(
    folders: dict[str, Path], options: LoadOptions, tmp_path: Path
) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    evil = tmp_path / "evil"
    evil.mkdir()
    config = folders["clip"] / "open_clip_config.json"
    (evil / config.name).write_bytes(config.read_bytes())
    torch.save({"state_dict": Bomb()}, evil / "open_clip_pytorch_model.bin")
    tower = open_clip_tower.load(str(evil), options)
    with pytest.raises(MissingWeights, match="safetensors"):
        tower.embed(texts("a cat"))
    (evil / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(MissingWeights):
        tower.embed(texts("a cat"))
    assert not (tmp_path / "ran").exists()


def test_weights_in_a_file_are_named_the_same_from_everywhere(
    options: LoadOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.pt").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    space = registry.describe("open_clip:ViT-B-32/./w.pt+bf16", options).space
    assert space.name == f"open_clip:ViT-B-32/{tmp_path / 'w.pt'}+bf16"
    monkeypatch.chdir("/")
    assert registry.describe(space.name, options).space == space


def test_the_commit_of_published_weights_is_their_revision(
    options: LoadOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, known = "open_clip:ViT-B-32/laion2b_s34b_b79k", {}
    monkeypatch.setattr(open_clip_models, "hf_hub_download", lambda *_, **__: known["path"])
    for commit in ("a" * 40, "b" * 40):
        known["path"] = str(tmp_path / "snapshots" / commit / "model.safetensors")
        assert registry.describe(name, options).space.revision == commit[:12]
        assert not registry.describe(name, options).fetches

    def absent(*_: object, **__: object) -> str:
        raise open_clip_models.LocalEntryNotFoundError("not here")

    monkeypatch.setattr(open_clip_models, "hf_hub_download", absent)
    assert registry.describe(name, options).space.revision == "unfetched"
    assert registry.describe(name, options).fetches


@pytest.mark.parametrize("name", ["coca", "eva"])
def test_torch_and_onnx_agree(
    name: str,
    folders: dict[str, Path],
    options: LoadOptions,
    photos: dict[str, Pixels],
    tmp_path: Path,
) -> None:
    source = f"open_clip:{folders[name]}"
    report = export_space(source, tmp_path / "onnx", options)
    assert report.left_out == ()
    torch_tower, exported = registry.load(source, options), registry.load(report.space, options)
    for batch in (texts("a cat", "two old boats on a lake"), images(*photos.values())):
        wanted = torch_tower.embed(batch).joint
        np.testing.assert_allclose(exported.embed(batch).joint, wanted, atol=1e-5)

"""Real architectures, tiny and random: torch and ONNX give the same vectors.

And the built-in space with its real weights, where int8 is judged by the neighbours it loses.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from embed import registry
from embed.backends.onnx_runtime.export import ExportReport, export_space
from embed.errors import BadInput
from embed.registry import LoadOptions
from embed.training.audio import tones
from embed.types import Floats, Media, Modality

WORDS = ["a photo of a cat", "two dogs on the beach at night", "rain", "the quick brown fox jumps"]
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
TEXT = {**TINY, "vocab_size": 90, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


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


def clip(folder: Path) -> None:
    eyes = {**TINY, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=eyes, projection_dim=12)
    pictures = transformers.CLIPImageProcessor(
        size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPProcessor(pictures, tokenizer()).save_pretrained(folder)


def sentence(folder: Path) -> None:
    """A BERT whose token vectors are averaged, as sentence-transformers saves one."""
    model = transformers.BertModel(transformers.BertConfig(**TEXT, max_position_embeddings=64))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    kind = "sentence_transformers.models"
    parts = [
        {"idx": 0, "name": "0", "path": "", "type": f"{kind}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{kind}.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(parts))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32}))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def fused_clap(folder: Path) -> None:
    """As most published ones: long sounds would be fused with excerpts of them."""
    clap(folder, fused=True)


def clap(folder: Path, *, fused: bool = False) -> None:
    ears = {
        "hidden_size": 16,
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "spec_size": 64,
        "window_size": 4,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "enable_fusion": fused,
    }
    text = {**TEXT, "max_position_embeddings": 64}
    config = transformers.ClapConfig(text_config=text, audio_config=ears, projection_dim=12)
    sounds = transformers.ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=8000,
        hop_length=80,
        max_length_s=2,
        fft_window_size=256,
        frequency_max=4000,
        truncation="fusion" if fused else "rand_trunc",
    )
    transformers.ClapModel(config).save_pretrained(folder)
    transformers.ClapProcessor(sounds, tokenizer()).save_pretrained(folder)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """The library talks while it saves."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.enable_progress_bar()
    transformers.logging.set_verbosity_warning()


def photos(count: int) -> list[Any]:
    """Parts of real photos."""
    folder = Path(skimage.__file__).parent / "data"
    names = ["chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "motorcycle_left.png"]
    whole = [np.asarray(Image.open(folder / name).convert("RGB")) for name in names]
    rng = np.random.default_rng(0)
    found = []
    for row in range(count):
        photo = whole[row % len(whole)]
        y, x = (int(rng.integers(0, side - 150)) for side in photo.shape[:2])
        found.append(photo[y : y + 150, x : x + 130 + row % 20])
    return found


def media(modality: Modality) -> list[Media]:
    if modality is Modality.TEXT:
        return [Media(modality, words) for words in WORDS]
    if modality is Modality.IMAGE:
        return [Media(modality, photo) for photo in photos(3)]
    if modality is Modality.VIDEO:
        return [Media(modality, np.stack([photo[:, :130] for photo in photos(4)]), 1.0)]
    time = np.arange(16_000) / 8000
    chirp = (0.5 * np.sin(2 * np.pi * (200 + 400 * time) * time)).astype(np.float32)
    return [Media(modality, chirp, 8000.0), Media(modality, chirp[:5000], 8000.0)]


@pytest.mark.parametrize(
    ("make", "modalities"),
    [
        (clip, {Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
        (sentence, {Modality.TEXT}),
        (clap, {Modality.TEXT, Modality.AUDIO}),
        (fused_clap, {Modality.TEXT, Modality.AUDIO}),
    ],
)
def test_torch_and_onnx_agree(
    make: Callable[[Path], None], modalities: set[Modality], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    make(tmp_path / "torch")
    options = LoadOptions(cache=tmp_path / "cache", threads=1, offline=True)
    source = f"hf:{tmp_path / 'torch'}"
    report = export_space(source, tmp_path / "onnx", options)
    assert report.left_out == ()
    assert set(report.modalities) == modalities
    assert max(report.gaps.values()) < 1e-5
    before, after = registry.load(source, options), registry.load(report.space, options)
    for modality in modalities:
        batch = media(modality)
        wanted, found = before.embed(batch).joint, after.embed(batch).joint
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        alone = np.concatenate([after.embed([one]).joint for one in batch])
        np.testing.assert_allclose(alone, found, atol=1e-6)
        np.testing.assert_array_equal(after.embed(batch).joint, found)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty parts of photos, sixty sounds, and sixty real sentences: the docstrings of numpy."""
    folder = tmp_path_factory.mktemp("library")
    for row, photo in enumerate(photos(60)):
        Image.fromarray(photo).save(folder / f"{row}.png")
    first = [(getattr(np, name).__doc__ or "").strip().split("\n\n") for name in sorted(dir(np))]
    said = [" ".join(parts[1].split()) for parts in first if len(parts) > 1]
    for row, text in enumerate([text for text in said if len(text) > 40][:60]):
        (folder / f"{row}.txt").write_text(text[:300])
    names = [*tones.TONES, *tones.IMITATIONS]
    for row, name in enumerate([*names, *names][:60]):
        [samples] = tones.render(name, 1, row)
        with wave.open(str(folder / f"{row}.wav"), "wb") as file:
            file.setparams((1, 2, tones.RATE, 0, "NONE", ""))
            file.writeframes((samples[: 2 * tones.RATE] * 32_767).astype("<i2").tobytes())
    return folder


@pytest.fixture(scope="module")
def builtin_options(model_cache: Path) -> LoadOptions:
    return LoadOptions(cache=model_cache, threads=2)


def embed(name: str, options: LoadOptions, modality: Modality) -> Floats:
    return registry.load(name, options).embed(media(modality)).joint


def test_the_builtin_space_is_exported_as_it_is(
    builtin_options: LoadOptions, tmp_path: Path
) -> None:
    report = export_space("builtin", tmp_path / "whole", builtin_options)
    about = registry.describe(report.space, builtin_options)
    assert about.native_dims == {
        Modality.IMAGE: 1280,
        Modality.AUDIO: 128,
        Modality.VIDEO: 1280,
    }
    assert "WordNet" in about.licence
    for modality in (Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO):
        np.testing.assert_array_equal(
            embed(report.space, builtin_options, modality),
            embed("builtin", builtin_options, modality),
        )


def test_int8_is_kept_only_where_the_neighbours_of_real_media_stay(
    builtin_options: LoadOptions, library: Path, tmp_path: Path
) -> None:
    half: ExportReport = export_space(
        "builtin", tmp_path / "half", builtin_options, precision="fp16", check=library
    )
    kinds = [(recall.query, recall.gallery, recall.vector) for recall in half.recalls]
    known = ("audio", "image", "text")
    assert kinds == [
        *((query, gallery, "joint") for query in known for gallery in known),
        ("audio", "audio", "native"),
        ("image", "image", "native"),
    ]
    assert min(recall.recall for recall in half.recalls) > 0.96
    with pytest.raises(BadInput, match=r"recall@10 of .*text.*: 0\.[89]\d+.*and 0\.95 is wanted"):
        export_space(
            "builtin", tmp_path / "small", builtin_options, precision="int8", check=library
        )
    assert [path.name for path in tmp_path.iterdir()] == ["half"]

"""Every transformers family: ours against the library's own processor and forward pass.

The networks are tiny and random, saved as their authors' own classes save them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from embed import registry
from embed.backends.huggingface.perception import stretched
from embed.backends.joint import JointTower
from embed.backends.onnx_runtime.export import export_space
from embed.backends.onnx_runtime.writer import Writer
from embed.errors import (
    BackendFailed,
    MissingWeights,
    NotFound,
    TooLarge,
    UnsupportedModality,
)
from embed.media.read import open_media
from embed.registry import LoadOptions
from embed.types import Floats, Media, Modality, Pixels

WORDS = ["a photo of a cat", "two dogs on the beach at night", "rain", "the quick brown fox jumps"]
CORPUS = [*WORDS, "an orange bird sings in the old tree", "a red car drives past the house"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY = {**SMALL, "intermediate_size": 32}
FAMILIES: dict[str, Callable[[Path], None]] = {}


def family(make: Callable[[Path], None]) -> Callable[[Path], None]:
    FAMILIES[make.__name__] = make
    return make


def tokenizer(start: str = "<s>", end: str = "</s>", *, limit: int = 77, **more: Any) -> Any:
    """A little BPE tokenizer whose ids are: padding, start, end, unknown, then the rest."""
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<pad>", start, end, "<unk>"]
    inner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=120, special_tokens=special))
    inner.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, 1), (end, 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=start,
        eos_token=end,
        cls_token=start,
        sep_token=end,
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=limit,
        **more,
    )


VOCAB = {"vocab_size": 120, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
EYES = {**TINY, "image_size": 32, "patch_size": 8}


def clip_pictures() -> Any:
    return transformers.CLIPImageProcessor(
        size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}
    )


def save(folder: Path, model: Any, processor: Any) -> None:
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)


@family
def clip(folder: Path) -> None:
    config = transformers.CLIPConfig(
        text_config={**TINY, **VOCAB}, vision_config=EYES, projection_dim=12
    )
    processor = transformers.CLIPProcessor(clip_pictures(), tokenizer())
    save(folder, transformers.CLIPModel(config), processor)


@family
def metaclip_2(folder: Path) -> None:
    config = transformers.MetaClip2Config(
        text_config={**TINY, **VOCAB}, vision_config=EYES, projection_dim=12
    )
    processor = transformers.CLIPProcessor(clip_pictures(), tokenizer())
    save(folder, transformers.MetaClip2Model(config), processor)


@family
def chinese_clip(folder: Path) -> None:
    config = transformers.ChineseCLIPConfig(
        text_config={**TINY, **VOCAB}, vision_config=EYES, projection_dim=12
    )
    pictures = transformers.ChineseCLIPImageProcessor(
        size={"height": 32, "width": 32}, do_center_crop=False
    )
    model = transformers.ChineseCLIPModel(config)
    save(folder, model, pictures)
    tokenizer().save_pretrained(folder)


@family
def altclip(folder: Path) -> None:
    text = {**TINY, **VOCAB, "project_dim": 16, "max_position_embeddings": 64}
    config = transformers.AltCLIPConfig(text_config=text, vision_config=EYES, projection_dim=12)
    processor = transformers.CLIPProcessor(clip_pictures(), tokenizer())
    save(folder, transformers.AltCLIPModel(config), processor)


@family
def clipseg(folder: Path) -> None:
    config = transformers.CLIPSegConfig(
        text_config={**TINY, **VOCAB}, vision_config=EYES, projection_dim=12
    )
    pictures = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    save(folder, transformers.CLIPSegModel(config), pictures)
    tokenizer().save_pretrained(folder)


@family
def groupvit(folder: Path) -> None:
    eyes = {**EYES, "depths": [1, 1], "num_group_tokens": [4, 2], "num_output_groups": [4, 2]}
    config = transformers.GroupViTConfig(
        text_config={**TINY, **VOCAB},
        vision_config=eyes,
        projection_dim=12,
        projection_intermediate_dim=16,
    )
    processor = transformers.CLIPProcessor(clip_pictures(), tokenizer())
    save(folder, transformers.GroupViTModel(config), processor)


@family
def xclip(folder: Path) -> None:
    eyes = {**EYES, "num_frames": 4, "mit_hidden_size": 16, "mit_intermediate_size": 16}
    heads = {"mit_num_attention_heads": 2, "mit_num_hidden_layers": 1}
    config = transformers.XCLIPConfig(
        text_config={**TINY, **VOCAB},
        vision_config={**eyes, **heads},
        projection_dim=16,
        prompt_num_attention_heads=2,
    )
    frames = transformers.VideoMAEImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    save(folder, transformers.XCLIPModel(config), frames)
    tokenizer().save_pretrained(folder)


@family
def siglip(folder: Path) -> None:
    text = {**TINY, **VOCAB, "max_position_embeddings": 16, "projection_size": 16}
    config = transformers.SiglipConfig(text_config=text, vision_config=EYES)
    words = tokenizer(limit=16, model_input_names=["input_ids"])
    pictures = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    save(folder, transformers.SiglipModel(config), pictures)
    words.save_pretrained(folder)


@family
def siglip2(folder: Path) -> None:
    text = {**TINY, **VOCAB, "max_position_embeddings": 64, "projection_size": 16}
    eyes = {**TINY, "patch_size": 8, "num_patches": 16}
    config = transformers.Siglip2Config(text_config=text, vision_config=eyes)
    letters = [*sorted(set("".join(CORPUS)) - {" "}), "▁"]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    words = transformers.Siglip2Tokenizer(
        vocab={token: row for row, token in enumerate([*special, *letters])},
        merges=[],
        model_max_length=64,
        padding_side="right",
        model_input_names=["input_ids"],
    )
    pictures = transformers.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    save(folder, transformers.Siglip2Model(config), pictures)
    words.save_pretrained(folder)


@family
def pe_audio_video(folder: Path) -> None:
    small = {**TINY, "head_dim": 8}
    ears = {
        **small,
        "dac_config": {
            "downsampling_ratios": [2, 4],
            "encoder_hidden_size": 4,
            "hidden_size": 16,
            "codebook_dim": 8,
            "hop_length": 8,
        },
    }
    eyes = {
        **small,
        "vision_config": {
            "architecture": "vit_tiny_patch16_224",
            "num_classes": 16,
            "do_pooling": True,
            "global_pool": "token",
            "model_args": {
                "img_size": 32,
                "patch_size": 16,
                "embed_dim": 16,
                "depth": 1,
                "num_heads": 2,
            },
        },
    }
    both = {**small, "audio_config": ears, "video_config": eyes}
    text = {**TINY, **VOCAB, "cls_token_id": 1, "sep_token_id": 2}
    config = transformers.PeAudioVideoConfig(text_config=text, audio_video_config=both)
    processor = transformers.PeAudioVideoProcessor(
        transformers.PeAudioFeatureExtractor(sampling_rate=8000, hop_length=8),
        frames_processor(),
        tokenizer(),
    )
    save(folder, transformers.PeAudioVideoModel(config), processor)


def frames_processor() -> Any:
    from transformers.models.pe_video.video_processing_pe_video import PeVideoVideoProcessor

    return PeVideoVideoProcessor(
        size={"height": 32, "width": 32},
        do_resize=True,
        do_rescale=True,
        do_normalize=True,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


@family
def align(folder: Path) -> None:
    eyes = {
        "image_size": 32,
        "width_coefficient": 0.1,
        "depth_coefficient": 0.1,
        "hidden_dim": 16,
    }
    config = transformers.AlignConfig(
        text_config={**TINY, **VOCAB}, vision_config=eyes, projection_dim=32
    )
    pictures = transformers.EfficientNetImageProcessor(
        size={"height": 40, "width": 40},
        crop_size={"height": 32, "width": 32},
        do_center_crop=True,
        rescale_offset=True,
        rescale_factor=1 / 127.5,
        include_top=True,
    )
    model = transformers.AlignModel(config)
    for weight in model.vision_model.parameters():  # at 0.02 an EfficientNet sees nothing
        if weight.ndim > 1:
            torch.nn.init.kaiming_normal_(weight)
    save(folder, model, pictures)
    tokenizer().save_pretrained(folder)


@family
def flava(folder: Path) -> None:
    config = transformers.FlavaConfig(
        text_config={**TINY, **VOCAB},
        image_config=EYES,
        multimodal_config=TINY,
        hidden_size=16,
        projection_dim=12,
    )
    pictures = transformers.FlavaImageProcessor(
        size={"height": 32, "width": 32}, crop_size={"height": 32, "width": 32}
    )
    save(folder, transformers.FlavaModel(config), pictures)
    tokenizer().save_pretrained(folder)


@family
def clap(folder: Path) -> None:
    ears = {"spec_size": 64, "window_size": 4, "num_mel_bins": 16}
    sounds = transformers.ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=8000,
        hop_length=80,
        max_length_s=2,
        fft_window_size=256,
        frequency_max=4000,
    )
    save_clap(folder, ears, sounds)


def save_clap(folder: Path, ears: dict[str, int], sounds: Any) -> None:
    ears = {
        **ears,
        "hidden_size": 16,
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "enable_fusion": True,
    }
    text = {**TINY, **VOCAB, "max_position_embeddings": 64}
    config = transformers.ClapConfig(text_config=text, audio_config=ears, projection_dim=12)
    save(folder, transformers.ClapModel(config), sounds)
    tokenizer().save_pretrained(folder)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """The library talks while it saves."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.enable_progress_bar()
    transformers.logging.set_verbosity_warning()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family, made when it is first asked for."""
    home = tmp_path_factory.mktemp("zoo")

    def folder(name: str) -> Path:
        if not (home / name).exists():
            torch.manual_seed(0)
            FAMILIES[name](home / name)
        return home / name

    return folder


@pytest.fixture(scope="module")
def load(zoo: Callable[[str], Path], model_cache: Path) -> Callable[[str], JointTower]:
    known: dict[str, Any] = {}

    def loaded(name: str) -> JointTower:
        if name not in known:
            known[name] = registry.load(f"hf:{zoo(name)}", options(model_cache))
        return known[name]

    return loaded


def options(cache: Path) -> LoadOptions:
    return LoadOptions(cache=cache, threads=1, offline=True)


@pytest.fixture(scope="module")
def photos() -> list[Pixels]:
    names = ["astronaut.png", "chelsea.png", "coffee.png"]
    folder = Path(skimage.__file__).parent / "data"
    return [np.asarray(Image.open(folder / name).convert("RGB").reduce(3)) for name in names]


@pytest.fixture(scope="module")
def sounds() -> list[Floats]:
    """Two seconds of chirp, a second of noise, a click; 8 kHz."""
    time = np.arange(16_000) / 8000
    rng = np.random.default_rng(0)
    chirp = 0.5 * np.sin(2 * np.pi * (200 + 400 * time) * time)
    click = np.r_[np.zeros(50), 1.0, np.zeros(500)]
    return [sound.astype(np.float32) for sound in (chirp, rng.normal(0, 0.1, 8000), click)]


def of(modality: Modality, data: list[Any], rate: float | None = None) -> list[Media]:
    return [Media(modality, value, rate) for value in data]


def unit(rows: Any) -> Floats:
    found = rows if isinstance(rows, torch.Tensor) else rows.pooler_output
    found = found[:, 0] if found.ndim == 3 else found
    return torch.nn.functional.normalize(found, dim=-1).detach().numpy()


def own(folder: Path) -> Any:
    return transformers.AutoModel.from_pretrained(folder).eval()


CROPPED = {"clip", "metaclip_2", "altclip", "groupvit", "align"}
SEEING = [
    "clip",
    "metaclip_2",
    "altclip",
    "clipseg",
    "groupvit",
    "chinese_clip",
    "siglip",
    "siglip2",
    "align",
    "flava",
]


@pytest.mark.parametrize("name", [*SEEING, "clap", "xclip"])
def test_texts_are_the_librarys_own(name: str, zoo: Any, load: Any) -> None:
    words = transformers.AutoTokenizer.from_pretrained(zoo(name))
    padding = "max_length" if name.startswith("siglip") else True
    wanted = own(zoo(name)).get_text_features(
        **words(WORDS, padding=padding, return_tensors="pt", return_token_type_ids=False)
    )
    found = load(name).embed(of(Modality.TEXT, WORDS)).joint
    np.testing.assert_allclose(found, unit(wanted), atol=1e-5)


@pytest.mark.parametrize("name", SEEING)
def test_pictures_are_the_librarys_own(
    name: str, zoo: Any, load: Any, photos: list[Pixels]
) -> None:
    make = transformers.AutoImageProcessor.from_pretrained(zoo(name), backend="pil")
    values = make([Image.fromarray(photo) for photo in photos], return_tensors="pt")
    wanted = own(zoo(name)).get_image_features(**values)
    found = load(name).embed(of(Modality.IMAGE, photos)).joint
    # Where a margin is cut off, only the rest is resized: few pixels differ, by one grey level.
    np.testing.assert_allclose(found, unit(wanted), atol=1e-4 if name in CROPPED else 1e-5)


def test_sounds_are_the_librarys_own(zoo: Any, load: Any, sounds: list[Floats]) -> None:
    make = transformers.AutoFeatureExtractor.from_pretrained(zoo("clap"))
    values = make(sounds, sampling_rate=8000, return_tensors="pt")
    values["is_longer"] = torch.zeros_like(values["is_longer"])  # the library draws one by lot
    wanted = own(zoo("clap")).get_audio_features(**values)
    found = load("clap").embed(of(Modality.AUDIO, sounds, 8000.0)).joint
    np.testing.assert_allclose(found, unit(wanted), atol=1e-5)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_it_says_before_loading_what_it_does_then(
    name: str, zoo: Any, load: Any, model_cache: Path
) -> None:
    card = registry.describe(f"hf:{zoo(name)}", options(model_cache))
    assert card.space == load(name).space
    assert card.modalities == load(name).modalities
    assert load(name).embed(of(Modality.TEXT, WORDS)).joint.shape == (4, card.space.dim)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_vector_is_the_same_in_every_batch_and_call(
    name: str, load: Any, photos: list[Pixels], sounds: list[Floats]
) -> None:
    tower = load(name)
    films = [np.stack([photo] * (k + 1)) for k, photo in enumerate(photos)]
    media = [
        of(Modality.TEXT, WORDS),
        of(Modality.IMAGE, photos),
        of(Modality.AUDIO, sounds, 8000.0),
        of(Modality.VIDEO, films),
    ]
    for batch in media:
        if batch[0].modality not in tower.modalities:
            continue
        together = tower.embed(batch).joint
        np.testing.assert_array_equal(tower.embed(batch).joint, together)
        alone = np.concatenate([tower.embed([one]).joint for one in batch])
        np.testing.assert_allclose(alone, together, atol=2e-6)


def test_a_film_is_the_mean_of_its_frames(load: Any, photos: list[Pixels]) -> None:
    side = min(photo.shape[0] for photo in photos), min(photo.shape[1] for photo in photos)
    frames = [photo[: side[0], : side[1]] for photo in photos]
    film = load("clip").embed(of(Modality.VIDEO, [np.stack(frames)])).joint[0]
    mean = load("clip").embed(of(Modality.IMAGE, frames)).joint.mean(0)
    np.testing.assert_allclose(film, mean / np.linalg.norm(mean), atol=1e-6)


def test_films_are_the_librarys_own(zoo: Any, load: Any, photos: list[Pixels]) -> None:
    make = transformers.AutoImageProcessor.from_pretrained(zoo("xclip"), backend="pil")
    film = np.stack(photos[:1] * 2 + [photos[0][::-1]] * 2)
    values = make([Image.fromarray(frame) for frame in film], return_tensors="pt")["pixel_values"]
    values = values if values.ndim == 5 else values[None]
    wanted = own(zoo("xclip")).get_video_features(pixel_values=values)
    found = load("xclip").embed(of(Modality.VIDEO, [film, np.repeat(film, 3, axis=0)[1:]])).joint
    np.testing.assert_allclose(found[:1], unit(wanted), atol=1e-4)
    assert found.shape == (2, 16)


def test_flava_reads_a_text_and_a_picture_together_in_a_space_of_its_own(
    zoo: Any, load: Any, photos: list[Pixels]
) -> None:
    tower, pair = load("flava"), frozenset({Modality.TEXT, Modality.IMAGE})
    assert tower.joint == {pair}
    media = [*of(Modality.IMAGE, photos[:1]), *of(Modality.TEXT, WORDS[1:2])]
    found = tower.embed_joint(media)
    words = transformers.AutoTokenizer.from_pretrained(zoo("flava"))
    make = transformers.AutoImageProcessor.from_pretrained(zoo("flava"), backend="pil")
    wanted = own(zoo("flava"))(
        **words(WORDS[1:2], return_tensors="pt", return_token_type_ids=False),
        **make(Image.fromarray(photos[0]), return_tensors="pt"),
    ).multimodal_embeddings
    np.testing.assert_allclose(found.joint, unit(wanted), atol=1e-5)
    assert found.space != tower.space
    np.testing.assert_array_equal(tower.embed_joint(media[::-1]).joint, found.joint)
    with pytest.raises(
        UnsupportedModality, match=r"image and text together, one of each, not text"
    ):
        tower.embed_joint(media[1:])


def test_clip_reads_nothing_together(load: Any, photos: list[Pixels]) -> None:
    with pytest.raises(UnsupportedModality, match="embeds nothing together"):
        load("clip").embed_joint(of(Modality.IMAGE, photos[:2]))


def test_pe_is_the_librarys_own(
    zoo: Any, load: Any, photos: list[Pixels], sounds: list[Floats]
) -> None:
    tower, model = load("pe_audio_video"), own(zoo("pe_audio_video"))
    film, words = np.stack(photos[:1] * 3), tokenizer()
    sound = transformers.PeAudioFeatureExtractor(sampling_rate=8000, hop_length=8)(
        [sounds[2]], sampling_rate=8000, return_tensors="pt"
    )
    frames = frames_processor()(torch.from_numpy(film).permute(0, 3, 1, 2), return_tensors="pt")
    wanted = model(
        **words(WORDS[:1], return_tensors="pt", return_token_type_ids=False),
        input_values=sound["input_values"],
        pixel_values_videos=frames["pixel_values_videos"],
    )
    heads = [wanted.text_audio_embeds, wanted.text_video_embeds, wanted.text_audio_video_embeds]
    text = np.mean([unit(head) for head in heads], axis=0)
    text /= np.linalg.norm(text)
    audio, video = of(Modality.AUDIO, sounds[2:], 8000.0), of(Modality.VIDEO, [film])
    np.testing.assert_allclose(tower.embed(of(Modality.TEXT, WORDS[:1])).joint, text, atol=1e-5)
    np.testing.assert_allclose(tower.embed(audio).joint, unit(wanted.audio_embeds), atol=1e-5)
    # Frames differ by a grey level: the library has no Pillow resize for films.
    np.testing.assert_allclose(tower.embed(video).joint, unit(wanted.video_embeds), atol=1e-3)
    both = tower.embed_joint([*audio, *video])
    np.testing.assert_allclose(both.joint, unit(wanted.audio_video_embeds), atol=1e-3)
    assert both.space == tower.space


@pytest.fixture(scope="module")
def recordings() -> list[Media]:
    """Ten clips of ESC-10."""
    path = Path(os.environ.get("CROSSBIND_DATA", ""), "esc10-folds1-4.zip")
    if not path.is_file():
        pytest.skip("CROSSBIND_DATA names no folder with esc10-folds1-4.zip")
    with zipfile.ZipFile(path) as archive:
        names = [name for name in sorted(archive.namelist()) if name.endswith(".ogg")]
        clips = [archive.read(name) for name in names[::32]]
    assert len(clips) == 10
    return [
        open_media(clip, accepts=frozenset({Modality.AUDIO})).decode(Modality.AUDIO, image_side=1)
        for clip in clips
    ]


@pytest.mark.data
def test_recordings_are_the_librarys_own_to_clap(
    recordings: list[Media], tmp_path: Path, model_cache: Path
) -> None:
    """By the numbers of the published ones: 48 kHz, 64 bands, ten seconds."""
    torch.manual_seed(0)
    ears = {"spec_size": 256, "window_size": 8, "num_mel_bins": 64}
    save_clap(tmp_path, ears, transformers.ClapFeatureExtractor())
    tower = registry.load(f"hf:{tmp_path}", options(model_cache))
    pieces = [piece for medium in recordings for _, piece in tower.fragment(medium)]
    make = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    values = make([piece.data for piece in pieces], sampling_rate=48_000, return_tensors="pt")
    values["is_longer"] = torch.zeros_like(values["is_longer"])  # the library draws one by lot
    wanted = unit(own(tmp_path).get_audio_features(**values))
    np.testing.assert_allclose(tower.embed(pieces).joint, wanted, atol=1e-5)
    assert len(pieces) == 10
    assert np.ptp(wanted, axis=0).max() > 0.01  # it does hear a difference


@pytest.mark.data
def test_recordings_are_the_librarys_own_to_pe(
    recordings: list[Media], zoo: Any, load: Any, photos: list[Pixels]
) -> None:
    tower, model = load("pe_audio_video"), own(zoo("pe_audio_video"))
    make = transformers.AutoFeatureExtractor.from_pretrained(zoo("pe_audio_video"))
    film = np.stack(photos[:1] * 3)
    frames = frames_processor()(torch.from_numpy(film).permute(0, 3, 1, 2), return_tensors="pt")
    for medium in recordings:
        [(_, piece)] = tower.fragment(medium)
        loudest = int(np.abs(piece.data).argmax())
        sound = piece.data[max(0, loudest - 4000) :][:7001]
        [wanted] = make([sound], sampling_rate=8000, return_tensors="pt")["input_values"]
        found = model(input_values=wanted[None], pixel_values_videos=frames["pixel_values_videos"])
        heard, shown = of(Modality.AUDIO, [sound], 8000.0), of(Modality.VIDEO, [film])
        np.testing.assert_allclose(tower.embed(heard).joint, unit(found.audio_embeds), atol=1e-5)
        both = tower.embed_joint([*heard, *shown]).joint
        # Frames differ by a grey level: see above.
        np.testing.assert_allclose(both, unit(found.audio_video_embeds), atol=1e-3)


def test_a_long_text_is_cut_into_pieces_that_fit(load: Any) -> None:
    text = " ".join(CORPUS * 9)
    for name in ("clip", "siglip", "siglip2"):
        tower = load(name)
        assert tower.count_tokens(text) > 77
        with pytest.raises(TooLarge, match="cut it into pieces"):
            tower.embed(of(Modality.TEXT, [text]))
        pieces = list(tower.fragment(Media(Modality.TEXT, text)))
        assert pieces[0][0].start == 0
        assert pieces[-1][0].end == len(text)
        assert len(tower.embed([media for _, media in pieces])) == len(pieces)


@pytest.mark.parametrize("name", ["clip", "siglip", "clap", "align"])
def test_its_networks_can_be_exported(name: str, load: Any) -> None:
    tower = load(name)
    for modality in tower.modalities - {Modality.VIDEO}:
        encoder = tower.encoder(modality)
        network = encoder.network()
        tensors = [torch.from_numpy(array) for array in network.inputs.values()]
        assert network.outputs == ("joint",)
        assert set(network.dynamic) == set(network.inputs)
        with torch.no_grad():
            rows = network.module(*tensors)
        assert rows.shape == (2, tower.space.dim)


def test_a_half_precision_tower_is_near_and_of_another_space(
    zoo: Any, load: Any, model_cache: Path, photos: list[Pixels]
) -> None:
    half = registry.load(f"hf:{zoo('clip')}+bf16", options(model_cache))
    assert half.space.precision == "bf16"
    assert half.space.id != load("clip").space.id
    cosines = (
        half.embed(of(Modality.IMAGE, photos)).joint
        * load("clip").embed(of(Modality.IMAGE, photos)).joint
    ).sum(1)
    assert cosines.min() > 0.999
    with pytest.raises(NotFound, match="fp32, bf16, fp16"):
        registry.describe(f"hf:{zoo('clip')}+int8", options(model_cache))


def test_weights_that_are_not_whole_are_refused(zoo: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in zoo("clip").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    tower = registry.load(f"hf:{tmp_path}", options(tmp_path / "cache"))
    with pytest.raises(MissingWeights, match="lack 1 tensors, 'text_projection"):
        tower.warm()
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(MissingWeights, match="cannot be loaded"):
        registry.load(f"hf:{tmp_path}", options(tmp_path / "cache")).warm()


def test_an_unknown_family_is_refused_with_the_choices(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(MissingWeights, match=r"'llama'.*choices are: align, .*siglip2"):
        registry.describe(f"hf:{tmp_path}", options(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(MissingWeights, match="cannot be read"):
        registry.describe(f"hf:{tmp_path}", options(tmp_path))
    with pytest.raises(NotFound, match="write hf:FOLDER"):
        registry.describe("hf:", options(tmp_path))


def test_describing_imports_neither_torch_nor_transformers(zoo: Any, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from embed import registry\n"
        f"options = registry.LoadOptions(cache=Path({str(tmp_path)!r}), threads=1)\n"
        f"print(registry.describe('hf:{zoo('clip')}', options).preprocessing)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("text 77 tokens, padded to longest; rgb shortest 36 bicubic")


@pytest.fixture
def copied(zoo: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "copied"
    shutil.copytree(zoo("clip"), folder)
    return folder


def edit(path: Path, keys: str, value: Any) -> None:
    """Sets one value of a JSON file."""
    document = json.loads(path.read_text())
    *steps, last = keys.split(".")
    inner = document
    for step in steps:
        inner = inner[step]
    inner[last] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        ("config.json", "projection_dim", "wide"),
        ("config.json", "projection_dim", float("nan")),
        ("config.json", "projection_dim", -4),
        ("config.json", "projection_dim", 10**9),
        ("config.json", "text_config.num_hidden_layers", 10**9),
        ("config.json", "text_config.max_position_embeddings", -1),
        ("config.json", "vision_config.num_frames", "x"),
        ("tokenizer_config.json", "model_max_length", "many"),
        ("processor_config.json", "image_processor.crop_size", {"height": 10**9, "width": 10**9}),
        ("processor_config.json", "image_processor.crop_size", {"height": -5, "width": -5}),
        ("processor_config.json", "image_processor.image_std", [0, 0, 0]),
        ("processor_config.json", "image_processor.image_mean", "abc"),
        ("processor_config.json", "image_processor.resample", 99),
    ],
)
def test_a_strangers_numbers_are_refused_before_anything_is_built(
    copied: Path, model_cache: Path, file: str, keys: str, value: Any
) -> None:
    edit(copied / file, keys, value)
    with pytest.raises(MissingWeights, match="fetch them again"):
        registry.describe(f"hf:{copied}", options(model_cache))


@pytest.mark.parametrize("keys", ["text_config.hidden_size", "text_config.vocab_size"])
def test_a_network_larger_than_its_weights_is_not_allocated(
    copied: Path, model_cache: Path, keys: str
) -> None:
    edit(copied / "config.json", keys, 10**9)
    tower = registry.load(f"hf:{copied}", options(model_cache))
    with pytest.raises(MissingWeights, match="other shapes than its config"):
        tower.embed(of(Modality.TEXT, ["rain"]))


def test_a_folder_without_weights_says_so_before_loading(copied: Path, model_cache: Path) -> None:
    (copied / "model.safetensors").unlink()
    for act in (registry.check, registry.load):
        with pytest.raises(MissingWeights, match="holds no weights"):
            act(f"hf:{copied}", options(model_cache))


def test_weights_that_make_no_vectors_are_the_towers_fault(copied: Path, model_cache: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    weights["text_projection.weight"].fill_(float("nan"))
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    tower = registry.load(f"hf:{copied}", options(model_cache))
    with pytest.raises(BackendFailed, match=r"copied made no vector of text: .*nan"):
        tower.embed(of(Modality.TEXT, ["rain"]))


def test_what_torch_raises_names_the_space(
    copied: Path, model_cache: Path, photos: list[Pixels]
) -> None:
    edit(copied / "processor_config.json", "image_processor.crop_size", {"height": 64, "width": 64})
    tower = registry.load(f"hf:{copied}", options(model_cache))
    with pytest.raises(BackendFailed, match=r"copied failed on image: ValueError"):
        tower.embed(of(Modality.IMAGE, photos))


def test_code_of_a_folder_is_never_run(copied: Path, model_cache: Path) -> None:
    (copied / "evil.py").write_text(f"open({str(copied / 'ran')!r}, 'w')")
    edit(copied / "config.json", "auto_map", {"AutoModel": "evil.M", "AutoConfig": "evil.C"})
    tower = registry.load(f"hf:{copied}", options(model_cache))
    assert len(tower.embed(of(Modality.TEXT, ["rain"]))) == 1
    assert not (copied / "ran").exists()


def test_a_relative_folder_is_the_same_space_from_everywhere(
    copied: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied.parent)
    names = ["hf:./copied+bf16", "hf:copied+bf16", f"hf:{copied}+bf16"]
    spaces = {registry.describe(name, options(model_cache)).space for name in names}
    assert [space.name for space in spaces] == [f"hf:{copied}+bf16"]
    monkeypatch.chdir("/")
    assert registry.load(spaces.pop().name, options(model_cache)).space.name == names[-1]


@pytest.mark.parametrize("name", [*SEEING[1:], "xclip", "pe_audio_video"])
def test_torch_and_onnx_agree(
    name: str,
    zoo: Any,
    load: Any,
    model_cache: Path,
    photos: list[Pixels],
    sounds: list[Floats],
    tmp_path: Path,
) -> None:
    """Every modality of every family; `test_onnx_export` has clip and clap."""
    report = export_space(f"hf:{zoo(name)}", tmp_path / "onnx", options(model_cache))
    exported = registry.load(report.space, options(model_cache))
    films = [np.stack([photo[:100, :100] for photo in photos] * 3)] * 2
    media = {
        Modality.TEXT: of(Modality.TEXT, WORDS),
        Modality.IMAGE: of(Modality.IMAGE, photos),
        Modality.VIDEO: of(Modality.VIDEO, films, 1.0),
        Modality.AUDIO: of(Modality.AUDIO, sounds, 8000.0),
    }
    assert report.left_out == ()
    for modality in load(name).modalities:
        wanted = load(name).embed(media[modality]).joint
        np.testing.assert_allclose(exported.embed(media[modality]).joint, wanted, atol=1e-5)
    assert isinstance(exported, JointTower)
    assert exported.joint == load(name).joint
    for pair in exported.joint:  # each with one of another length than it was traced with
        for row in (0, -1):
            both = [media[modality][row] for modality in sorted(pair)]
            wanted, found = load(name).embed_joint(both), exported.embed_joint(both)
            np.testing.assert_allclose(found.joint, wanted.joint, atol=1e-5)
            assert found.space.name == wanted.space.name.replace(
                load(name).space.name, exported.space.name
            )


def test_pairs_are_left_out_where_nothing_measures_what_they_lose(
    load: Any, tmp_path: Path
) -> None:
    writer = Writer(load("flava"), tmp_path, "int8")
    writer.encoders = {Modality.TEXT: {}, Modality.IMAGE: {}}
    writer.add_pairs()
    assert (writer.left_out, writer.pairs) == (["text+image"], [])


def test_frames_are_stretched_to_sounds_as_the_library_does() -> None:
    for frames, length in ((1, 5), (2, 218), (3, 141), (7, 7), (9, 4), (30, 750), (31, 749)):
        film = torch.arange(2.0 * frames).view(2, frames, 1)
        wanted = torch.nn.functional.interpolate(film.mT, size=length, mode="nearest").mT
        assert torch.equal(stretched(film, torch.zeros(2, length, 3)), wanted)

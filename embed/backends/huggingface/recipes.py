"""Recipes from the processor and tokenizer files of a transformers folder.

What a file leaves out is what the library's class of that name has by default. Equality with the
library's own processors is tested on real pictures and sounds. It knows no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from embed.backends.huggingface.files import Json, ModelFolder, first_of, side_lengths, value_at
from embed.backends.recipes import (
    AudioRecipe,
    ImageRecipe,
    Interpolation,
    PatchRecipe,
    TextRecipe,
)
from embed.errors import MissingWeights

Channels = tuple[float, float, float]

_FILTERS: tuple[Interpolation, ...] = (
    "nearest",
    "lanczos",
    "bilinear",
    "bicubic",
    "box",
    "hamming",
)
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
_SQUARE_224 = {"height": 224, "width": 224}
_CLIP = {
    "size": {"shortest_edge": 224},
    "crop_size": _SQUARE_224,
    "do_center_crop": True,
    "resample": 3,
    "image_mean": _CLIP_MEAN,
    "image_std": _CLIP_STD,
}
_DEFAULTS: dict[str, Json] = {
    "CLIP": _CLIP,
    "ChineseCLIP": {**_CLIP, "do_center_crop": False, "size": _SQUARE_224},
    "Flava": {**_CLIP, "size": _SQUARE_224},
    "EfficientNet": {
        "size": {"height": 346, "width": 346},
        "crop_size": {"height": 289, "width": 289},
        "do_center_crop": False,
        "resample": 3,
        "image_mean": _HALF,
        "image_std": _HALF,
        "include_top": True,
    },
    "Siglip": {"size": _SQUARE_224, "resample": 3, "image_mean": _HALF, "image_std": _HALF},
    "Siglip2": {"resample": 2, "image_mean": _HALF, "image_std": _HALF},
    "VideoMAE": {
        **_CLIP,
        "resample": 2,
        "image_mean": (0.485, 0.456, 0.406),
        "image_std": (0.229, 0.224, 0.225),
    },
    "ViT": {"size": _SQUARE_224, "resample": 2, "image_mean": _HALF, "image_std": _HALF},
}
_OFFSET_POSITIONS = ("roberta", "clap_text_model", "altclip_text_model", "mpnet", "camembert")
_WAVEFORM_SECONDS = 30.0
_UNLIMITED = 1_000_000  # the library's word for a tokenizer that says no limit is a huge number


def image_recipe(folder: ModelFolder) -> ImageRecipe | PatchRecipe:
    """How a picture is made ready. Raises MissingWeights where the files do not say."""
    given = folder.part("image_processor", "preprocessor_config.json")
    kind = str(first_of(given, "image_processor_type", "feature_extractor_type", default=""))
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(ending)
    settings = {**_DEFAULTS.get(kind, {}), **_said(given)}
    if not settings:
        raise MissingWeights(f"{folder.path} has no preprocessor_config.json: fetch it too")
    return _patches(settings) if kind == "Siglip2" else _picture(settings, folder)


def video_recipe(folder: ModelFolder) -> ImageRecipe:
    """How a frame is made ready, where films have a processor of their own."""
    given = folder.part("video_processor", "video_preprocessor_config.json")
    if not given:
        recipe = image_recipe(folder)
        assert isinstance(recipe, ImageRecipe)
        return recipe
    defaults = {"resample": 2, "image_mean": _HALF, "image_std": _HALF}
    return _picture({**defaults, **_said(given)}, folder)


def audio_recipe(folder: ModelFolder) -> AudioRecipe:
    """How a sound is made ready; what CLAP would cut at random is never that long."""
    given = _said(folder.part("feature_extractor", "preprocessor_config.json"))
    rate = int(given.get("sampling_rate", 48_000))
    if "PeAudio" in str(given.get("feature_extractor_type")):
        hop = int(given.get("hop_length", 1920))
        return AudioRecipe(kind="waveform", rate=rate, seconds=_WAVEFORM_SECONDS, hop=hop)
    fused = given.get("truncation", "fusion") == "fusion"
    padding = str(given.get("padding", "repeatpad"))
    return AudioRecipe(
        kind="log-mel",
        rate=rate,
        seconds=float(given.get("max_length_s", 10)),
        window=int(given.get("fft_window_size", 1024)),
        hop=int(given.get("hop_length", 480)),
        mels=int(given.get("feature_size", 64)),
        low=float(given.get("frequency_min", 0)),
        high=float(given.get("frequency_max", 14_000)),
        scale="htk" if fused else "slaney",
        short="repeat-pad"
        if padding == "repeatpad"
        else "repeat"
        if padding == "repeat"
        else "pad",
    )


def text_recipe(folder: ModelFolder, *, tokens: int, whole: bool, mask: bool) -> TextRecipe:
    """How words become ids. The id that pads is set when the tokenizer is opened.

    tokens: that the tower was trained to read, which the files may lower.
    whole: pad to `tokens` always. mask: give the network one, unless the files say otherwise.
    """
    settings = folder.read("tokenizer_config.json")
    limit = int(min(settings.get("model_max_length") or _UNLIMITED, _UNLIMITED))
    names = settings.get("model_input_names")
    return TextRecipe(
        tokenizer="tokenizer.json",
        max_tokens=min(tokens, limit, positions(folder.config)),
        padding="max" if whole else "longest",
        pad_left=settings.get("padding_side") == "left",
        lowercase=folder.model_type == "siglip2",
        mask="attention_mask" in names if names and not mask else mask,
    )


def positions(config: Json) -> int:
    """How many tokens have a position in the text network."""
    text = config.get("text_config") if isinstance(config.get("text_config"), Mapping) else config
    found = value_at(text, "max_position_embeddings") if isinstance(text, Mapping) else None
    if found is None:
        return _UNLIMITED
    kind = str(value_at(cast("Json", text), "model_type") or config.get("model_type"))
    # These count positions from the id that pads, plus one.
    offset = 2 if any(name in kind for name in _OFFSET_POSITIONS) else 0
    return int(found) - offset


def padding_token(folder: ModelFolder) -> str | None:
    """The token that pads, as the tokenizer's files name it."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        found = folder.read(name).get("pad_token")
        content = found.get("content") if isinstance(found, Mapping) else found
        if content:
            return str(content)
    return None


def _said(settings: Json) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _patches(settings: Json) -> PatchRecipe:
    mean, std = _normalisation(settings)
    return PatchRecipe(
        patch=int(settings.get("patch_size", 16)),
        max_patches=int(settings.get("max_num_patches", 256)),
        interpolation=_FILTERS[int(settings["resample"])],
        mean=mean,
        std=std,
    )


def _picture(settings: Json, folder: ModelFolder) -> ImageRecipe:
    size, mean_std = settings.get("size"), _normalisation(settings)
    if not settings.get("do_resize", True) or size is None:
        raise MissingWeights(f"the processor of {folder.path} does not say to what size it resizes")
    cropped = settings.get("do_center_crop", False)
    crop = _square(settings.get("crop_size", size)) if cropped else None
    filter_ = _FILTERS[int(settings.get("resample", 2))]
    recipe = ImageRecipe(
        height=1, width=1, interpolation=filter_, mean=mean_std[0], std=mean_std[1]
    )
    whole = side_lengths(size)
    if whole is None and crop is not None:
        shorter = size.get("shortest_edge") if isinstance(size, Mapping) else size
        if isinstance(shorter, int):
            return replace(recipe, height=crop[0], width=crop[1], resize_to=shorter)
    if whole is not None and crop in (None, whole):
        return replace(recipe, height=whole[0], width=whole[1], resize="squash")
    if whole is not None and crop is not None and whole[0] == whole[1]:
        height, width = crop
        return replace(recipe, height=height, width=width, resize="squash", resize_to=whole[0])
    raise MissingWeights(
        f"the processor of {folder.path} makes pictures of size {size!r}"
        + (f" cropped to {crop!r}" if crop else "")
        + "; pictures must all come out in one size"
    )


def _square(size: Any) -> tuple[int, int]:
    if isinstance(size, Mapping):
        return side_lengths(size) or (int(size["shortest_edge"]), int(size["shortest_edge"]))
    return int(size), int(size)


def _normalisation(settings: Json) -> tuple[Channels, Channels]:
    """Mean and deviation in [0, 1] that do what rescaling, its offset and normalising do."""
    factor = (
        float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1
    )
    offset = 1.0 if settings.get("rescale_offset") else 0.0
    normal = settings.get("do_normalize", True)
    mean = settings["image_mean"] if normal else (0.0, 0.0, 0.0)
    std = settings["image_std"] if normal else (1.0, 1.0, 1.0)
    again = settings["image_std"] if settings.get("include_top") else (1.0, 1.0, 1.0)
    scale = 255.0 * factor
    means = tuple((offset + float(value)) / scale for value in mean)
    stds = tuple(float(a) * float(b) / scale for a, b in zip(std, again, strict=True))
    return cast("Channels", means), cast("Channels", stds)

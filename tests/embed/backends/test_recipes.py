"""Preprocessing as data, against the libraries it stands in for, on real pictures and sounds."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2
from transformers import ClapFeatureExtractor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from embed.backends.recipes import (
    AudioRecipe,
    ImageRecipe,
    PatchRecipe,
    Recipe,
    TextRecipe,
    from_json,
    summary,
    to_json,
)
from embed.errors import TooLarge
from embed.types import Floats, Pixels

RAW = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}
RECIPES: list[Recipe] = [
    ImageRecipe(height=224, width=224, resize_to=256, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
    PatchRecipe(patch=16, max_patches=256),
    TextRecipe(tokenizer="tokenizer.json", max_tokens=77, prefix="query: "),
    AudioRecipe(kind="log-mel", rate=48_000, seconds=10.0),
    AudioRecipe(kind="waveform", rate=16_000, seconds=30.0, hop=320),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=summary)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe


def differing(ours: Pixels, theirs: Pixels) -> float:
    """The share of bytes that differ; none by more than one grey level."""
    assert ours.shape == theirs.shape
    gap = np.abs(ours.astype(int) - theirs.astype(int))
    assert gap.max() <= 1
    return float((gap > 0).mean())


@pytest.mark.parametrize("side", [224, 256])
def test_shortest_is_the_librarys(photos: dict[str, Pixels], side: int) -> None:
    own = CLIPImageProcessorPil(size={"shortest_edge": side})
    ours = ImageRecipe(height=224, width=224, resize_to=side)
    for photo in photos.values():
        theirs = own(Image.fromarray(photo), **RAW)["pixel_values"][0].transpose(1, 2, 0)
        assert differing(ours.prepare(photo), theirs) < 5e-3


def test_a_cut_wider_than_the_picture_is_padded(photos: dict[str, Pixels]) -> None:
    own = CLIPImageProcessorPil(
        size={"shortest_edge": 64}, crop_size={"height": 101, "width": 81}, resample=2
    )
    ours = ImageRecipe(height=101, width=81, resize_to=64, interpolation="bilinear")
    for photo in photos.values():
        theirs = own(Image.fromarray(photo), **RAW)["pixel_values"][0].transpose(1, 2, 0)
        assert differing(ours.prepare(photo), theirs) < 5e-3


def test_squash_is_the_librarys_to_the_last_bit(photos: dict[str, Pixels]) -> None:
    own, ours = SiglipImageProcessorPil(), ImageRecipe(height=224, width=224, resize="squash")
    for photo in photos.values():
        theirs = own(Image.fromarray(photo), **RAW)["pixel_values"][0].transpose(1, 2, 0)
        np.testing.assert_array_equal(ours.prepare(photo), theirs)


@pytest.mark.parametrize("side", [224, 225, 250])
def test_even_centres_are_torchvisions(photos: dict[str, Pixels], side: int) -> None:
    bicubic = v2.InterpolationMode.BICUBIC
    own = v2.Compose([v2.Resize(side, bicubic), v2.CenterCrop(224)])
    ours = ImageRecipe(height=224, width=224, resize_to=side, centre="even")
    for photo in photos.values():
        theirs = np.asarray(own(Image.fromarray(photo)))
        assert differing(ours.prepare(photo), theirs) < 5e-3


def test_longest_pad_keeps_the_whole_picture_in_the_middle() -> None:
    recipe = ImageRecipe(height=64, width=64, resize="longest-pad", fill=7, centre="even")
    picture = np.full((100, 200, 3), 200, np.uint8)
    pixels = recipe.prepare(picture)
    assert (pixels[16:48] == 200).all()
    assert (pixels[:16] == 7).all()
    assert (pixels[48:] == 7).all()


def test_patches_are_the_librarys_to_the_last_bit(photos: dict[str, Pixels]) -> None:
    own, ours = Siglip2ImageProcessorPil(), PatchRecipe(patch=16, max_patches=256)
    for photo in [*photos.values(), photos["chelsea.png"][:9]]:
        theirs = own(Image.fromarray(photo), **RAW)
        pixels, mask, grids = ours.stack([ours.prepare(photo)])
        np.testing.assert_array_equal(pixels, theirs["pixel_values"])
        np.testing.assert_array_equal(mask, theirs["pixel_attention_mask"])
        np.testing.assert_array_equal(grids, theirs["spatial_shapes"])


@settings(max_examples=40)
@given(st.integers(1, 2000), st.integers(1, 2000), st.sampled_from(["shortest", "longest-pad"]))
def test_any_shape_comes_out_in_one(height: int, width: int, resize: str) -> None:
    recipe = ImageRecipe(height=24, width=32, resize=resize, resize_to=30)
    row = np.zeros((1, 1, 3), np.uint8)
    picture = np.broadcast_to(row, (height, width, 3))
    assert recipe.prepare(np.ascontiguousarray(picture)).shape == (24, 32, 3)


def sounds() -> Iterator[Floats]:
    """A chirp of ten seconds, three of noise, a click, silence."""
    time = np.arange(480_000) / 48_000
    yield (0.5 * np.sin(2 * np.pi * (100 + 400 * time) * time)).astype(np.float32)
    yield np.random.default_rng(0).normal(0, 0.1, 150_000).astype(np.float32)
    yield np.r_[np.zeros(50), 1.0, np.zeros(50)].astype(np.float32)
    yield np.zeros(1, np.float32)


@pytest.mark.parametrize("truncation", ["fusion", "rand_trunc"])
@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
def test_log_mels_are_claps(truncation: str, padding: str) -> None:
    own = ClapFeatureExtractor(truncation=truncation, padding=padding)
    fused = truncation == "fusion"
    ours = AudioRecipe(
        kind="log-mel",
        rate=48_000,
        seconds=10.0,
        scale="htk" if fused else "slaney",
        short="repeat-pad" if padding == "repeatpad" else padding,
    )
    for sound in sounds():
        theirs = own(sound, sampling_rate=48_000, return_tensors="np")["input_features"][0]
        # Fused, the library stacks four copies.
        for channel in theirs:
            np.testing.assert_allclose(ours.prepare(sound)[0], channel, rtol=0, atol=1e-5)


def test_a_sound_that_is_too_long_is_refused_and_never_cut_by_lot() -> None:
    recipe = AudioRecipe(kind="log-mel", rate=8000, seconds=1.0)
    with pytest.raises(TooLarge, match=r"has 1\.00 s and one vector hears 1 s"):
        recipe.prepare(np.zeros(8001, np.float32))


def test_waveforms_end_in_whole_hops() -> None:
    recipe = AudioRecipe(kind="waveform", rate=8000, seconds=1.0, hop=8)
    wave = np.arange(12, dtype=np.float32)
    np.testing.assert_array_equal(recipe.prepare(wave)[0], [*range(12), 10, 9, 8, 7])
    assert recipe.prepare(wave[:1]).shape == (1, 8)

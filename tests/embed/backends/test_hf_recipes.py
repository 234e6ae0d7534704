"""Recipes read from processor files as the library wrote them over the years."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embed.backends.huggingface.files import ModelFolder
from embed.backends.huggingface.recipes import (
    audio_recipe,
    image_recipe,
    padding_token,
    text_recipe,
)
from embed.backends.recipes import AudioRecipe, ImageRecipe, PatchRecipe
from embed.errors import MissingWeights

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    def with_files(**files: Any) -> ModelFolder:
        for name, value in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(value))
        return ModelFolder(tmp_path)

    return with_files


def test_the_first_clip_files_say_sizes_as_numbers(folder: Any) -> None:
    first = {
        "crop_size": 224,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "resample": 3,
        "size": 224,
    }
    wanted = ImageRecipe(height=224, width=224, resize_to=224, mean=CLIP_MEAN, std=CLIP_STD)
    assert image_recipe(folder(preprocessor_config=first)) == wanted


@pytest.mark.parametrize(
    "kind", ["CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil"]
)
def test_what_files_leave_out_is_the_classes_default(folder: Any, kind: str) -> None:
    inside = folder(processor_config={"image_processor": {"image_processor_type": kind}})
    recipe = image_recipe(inside)
    assert isinstance(recipe, ImageRecipe)
    assert (recipe.height, recipe.resize, recipe.interpolation) == (224, "shortest", "bicubic")
    assert (recipe.mean, recipe.std) == (CLIP_MEAN, CLIP_STD)


def test_aligns_two_normalisations_are_one(folder: Any) -> None:
    given = {
        "image_processor_type": "EfficientNetImageProcessor",
        "do_center_crop": True,
        "size": {"height": 346, "width": 346},
        "crop_size": {"height": 289, "width": 289},
        "rescale_factor": 1 / 127.5,
        "rescale_offset": True,
        "do_normalize": False,
        "include_top": False,
    }
    recipe = image_recipe(folder(preprocessor_config=given))
    assert isinstance(recipe, ImageRecipe)
    assert (recipe.resize, recipe.resize_to, recipe.height) == ("squash", 346, 289)
    assert recipe.mean == pytest.approx(HALF)
    assert recipe.std == pytest.approx(HALF)


def test_naflex_has_patches(folder: Any) -> None:
    given = {"image_processor_type": "Siglip2ImageProcessorFast", "max_num_patches": 1024}
    recipe = image_recipe(folder(preprocessor_config=given))
    assert recipe == PatchRecipe(patch=16, max_patches=1024)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"image_processor_type": "CLIPImageProcessor", "do_resize": False},
        {"image_processor_type": "CLIPImageProcessor", "do_center_crop": False},
        {"image_processor_type": "NewImageProcessor", "size": {"longest_edge": 9},
         "image_mean": HALF, "image_std": HALF},
    ],
)  # fmt: skip
def test_pictures_that_come_out_in_many_sizes_are_refused(folder: Any, given: Any) -> None:
    with pytest.raises(MissingWeights):
        image_recipe(folder(preprocessor_config=given))


def test_clap_unfused_has_slaneys_mels(folder: Any) -> None:
    given = {
        "feature_extractor_type": "ClapFeatureExtractor",
        "truncation": "rand_trunc",
        "padding": "repeatpad",
        "frequency_min": 50,
    }
    wanted = AudioRecipe(kind="log-mel", rate=48_000, seconds=10.0, low=50.0, scale="slaney")
    assert audio_recipe(folder(preprocessor_config=given)) == wanted


def test_the_shortest_of_all_limits_holds_for_texts(folder: Any) -> None:
    robertas = {"model_type": "clap_text_model", "max_position_embeddings": 514}
    inside = folder(
        config={"model_type": "clap", "text_config": robertas},
        tokenizer_config={"model_max_length": 10**30, "pad_token": {"content": "<pad>"}},
    )
    assert text_recipe(inside, tokens=600, whole=False, mask=True).max_tokens == 512
    assert text_recipe(inside, tokens=77, whole=False, mask=True).max_tokens == 77
    assert padding_token(inside) == "<pad>"

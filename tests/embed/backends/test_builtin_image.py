"""Preparing pictures: equal to torchvision, and cheap for the longest ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from embed.backends.builtin.image import prepare

SIZES = [(256, 256), (32, 32), (300, 451), (451, 300), (512, 769), (257, 900), (1500, 1001)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_it_prepares_as_torchvision_does(height: int, width: int) -> None:
    rng = np.random.default_rng(height * width)
    coarse = Image.fromarray(rng.integers(0, 256, (17, 13, 3), dtype=np.uint8))
    picture = coarse.resize((width, height), Image.Resampling.BICUBIC)
    bicubic = v2.InterpolationMode.BICUBIC
    recipe = v2.Compose([v2.Resize(256, interpolation=bicubic), v2.CenterCrop(224)])
    gap = np.abs(prepare(np.asarray(picture)).astype(int) - np.asarray(recipe(picture), int))
    # Rounding between Pillow's two passes, whose order may differ for the crop: never the geometry.
    assert gap.max() <= 2
    assert (gap > 0).mean() < 0.05


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 30_000, 3), (30_000, 2, 3)])
def test_extreme_shapes_are_prepared(shape: tuple[int, int, int]) -> None:
    prepared = prepare(np.full(shape, 77, np.uint8))
    assert prepared.shape == (224, 224, 3)
    assert (prepared == 77).all()

"""The built-in embedder and real photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from embed.backends.builtin.space import Builtin
from embed.registry import LoadOptions
from embed.types import Pixels

PHOTOS = ["chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "motorcycle_left.png"]


@pytest.fixture(scope="session")
def builtin(model_cache: Path) -> Builtin:
    return Builtin(LoadOptions(cache=model_cache, threads=2))


@pytest.fixture(scope="session")
def photos() -> dict[str, Pixels]:
    folder = Path(skimage.__file__).parent / "data"
    return {name: np.asarray(Image.open(folder / name).convert("RGB")) for name in PHOTOS}

"""Names lead to spaces, and wrong names lead to the right ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from embed import registry
from embed.errors import NotFound
from embed.types import Modality

OPTIONS = registry.LoadOptions(cache=Path("none"), threads=1)


def test_the_builtin_space_is_described_without_loading_anything_heavy() -> None:
    code = (
        "import sys; from embed import registry; from pathlib import Path;"
        "options = registry.LoadOptions(cache=Path('none'), threads=1);"
        "c = registry.describe('builtin', options); registry.check('builtin', options);"
        "print(c.space.dim, *sorted(c.modalities));"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'PIL', 'tokenizers'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["384", "audio", "image", "text", "video"]


def test_capabilities_are_complete() -> None:
    capabilities = registry.describe("builtin", OPTIONS)
    assert capabilities.space.name == "builtin"
    assert capabilities.native_dims == {
        Modality.IMAGE: 1280,
        Modality.AUDIO: 128,
        Modality.VIDEO: 1280,
    }
    for words in (
        capabilities.summary,
        capabilities.licence,
        capabilities.source,
        capabilities.preprocessing,
    ):
        assert len(words) > 10


@pytest.mark.parametrize("name", ["bulitin", "nope", "", "nope:detail"])
def test_an_unknown_name_prints_the_choices(name: str) -> None:
    with pytest.raises(NotFound) as caught:
        registry.load(name, OPTIONS)
    assert repr(name) in caught.value.message
    assert "builtin" in caught.value.message
    assert caught.value.param == "space"


def test_a_near_miss_is_pointed_at() -> None:
    with pytest.raises(NotFound, match="Did you mean 'builtin'"):
        registry.describe("bulitin", OPTIONS)


def test_every_family_has_a_form_and_listed_names_belong_to_one() -> None:
    assert len(registry.names()) == len(set(registry.names())) >= 6
    for name in registry.listed():
        assert registry.describe(name, OPTIONS).space.name == name

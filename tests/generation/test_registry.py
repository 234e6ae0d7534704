"""Generators by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from embed.errors import NotFound
from embed.registry import LoadOptions
from embed.types import Modality
from generation.registry import GeneratorOptions, describe, listed, names, open_generator
from generation.types import Generator


@pytest.fixture
def options(tmp_path: Path) -> GeneratorOptions:
    return GeneratorOptions(load=LoadOptions(cache=tmp_path, threads=1, offline=True))


def test_an_unknown_name_prints_the_choices(options: GeneratorOptions) -> None:
    with pytest.raises(NotFound, match=r"choices are: extractive, hf:FOLDER.*, openai:") as raised:
        open_generator("extractiv", options)
    assert "Did you mean 'extractive'?" in raised.value.message
    assert raised.value.param == "generator"
    for name in ("extractive:x", "", ":", "hf", "openai:"):
        with pytest.raises(NotFound):
            open_generator(name, options)
        with pytest.raises(NotFound):
            describe(name, options)


def test_each_says_what_it_can_do_before_it_is_opened(options: GeneratorOptions) -> None:
    assert listed() == ["extractive"]
    assert len(names()) == 3
    plain = describe("extractive", options)
    assert plain.outputs == {Modality.TEXT}
    assert plain.missing is None
    far = describe("openai:llava@https://example.org/v1", options)
    assert Modality.IMAGE in far.inputs
    assert far.source == "https://example.org:443"
    assert far.taste.context == 8192
    nowhere = describe("openai:llava", options)
    assert nowhere.missing is not None
    assert "openai:llava@http://" in nowhere.missing


def test_generators_keep_the_contract(options: GeneratorOptions) -> None:
    for name in ("extractive", "openai:llava@http://127.0.0.1:9/v1"):
        generator = open_generator(name, options)
        assert isinstance(generator, Generator)
        assert generator.name == name
        assert generator.count_tokens("a photo of a cat on a mat, in 2024") >= 9
        generator.close()


def test_opening_by_name_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from embed.registry import LoadOptions
from generation.registry import GeneratorOptions, describe, open_generator
options = GeneratorOptions(load=LoadOptions(cache=Path({str(tmp_path)!r}), threads=1))
open_generator("extractive", options)
open_generator("openai:m@http://127.0.0.1:9/v1", options)
heavy = {{"torch", "transformers", "openai", "httpx", "httpx2", "requests", "jinja2"}}
print(sorted(heavy & set(sys.modules)))
describe("hf:{tmp_path}", options)
print(sorted({{"torch", "transformers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["[]", "[]"], done.stderr

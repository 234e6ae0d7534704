"""The precision at the end of a name: read, left alone, or named when it is misspelt."""

from __future__ import annotations

from pathlib import Path

import pytest

from embed.backends import precision
from embed.errors import NotFound


@pytest.mark.parametrize(
    ("detail", "found"),
    [
        ("ViT-B-32/openai+bf16", ("ViT-B-32/openai", "bf16")),
        ("ViT-B-32/openai", ("ViT-B-32/openai", "fp32")),
        ("a+b/c+fp16", ("a+b/c", "fp16")),
        ("./clip+faces", ("./clip+faces", "fp32")),
        ("./clip+v2", ("./clip+v2", "fp32")),
        ("bf61", ("bf61", "fp32")),
    ],
)
def test_a_name_may_end_in_a_precision(detail: str, found: tuple[str, str]) -> None:
    assert precision.split(detail, family="hf") == found


@pytest.mark.parametrize(
    "suffix", ["bf61", "BF16", "fp8", "f16", "float16", "half", "int4", "fb16"]
)
def test_a_misspelt_one_is_named_with_the_choices(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=f"called '{suffix}'; the choices are fp32, bf16, fp16"):
        precision.split(f"ViT-B-32/openai+{suffix}", family="open_clip")
    folder = tmp_path / f"clip+{suffix}"
    folder.mkdir()
    assert precision.split(str(folder), family="hf") == (str(folder), "fp32")


def test_int8_is_made_by_export() -> None:
    with pytest.raises(NotFound, match="crossbind export"):
        precision.split("x+int8", family="hf")

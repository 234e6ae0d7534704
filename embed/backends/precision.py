"""The precision in a space's name: a suffix of the whole, `hf:openai/clip-vit-base-patch32+bf16`.

It knows no tower.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from embed.errors import NotFound

DEFAULT = "fp32"
CHOICES = (DEFAULT, "bf16", "fp16")
_ALIKE = 0.5  # what is less like every one of these is part of a name
_ELSEWHERE = ("int8", "bfloat16", "float16", "float32", "half")


def split(detail: str, *, family: str) -> tuple[str, str]:
    """`("openai/clip", "bf16")` for `openai/clip+bf16`; fp32 where nothing is said.

    A + in the middle of a name is left alone. Raises NotFound for a precision of another kind, or
    misspelt, unless a file or folder is called so.
    """
    name, plus, suffix = detail.rpartition("+")
    if plus and suffix in CHOICES:
        return name, suffix
    if plus and suffix == "int8":
        raise NotFound(
            f"{family}:{detail} cannot run in int8; the choices are {', '.join(CHOICES)}: for "
            "int8, write it to ONNX with crossbind export",
            param="space",
        )
    meant = difflib.get_close_matches(suffix.lower(), (*CHOICES, *_ELSEWHERE), 1, _ALIKE)
    if plus and suffix.isalnum() and meant and not Path(detail).expanduser().exists():
        raise NotFound(
            f"no precision is called {suffix!r}; the choices are {', '.join(CHOICES)}, as in "
            f"{family}:{name}+bf16",
            param="space",
        )
    return detail, DEFAULT

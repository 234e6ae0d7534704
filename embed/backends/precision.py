"""The precision in a space's name: a suffix of the whole, `hf:openai/clip-vit-base-patch32+bf16`.

It knows no tower.
"""

from __future__ import annotations

from embed.errors import NotFound

DEFAULT = "fp32"
CHOICES = (DEFAULT, "bf16", "fp16")


def split(detail: str, *, family: str) -> tuple[str, str]:
    """`("openai/clip", "bf16")` for `openai/clip+bf16`; fp32 where nothing is said.

    A + in the middle of a name is left alone. Raises NotFound for a precision of another kind.
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
    return detail, DEFAULT

"""Spaces of somebody else's making, `vectors:DIM`: items bring their vectors, nothing is embedded.

Queries are vectors and items. Whoever sends vectors knows what they mean; that all are of one
model, and of one length, is theirs to see to.
"""

from __future__ import annotations

from typing import Any, NoReturn

from embed.backends.tower import Tower
from embed.errors import NotFound, UnsupportedModality
from embed.registry import Capabilities, LoadOptions
from embed.types import Modality, Space

MAX_DIM = 65_536
FORM = "vectors:"


class Given(Tower):
    """A tower without encoders."""

    def encoder(self, modality: Modality) -> NoReturn:
        raise UnsupportedModality(
            f"the space {self.space.name!r} embeds nothing, no {modality} either: items bring "
            "their vectors, and queries are vectors or items",
            param="vector",
        )


def describe(detail: str, _: LoadOptions) -> Capabilities:
    """Raises NotFound for what is no number of dimensions."""
    if not detail.isascii() or not detail.isdigit() or not 1 <= int(detail) <= MAX_DIM:
        raise NotFound(
            f"no space is called 'vectors:{detail}': after the colon stands how many numbers a "
            f"vector has, 1 to {MAX_DIM:,}",
            param="space",
        )
    name = f"{FORM}{int(detail)}"
    space = Space(name=name, revision="1", preprocessing="1", precision="fp32", dim=int(detail))
    return Capabilities(
        space=space,
        summary="Vectors of your own",
        modalities=frozenset(),
        native_dims={},
        preprocessing="none: vectors come as they are, and are brought to unit length",
        licence="that of whoever made the vectors",
        source="items bring their vectors",
    )


def check(_: str, __: LoadOptions) -> None:
    """Nothing can be missing."""


def load(detail: str, options: LoadOptions) -> Tower:
    """Raises NotFound as `describe` does."""
    encoders: dict[Modality, Any] = {}
    return Given(describe(detail, options).space, encoders, chunker="none", image_side=0)

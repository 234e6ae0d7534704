"""The tables [model.<modality>]: what each limb of a student is made of.

    network = "convnet"                    one of our own, from nothing
    base = "open_clip:ViT-B-32/openai"     a tower, trained on: all of it, `lora` or `last` blocks
    base = "builtin", lock = true          a tower as it is, and a head on its vectors

LiT, Zhai et al. (2022), is a locked tower beside a trained one; LoRA is Hu et al. (2022).
It builds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embed.backends.trained.shapes import SHAPES
from embed.errors import BadInput
from embed.training.options import Table, at_least, fill
from embed.types import Modality

HEAD_SIDE = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """How pictures differ each time they are read: seeded, and only where it is asked for.

    crop: the least share of a picture's area that a random crop keeps; 0 for no crops. flip:
    whether every other picture is mirrored, which left and right do not survive.
    """

    crop: float = 0.0
    flip: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.crop <= 1:
            raise BadInput(f"crop is {self.crop}; a share from 0 (no crops) to 1 is wanted")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvnetSpec(Crops):
    """A convolutional network for pictures, brought to squares of `side` pixels."""

    network: Literal["convnet"] = "convnet"
    side: int = 64
    width: int = 32
    depth: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumSpec:
    """A convolutional network for log-mel spectrograms; one vector hears `seconds`."""

    network: Literal["spectrum"] = "spectrum"
    seconds: float = 4.0
    rate: int = 16_000
    mels: int = 64
    width: int = 24
    depth: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesSpec:
    """A network for films: one vector sees `frames`, evenly from at most `seconds`."""

    network: Literal["frames"] = "frames"
    side: int = 64
    frames: int = 8
    seconds: float = 4.0
    width: int = 24
    depth: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsSpec:
    """A transformer for texts of at most `tokens`.

    tokenizer: a file of the `tokenizers` library; by default one of at most `vocabulary` tokens is
        made of the captions.
    """

    network: Literal["words"] = "words"
    tokens: int = 64
    vocabulary: int = 8_192
    tokenizer: Path | None = None
    width: int = 128
    depth: int = 2
    heads: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedSpec(Crops):
    """A tower that is trained on: all of it by default.

    lora: rank of the matrices that are trained instead of its layers. last: how many of its last
    blocks are trained, and what follows them. head: widths of layers between the tower's vector and
    the space; by default one linear layer where their dimensions differ, else none.
    """

    base: str
    lora: int = 0
    last: int = 0
    head: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super(TunedSpec, self).__post_init__()
        at_least("lora", self.lora, 0)
        at_least("last", self.last, 0)
        _check_head(self.head)
        if self.lora and self.last:
            raise BadInput("lora trains beside every layer and last trains the last: choose one")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSpec(Crops):
    """A tower as it is, and a head on its vectors, or none where dimensions agree.

    reads: the tower's vectors in its joint space, or its own finer ones. head: as of `TunedSpec`.
    residual: the head is added to what it reads.
    """

    base: str
    lock: Literal[True]
    reads: Literal["joint", "native"] = "joint"
    head: tuple[int, ...] | None = None
    residual: bool = False

    def __post_init__(self) -> None:
        super(LockedSpec, self).__post_init__()
        _check_head(self.head)


OwnSpec = ConvnetSpec | SpectrumSpec | FramesSpec | WordsSpec
PartSpec = OwnSpec | TunedSpec | LockedSpec

_OWN: dict[str, type[OwnSpec]] = {
    "convnet": ConvnetSpec,
    "spectrum": SpectrumSpec,
    "frames": FramesSpec,
    "words": WordsSpec,
}


def part_specs(model: Table) -> dict[Modality, PartSpec]:
    """One spec for each table of [model] that is named as a modality. Raises BadInput."""
    names = [str(modality) for modality in Modality]
    found = {Modality(name): table for name, table in model.items() if name in names}
    return {modality: part_spec(modality, table) for modality, table in found.items()}


def part_spec(modality: Modality, table: Table) -> PartSpec:
    """The table [model.<modality>]. Raises BadInput, naming key, value and choices."""
    name = f"model.{modality}"
    if not isinstance(table, Mapping) or ("network" in table) == ("base" in table):
        raise BadInput(
            f"[{name}] names what it is made of by one of two keys: network, one of "
            f"{', '.join(SHAPES)}, or base, the name of a space",
            param=name,
        )
    if "network" in table:
        return _own(modality, table, name)
    locked = table.get("lock", False)
    if locked is False:
        return fill(TunedSpec, {key: table[key] for key in table if key != "lock"}, name)
    return fill(LockedSpec, table, name)


def _own(modality: Modality, table: Table, name: str) -> OwnSpec:
    fitting = [kind for kind, shape in SHAPES.items() if shape.modality is modality]
    if table["network"] not in fitting:
        raise BadInput(
            f"[{name}] network is {table['network']!r}; for {modality} the choices are: "
            f"{', '.join(fitting) or 'none, name a base'}",
            param=name,
        )
    return fill(_OWN[table["network"]], table, name)


def _check_head(head: tuple[int, ...] | None) -> None:
    for width in head or ():
        at_least("the width of a head's layer", width, 1)
        if width > HEAD_SIDE:
            raise BadInput(f"a layer of a head is {width} wide; at most {HEAD_SIDE} is wanted")

"""What of a student makes media ready: small, without torch modules, to be sent to processes.

A long medium is cut as its tower cuts it: its first piece is read, or in training one of its first
ones, drawn by the seed. Crops are those of Szegedy et al. (2015): a share of the area, an aspect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from embed import registry
from embed.backends.recipe_encoders import WordsEncoder
from embed.backends.recipes import PatchRecipe, Recipe
from embed.backends.tower import Encoder, pixels_of
from embed.backends.trained.encoders import read_of
from embed.errors import BadInput, UnsupportedModality
from embed.registry import LoadOptions
from embed.training.parts import Crops
from embed.types import Embedder, Floats, Media, Modality, Pixels, Span

PIECES = 8
"""Of a long medium, among which one is drawn: what comes later would have to be decoded first."""
ASPECT = 4 / 3
TRIES = 10


class Half(Protocol):
    """A limb without its network."""

    def pieces(self, medium: Media) -> Iterator[tuple[Span | None, Media]]: ...

    def prepare(self, piece: Media) -> Any: ...

    def stack(self, prepared: Sequence[Any]) -> tuple[NDArray[Any], ...]:
        """N prepared pieces as the arrays that the network takes."""
        ...


class Reader(NamedTuple):
    """How one modality is read."""

    half: Half
    crops: Crops = Crops()


class Preparer:
    """`Student.prepare` and `Student.collate`, for processes that have no student."""

    def __init__(self, readers: Mapping[Modality, Reader]) -> None:
        self._readers = dict(readers)

    def prepare(self, medium: Media, *, seed: int | None) -> Any:
        """Raises UnsupportedModality, and what the tower raises for a medium it cannot take."""
        half, crops = self._reader(medium.modality)
        if seed is None:
            return half.prepare(_drawn(half, medium, None))
        rng = np.random.default_rng(seed)
        return half.prepare(_varied(_drawn(half, medium, rng), crops, rng))

    def collate(self, modality: Modality, prepared: Sequence[Any]) -> tuple[Tensor, ...]:
        """Raises BadInput for arrays of different shapes."""
        try:
            arrays = self._reader(modality).half.stack(prepared)
        except ValueError as error:
            raise BadInput(
                f"{modality} of one batch must be of one shape, and here {error}: cut them alike"
            ) from error
        return tuple(torch.from_numpy(array) for array in arrays)

    def _reader(self, modality: Modality) -> Reader:
        if modality not in self._readers:
            raise UnsupportedModality(
                f"this student learns {', '.join(sorted(self._readers))}, not {modality}"
            )
        return self._readers[modality]


@dataclass(frozen=True, slots=True)
class EncoderHalf:
    """The preparing half of an encoder, whose network takes what `recipe` makes."""

    encoder: Encoder[Any]
    recipe: Recipe | None

    def pieces(self, medium: Media) -> Iterator[tuple[Span | None, Media]]:
        return self.encoder.pieces(medium)

    def prepare(self, piece: Media) -> Any:
        return self.encoder.prepare(piece)

    def stack(self, prepared: Sequence[Any]) -> tuple[NDArray[Any], ...]:
        if isinstance(self.encoder, WordsEncoder):
            ids, mask = self.encoder.words.pad(prepared)
            return (ids, mask) if self.encoder.words.recipe.mask else (ids,)
        if isinstance(self.recipe, PatchRecipe):
            return self.recipe.stack(prepared)
        return (np.stack(prepared),)


class VectorsHalf:
    """A locked tower: what it says of a piece is what is prepared, `(dim,)` float32.

    It is opened where it is used, by its name, so that this can be sent to another process.
    native: dimensions of the tower's own features, or None.
    """

    def __init__(
        self,
        space: str,
        modality: Modality,
        reads: Literal["joint", "native"],
        dims: tuple[int, int | None],
        options: LoadOptions,
    ) -> None:
        """dims: of the joint space and of the tower's own features, which None means there are not.

        Raises BadInput for native vectors where there are none.
        """
        dim, self.native = dims
        if reads == "native" and self.native is None:
            raise BadInput(f"{space} has no native vectors of {modality}: read its joint ones")
        self.dim = self.native if reads == "native" and self.native else dim
        self._space = space
        self._reads = reads
        self._options = options
        self._tower: Embedder | None = None

    @property
    def tower(self) -> Embedder:
        if self._tower is None:
            self._tower = registry.load(self._space, self._options)
        return self._tower

    def pieces(self, medium: Media) -> Iterator[tuple[Span | None, Media]]:
        return self.tower.fragment(medium)

    def prepare(self, piece: Media) -> Floats:
        row: Floats = read_of(self.tower.embed([piece]), self._reads)[0]
        return row

    def stack(self, prepared: Sequence[Floats]) -> tuple[NDArray[Any], ...]:
        return (np.stack(prepared),)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tower": None}


def idle(*_: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
    """Stands where an encoder has its network."""
    raise AssertionError("this half of a student only prepares")


def _drawn(half: Half, medium: Media, rng: Generator | None) -> Media:
    found = [piece for _, piece in islice(half.pieces(medium), PIECES if rng else 1)]
    if not found:
        raise BadInput(f"there is nothing to learn from in {medium.source or medium.modality}")
    return found[int(rng.integers(len(found)))] if rng else found[0]


def _varied(piece: Media, crops: Crops, rng: Generator) -> Media:
    if piece.modality is not Modality.IMAGE or not (crops.crop or crops.flip):
        return piece
    pixels = pixels_of(piece)
    if crops.crop:
        pixels = _cropped(pixels, crops.crop, rng)
    if crops.flip and rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return replace(piece, data=np.ascontiguousarray(pixels))


def _cropped(pixels: Pixels, least: float, rng: Generator) -> Pixels:
    """A rectangle of a share in [least, 1] of the area, its sides' ratio changed up to ASPECT."""
    rows, columns = pixels.shape[:2]
    for _ in range(TRIES):
        area = rows * columns * rng.uniform(least, 1.0)
        aspect = math.exp(rng.uniform(-math.log(ASPECT), math.log(ASPECT)))
        tall, wide = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < tall <= rows and 0 < wide <= columns:
            top, left = int(rng.integers(rows - tall + 1)), int(rng.integers(columns - wide + 1))
            return pixels[top : top + tall, left : left + wide]
    return pixels

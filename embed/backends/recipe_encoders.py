"""Encoders made of a recipe and a network: what most towers are.

`run` batches by shape, and texts by length, so that a vector does not depend on its neighbours and
little is padded. A network is anything that takes arrays and returns arrays, such as
`torch_core.Core` or an ONNX session: `(joint,)` or `(joint, native)`, `(N, D)` each, not brought to
unit length. It knows no library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.backends.recipes import (
    AudioRecipe,
    ImageRecipe,
    Network,
    Patches,
    PatchRecipe,
)
from embed.backends.tower import (
    AudioEncoder,
    ImageEncoder,
    Rows,
    TextEncoder,
    VideoEncoder,
    pixels_of,
    samples_of,
    text_of,
)
from embed.backends.words import Words, by_length
from embed.errors import NotAvailable
from embed.types import CharSpan, Floats, Media, Pixels

if TYPE_CHECKING:
    from torch.nn import Module

Core = Callable[..., tuple[NDArray[np.float32], ...]]


class Made(NamedTuple):
    """A module made anew for each export: one that has run is fitted to its machine."""

    make: Callable[[], Module]


class Example(NamedTuple):
    """What a network is traced with: a batch of 2 by name, and its axes that may change but 0."""

    inputs: Mapping[str, NDArray[Any]]
    dynamic: Mapping[str, Mapping[int, str]] = MappingProxyType({})


class WordsEncoder(TextEncoder[list[int]]):
    """Texts: the network takes ids and, where the recipe says so, their mask, int64 `(N, L)`."""

    def __init__(self, words: Words, core: Core, module: Module | Made | None = None) -> None:
        self.words = words
        self._core = core
        self._module = module

    def prepare(self, piece: Media) -> list[int]:
        return self.words.encode(text_of(piece))

    def arrays(self, batch: Sequence[list[int]]) -> tuple[NDArray[Any], ...]:
        """What the network takes."""
        ids, mask = self.words.pad(batch)
        return (ids, mask) if self.words.recipe.mask else (ids,)

    def run(self, batch: Sequence[list[int]]) -> Rows:
        # On a GPU it is starting a call that costs, and padding next to nothing.
        if self.words.recipe.padding == "max" or not getattr(self._core, "on_cpu", True):
            return Rows(*self._core(*self.arrays(batch)))
        groups = by_length([len(ids) for ids in batch])
        return in_groups(groups, lambda rows: self._core(*self.arrays([batch[n] for n in rows])))

    def example(self) -> Example:
        arrays = self.arrays([self.words.encode("a"), self.words.encode("a b c")])
        inputs = dict(zip(("ids", "mask"), arrays, strict=False))
        length = {1: "tokens"} if self.words.recipe.padding == "longest" else {}
        return Example(inputs, dict.fromkeys(inputs, length))

    def network(self) -> Network:
        """Raises NotAvailable where there is no module."""
        return network_of(self._module, self.example(), recipe=self.words.recipe)

    def spans(self, text: str) -> Iterator[CharSpan | None]:
        return self.words.spans(text)

    def count_tokens(self, text: str) -> int:
        return self.words.count_tokens(text)


class PixelsEncoder(ImageEncoder[Pixels]):
    """Pictures of one size: the network takes `(N, H, W, 3)` uint8."""

    def __init__(
        self, recipe: ImageRecipe, core: Core, module: Module | Made | None = None
    ) -> None:
        self._recipe = recipe
        self._core = core
        self._module = module

    def prepare(self, piece: Media) -> Pixels:
        return self._recipe.prepare(pixels_of(piece))

    def arrays(self, batch: Sequence[Pixels]) -> tuple[NDArray[Any], ...]:
        """What the network takes."""
        return (np.stack(batch),)

    def run(self, batch: Sequence[Pixels]) -> Rows:
        return Rows(*self._core(*self.arrays(batch)))

    def example(self) -> Example:
        shape = (2, self._recipe.height, self._recipe.width, 3)
        return Example({"pixels": np.random.default_rng(0).integers(0, 256, shape, np.uint8)})

    def network(self) -> Network:
        """Raises NotAvailable where there is no module."""
        return network_of(self._module, self.example(), recipe=self._recipe)


class PatchesEncoder(ImageEncoder[Patches]):
    """Pictures of any shape: patches `(N, P, F)` uint8, a mask `(N, P)`, grids `(N, 2)` int64."""

    def __init__(
        self, recipe: PatchRecipe, core: Core, module: Module | Made | None = None
    ) -> None:
        self._recipe = recipe
        self._core = core
        self._module = module

    def prepare(self, piece: Media) -> Patches:
        return self._recipe.prepare(pixels_of(piece))

    def run(self, batch: Sequence[Patches]) -> Rows:
        return Rows(*self._core(*self._recipe.stack(batch)))

    def network(self) -> Network:
        """Raises NotAvailable where there is no module."""
        shapes, rng = ((200, 320), (320, 150)), np.random.default_rng(0)
        pictures = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
        stacked = self._recipe.stack([self._recipe.prepare(picture) for picture in pictures])
        patches, mask, grids = stacked
        example = Example({"patches": patches, "mask": mask, "grids": grids})
        return network_of(self._module, example, recipe=self._recipe)


class SoundEncoder(AudioEncoder[Floats]):
    """Sounds of at most `recipe.seconds`: the network takes features, float32."""

    def __init__(
        self, recipe: AudioRecipe, core: Core, module: Module | Made | None = None
    ) -> None:
        self._recipe = recipe
        self._core = core
        self._module = module
        self.rate = recipe.rate
        self.seconds = recipe.seconds

    def prepare(self, piece: Media) -> Floats:
        return self._recipe.prepare(samples_of(piece, self.rate))

    def arrays(self, batch: Sequence[Floats]) -> tuple[NDArray[Any], ...]:
        """What the network takes; all of one shape."""
        return (np.stack(batch),)

    def run(self, batch: Sequence[Floats]) -> Rows:
        return by_shape(batch, self._core)

    def example(self) -> Example:
        free = self._recipe.kind == "waveform"  # of any length, so that a second shows all
        count = min(self._recipe.samples, self.rate) if free else self._recipe.samples
        noise = np.random.default_rng(0).normal(0.0, 0.1, (2, count))
        sounds = np.stack([self._recipe.prepare(sound) for sound in noise.astype(np.float32)])
        return Example({"features": sounds}, {"features": {2: "samples"}} if free else {})

    def network(self) -> Network:
        """Raises NotAvailable where there is no module."""
        numbers = {"downmix": self.downmix.value}
        return network_of(self._module, self.example(), recipe=self._recipe, numbers=numbers)


class FilmEncoder(VideoEncoder[Pixels]):
    """Films read whole: the network takes frames `(N, T, H, W, 3)` uint8.

    frames: how many, taken evenly and some twice if need be; None takes all there are.
    """

    def __init__(
        self,
        recipe: ImageRecipe,
        core: Core,
        frames: int | None = None,
        module: Module | Made | None = None,
    ) -> None:
        self._recipe = recipe
        self._core = core
        self._frames = frames
        self._module = module
        self.min_side = recipe.min_side

    def prepare(self, piece: Media) -> Pixels:
        film = pixels_of(piece, frames=True)
        if self._frames:
            film = film[np.linspace(0, len(film) - 1, self._frames).round().astype(int)]
        return np.stack([self._recipe.prepare(frame) for frame in film])

    def arrays(self, batch: Sequence[Pixels]) -> tuple[NDArray[Any], ...]:
        """What the network takes; all of one shape."""
        return (np.stack(batch),)

    def run(self, batch: Sequence[Pixels]) -> Rows:
        return by_shape(batch, self._core)

    def example(self) -> Example:
        shape = (2, self._frames or 4, self._recipe.height, self._recipe.width, 3)
        frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        return Example({"frames": frames}, {} if self._frames else {"frames": {1: "frames"}})

    def network(self) -> Network:
        """Raises NotAvailable where there is no module."""
        numbers = {"frames": self._frames, "seconds": self.seconds, "per_second": self.per_second}
        return network_of(
            self._module, self.example(), recipe=self._recipe, kind="film", numbers=numbers
        )


def network_of(module: Module | Made | None, example: Example, **said: Any) -> Network:
    """A `Network` of one output. said: its other fields.

    Raises NotAvailable where there is no module.
    """
    if module is None:
        raise NotAvailable("this tower keeps no network that could be exported")
    fresh = module.make() if isinstance(module, Made) else module
    axes = {name: {0: "batch", **example.dynamic.get(name, {})} for name in example.inputs}
    return Network(module=fresh, inputs=example.inputs, dynamic=axes, **said)


def by_shape(batch: Sequence[NDArray[Any]], core: Core) -> Rows:
    """Runs arrays of one shape together, and puts the rows back in order."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, array in enumerate(batch):
        groups.setdefault(array.shape, []).append(row)
    return in_groups(
        list(groups.values()), lambda rows: core(np.stack([batch[row] for row in rows]))
    )


def in_groups(
    groups: Sequence[Sequence[int]], run: Callable[[Sequence[int]], tuple[NDArray[np.float32], ...]]
) -> Rows:
    """Runs each group of row numbers, and puts the rows back in order."""
    parts = [run(rows) for rows in groups]
    order = np.argsort([row for rows in groups for row in rows])
    return Rows(*(np.concatenate(part)[order] for part in zip(*parts, strict=True)))

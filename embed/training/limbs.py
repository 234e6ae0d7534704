"""Limbs as they are trained: torch modules, each with the half that makes media ready for it.

It knows no loss and no data.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer
from torch import Tensor, nn

from embed import registry
from embed.backends.recipes import AudioRecipe, ImageRecipe, Recipe, TextRecipe
from embed.backends.trained import encoders, networks, shapes
from embed.backends.trained.manifest import Base, Locked, Own
from embed.backends.trained.shapes import Shape
from embed.backends.words import Words
from embed.errors import BadInput
from embed.registry import Capabilities, LoadOptions
from embed.training.files import Files
from embed.training.limb import Limb, head_of
from embed.training.parts import (
    ConvnetSpec,
    Crops,
    FramesSpec,
    LockedSpec,
    OwnSpec,
    PartSpec,
    SpectrumSpec,
    TunedSpec,
    WordsSpec,
)
from embed.training.ready import EncoderHalf, VectorsHalf, idle
from embed.training.tuning import Grown
from embed.training.vocabulary import MOST, vocabulary
from embed.types import Embedder, Modality

TOKENIZER = "tokenizer.json"


class Fresh(Limb):
    """One of our own networks, from nothing."""

    def __init__(
        self, shape: Shape, recipe: Recipe, words: Words | None, dim: int, crops: Crops
    ) -> None:
        super().__init__(EncoderHalf(encoders.own(shape, recipe, words, idle), recipe), crops)
        self.shape = shape
        self.recipe = recipe
        self.words = words
        self.network = networks.build(shape, recipe, dim)

    def forward(self, *inputs: Tensor) -> Tensor:
        rows: Tensor = self.network(*inputs)
        return rows

    @property
    def basis(self) -> str:
        if not self.words:
            return "nothing"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, TOKENIZER)
            self.words.save(path)
            return f"tokenizer {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"

    def kept(self, modality: Modality, files: Files) -> Own:
        recipe = self.recipe
        if self.words and isinstance(recipe, TextRecipe):
            name = files.add("tokenizer", ".json", self.words.save)
            recipe = replace(recipe, tokenizer=name)
        weights = files.tensors(modality, self.network.state_dict())
        return Own(shape=self.shape, recipe=recipe, weights=weights)


class Headed(Limb):
    """A head on the vectors of a locked tower, which is not here: vectors are what is prepared."""

    def __init__(self, ready: VectorsHalf, base: Base, spec: LockedSpec, dim: int) -> None:
        """Raises BadInput for native vectors where there are none, or a head that cannot fit."""
        super().__init__(ready, spec)
        self.base = base
        self.native = ready.native
        self.reads = spec.reads
        self.residual = spec.residual
        self.head = head_of(spec.head, ready.dim, dim)
        if spec.residual and (ready.dim != dim or isinstance(self.head, nn.Identity)):
            raise BadInput(
                f"a residual head is added to what it reads: {ready.dim} dimensions of {base.space}"
                f" and {dim} of the space must agree, and head = [] says that there is one"
            )
        if spec.residual:
            _silence(self.head)

    def forward(self, *inputs: Tensor) -> Tensor:
        rows: Tensor = self.head(inputs[0])
        return inputs[0] + rows if self.residual else rows

    @property
    def basis(self) -> str:
        return f"{self.base.space} {self.base.revision}"

    def kept(self, modality: Modality, files: Files) -> Locked:
        tensors = self.head.state_dict()
        return Locked(
            base=self.base,
            reads=self.reads,
            native=self.native,
            head=files.tensors(modality, tensors) if tensors else None,
            residual=self.residual,
        )


def _silence(head: nn.Module) -> None:
    """A residual begins as nothing, so that the tower is where learning starts."""
    *_, last = head.children()
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


def limb_of(
    modality: Modality,
    spec: PartSpec,
    dim: int,
    options: LoadOptions,
    captions: Iterable[str] = (),
) -> Limb:
    """The limb that `spec` asks for, as `student.Limbs.of` has it."""
    if isinstance(spec, LockedSpec):
        _, base, about = opened(spec.base, modality, options)
        dims = (about.space.dim, about.native_dims.get(modality))
        return Headed(VectorsHalf(base.space, modality, spec.reads, dims, options), base, spec, dim)
    if isinstance(spec, TunedSpec):
        tower, base, _ = opened(spec.base, modality, options)
        return Grown(*encoders.offered(tower, modality), base, spec, dim)
    crops = spec if isinstance(spec, Crops) else Crops()
    try:
        shape, recipe, words = _own(spec, captions)
        return Fresh(shape, recipe, words, dim, crops)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"[model.{modality}] makes no network: {error}") from error


def image_side(specs: Mapping[Modality, PartSpec], options: LoadOptions) -> int:
    """What a picture's shorter side is never shrunk below by the space that these parts lead to.

    Training must read pictures as that space will: raises what loading a base raises.
    """
    return max((_side(spec, options) for spec in specs.values()), default=1)


def _side(spec: PartSpec, options: LoadOptions) -> int:
    match spec:
        case ConvnetSpec() | FramesSpec():
            return spec.side
        case TunedSpec() | LockedSpec():
            return registry.load(spec.base, options).image_side
    return 1


def opened(
    name: str, modality: Modality, options: LoadOptions
) -> tuple[Embedder, Base, Capabilities]:
    """The space `name`, and what a manifest is to hold of it.

    Raises BadInput where it does not embed `modality`, and what loading it raises.
    """
    tower, about = registry.load(name, options), registry.describe(name, options)
    if modality not in tower.modalities:
        raise BadInput(
            f"[model.{modality}] base is {name!r}, which embeds "
            f"{', '.join(sorted(tower.modalities))}"
        )
    space = tower.space
    base = Base(
        space=space.name, revision=space.revision, licence=about.licence, source=about.source
    )
    return tower, base, about


def _own(spec: OwnSpec, captions: Iterable[str]) -> tuple[shapes.Shape, Recipe, Words | None]:
    """Raises ValueError or TypeError for numbers that make no network."""
    size = {"width": spec.width, "depth": spec.depth}
    match spec:
        case ConvnetSpec():
            return shapes.Convnet(**size), _squares(spec.side), None
        case SpectrumSpec():
            return shapes.Spectrum(**size), _spectrogram(spec), None
        case FramesSpec():
            shape = shapes.Frames(**size, frames=spec.frames, seconds=spec.seconds)
            return shape, _squares(spec.side), None
    words, count = _words(spec, captions)
    return shapes.Words(**size, heads=spec.heads, vocabulary=count), words.recipe, words


def _words(spec: WordsSpec, captions: Iterable[str]) -> tuple[Words, int]:
    """A tokenizer, and how many ids it may give. Raises BadInput, MissingWeights."""
    recipe = TextRecipe(tokenizer=TOKENIZER, max_tokens=spec.tokens)
    with tempfile.TemporaryDirectory() as folder:
        path = spec.tokenizer or Path(folder, TOKENIZER)
        if not spec.tokenizer:
            _vocabulary(captions, spec.vocabulary).save(str(path))
        words = Words(replace(recipe, tokenizer=path.name), path.parent)
        ids = Tokenizer.from_file(str(path)).get_vocab().values()
    words.recipe = recipe
    return words, 1 + max(ids)


def _vocabulary(captions: Iterable[str], size: int) -> Tokenizer:
    some = list(islice(captions, MOST))
    if not some:
        raise BadInput(
            "[model.text] is to be made of captions, and there are none: name a tokenizer file, "
            "or train on records that have texts"
        )
    return vocabulary(some, size)


def _squares(side: int) -> ImageRecipe:
    if side == 1:
        raise ValueError("the side is 1 and a network halves it")
    return ImageRecipe(height=side, width=side, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def _spectrogram(spec: SpectrumSpec) -> AudioRecipe:
    """Windows of some 64 ms every 20 ms, bands from 50 Hz to nearly the highest there is."""
    return AudioRecipe(
        kind="log-mel",
        rate=spec.rate,
        seconds=spec.seconds,
        window=2 ** (spec.rate // 25).bit_length(),
        hop=max(1, spec.rate // 50),
        mels=spec.mels,
        low=50.0,
        high=0.475 * spec.rate,
        short="pad",
    )

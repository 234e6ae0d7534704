"""The towers of open_clip: CLIP, SigLIP, SigLIP 2, CoCa, EVA and their kin, for text and pictures.

Ilharco et al., OpenCLIP (2021), https://github.com/mlfoundations/open_clip. A film is the mean of
its frames. What a name means is said in `models`, how texts are read in
`words`, and the networks are in `network`, the only one that imports torch
before weights are loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embed.backends import precision
from embed.backends.openclip import models as open_clip_models
from embed.backends.openclip import words as open_clip_words
from embed.backends.openclip.models import Model
from embed.backends.recipe_encoders import Core, PixelsEncoder, WordsEncoder
from embed.backends.recipes import ImageRecipe, Network, summary
from embed.backends.tower import FramesEncoder, Once, Tower
from embed.backends.words import FILL, OVERLAP, Words
from embed.registry import Capabilities, LoadOptions
from embed.types import Batching, Modality, Space
from embed.weights.folder import is_offline

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

FAMILY = "open_clip"
VERSION = "1"  # raise it when our own preprocessing changes
MODALITIES = frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO})
MAX_BATCH = 16


def describe(detail: str, options: LoadOptions) -> Capabilities:
    """Reads configurations, no weights. Raises NotFound, naming what is near, MissingWeights."""
    model, space = _parsed(detail, options, describing=True)
    return Capabilities(
        space=space,
        summary=f"Texts, pictures and films, by {detail} of open_clip",
        modalities=MODALITIES,
        native_dims={},
        preprocessing=space.preprocessing,
        licence=model.licence,
        source=model.source,
        fetches=model.revision == open_clip_models.UNFETCHED,
    )


def check(detail: str, options: LoadOptions) -> None:
    """Raises MissingWeights when weights or tokenizer are not here and cannot be fetched."""
    model, _ = _parsed(detail, options, describing=True)
    if isinstance(model.weights, Path) and not detail.startswith(open_clip_models.HUB):
        open_clip_models.fetch(model, options)
    if is_offline(options):
        open_clip_models.fetch(model, options, here_only=True)
        open_clip_words.words(model, options)


def load(detail: str, options: LoadOptions) -> Tower:
    """Weights are read when the first half of the network is needed. Raises what `check` does."""
    path = open_clip_models.fetch(_parsed(detail, options)[0], options)
    model, space = _parsed(detail, options)  # only now their revision is known
    log.info("weights of %s: licence %s", space.name, model.licence)
    halves = _Halves(model, path, space.precision, options)
    pictures, side = Once(halves.pictures), _side(model.image)
    return Tower(
        space,
        {
            Modality.TEXT: halves.texts,
            Modality.IMAGE: pictures,
            Modality.VIDEO: lambda: FramesEncoder(pictures(), min_side=side),
        },
        chunker=f"open_clip {model.context} tokens, {FILL} full, {OVERLAP} shared; "
        "shots 10 s, 1 frame/s",
        image_side=side,
        batching=Batching(workers=options.threads, max_batch=MAX_BATCH),
    )


class _Halves:
    """Makes the encoders of one model; both halves come from one reading of its weights."""

    def __init__(self, model: Model, path: Path, precise: str, options: LoadOptions) -> None:
        self._model = model
        self._path = path
        self._precision = precise
        self._options = options
        self._whole = Once(self._build)

    def texts(self) -> _Texts:
        from embed.backends.openclip import network as networks  # noqa: PLC0415 (loads torch)

        words = open_clip_words.words(self._model, self._options)
        core = self._core(networks.texts(self._whole()))
        return _Texts(words, core, lambda: networks.texts(self._build()))

    def pictures(self) -> _Pictures:
        from embed.backends.openclip import network as networks  # noqa: PLC0415 (loads torch)

        recipe = self._model.image
        core = self._core(networks.pictures(self._whole(), recipe))
        return _Pictures(recipe, core, lambda: networks.pictures(self._build(), recipe))

    def _build(self) -> nn.Module:
        from embed.backends.openclip import network as networks  # noqa: PLC0415 (loads torch)

        return networks.build(self._model.config, self._path)

    def _core(self, module: nn.Module) -> Core:
        from embed.backends.torch_core import Core as TorchCore  # noqa: PLC0415 (loads torch)

        return TorchCore(module, precision=self._precision, threads=self._options.threads)


class _Texts(WordsEncoder):
    """export: makes the network anew, for one that has run is fitted to this processor."""

    def __init__(self, words: Words, core: Core, export: Callable[[], nn.Module]) -> None:
        super().__init__(words, core)
        self._export = export

    def network(self) -> Network:
        ids, _ = self.words.pad([self.words.encode(text) for text in ("a cat", "two old boats")])
        growing = {1: "tokens"} if self.words.recipe.padding == "longest" else {}
        return Network(
            module=self._export(),
            inputs={"ids": ids},
            dynamic={"ids": {0: "batch", **growing}},
            outputs=("joint",),
            recipe=self.words.recipe,
        )


class _Pictures(PixelsEncoder):
    """export: as for `_Texts`."""

    def __init__(self, recipe: ImageRecipe, core: Core, export: Callable[[], nn.Module]) -> None:
        super().__init__(recipe, core)
        self._export = export

    def network(self) -> Network:
        shape = (2, self._recipe.height, self._recipe.width, 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        return Network(
            module=self._export(),
            inputs={"pixels": pixels},
            dynamic={"pixels": {0: "batch"}},
            outputs=("joint",),
            recipe=self._recipe,
        )


def _parsed(detail: str, options: LoadOptions, *, describing: bool = False) -> tuple[Model, Space]:
    name, precise = precision.split(detail, family=FAMILY)
    model = open_clip_models.find(name, options, describing=describing)
    reading = summary(open_clip_words.recipe(model))
    space = Space(
        name=f"{FAMILY}:{open_clip_models.named(name)}{detail.removeprefix(name)}",
        revision=model.revision,
        preprocessing=f"{summary(model.image)}; {reading}; {FAMILY} {VERSION}",
        precision=precise,
        dim=model.dim,
    )
    return model, space


def _side(recipe: ImageRecipe) -> int:
    return max(recipe.height, recipe.width)

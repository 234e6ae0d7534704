"""ImageBind's encoders over one checkpoint, each with its tower, made when it is first needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from embed.backends.imagebind.config import (
    AUDIO,
    IMU_CHANNELS,
    IMU_STEPS,
    SIDE,
    TEXT,
    VISION,
    Config,
)
from embed.backends.imagebind.encoders import (
    ArrayEncoder,
    ClipsEncoder,
    FilmsEncoder,
)
from embed.backends.imagebind.inputs import PICTURE
from embed.backends.imagebind.networks import Fed, Heard, Seen
from embed.backends.imagebind.weights import Checkpoint
from embed.backends.openclip.clip_bpe import clip_words
from embed.backends.recipe_encoders import Made, PixelsEncoder, WordsEncoder
from embed.backends.torch_core import Core
from embed.backends.tower import Encoder, Once
from embed.registry import LoadOptions
from embed.types import Modality

log = logging.getLogger(__name__)

ARRAYS = {
    Modality.DEPTH: (1, SIDE, SIDE),
    Modality.THERMAL: (1, SIDE, SIDE),
    Modality.IMU: (IMU_CHANNELS, IMU_STEPS),
}
"""What has no published preparation is taken as its tower takes it."""


class Towers:
    """Pictures and films share a tower; every other modality has one of its own."""

    def __init__(
        self, path: Path, config: Config, *, precision: str, options: LoadOptions, licence: str
    ) -> None:
        self._path = path
        self._config = config
        self._precision = precision
        self._options = options
        self._licence = licence
        self._checkpoint = Once(self._open)
        self._vision = Once(lambda: self._core(self._seen()))

    def encoders(self) -> Mapping[Modality, Callable[[], Encoder[Any]]]:
        return {
            Modality.TEXT: self._text,
            Modality.IMAGE: self._image,
            Modality.VIDEO: self._film,
            Modality.AUDIO: self._sound,
            **{modality: partial(self._array, modality) for modality in ARRAYS},
        }

    def _text(self) -> WordsEncoder:
        words, core = clip_words(self._options.cache), self._core(self._fed(TEXT))
        return WordsEncoder(words, core, Made(lambda: self._fed(TEXT)))

    def _image(self) -> PixelsEncoder:
        return PixelsEncoder(PICTURE, self._vision(), Made(self._seen))

    def _film(self) -> FilmsEncoder:
        return FilmsEncoder(self._vision(), Made(self._seen))

    def _sound(self) -> ClipsEncoder:
        return ClipsEncoder(self._core(self._heard()), Made(self._heard))

    def _array(self, modality: Modality) -> ArrayEncoder:
        core = self._core(self._fed(modality))
        return ArrayEncoder(core, ARRAYS[modality], Made(lambda: self._fed(modality)))

    def _fed(self, tower: str) -> Fed:
        return Fed(self._checkpoint().tower(tower), tower).eval()

    def _heard(self) -> Heard:
        return Heard(self._checkpoint().tower(AUDIO)).eval()

    def _seen(self) -> Seen:
        return Seen(self._checkpoint().tower(VISION)).eval()

    def _core(self, network: nn.Module) -> Core:
        return Core(network, precision=self._precision, threads=self._options.threads)

    def _open(self) -> Checkpoint:
        log.warning("the weights of ImageBind, %s, are licensed %s", self._path, self._licence)
        return Checkpoint(self._path, self._config)

"""The two pairs that transformers towers read together: text with picture, sound with film.

FLAVA's multimodal rows were never trained against those of its single towers: they get a space of
their own. PE-AV's were, and lie in the tower's space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from embed.backends.joint import JointEncoder
from embed.backends.recipe_encoders import Core
from embed.backends.recipes import AudioRecipe, ImageRecipe
from embed.backends.tower import Rows, pixels_of, samples_of, text_of
from embed.backends.words import Words
from embed.types import Media, Modality, Space


class TextAndPicture(JointEncoder):
    """The network takes ids, mask and pixels."""

    def __init__(
        self, space: Space, dim: int, words: Words, recipe: ImageRecipe, core: Core
    ) -> None:
        super().__init__(replace(space, name=f"{space.name}#text+image", dim=dim))
        self._words = words
        self._recipe = recipe
        self._core = core

    def run(self, pieces: Mapping[Modality, Media]) -> Rows:
        ids, mask = self._words.pad([self._words.encode(text_of(pieces[Modality.TEXT]))])
        pixels = self._recipe.prepare(pixels_of(pieces[Modality.IMAGE]))
        return Rows(*self._core(ids, mask, np.stack([pixels])))


class SoundAndFilm(JointEncoder):
    """The network takes samples and frames."""

    def __init__(self, space: Space, audio: AudioRecipe, video: ImageRecipe, core: Core) -> None:
        super().__init__(space)
        self._audio = audio
        self._video = video
        self._core = core

    def run(self, pieces: Mapping[Modality, Media]) -> Rows:
        samples = self._audio.prepare(samples_of(pieces[Modality.AUDIO], self._audio.rate))
        frames = pixels_of(pieces[Modality.VIDEO], frames=True)
        film = np.stack([self._video.prepare(frame) for frame in frames])
        return Rows(*self._core(samples[np.newaxis], film[np.newaxis]))

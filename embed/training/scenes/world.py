"""The generated world as a source of records: scene i, in four media, made when it is asked for.

Scene i of a seed is the same in every process and on every machine, whatever the count. The law of
the world is in `law.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache, partial

import numpy as np
from numpy.random import Generator

from embed.errors import BadInput
from embed.training.scenes.draw import FRAMES_PER_SECOND, film, picture
from embed.training.scenes.law import SCENES, Scene
from embed.training.scenes.sing import RATE, sound
from embed.training.scenes.tell import caption
from embed.training.types import Record
from embed.types import Media, Modality

MODALITIES = (Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)

_MAKERS: dict[Modality, Callable[[Scene, Generator], Media]] = {
    Modality.TEXT: lambda scene, rng: Media(Modality.TEXT, caption(scene, rng)),
    Modality.IMAGE: lambda scene, rng: Media(Modality.IMAGE, picture(scene, rng)),
    Modality.AUDIO: lambda scene, rng: Media(Modality.AUDIO, sound(scene, rng), rate=RATE),
    Modality.VIDEO: lambda scene, rng: Media(
        Modality.VIDEO, film(scene, rng), rate=FRAMES_PER_SECOND
    ),
}
_TRUTH, _MISSING = len(MODALITIES), len(MODALITIES) + 1
"""Streams of random numbers beside those of the media: each medium is the same without others."""


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """A source of `count` scenes.

    The first 5,400 all differ (of those held out 1,080) and so do their captions; then all come
    again in another order, drawn, sung and told anew.
    modalities: at least two of the four. views: media of each modality, every one drawn anew from
    the same truth. held_out: only scenes that are never trained on. missing: chance of each
    modality to be lacking, in [0, 1); each record keeps two at least.
    Raises BadInput.
    """

    count: int
    seed: int = 0
    modalities: tuple[Modality, ...] = MODALITIES
    _: KW_ONLY
    views: int = 1
    held_out: bool = False
    missing: float = 0.0
    failures: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        chosen = set(self.modalities)
        if len(chosen) < 2 or not chosen <= set(MODALITIES):
            raise BadInput(
                f"scenes have {', '.join(MODALITIES)}, and two of these are wanted at least, not "
                f"{', '.join(self.modalities) or 'none'}",
                param="modalities",
            )
        if min(self.count, self.views, self.seed + 1) < 1 or not 0 <= self.missing < 1:
            raise BadInput(
                f"{self.count} scenes in {self.views} views of seed {self.seed}, {self.missing} "
                "missing: count and views are at least 1, seed at least 0, missing in [0, 1)"
            )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Record:
        """Raises IndexError."""
        views = partial(self._views, i, self.truth(i))
        return Record(self.id(i), _Made(views, self._present(i)))

    def id(self, i: int) -> str:
        return f"scene-{self.seed}-{'held-' * self.held_out}{i}"

    def truth(self, i: int) -> Scene:
        """What is to be seen, heard and read in record i. Raises IndexError."""
        if not 0 <= i < self.count:
            raise IndexError(f"scene {i} of {self.count}")
        scenes = _scenes(self.held_out)
        again, place = divmod(i, len(scenes))
        return scenes[_order(self.seed, again, len(scenes))[place]]

    def _views(self, i: int, scene: Scene, modality: Modality) -> Sequence[Media]:
        stream = MODALITIES.index(modality)
        rngs = (self._rng(i, stream, view) for view in range(self.views))
        return [_MAKERS[modality](scene, rng) for rng in rngs]

    def _present(self, i: int) -> tuple[Modality, ...]:
        if not self.missing:
            return self.modalities
        draws = self._rng(i, _MISSING).random(len(self.modalities))
        sure = set(np.argsort(draws)[-2:].tolist())
        return tuple(
            modality
            for n, modality in enumerate(self.modalities)
            if n in sure or draws[n] >= self.missing
        )

    def _rng(self, i: int, stream: int, view: int = 0) -> Generator:
        return np.random.default_rng((self.seed, self.held_out, i, stream, view))


class _Made(Mapping[Modality, Sequence[Media]]):
    """Media by modality, made when they are first asked for: captions are often read alone."""

    def __init__(
        self, make: Callable[[Modality], Sequence[Media]], modalities: Sequence[Modality]
    ) -> None:
        self._make = make
        self._made: dict[Modality, Sequence[Media]] = {}
        self._modalities = modalities

    def __getitem__(self, modality: Modality) -> Sequence[Media]:
        if modality not in self._modalities:
            raise KeyError(modality)
        if modality not in self._made:
            self._made[modality] = self._make(modality)
        return self._made[modality]

    def __iter__(self) -> Iterator[Modality]:
        return iter(self._modalities)

    def __len__(self) -> int:
        return len(self._modalities)


@lru_cache
def _scenes(held_out: bool) -> tuple[Scene, ...]:
    return tuple(scene for scene in SCENES if scene.held_out == held_out)


@lru_cache
def _order(seed: int, again: int, count: int) -> tuple[int, ...]:
    rng = np.random.default_rng((seed, again, count, _TRUTH))
    return tuple(rng.permutation(count).tolist())

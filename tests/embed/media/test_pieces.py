from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from embed.media import pieces
from embed.types import Media, Modality, Pixels, TimeSpan


@dataclass
class Still:
    """A film that shows one picture for `duration` seconds."""

    duration: float

    def shots(
        self, *, seconds: float, per_second: float, min_side: int
    ) -> Iterator[tuple[TimeSpan, Pixels]]:
        frames = np.zeros((round(seconds * per_second), min_side, min_side, 3), np.uint8)
        for number in range(round(self.duration / seconds)):
            yield TimeSpan(number * seconds, (number + 1) * seconds), frames

    def frames(self, times: Sequence[float], *, min_side: int) -> Pixels:
        raise NotImplementedError


@pytest.mark.parametrize(("hours", "seconds", "rate"), [(2, 10, 1), (4, 10, 1), (24, 60, 1 / 6)])
def test_a_film_of_a_day_is_looked_at_less_often(hours: int, seconds: float, rate: float) -> None:
    film = Media(Modality.VIDEO, Still(hours * 3600))
    shots = list(pieces.of_film(film, seconds=10, per_second=1, min_side=1))
    assert len(shots) == hours * 3600 / seconds <= pieces.MAX_SHOTS
    for span, shot in shots:
        assert span.end - span.start == pytest.approx(seconds)
        assert (len(shot.data), shot.rate) == (10, pytest.approx(rate))

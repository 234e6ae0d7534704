"""The ear of the built-in space: what sounds are near to, and what changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from embed.backends.builtin.audio import RECIPE
from embed.backends.builtin.space import EAR, Builtin
from embed.errors import BadInput, TooLarge
from embed.media.resample import resample
from embed.training.audio import tones
from embed.types import Downmix, Floats, Media, Modality, TimeSpan
from embed.weights import store

RATE = RECIPE.rate
UNHEARD = 7  # the seed of sounds that the network was not trained on


def sounds(*samples: Floats, rate: float = RATE) -> list[Media]:
    return [Media(Modality.AUDIO, each, rate=rate) for each in samples]


@pytest.fixture(scope="module")
def rendered() -> Mapping[str, Floats]:
    names = ("siren", "white noise", "heartbeat", "crickets", "footsteps", "pure tone")
    return {name: next(iter(tones.render(name, 1, UNHEARD))) for name in names}


def test_a_sound_is_near_to_what_it_is_called(builtin: Builtin) -> None:
    queries = {
        "siren": "an ambulance with its siren on",
        "white noise": "static on the radio",
        "heartbeat": "a beating heart",
        "crickets": "insects chirping on a summer night",
        "footsteps": "somebody walking",
        "pure tone": "a sine wave",
    }
    heard = builtin.embed(
        sounds(*(sound for name in queries for sound in tones.render(name, 3, UNHEARD)))
    ).joint
    asked = builtin.embed([Media(Modality.TEXT, query) for query in queries.values()]).joint
    found = (heard @ asked.T).argmax(1)
    assert (found == np.arange(len(queries)).repeat(3)).mean() >= 0.8


def test_a_sound_has_the_same_bits_in_every_batch_and_thread(
    builtin: Builtin, rendered: Mapping[str, Floats]
) -> None:
    batch = sounds(*rendered.values())
    together = builtin.embed(batch)
    assert together.native is not None
    assert together.native.shape == (len(batch), 128)
    with ThreadPoolExecutor(2) as pool:
        alone = list(pool.map(lambda media: builtin.embed([media]), batch))
    np.testing.assert_array_equal(np.concatenate([v.joint for v in alone]), together.joint)
    np.testing.assert_array_equal(np.concatenate([v.native for v in alone]), together.native)


def test_how_loud_a_sound_was_recorded_says_nothing(
    builtin: Builtin, rendered: Mapping[str, Floats]
) -> None:
    loud, quiet = sounds(rendered["siren"], rendered["siren"] * np.float32(0.05))
    found = builtin.embed([loud, quiet]).joint
    assert found[0] @ found[1] > 0.999


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_a_sound_at_another_rate_is_the_same_sound(
    builtin: Builtin, rendered: Mapping[str, Floats], rate: int
) -> None:
    sound = rendered["footsteps"]
    [other] = sounds(resample(sound, RATE, rate), rate=float(rate))
    found = builtin.embed([*sounds(sound), other]).joint
    assert found[0] @ found[1] > 0.95


@pytest.mark.parametrize("count", [1, 2, 100, 8000, RECIPE.samples])
@pytest.mark.parametrize("level", [0.0, 1.0, 1e-20])
def test_silence_and_the_shortest_sounds_have_a_vector(
    builtin: Builtin, count: int, level: float
) -> None:
    found = builtin.embed(sounds(np.full(count, level, np.float32)))
    assert np.isfinite(found.joint).all()


def test_silence_is_called_silence(builtin: Builtin) -> None:
    [heard] = builtin.embed(sounds(np.zeros(RATE, np.float32))).joint
    words = ["silence", "a dog barking", "loud music", "someone talking"]
    asked = builtin.embed([Media(Modality.TEXT, text) for text in words]).joint
    assert (asked @ heard).argmax() == 0


def test_a_long_sound_is_refused_whole_and_heard_in_pieces(builtin: Builtin) -> None:
    with pytest.raises(TooLarge, match=r"fragment\(\)"):
        builtin.embed(sounds(np.zeros(RECIPE.samples + 1, np.float32)))
    with pytest.raises(BadInput, match="finite"):
        builtin.embed(sounds(np.full(9, np.nan, np.float32)))
    pieces = list(builtin.fragment(Media(Modality.AUDIO, _Long())))
    assert next(span for span, _ in pieces) == TimeSpan(0.0, RECIPE.seconds)
    assert len(builtin.embed([piece for _, piece in pieces])) == 3


class _Long:
    """A sound of twelve seconds."""

    @property
    def duration(self) -> float:
        return 12.0

    @property
    def rate(self) -> int:
        return RATE

    def windows(
        self, spans: Sequence[TimeSpan], *, rate: int, downmix: Downmix = Downmix.MEAN
    ) -> Iterator[Floats]:
        for span in spans:
            yield np.sin(np.arange(round((span.end - span.start) * rate)) / 9).astype(np.float32)


def test_the_ear_is_small_and_says_what_it_learnt_from() -> None:
    entry = store.entry(EAR)
    assert entry.size < 3_000_000
    assert "CC BY" in entry.licence
    credited = store.find(EAR).with_name("ESC10_CREDITS.txt").read_text(encoding="utf-8")
    assert "freesound.org" in credited

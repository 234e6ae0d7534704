"""The generated world: the same everywhere, without doubles, and every medium shows the truth."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from embed.errors import BadInput
from embed.training.data.source import Source, open_source
from embed.training.scenes.draw import film, picture
from embed.training.scenes.law import COLOURS, MOTIONS, SCENES, Scene
from embed.training.scenes.sing import RATE, sound
from embed.training.scenes.world import MODALITIES, Scenes
from embed.training.types import Record
from embed.types import Floats, Modality, Pixels

PLAIN = Scene("red", "disc", "medium", "centre", "middle", "still")


def _same(one: Record, other: Record) -> bool:
    if one.id != other.id or list(one.media) != list(other.media):
        return False
    return all(np.array_equal(one.media[m][0].data, other.media[m][0].data) for m in one.media)


def _caption(record: Record) -> str:
    text = record.media[Modality.TEXT][0].data
    assert isinstance(text, str)
    return text


def test_a_scene_follows_from_seed_and_number_alone() -> None:
    scenes = Scenes(20, seed=3)
    assert _same(scenes[7], scenes[7])
    assert _same(scenes[7], Scenes(9_000, seed=3)[7])
    assert _same(scenes[7], pickle.loads(pickle.dumps(scenes))[7])
    assert not _same(scenes[7], Scenes(20, seed=4)[7])
    pair = Scenes(20, seed=3, modalities=(Modality.AUDIO, Modality.IMAGE))[7]
    assert list(pair.media) == [Modality.AUDIO, Modality.IMAGE]
    whole = scenes[7].media[Modality.AUDIO][0].data
    assert np.array_equal(pair.media[Modality.AUDIO][0].data, whole)


def test_scenes_of_yesterday_are_those_of_today() -> None:
    """Another process, machine or version must not see another world under the same seed."""
    scenes = Scenes(20, seed=3)
    assert scenes.truth(7) == Scene("white", "post", "small", "right", "top", "left")
    assert _caption(scenes[7]) == "moving left: a tiny white post at the top right"
    means = [np.mean(np.abs(scenes[7].media[m][0].data)) for m in MODALITIES[1:]]
    assert means == pytest.approx([136.741464, 0.019597, 147.436564], rel=1e-3)


def test_media_have_the_forms_that_towers_take() -> None:
    media = Scenes(2)[1].media
    assert tuple(media) == MODALITIES
    still, clip, heard = (media[m][0] for m in (Modality.IMAGE, Modality.VIDEO, Modality.AUDIO))
    assert isinstance(still.data, np.ndarray)
    assert isinstance(clip.data, np.ndarray)
    assert isinstance(heard.data, np.ndarray)
    assert (still.data.shape, still.data.dtype) == ((48, 48, 3), np.uint8)
    assert (clip.data.shape, clip.data.dtype, clip.rate) == ((8, 32, 32, 3), np.uint8, 8.0)
    assert (heard.data.shape, heard.data.dtype, heard.rate) == ((RATE,), np.float32, RATE)
    assert 0.05 < np.abs(heard.data).max() <= 1


def test_no_doubles_until_all_scenes_have_come() -> None:
    scenes = Scenes(5_450, modalities=(Modality.TEXT, Modality.IMAGE))
    assert len(SCENES) == 6_480
    truths = [scenes.truth(i) for i in range(5_400)]
    assert len(set(truths)) == 5_400
    assert not any(truth.held_out for truth in truths)
    assert scenes.truth(5_400) in truths
    captions = {_caption(scenes[i]) for i in range(0, 5_400, 15)}
    assert len(captions) == 360


def test_held_out_scenes_are_never_trained_on_but_their_parts_are() -> None:
    unseen = Scenes(1_000, held_out=True)
    unseen_pairs = {(t.colour, t.shape) for t in map(unseen.truth, range(1_000))}
    seen_pairs = {(t.colour, t.shape) for t in map(Scenes(5_400).truth, range(5_400))}
    assert len({unseen.truth(i) for i in range(1_000)}) == 1_000
    assert not unseen_pairs & seen_pairs
    assert {colour for colour, _ in unseen_pairs} == set(COLOURS)
    assert len({shape for _, shape in unseen_pairs}) == 6
    assert len(unseen_pairs) == 8
    assert unseen.id(3) != Scenes(1_000).id(3)


def test_different_scenes_never_share_a_caption() -> None:
    told: dict[str, Scene] = {}
    for seed in range(2):
        scenes = Scenes(400, seed=seed, modalities=(Modality.TEXT, Modality.IMAGE))
        for i in range(400):
            truth = scenes.truth(i)
            assert told.setdefault(_caption(scenes[i]), truth) == truth


def test_views_show_one_truth_in_several_ways() -> None:
    one, two = Scenes(30)[8], Scenes(30, views=2)[8]
    for modality in MODALITIES:
        first, second = (medium.data for medium in two.media[modality])
        assert np.array_equal(first, one.media[modality][0].data)
        assert not np.array_equal(first, second)


def test_some_media_are_missing_as_often_as_asked() -> None:
    scenes = Scenes(150, missing=0.4)
    records = [scenes[i] for i in range(150)]
    assert min(len(record.media) for record in records) == 2
    for modality in MODALITIES:
        share = sum(modality in record.media for record in records) / 150
        assert 0.55 < share < 0.8  # of those that would have one or none, two are kept
    assert all(len(record.media) == 4 for record in map(Scenes(20).__getitem__, range(20)))


@pytest.mark.parametrize("stranger", ["text", "colour"])
def test_wishes_that_make_no_world_are_refused(stranger: str) -> None:
    with pytest.raises(BadInput, match="count and views are at least 1"):
        Scenes(0)
    with pytest.raises(BadInput, match=r"missing in \[0, 1\)"):
        Scenes(5, missing=1.0)
    with pytest.raises(BadInput, match="two of these are wanted"):
        Scenes(5, modalities=(Modality.TEXT,))
    with pytest.raises(BadInput, match=r"'colour'|two of these"):
        open_source({"kind": "scenes", "count": 5, "modalities": [stranger]})
    with pytest.raises(IndexError):
        Scenes(5)[5]


def test_scenes_are_a_source() -> None:
    source = open_source({"kind": "scenes", "count": 12, "seed": 1, "held_out": True})
    assert isinstance(source, Source)
    assert len(source) == 12
    assert source[3].id == source.id(3)
    assert not source.failures


# What the law says is there to be seen and heard: measured, not looked up.


def _seen(pixels: Pixels) -> tuple[float, float, float, Floats]:
    """Where the thing is, how much of the picture it covers, and its colour, of a picture."""
    values = pixels.astype(np.float32) / 255
    strength = np.ptp(values, axis=-1)  # the ground is grey
    y, x = np.nonzero(strength > 0.5)
    side = pixels.shape[0]
    colour = values[strength > 0.5].mean(axis=0)
    return float(x.mean() / side), 1 - float(y.mean() / side), len(x) / side**2, colour


def _pitch(samples: Floats) -> float:
    """Hz of the lowest strong partial."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 4 * RATE))
    strong = np.flatnonzero(power > 0.25 * power.max())
    return float(strong[0] / 4)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_pictures_and_films_show_colour_size_and_place() -> None:
    for across, x in (("left", 0.3), ("centre", 0.5), ("right", 0.7)):
        for up, y in (("bottom", 0.3), ("middle", 0.5), ("top", 0.7)):
            scene = PLAIN._replace(across=across, up=up, colour="yellow")
            for pixels in (picture(scene, _rng()), film(scene, _rng())[4]):
                seen_x, seen_y, _, colour = _seen(pixels)
                assert abs(seen_x - x) < 0.05
                assert abs(seen_y - y) < 0.05
                assert (colour > 0.5).tolist() == [True, True, False]
    areas = [
        _seen(picture(PLAIN._replace(size=size), _rng()))[2]
        for size in ("small", "medium", "large")
    ]
    assert all(1.5 * small < large for small, large in pairwise(areas))


def test_films_move_and_pictures_trail() -> None:
    for motion, (right, up) in MOTIONS.items():
        scene = PLAIN._replace(motion=motion, size="small")
        frames = film(scene, _rng())
        (x0, y0, *_), (x1, y1, *_) = _seen(frames[0]), _seen(frames[-1])
        assert abs(x1 - x0 - 0.26 * right) < 0.05
        assert abs(y1 - y0 - 0.26 * up) < 0.05
        still = np.ptp(picture(scene, _rng()).astype(np.float32) / 255, axis=-1)
        faint = (still > 0.12) & (still < 0.5)
        if motion == "still":
            assert faint.mean() < 0.02
        else:
            y, x = np.nonzero(faint)
            behind = (0.5 - x.mean() / 48) * right + (y.mean() / 48 - 0.5) * up
            assert behind > 0.05


def test_shapes_look_different() -> None:
    looks = {
        shape: picture(PLAIN._replace(shape=shape), _rng()).astype(np.float32)
        for shape in {scene.shape for scene in SCENES}
    }
    shapes = sorted(looks)
    gaps = [
        np.abs(looks[one] - looks[other]).mean()
        for one in shapes
        for other in shapes
        if one < other
    ]
    assert min(gaps) > 1.0  # of 255, over the whole picture; two renderings of one differ by 0


def test_sounds_tell_size_and_height_by_pitch() -> None:
    heard = {
        (size, up): _pitch(sound(PLAIN._replace(size=size, up=up, colour="black"), _rng()))
        for size in ("large", "medium", "small")
        for up in ("bottom", "middle", "top")
    }
    assert list(heard.values()) == sorted(heard.values())
    assert heard["small", "middle"] / heard["large", "middle"] == pytest.approx(4, rel=0.02)


def test_sounds_tell_colour_by_partials_and_place_by_time() -> None:
    for colour, lit in COLOURS.items():
        samples = sound(PLAIN._replace(colour=colour, shape="disc"), _rng())
        power = np.abs(np.fft.rfft(samples * np.hanning(RATE)))
        base = round(_pitch(samples))
        partials = [power[base * k - 8 : base * k + 9].max() for k in (2, 3, 4)]
        assert [bool(partial > 0.3 * power.max()) for partial in partials] == [bool(k) for k in lit]
    begins = [
        int(np.argmax(np.abs(sound(PLAIN._replace(across=across), _rng())) > 0.05)) / RATE
        for across in ("left", "centre", "right")
    ]
    assert all(0.1 < later - sooner < 0.25 for sooner, later in pairwise(begins))


def test_sounds_tell_motion_by_swell_and_glide() -> None:
    def halves(motion: str, of: Callable[[Floats], float]) -> float:
        samples = sound(PLAIN._replace(motion=motion, shape="disc", colour="black"), _rng())
        start = int(np.argmax(np.abs(samples) > 0.05))
        return of(samples[start + 2_600 : start + 4_000]) / of(samples[start + 200 : start + 1_600])

    def loudness(samples: Floats) -> float:
        return float(np.sqrt(np.mean(samples**2)))

    still = halves("still", loudness)  # notes fade
    assert halves("right", loudness) > 1.6 * still
    assert halves("left", loudness) < 0.6 * still
    assert halves("up", _pitch) > 1.05
    assert halves("down", _pitch) < 0.95
    assert halves("still", _pitch) == pytest.approx(1, abs=0.02)

"""Films in the built-in space: which way things move, and that what they show is not lost."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest

from embed.backends.builtin.film import BuiltinFilm
from embed.backends.builtin.flow import FEATURES, motion
from embed.backends.builtin.space import Builtin
from embed.media.read import open_media
from embed.training.scenes.world import Scenes
from embed.types import Film, Floats, Media, Modality, Pixels

SIDES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}


def texture(side: int, seed: int) -> Pixels:
    """Coarse noise, which can be told from itself moved."""
    coarse = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)


def thing_moves(way: tuple[int, int], frames: int = 5) -> Pixels:
    film = np.repeat(texture(128, 0)[np.newaxis], frames, axis=0)
    for n, frame in enumerate(film):
        row, column = (48 + 8 * step * (n - 2) for step in way)
        frame[row : row + 32, column : column + 32] = texture(32, 1)
    return film


@pytest.mark.parametrize("way", SIDES)
def test_a_thing_is_told_from_a_camera_that_moves(way: str) -> None:
    down, right = SIDES[way]
    thing = motion(thing_moves((down, right)), 4.0)
    world = texture(256, 2)
    shots = [world[64 - 12 * n * down :, 64 - 12 * n * right :][:128, :128] for n in range(5)]
    camera = motion(np.stack(shots), 4.0)
    assert thing is not None
    assert camera is not None
    assert thing[:2] @ [right, down] > 0.5
    assert abs(thing[:2] @ [down, right]) < 0.35
    np.testing.assert_allclose(thing[3:5], 0, atol=0.05)
    np.testing.assert_allclose(camera[3:5], [right, down], atol=0.12)
    assert camera[7] > 0.8


def test_growth_and_stillness_are_seen() -> None:
    film = np.repeat(np.full((1, 96, 96, 3), 90, np.uint8), 5, axis=0)
    for n, frame in enumerate(film):
        half = 12 + 6 * n
        frame[48 - half : 48 + half, 48 - half : 48 + half] = 220
    grows, shrinks, still = (motion(frames, 4.0) for frames in (film, film[::-1], film[[2] * 5]))
    assert grows is not None
    assert shrinks is not None
    assert grows[2] > 0.3
    assert shrinks[2] < -0.3
    np.testing.assert_array_equal(still, np.zeros(FEATURES, np.float32))
    assert motion(film[:1], 4.0) is None


def test_texts_that_say_the_way_are_nearer(builtin: Builtin) -> None:
    scenes = Scenes(100, 7, (Modality.TEXT, Modality.VIDEO), held_out=True)
    ways = [scenes.truth(n).motion for n in range(len(scenes))]
    films = [scenes[n].media[Modality.VIDEO][0] for n in range(len(scenes))]
    vectors = builtin.embed(films).joint
    for one, other in (("left", "right"), ("up", "down")):
        rows = [n for n, way in enumerate(ways) if way in (one, other)]
        for text in ("something moving {}", "a green circle moving {}"):
            said = words(builtin, text.format(one), text.format(other))
            nearer = (vectors[rows] @ said.T).argmax(axis=1)
            truth = np.array([ways[n] == other for n in rows])
            assert len(rows) > 25
            assert (nearer == truth).mean() >= 0.9, (one, text)


def words(builtin: Builtin, *texts: str) -> Floats:
    return builtin.embed([Media(Modality.TEXT, text) for text in texts]).joint


def test_what_a_film_shows_outweighs_how_it_moves(
    builtin: Builtin, photos: dict[str, Pixels]
) -> None:
    names = ["chelsea.png", "coffee.png", "rocket.jpg"]
    films = []
    for name in names:
        picture = photos[name]
        side = min(picture.shape[:2]) - 60
        shots = [picture[15 * n :, 15 * n :][:side, :side] for n in range(5)]
        films.append(Media(Modality.VIDEO, np.stack(shots), rate=4.0))
    vectors = builtin.embed(films).joint
    asked = words(builtin, "a cat", "a cup of coffee", "a rocket")
    assert (asked @ vectors.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_frames_are_read_once_a_second_and_watched_four_times(
    builtin: Builtin, photos: dict[str, Pixels]
) -> None:
    film = builtin.encoder(Modality.VIDEO)
    assert isinstance(film, BuiltinFilm)
    cat = photos["chelsea.png"][:256, :256]
    frames = np.repeat(cat[np.newaxis], 9, axis=0)
    media = Media(Modality.VIDEO, frames, rate=4.0)
    assert len(film.prepare(media).frames) == 3
    assert len(film.prepare(replace(media, rate=None)).frames) == 9
    alone = film.prepare(replace(media, data=frames[:1]))
    assert alone.motion is None
    picture = builtin.embed([Media(Modality.IMAGE, cat)])
    found = builtin.run(Modality.VIDEO, [alone])
    np.testing.assert_allclose(found.joint, picture.joint, atol=1e-6)
    moving = builtin.embed([media, replace(media, data=thing_moves((0, 1)))])
    assert moving.native is not None
    assert picture.native is not None
    np.testing.assert_allclose(moving.native[0], picture.native[0], atol=1e-6)
    np.testing.assert_array_equal(builtin.embed([media]).joint[0], moving.joint[0])


def test_a_file_is_watched_as_its_frames_are(builtin: Builtin) -> None:
    nearest = []
    asked = words(builtin, "moving left", "moving right")
    for way in ("left", "right"):
        data = mp4(thing_moves(SIDES[way]), rate=5)
        raw = open_media(data, accepts=frozenset({Modality.VIDEO}))
        media = raw.decode(Modality.VIDEO, image_side=builtin.image_side)
        assert isinstance(media.data, Film)
        ((_, piece),) = builtin.fragment(media)
        assert piece.rate == 4.0
        nearest.append(int((builtin.embed([piece]).joint[0] @ asked.T).argmax()))
    assert nearest == [0, 1]


def mp4(frames: Pixels, rate: int) -> bytes:
    file = BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=Fraction(rate))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        out.mux(stream.encode(None))
    return file.getvalue()

"""The built-in space as a caller meets it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import embed
from embed import registry
from embed.backends.builtin import space as module
from embed.backends.builtin.space import Builtin
from embed.backends.tower import Once
from embed.errors import (
    BadInput,
    MissingDependency,
    MissingWeights,
    NotFound,
    TooLarge,
    UnsupportedModality,
)
from embed.media.text import SLICE
from embed.registry import LoadOptions
from embed.types import CharSpan, Embedder, Media, Modality, Pixels

TEXTS = [
    "cat",
    "a photo of a cat",
    "a dog on a beach",
    "the quick brown fox jumps over the lazy dog",
    "Zürich, München und Besançon: naïve façades",
    "photo of a dog",
    "one two three four",
    "😀 smiling",
    "word " * 120,
]


def texts(*values: str) -> list[Media]:
    return [Media(Modality.TEXT, value) for value in values]


def pictures(*values: Pixels) -> list[Media]:
    return [Media(Modality.IMAGE, value) for value in values]


def test_it_is_an_embedder_and_says_what_it_can_do(model_cache: Path) -> None:
    options = LoadOptions(cache=model_cache, threads=1)
    capabilities = registry.describe("builtin", options)
    loaded = registry.load("builtin", options)
    assert isinstance(loaded, Embedder)
    assert loaded.space == capabilities.space
    assert capabilities.space.dim == 384
    assert loaded.modalities == capabilities.modalities == {"text", "image", "audio", "video"}
    assert capabilities.native_dims == {
        Modality.IMAGE: 1280,
        Modality.AUDIO: 128,
        Modality.VIDEO: 1280,
    }
    assert loaded.image_side == 256


def test_a_variant_is_refused(model_cache: Path) -> None:
    with pytest.raises(NotFound, match=r"'large'.*only choice is: builtin"):
        registry.describe("builtin:large", LoadOptions(cache=model_cache, threads=1))


def test_a_film_is_the_mean_of_its_frames(builtin: Builtin, photos: dict[str, Pixels]) -> None:
    sides = [photos[name][:300, :300] for name in ("chelsea.png", "coffee.png")]
    film = Media(Modality.VIDEO, np.stack([sides[0], sides[0], sides[1]]), rate=1.0)
    found = builtin.embed([film, replace(film, data=film.data[:1])])
    alone = builtin.embed(pictures(*sides))
    assert found.native is not None
    assert alone.native is not None
    mean = (2 * alone.native[0] + alone.native[1]) / 3
    np.testing.assert_allclose(found.native[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert found.joint[0] @ (2 * alone.joint[0] + alone.joint[1]) > 2  # what moves is added
    for rows, wanted in ((found.joint, alone.joint), (found.native, alone.native)):
        np.testing.assert_allclose(rows[1], wanted[0], atol=1e-6)
    with pytest.raises(BadInput, match=r"\(T, H, W, 3\)"):
        builtin.embed([replace(film, data=sides[0])])


def test_words_find_their_photo(builtin: Builtin, photos: dict[str, Pixels]) -> None:
    queries = {
        "a photo of a cat": "chelsea.png",
        "an animal with fur": "chelsea.png",
        "a cup of coffee": "coffee.png",
        "a rocket launch": "rocket.jpg",
        "a red motorcycle": "motorcycle_left.png",
    }
    images = builtin.embed(pictures(*photos.values())).joint
    words = builtin.embed(texts(*queries)).joint
    names = list(photos)
    assert [names[best] for best in (words @ images.T).argmax(axis=1)] == list(queries.values())


def test_a_text_has_the_same_bits_in_every_batch(builtin: Builtin) -> None:
    rng = np.random.default_rng(0)
    alone = np.concatenate([builtin.embed(texts(text)).joint for text in TEXTS])
    for size in (2, 3, 5, len(TEXTS), 40):
        chosen = rng.integers(0, len(TEXTS), size)
        together = builtin.embed(texts(*(TEXTS[row] for row in chosen))).joint
        np.testing.assert_array_equal(together, alone[chosen])


def test_many_texts_of_one_length_share_runs_and_keep_their_bits(builtin: Builtin) -> None:
    many = [f"word {number}" for number in range(10)] * 60
    together = builtin.embed(texts(*many)).joint
    np.testing.assert_array_equal(together[:10], together[-10:])
    np.testing.assert_array_equal(together[:1], builtin.embed(texts(many[0])).joint)


def test_a_picture_has_the_same_bits_in_every_batch_and_thread(
    builtin: Builtin, photos: dict[str, Pixels]
) -> None:
    batch = pictures(*photos.values())
    together = builtin.embed(batch)
    assert together.native is not None
    with ThreadPoolExecutor(2) as pool:
        alone = list(pool.map(lambda media: builtin.embed([media]), batch))
    np.testing.assert_array_equal(np.concatenate([v.joint for v in alone]), together.joint)
    np.testing.assert_array_equal(np.concatenate([v.native for v in alone]), together.native)


def test_threads_that_come_first_together_load_once(
    model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = Builtin(LoadOptions(cache=model_cache, threads=1))
    opened = []
    open_text = fresh._open_text
    once = Once(lambda: opened.append(1) or open_text())
    monkeypatch.setitem(fresh._encoders, Modality.TEXT, once)
    gate = threading.Barrier(4)

    def first(text: str) -> None:
        gate.wait()
        fresh.embed(texts(text))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(first, TEXTS[:4]))
    assert opened == [1]


def test_a_short_text_and_a_picture_are_one_piece(
    builtin: Builtin, photos: dict[str, Pixels]
) -> None:
    for media in (*texts("a dog"), *pictures(photos["coffee.png"])):
        assert list(builtin.fragment(media)) == [(None, media)]


def test_a_long_text_is_cut_into_pieces_that_can_be_embedded(builtin: Builtin) -> None:
    text = "".join(
        f"Sentence {number} is about antidisestablishmentarianism. " for number in range(90)
    )
    assert builtin.count_tokens(text) > 256
    pieces = list(builtin.fragment(Media(Modality.TEXT, text, source="book.txt")))
    spans = [span for span, _ in pieces]
    assert all(isinstance(span, CharSpan) for span in spans)
    assert all(media.data == text[span.start : span.end] for span, media in pieces)
    assert all(media.source == "book.txt" for _, media in pieces)
    assert spans[0].start == 0
    assert spans[-1].end == len(text.rstrip())
    assert all(after.start < before.end for before, after in itertools.pairwise(spans))
    assert len(builtin.embed([media for _, media in pieces])) == len(pieces)


def test_the_longest_text_that_fits_is_whole_and_one_more_word_is_not(builtin: Builtin) -> None:
    fits, over = "word " * 254, "word " * 255
    assert builtin.count_tokens(fits) == 256
    assert [span for span, _ in builtin.fragment(Media(Modality.TEXT, fits))] == [None]
    assert len(builtin.embed(texts(fits))) == 1
    with pytest.raises(TooLarge, match=r"257 tokens .* 256: .* fragment\(\)"):
        builtin.embed(texts("short", over))
    assert len(list(builtin.fragment(Media(Modality.TEXT, over)))) == 2


@pytest.mark.parametrize("text", ["", "   \n", "\u200b", "\ud800 hi"])
def test_a_text_without_words_is_refused(builtin: Builtin, text: str) -> None:
    with pytest.raises(BadInput):
        builtin.embed(texts(text))


def test_other_batches_are_refused(builtin: Builtin, photos: dict[str, Pixels]) -> None:
    photo = pictures(photos["coffee.png"])
    with pytest.raises(UnsupportedModality, match="audio and image and text and video, not depth"):
        builtin.embed([Media(Modality.DEPTH, np.zeros((9, 9), np.float32))])
    with pytest.raises(BadInput, match="one modality, not image, text"):
        builtin.embed([*photo, *texts("a cup")])
    with pytest.raises(BadInput, match="one modality, not none"):
        builtin.embed([])
    for shape, dtype in [((0, 9, 3), "u1"), ((9, 9, 4), "u1"), ((9, 9), "u1"), ((9, 9, 3), "f4")]:
        with pytest.raises(BadInput, match=r"\(H, W, 3\) uint8 with at least one pixel, not "):
            builtin.embed([Media(Modality.IMAGE, np.zeros(shape, dtype))])
    with pytest.raises(BadInput, match="not str"):
        builtin.embed([Media(Modality.IMAGE, "photo.jpg")])
    with pytest.raises(BadInput, match="not ndarray"):
        builtin.embed([Media(Modality.TEXT, photos["coffee.png"])])


def test_a_ready_cache_is_served_without_torch(
    builtin: Builtin, model_cache: Path, photos: dict[str, Pixels]
) -> None:
    builtin.embed(texts("ready"))
    builtin.embed(pictures(photos["coffee.png"]))
    script = """
import sys
from pathlib import Path
import numpy as np
from embed import registry
from embed.types import Media, Modality

def loaded():
    return {"torch", "transformers", "onnx", "onnxruntime", "PIL"} & set(sys.modules)

options = registry.LoadOptions(cache=Path(sys.argv[1]), threads=1)
registry.describe("builtin", options)
assert loaded() == set(), loaded()
space = registry.load("builtin", options)
space.embed([Media(Modality.TEXT, "a cat")])
assert loaded() == {"onnxruntime"}, loaded()
space.embed([Media(Modality.IMAGE, np.zeros((9, 9, 3), np.uint8))])
assert loaded() == {"onnxruntime", "PIL"}, loaded()
"""
    command = [sys.executable, "-W", "error", "-c", script, str(model_cache)]
    home = Path(embed.__file__).parents[1]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_missing_exporter_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.EXPORT_NEEDS, "no_such_module", "no-such-package")
    with pytest.raises(MissingDependency, match="pip install no-such-package"):
        Builtin(LoadOptions(cache=tmp_path, threads=1)).embed(texts("a cat"))


def test_a_failed_export_tells_why_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "not-a-config.json"
    broken.write_text("{")
    monkeypatch.setattr(module.store, "find", lambda name: broken)
    space = Builtin(LoadOptions(cache=tmp_path / "cache", threads=1))
    with pytest.raises(MissingWeights, match=r"(?s)text half .* status 1: .*JSONDecodeError"):
        space.embed(texts("a cat"))
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_long_text_is_tokenised_in_slices_as_if_it_were_whole(builtin: Builtin) -> None:
    rng = np.random.default_rng(0)
    words = ["zebra", "naïve", "x", "don't", "日本", "walking", "unbelievably", "3.14"]
    text = " ".join(words[n] for n in rng.integers(0, len(words), 40_000))
    tower = builtin.encoder(Modality.TEXT)
    assert len(text) > 3 * SLICE
    whole = tower._encode(text).offsets[1:-1]
    np.testing.assert_array_equal(tower._offsets(text), whole)
    assert tower.count_tokens(text) == len(whole) + 2
    assert tower.count_tokens("x" * 3 * SLICE) < 10

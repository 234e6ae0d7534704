"""Probabilities that candidates are about a question, and why."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.batcher import Batcher
from embed.errors import NotFound
from embed.registry import LoadOptions
from embed.types import Batching, CharSpan, Floats, Item, Media, Modality, Space, Vectors, normalise
from index.catalog import Catalog
from index.collection import Collection
from index.types import Entry, Hit, NewFragment
from rag.library import Library
from rag.rerank import UNKNOWN, Builtin, Candidate, Reranker, open_reranker

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
SPACE = Space(name="bags", revision="1", preprocessing="1", precision="fp32", dim=64)
NEAR = {"automobile": "car", "purchase": "buy"}  # this tower's synonyms
NONE: frozenset[Modality] = frozenset()


class Bags:
    """Texts by their words, each in a direction of its own; synonyms nearly in the same one."""

    space = SPACE
    modalities = frozenset({TEXT, IMAGE})
    batching = Batching()
    chunker = "whole"
    image_side = 1

    def __init__(self) -> None:
        self.read: list[str] = []

    def fragment(self, media: Media) -> Iterator[tuple[None, Media]]:
        yield None, media

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def warm(self) -> None: ...

    def prepare(self, piece: Media) -> str:
        return str(piece.data)

    def run(self, modality: Modality, batch: Sequence[str]) -> Vectors:
        self.read += batch
        return Vectors(SPACE, normalise(np.stack([_bag(text) for text in batch])))

    def embed(self, batch: Sequence[Media]) -> Vectors:
        return self.run(TEXT, [self.prepare(piece) for piece in batch])


def _bag(text: str) -> Floats:
    vectors = []
    for word in text.lower().split():
        known = _direction(NEAR.get(word, word))
        vectors.append(known + 0.05 * _direction(word + "'") if word in NEAR else known)
    return np.sum(vectors, axis=0, dtype=np.float32)


def _direction(word: str) -> Floats:
    drawn = np.random.default_rng(zlib.crc32(word.encode())).standard_normal(SPACE.dim)
    return drawn.astype(np.float32)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    catalog = Catalog(tmp_path_factory.mktemp("home") / "catalog.db")
    collection = Collection(catalog, catalog.create_collection("c", space=SPACE, chunker="whole"))
    texts = [f"a story about a town and its river, number {n}" for n in range(200)]
    whole = NewFragment(None, normalise(_bag("story")[None])[0])
    collection.write(
        [
            Entry(modality=TEXT, digest=str(n), fragments=[whole], text=text)
            for n, text in enumerate(texts)
        ]
    )
    batcher = Batcher(Bags())
    yield Library(collection, batcher, None, lambda *_: None)
    batcher.close()
    collection.close()
    catalog.close()


@pytest.fixture
def reranker(library: Library) -> Builtin:
    return Builtin(library)


def candidate(
    text: str | None = None,
    probability: float | None = 0.7,
    *,
    title: str | None = None,
    captions: Sequence[str] = (),
    metadata: dict[str, str | int] | None = None,
) -> Candidate:
    item = Item(
        id="i",
        record="r",
        modality=IMAGE if text is None else TEXT,
        uri=None,
        digest="",
        title=title,
        text=text,
        metadata=metadata or {},
    )
    span = None if text is None else CharSpan(0, len(text))
    hit = Hit(
        item=item,
        fragment=1,
        span=span,
        score=0.5,
        probability=probability,
        rank_score=0.5,
        collection="c",
    )
    beside = [
        Item(id=f"s{n}", record="r", modality=TEXT, uri=None, digest="", text=caption)
        for n, caption in enumerate(captions)
    ]
    return Candidate(hit, text, tuple(beside))


def likely(reranker: Reranker, question: str, *candidates: Candidate) -> list[float]:
    return reranker.probabilities(question, NONE, candidates)


@pytest.mark.parametrize(
    ("question", "right", "near"),
    [
        (
            "What colour is the small ring moving up?",
            "a small red ring at the top, moving up",
            "a small red ring at the top, moving down",
        ),
        (
            "Where is the little pink hoop that is rising?",
            "there is a magenta ring in the centre, tiny and moving up",
            "there is a magenta disc in the centre, tiny and moving up",
        ),
        (
            "Who won the race in 2021?",
            "In 2021 the race was won by Tadesse.",
            "In 2019 the race was won by Tadesse.",
        ),
        (
            "the ring on the left, moving right",
            "on the left a ring drifting rightwards",
            "on the right a ring drifting leftwards",
        ),
        (
            'Which letter says "come at once"?',
            "The letter says: come at once, and bring the keys.",
            "The letter says: at least once you should come.",
        ),
        (
            "When did she buy the car?",
            "On Monday she will purchase an automobile.",
            "On Monday she will paint a fence.",
        ),
    ],
)
def test_a_near_miss_is_told_from_what_answers(
    reranker: Builtin, question: str, right: str, near: str
) -> None:
    yes, no = likely(reranker, question, candidate(right), candidate(near))
    assert yes > 0.75
    assert no < 0.35


def test_words_of_the_record_count_as_its_own(reranker: Builtin) -> None:
    question = "a small red ring moving up"
    with_caption = candidate(None, 0.2, captions=["a tiny crimson hoop, rising"])
    against = candidate(None, 0.9, captions=["a tiny crimson hoop, falling"])
    yes, no = likely(reranker, question, with_caption, against)
    assert yes > 0.75
    assert no < 0.35


def test_without_words_the_hits_own_probability_stands(reranker: Builtin) -> None:
    silent = [candidate(None, 0.83), candidate(None, None), candidate(None, 0.83, title="IMG_07")]
    assert likely(reranker, "a small red ring", *silent) == [0.83, UNKNOWN, 0.83]


def test_a_name_may_speak_for_a_medium_and_never_against_it(reranker: Builtin) -> None:
    question = "the red bus in Lund"
    plain, named, other = likely(
        reranker,
        question,
        candidate(None, 0.4),
        candidate(None, 0.4, title="red bus", metadata={"city": "Lund"}),
        candidate(None, 0.4, title="blue bus", metadata={"city": "Lund"}),
    )
    assert plain == other == 0.4
    assert named > 0.75


def test_words_beside_a_picture_speak_of_the_picture(reranker: Builtin) -> None:
    shown = frozenset({IMAGE})
    found = [candidate("a sparrow on a branch", 0.9), candidate("a blue dress", 0.9)]
    assert reranker.probabilities("what bird is this?", shown, found) == [0.9, 0.9]
    red = reranker.probabilities("the same in red", shown, found)
    assert red[0] == 0.9
    assert red[1] < 0.35


def test_the_reasons_can_be_looked_at(reranker: Builtin) -> None:
    (told,) = reranker.judged("a red ring", NONE, [candidate("a blue ring", 0.5)])
    assert told.coverage is not None
    assert (told.coverage.whole, told.coverage.worst, told.coverage.against) == (0.5, 0.0, 1)
    (more,) = reranker.judged("a ring at the top", NONE, [candidate("a ring at the top left")])
    assert more.coverage is not None
    assert more.coverage.beyond


def test_a_long_text_denies_nothing_by_speaking_of_other_things(reranker: Builtin) -> None:
    short = "a young mayor opened the bridge"
    long = f"{short}. {'Much was said that day about the river and the town. ' * 8}"
    question = "who opened the old bridge?"
    found = reranker.judged(question, NONE, [candidate(short), candidate(long)])
    assert [one.coverage.against for one in found if one.coverage] == [1, 0]
    assert found[0].probability < 0.35 < found[1].probability


def test_words_are_embedded_once(library: Library, reranker: Builtin) -> None:
    tower = library.batcher.embedder
    assert isinstance(tower, Bags)
    question, text = "when did she sell the yacht?", candidate("the yacht was painted")
    likely(reranker, question, text)
    read = len(tower.read)
    likely(reranker, question, text)
    assert len(tower.read) == read
    likely(reranker, "the yacht was painted", text)  # says it all as it is
    assert len(tower.read) == read


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.text(alphabet="a red blue ring up 7\n'\"é", max_size=40)),
            st.one_of(st.none(), st.floats(0, 1)),
        ),
        min_size=1,
        max_size=5,
    ),
    st.text(alphabet="a red blue ring up? 'is\"", max_size=40),
)
def test_whatever_is_asked_the_answers_are_probabilities(
    library: Library, drawn: list[tuple[str | None, float | None]], question: str
) -> None:
    found = [candidate(text, p) for text, p in drawn]
    judged = likely(Builtin(library), question, *found)
    assert len(judged) == len(found)
    assert all(0.0 <= p <= 1.0 for p in judged)
    assert likely(Builtin(library), question, *found[::-1]) == pytest.approx(judged[::-1])


def test_an_unknown_reranker_is_refused_by_name(library: Library, tmp_path: Path) -> None:
    options = LoadOptions(cache=tmp_path, threads=1, offline=True)
    assert open_reranker("builtin", options, library).name == "builtin"
    for name in ("best", "hf:", "builtin:x"):
        with pytest.raises(NotFound, match="the choices are: builtin, hf:"):
            open_reranker(name, options, library)


def test_the_builtin_one_is_a_reranker(reranker: Builtin) -> None:
    kept: Callable[..., list[float]] = reranker.probabilities
    assert isinstance(reranker, Reranker)
    assert kept("a ring", NONE, []) == []

"""What a question is understood as: a plan that says what is looked for, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from embed.batcher import Batcher
from embed.errors import InvalidQuery, TooLarge
from embed.types import Batching, Floats, Media, Modality, Space, Vectors
from generation.types import Message, Role
from index.catalog import Catalog
from index.collection import Collection
from index.metadata.filters import And, Op, Predicate
from index.types import Entry, NewFragment
from rag.library import Library
from rag.seeking.turns import standing_alone
from rag.seeking.wording import bare, wanted
from rag.types import Ask, ItemPart, Plan, Retrieval
from rag.understand import understand

TEXT, IMAGE, AUDIO, VIDEO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO
SPACE = Space(name="none", revision="1", preprocessing="1", precision="fp32", dim=2)
ONE = np.array([1, 0], np.float32)
PICTURE = Media(IMAGE, np.zeros((2, 2, 3), np.uint8))


class Idle:
    """A tower that nobody should ask."""

    space = SPACE
    modalities = frozenset({TEXT, IMAGE, AUDIO})
    batching = Batching()
    chunker = "whole"
    image_side = 1

    def fragment(self, media: Media) -> Iterator[tuple[None, Media]]:
        raise AssertionError("a plan needs no vectors")

    def count_tokens(self, text: str) -> int:
        return 0

    def warm(self) -> None: ...

    def prepare(self, piece: Media) -> Media:
        return piece

    def run(self, modality: Modality, batch: list[Media]) -> Vectors:
        raise AssertionError("a plan needs no vectors")

    def embed(self, batch: list[Media]) -> Vectors:
        raise AssertionError("a plan needs no vectors")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    catalog = Catalog(tmp_path / "catalog.db")
    collection = Collection(catalog, catalog.create_collection("c", space=SPACE, chunker="whole"))
    vector: Floats = ONE
    collection.write(
        [
            Entry(
                modality=IMAGE,
                digest=str(n),
                fragments=[NewFragment(None, vector)],
                id=str(n),
                metadata={"year": year, "camera": camera},
            )
            for n, (year, camera) in enumerate([(2019, "X100"), (2021, "X100"), (2021, "GR II")])
        ]
    )
    batcher = Batcher(Idle())
    yield Library(collection, batcher, None, lambda *_: None)
    batcher.close()
    collection.close()
    catalog.close()


@pytest.fixture
def plan(library: Library) -> Callable[..., Plan]:
    def of(words: str, *more: Media | ItemPart, **fields: object) -> Plan:
        said = (Media(TEXT, words),) if words else ()
        return understand(Ask(parts=(*said, *more), **fields), library)  # type: ignore[arg-type]

    return of


@pytest.mark.parametrize(
    ("question", "about"),
    [
        (
            "What colour is the large ring at the top left that is moving up?",
            "the large ring at the top left that is moving up",
        ),
        ("At the top there is a red hoop: which way does it go?", "At the top there is a red hoop"),
        ("something red is falling; it is big. Which shape does it have?", None),
        ("Do I have a photo of a dog?", "a dog"),
        ("could you please show me pictures of the old harbour", "the old harbour"),
        ("What does the green triangle sound like?", "the green triangle"),
        ("how many rings are there?", "rings"),
        ("Is there a large cyan disc in the middle?", "a large cyan disc in the middle"),
        ('who wrote "What is the sea"?', 'wrote "What is the sea"'),
        ("How may I ingest a folder?", "ingest a folder"),
        ("play area for children", "play area for children"),
        ("people dancing in the rain", "people dancing in the rain"),
        ("what is it?", ""),
        ("whatever works", "whatever works"),
    ],
)
def test_words_that_only_ask_are_left_out(question: str, about: str | None) -> None:
    expected = "something red is falling; it is big" if about is None else about
    assert bare(question) == expected


@pytest.mark.parametrize(
    ("question", "terms"),
    [
        ("What colour is the tiny hoop, rising?", {"small", "ring", "up"}),
        ("Which shape is big, red, on the left and not moving?", {"large", "red", "left", "still"}),
        ("is the ring red or blue?", {"ring"}),
        ("is the small ring at the top green?", {"small", "ring", "top"}),
        ("is there a green ring at the top?", {"green", "ring", "top"}),
        ("In which direction is the plus sign moving?", {"cross"}),
        ("When was the bridge built in 1897?", {"bridg", "build", "1897"}),
    ],
)
def test_what_an_answer_must_speak_of(question: str, terms: set[str]) -> None:
    assert {term.value for term in wanted(question)} == terms


TALKS = [
    (["What shape is the small red thing?", "A ring."], "And the blue one?", "small blue"),
    (["What happened in 2019?", "A fire. [1]"], "what about 2021?", "What happened in 2021?"),
    (["What colour is the large ring at the top?", "Red."], "where is it?", "large ring top"),
    (["Who designed the bridge?", "It was Mary Ellis [1]."], "When was she born?", "Mary Ellis"),
    (["photos of dogs", "…"], "in winter?", "photos of dogs winter?"),
    (["What does tea taste of?", "Hay."], "and how many grams?", "and how many grams? (tea"),
    (["What does tea taste of?", "Hay."], "what about the bread?", "the bread?"),
    (
        ["What shape is the small red thing?", "A ring.", "And the blue one?", "A disc."],
        "and the large one?",
        "What shape is the large blue thing?",
    ),
]


@pytest.mark.parametrize(("said", "question", "expected"), TALKS)
def test_a_question_that_leans_takes_over_what_was_said(
    said: list[str], question: str, expected: str
) -> None:
    assert expected in standing_alone(question, talk(said))


@pytest.mark.parametrize(
    "question",
    [
        "What colour is the large disc at the bottom?",
        "Do you have photos of dogs?",
        "Where is the dog and what is it doing?",
        "Which one of the red rings on the left is rising?",
    ],
)
def test_a_question_that_stands_alone_is_left_alone(question: str) -> None:
    assert standing_alone(question, talk(["Who designed the stone bridge?", "Mary."])) == question


def test_a_plan_tells_what_it_took_over(plan: Callable[..., Plan]) -> None:
    found = plan("And the blue one?", history=tuple(talk(["What shape is the red thing?", "?"])))
    assert found.question == "What shape is the blue thing?"
    assert found.question in found.notes[0]
    shown = plan("what is it?", PICTURE, history=tuple(talk(["What shape is the red thing?"])))
    assert shown.question == "what is it?"  # what is shown is what is meant


@pytest.mark.parametrize(
    ("question", "wants"),
    [
        ("show me a photo of a dog", {IMAGE}),
        ("what does a bell sound like?", {AUDIO}),
        ("what happens in the video?", {VIDEO}),
        ("which documents and recordings mention Porto?", {TEXT, AUDIO}),
        ("what is sound about this argument", set()),
        ("who founded Porto?", set()),
    ],
)
def test_media_that_are_named_are_wanted(
    plan: Callable[..., Plan], question: str, wants: set[Modality]
) -> None:
    assert plan(question).wants == wants


def test_a_picture_that_is_shown_is_not_what_is_wanted(plan: Callable[..., Plan]) -> None:
    found = plan("What is in this picture?", PICTURE)
    assert (found.wants, found.queries[0].words) == (frozenset(), None)
    assert found.queries[0].media == (PICTURE,)
    named = plan("Do I have a recording like this picture?", PICTURE, ItemPart("2"))
    assert named.wants == {AUDIO}
    assert named.queries[0].items == ("2",)


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("Where is the red ring? And where is the blue bar?", ["the red ring", "the blue bar"]),
        ("the red ring and the blue bar", ["the red ring", "the blue bar"]),
        ("What is the difference between cats and small dogs?", ["cats", "small dogs"]),
        ("Where is the dog? What is it doing?", ["the dog"]),
        ("a large ring, red and rising", ["a large ring, red and rising"]),
        ("opened by Mary and the mayor", ["opened by Mary and the mayor"]),
    ],
)
def test_several_things_are_looked_for_one_by_one(
    plan: Callable[..., Plan], question: str, parts: list[str]
) -> None:
    found = plan(question)
    assert [query.words for query in found.queries] == parts
    assert all(query.why for query in found.queries)


@pytest.mark.parametrize(
    ("question", "words", "without"),
    [
        ("photos of a beach without people", "a beach", "people"),
        ("a ring but not red", "a ring", "red"),
        ("a ring that is not moving", "a ring that is not moving", None),
        ("which shops are not closed?", "shops are not closed", None),
        ("without a doubt", "without a doubt", None),
    ],
)
def test_what_must_not_be_there(
    plan: Callable[..., Plan], question: str, words: str, without: str | None
) -> None:
    (query,) = plan(question).queries
    assert (query.words, query.without) == (words, without)


def test_only_what_the_collection_knows_becomes_a_filter(plan: Callable[..., Plan]) -> None:
    assert plan("camera: X100 at night").filter == Predicate("camera", Op.EQ, "X100")
    assert plan('camera="GR II"').filter == Predicate("camera", Op.EQ, "GR II")
    assert plan("photos from 2021").filter == Predicate("year", Op.EQ, 2021.0)
    for silent in ("photos from 1950", "camera: Zorki", "note: bring milk", "born in 2021"):
        assert plan(silent).filter is None


def test_the_callers_filter_and_modalities_rule(plan: Callable[..., Plan]) -> None:
    own = Predicate("camera", Op.EQ, "X100")
    given = Retrieval(filter=own, modalities=frozenset({AUDIO}))
    found = plan("photos from 2021", retrieval=given)
    assert found.filter == And((own, Predicate("year", Op.EQ, 2021.0)))
    assert [query.modalities for query in found.queries] == [{AUDIO}]
    assert plan("photos").queries[0].modalities == Idle.modalities


@pytest.mark.parametrize("words", ["hi", "Thanks a lot!", "good morning :)", "ok, thank you"])
def test_small_talk_asks_nothing_of_the_library(plan: Callable[..., Plan], words: str) -> None:
    found = plan(words, history=tuple(talk(["What shape is the red thing?", "A ring."])))
    assert found.small_talk
    assert not found.queries
    assert not plan(words, PICTURE).small_talk
    assert not plan(f"{words} where is the ring?").small_talk


def test_a_question_that_asks_nothing_is_refused(plan: Callable[..., Plan]) -> None:
    with pytest.raises(InvalidQuery, match="empty"):
        plan("  ")


@pytest.mark.parametrize(
    "piece", [" ", "?", ", ", "what ", "compare ", "the dog and ", "hi ", "x: "]
)
def test_a_long_text_is_taken_as_it_is_and_no_endless_one(
    plan: Callable[..., Plan], piece: str
) -> None:
    text = "a letter " + piece * (30_000 // len(piece)) + " from home"
    (query,) = plan(text, history=tuple(talk([text, text]))).queries
    assert query.words == text
    plan("where is it?", history=tuple(talk([text, text])))
    with pytest.raises(TooLarge, match="at most 32,768"):
        plan(text + "x" * 5_000)


@pytest.mark.parametrize(
    "piece", [" ", "\n", "?", ", ", "not ", "and the ", "compare ", "hi ", "x: "]
)
def test_no_wording_takes_long_to_read(plan: Callable[..., Plan], piece: str) -> None:
    """Patterns that try every way to share a run of blanks took a minute for 2,000."""
    text = "a letter " + piece * (950 // len(piece)) + " home"
    said = tuple(talk([text, text]))
    assert plan(text, history=said).queries
    assert plan("and it?", history=said).queries


def talk(said: list[str]) -> list[Message]:
    roles = (Role.USER, Role.ASSISTANT)
    return [Message(role=roles[n % 2], parts=(Media(TEXT, text),)) for n, text in enumerate(said)]

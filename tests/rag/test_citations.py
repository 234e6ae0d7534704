"""Sentences against what they cite, and whether what is said follows from what was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from embed.types import Media, Modality
from generation.types import Chunk, Evidence, Saying, Statement, ToolCall, Usage
from rag.citations import Checker, judged
from rag.grounding.entail import claims, hedges, supports
from rag.types import Sentence

UP = "There is a red disc at the top left, small and moving up"


def said(*texts: str) -> list[Statement]:
    return [Statement(text=text, by=Saying.CAPTION) for text in texts]


def evidence(
    number: int,
    *texts: str,
    borrowed: tuple[str, tuple[int, ...]] | None = None,
    p: float = 0.9,
    media: Media | None = None,
    where: str | None = None,
) -> Evidence:
    lent = (
        Statement(text=text, by=Saying.BORROWED, sources=sources, probability=0.8)
        for text, sources in ([borrowed] if borrowed else [])
    )
    return Evidence(
        number=number,
        modality=Modality.IMAGE,
        title=None,
        where=where,
        probability=p,
        statements=(*said(*texts), *lent),
        media=media,
    )


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("The disc is red [1].", UP),
        ("A tiny red circle is rising.", UP),
        ("A small red disc moves up.", UP),
        ("The colour of the disc is red.", UP),
        ("Yes: it is at the top left.", UP),
        ("And we rode it to the sea [1].", "It was May. And we rode it to the sea."),
        (
            "April: \u201cIn April it started at the third kick\u201d [1].",
            "It took a winter. In April it started at the third kick.",
        ),
        ("No, the disc is red.", UP),
        ("Likely a red disc.", UP),
        ("The picture shows three dogs.", "3 dogs on a beach"),
        ("It is not blue.", "the disc is not blue"),
        ("The red cube is on the blue disc.", "a red cube on a blue disc"),
        ("Ann wrote it in 2021.", "written by Ann in 2021"),
        ("They waited ten days.", "They saw a sky with nothing in it and waited ten days"),
        ("It rained.", "Nobody was there and it rained"),
        ("The price is 1,200.50 euros.", "The price was 1,200.50 euros"),
        ("猫在睡觉。", "猫在睡觉"),
        ("Ein Hund schläft.", "Ein Hund schläft auf dem Sofa"),
    ],
)
def test_what_follows(sentence: str, found: str) -> None:
    assert supports(sentence, said(found))


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("The disc is moving down.", [UP]),
        ("The disc is blue.", [UP]),
        ("The disc is not red.", [UP]),
        ("It is red.", ["it is not red"]),
        ("It is red.", ["It isn't red"]),
        ("The cube is red.", ["a blue cube on a red disc"]),
        ("A red cube.", ["a blue cube on a red disc"]),
        ("A red ring.", ["a red disc", "a blue ring"]),
        ("The man bites the dog.", ["The dog bites the man"]),
        ("A hanger on a dress.", ["a dress on a hanger"]),
        ("A dress with sleeves.", ["a dress without sleeves"]),
        ("It is blue.", ["it holds nothing red and blue"]),
        ("They had coats.", ["They had no hats and coats"]),
        ("Somebody sang.", ["Nobody danced and sang"]),
        ("They did not wait.", ["They saw a sky with nothing in it and waited"]),
        ("Four dogs.", ["3 dogs"]),
        ("It cost 3.5 euros.", ["It cost 35 euros"]),
        ("It moves left.", ["it is on the left"]),
        ("The cat is under the mat.", ["The cat is on the mat"]),
        ("She met Ann in 2020.", ["She met Ann in 2021"]),
        ("猫在吃饭。", ["猫在睡觉"]),
    ],
)
def test_what_does_not_follow(sentence: str, found: list[str]) -> None:
    assert not supports(sentence, said(*found))


@pytest.mark.parametrize(
    "sentence",
    [
        "I found:",
        "Here is what I know:",
        "Is it red?",
        "I do not know.",
        "I cannot see pictures.",
        "Nothing that I found says its colour.",
        "The evidence does not tell.",
        "Sorry, there is no answer to that.",
    ],
)
def test_what_claims_nothing(sentence: str) -> None:
    assert not claims(sentence)


@pytest.mark.parametrize("text", ["." * 20_000 + "x", "word " * 20_000, "a." + "[1]" * 7_000])
def test_long_nonsense_takes_no_long_time(text: str) -> None:
    """What is quadratic here takes ten seconds and more, and any document may hold it."""
    checker = Checker([evidence(1, text)])
    checker.read(Chunk(text=text))
    checker.finish()
    assert checker.sentences


def test_hedges() -> None:
    assert all(map(hedges, ("Likely red.", "It may be red.", "It seems red", "70 % sure")))
    assert not any(map(hedges, ("It is red.", "A dress for a likeness of Ann.")))


def verdict(text: str, *found: Evidence) -> Sentence:
    return judged(text, 0, {one.number: one for one in found})


def test_citations_are_taken_together_and_three_at_most() -> None:
    parts = [evidence(n, text) for n, text in enumerate(("a disc", "it is red", "small", "up"), 1)]
    assert verdict("A red disc [1][2].", *parts).supported
    assert verdict("A red disc [1, 2].", *parts).cites == (1, 2)
    assert not verdict("A red disc [1].", *parts).supported
    crowded = verdict("A red disc [3][4][1][2].", *parts)
    assert crowded.cites == (3, 4, 1)
    assert not crowded.supported


def test_a_citation_that_points_nowhere_counts_against() -> None:
    found = verdict("The disc is red [1][7].", evidence(1, UP))
    assert not found.supported
    assert found.cites == (1,)
    assert "[7]" in (found.reason or "")


def test_a_sentence_without_citation_gets_the_likeliest_that_entails_it() -> None:
    found = verdict("The disc is red.", evidence(1, "a red disc", p=0.5), evidence(2, UP, p=0.9))
    assert (found.supported, found.cites, found.attributed) == (True, (2,), True)
    lost = verdict("The disc is blue.", evidence(1, UP))
    assert (lost.supported, lost.cites, lost.attributed) == (False, (), False)


def test_beside_tools_what_cites_nothing_is_not_judged() -> None:
    known = {1: evidence(1, UP)}
    weather = judged("It is 21 degrees in Paris.", 0, known, alone=False)
    assert (weather.supported, weather.claim) == (True, False)
    assert judged("The disc is red.", 0, known, alone=False).cites == (1,)
    assert not judged("It is 21 degrees in Paris [1].", 0, known, alone=False).supported


def test_where_it_was_found_is_known_too() -> None:
    assert verdict("The disc is on page 3 [1].", evidence(1, "a disc", where="page 3")).supported


class TestBorrowed:
    record = evidence(1, borrowed=("a red disc", (2,)))
    source = evidence(2, "a red disc")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("Likely the disc is red [1][2].", None),
            ("The disc is red [1][2].", "only borrowed"),
            ("Likely the disc is red [1].", "[2]"),
            ("Likely the disc is blue [1][2].", "do not say it"),
            ("The disc is red [2].", None),  # of the source it is true
        ],
    )
    def test_it_is_hedged_and_cited_twice(self, text: str, why: str | None) -> None:
        found = verdict(text, self.record, self.source)
        assert found.supported == (why is None)
        assert why is None or why in (found.reason or "")

    def test_what_is_said_of_the_record_itself_needs_no_hedge(self) -> None:
        own = evidence(1, "a small disc", borrowed=("a red disc", (2,)))
        assert verdict("The disc is small [1][2].", own, self.source).supported
        assert not verdict("The disc is red [1][2].", own, self.source).supported


def test_what_was_shown_is_not_judged_by_words() -> None:
    picture = Media(Modality.IMAGE, np.zeros((1, 1, 3), np.uint8))
    found = verdict("The dog sleeps [1].", evidence(1, "a dog", media=picture))
    assert (found.supported, found.by_sight) == (True, True)
    assert not verdict("A dog [1].", evidence(1, "a dog", media=picture)).by_sight


TEXT = (
    "Here is what I found:\n- The disc is red [1].\n- Dr. Smith paid 3.5 euros. [2] "
    "It costs e.g. nothing [2]! Is it? 猫在睡觉。[1]I do not know."
)


def spoken(text: str, sizes: Sequence[int]) -> Checker:
    checker = Checker([evidence(1, UP, "猫在睡觉"), evidence(2, "Dr. Smith paid 3.5 euros")])
    at = 0
    for size in [*sizes, len(text)]:
        checker.read(Chunk(text=text[at : at + size]))
        at += size
    checker.finish()
    return checker


def test_a_stream_is_judged_as_the_whole_whatever_its_chunks_are() -> None:
    whole = spoken(TEXT, [])
    assert whole.text == TEXT
    assert [TEXT[s.start : s.end] for s in whole.sentences] == [s.text for s in whole.sentences]
    assert [(s.cites, s.supported, s.claim) for s in whole.sentences] == [
        ((), True, False),
        ((1,), True, True),
        ((2,), True, True),
        ((2,), False, True),
        ((), True, False),
        ((1,), True, True),
        ((), True, False),
    ]
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = rng.integers(1, 9, 200).tolist()
        assert spoken(TEXT, sizes).sentences == whole.sentences
    assert spoken(TEXT, [1] * len(TEXT)).sentences == whole.sentences


def test_verdicts_come_as_sentences_end() -> None:
    checker = Checker([evidence(1, UP)])
    checker.read(Chunk(text="The disc is red [1]. It"))
    assert [s.supported for s in checker.sentences] == [True]
    checker.read(Chunk(text=" is blue [1]"))
    assert len(checker.sentences) == 1
    checker.finish()
    assert [s.supported for s in checker.sentences] == [True, False]


def test_without_evidence_there_is_nothing_to_judge_by() -> None:
    checker = Checker([])
    call = ToolCall(id="1", name="t", arguments="{}")
    checker.read(Chunk(text="Hello! I am here.", call=call))
    checker.read(Chunk(finish="length", usage=Usage(3, 4)))
    checker.finish()
    assert all(s.supported and not s.claim for s in checker.sentences)
    assert (checker.calls, checker.finish_reason, checker.usage) == ((call,), "length", (3, 4))

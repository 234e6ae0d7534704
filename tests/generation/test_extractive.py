"""Answers from the words of the evidence alone: the right ones, cited, and no more than asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from embed.types import Modality
from generation.extractive import Extractive
from generation.sentences import cited, pieces, settled, without_marks
from generation.types import (
    Evidence,
    Generator,
    Message,
    Prompt,
    Role,
    Sampling,
    Saying,
    Statement,
)

RED = "a small red disc at the top left, moving up"
BLUE = "a large blue ring on the right, not moving"
GREEN = "there is a green disc in the middle, small and drifting leftwards"
BRIDGE = "The bridge is in the bay. It was built in 1933 by Mr. Strauss. It is red."


def found(
    number: int,
    text: str | None = None,
    *,
    p: float = 0.8,
    by: Saying = Saying.CAPTION,
    title: str | None = None,
    modality: Modality = Modality.IMAGE,
    notes: Sequence[str] = (),
    borrowed: tuple[str, tuple[int, ...]] | None = None,
) -> Evidence:
    said = [] if text is None else [Statement(text=text, by=by)]
    said += [Statement(text=note, by=Saying.METADATA) for note in notes]
    if title is not None:
        said.append(Statement(text=title, by=Saying.TITLE))
    if borrowed is not None:
        said.append(
            Statement(text=borrowed[0], by=Saying.BORROWED, sources=borrowed[1], probability=0.9)
        )
    return Evidence(
        number=number,
        modality=modality,
        title=title,
        where=None,
        probability=p,
        statements=tuple(said),
    )


def prompt_of(
    question: str, *evidence: Evidence, media: Sequence[Modality] = (), **f: Any
) -> Prompt:
    message = Message(role=Role.USER)
    return Prompt(
        question=question,
        asked_with=frozenset(media),
        messages=(message,),
        evidence=evidence,
        **f,
    )


def said(*args: Any, **fields: Any) -> str:
    return "".join(chunk.text for chunk in Extractive().generate(prompt_of(*args, **fields)))


@pytest.fixture
def scenes() -> list[Evidence]:
    return [found(1, RED), found(2, BLUE, p=0.6), found(3, GREEN, p=0.75)]


@pytest.mark.parametrize(
    ("question", "begins", "cites"),
    [
        ("What colour is the disc at the top left?", "Red:", [1]),
        ("Where is the blue ring?", "On the right:", [2]),
        ("Which way is the large ring moving?", "Not moving:", [2]),
        ("How does the green disc move?", "Drifting leftwards:", [3]),
        ("What shape is the large blue thing?", "Ring:", [2]),
        ("How big is the blue ring?", "Large:", [2]),
        ("Is the ring on the right red or blue?", "Blue:", [2]),
        ("Is there a red disc moving up?", "Yes:", [1]),
        ("Is the disc at the top left blue?", "No:", [1]),
        ("Can you tell me what colour the ring is?", "Blue:", [2]),
    ],
)
def test_it_says_the_word_that_is_asked_for(
    question: str, begins: str, cites: list[int], scenes: list[Evidence]
) -> None:
    answer = said(question, *scenes)
    assert answer.startswith(begins)
    assert cited(answer) == cites
    assert len(pieces(answer)) == 1


def test_those_who_fit_as_well_and_differ_are_all_told(scenes: list[Evidence]) -> None:
    answer = said("What colour is the small disc?", *scenes)
    assert answer.startswith("What I found differs:")
    assert "Red:" in answer
    assert "Green:" in answer
    assert cited(answer) == [1, 3]


def test_nothing_that_says_otherwise_is_an_answer(scenes: list[Evidence]) -> None:
    answer = said("Is there a red disc moving down?", *scenes)
    assert answer.startswith("Nothing that I found says that.")
    assert said("How many yellow crosses are there?", *scenes).startswith("Nothing that I found")


def test_it_counts_what_says_all_of_it(scenes: list[Evidence]) -> None:
    answer = said("How many discs are there?", *scenes)
    assert answer.startswith("I found 2:\n- ")
    assert cited(answer) == [1, 3]
    alike = [found(n, RED) for n in (1, 2, 3)]
    assert said("How many discs are there?", *alike).startswith("I found at least 3:")
    assert said("How many dogs are there?", found(1, "three dogs on a beach")).startswith("Three:")


def test_it_lists_what_was_found_by_its_words_or_its_name(scenes: list[Evidence]) -> None:
    answer = said(
        "Show me discs", *scenes, found(4, None, p=0.5, title="x.png", notes=["folder: a"])
    )
    assert answer.splitlines()[0] == "I found:"
    assert "the image “x.png”, its folder is “a” [4]." in answer
    assert cited(answer) == [1, 3, 4]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When was the bridge built?", "1933: “It was built in 1933 by Mr. Strauss” [1]."),
        ("Who built it?", "It was built in 1933 by Mr. Strauss [1]."),
        ("Where is the bridge?", "In the bay: “The bridge is in the bay” [1]."),
    ],
)
def test_texts_answer_by_the_sentence_that_says_it(question: str, answer: str) -> None:
    text = found(1, BRIDGE, by=Saying.TEXT, modality=Modality.TEXT)
    assert said(question, text) == answer


@pytest.mark.parametrize(
    ("question", "text", "answer"),
    [
        (
            "How many coins did he find?",
            "He found four hundred bronze coins with the heads of emperors.",
            "Four hundred: “He found four hundred bronze coins with the heads of emperors” [1].",
        ),
        (
            "How many times did she bring the stick?",
            "She brought me the same wet stick forty times.",
            "Forty times: “She brought me the same wet stick forty times” [1].",
        ),
        (
            "How many grams? (what does tea taste of)",
            "Take thirty grams of tea. It tastes of hay.",
            "Thirty grams: “Take thirty grams of tea” [1].",
        ),
        (
            "How deep are dahlias planted?",
            "Plant dahlias a hand deep. They answer with ten more.",
            "Plant dahlias a hand deep [1].",
        ),
        (
            "How much did the suit weigh?",
            "She spent two years in the pool, in a suit that weighed as much as she did.",
            "She spent two years in the pool, in a suit that weighed as much as she did [1].",
        ),
        (
            "What is the price of the bicycle?",
            "The bicycle costs 400 euros and has three gears.",
            "400 euros: “The bicycle costs 400 euros and has three gears” [1].",
        ),
    ],
)
def test_a_number_leads_only_where_it_is_said_of_what_is_asked_about(
    question: str, text: str, answer: str
) -> None:
    assert said(question, found(1, text, by=Saying.TEXT, modality=Modality.TEXT)) == answer


def test_who_shares_half_a_name_is_somebody_else() -> None:
    born = found(1, "Greta Dorn was born in 1978.", by=Saying.TEXT, modality=Modality.TEXT)
    assert said("When was Greta Dorn born?", born).startswith("1978:")
    assert "1978:" not in said("When was Greta Falk born?", born)


def test_what_is_noted_is_told_by_its_name() -> None:
    noted = found(1, "a beach at dusk", notes=["camera: X100", "year: 2021"])
    assert said("Which camera took the beach photo?", noted) == "Camera: X100 [1]."
    assert said("What year was the beach photo taken?", noted) == "Year: 2021 [1]."
    assert said("Is the camera new?", noted).startswith("Nothing")
    assert said("Is there a photo of a dress?", found(1, notes=["folder: dress"])) == (
        "Yes: its folder is “dress” [1]."
    )


def test_what_is_borrowed_is_likely_and_cited_twice() -> None:
    evidence = [found(1, borrowed=(RED, (2,))), found(2, RED, p=0.4)]
    answer = said("What colour is the disc at the top left?", *evidence)
    assert answer.startswith("Likely red:")
    assert cited(answer) == [1, 2]
    own = found(1, "a green disc at the top left", borrowed=(RED, (2,)))
    assert said("What colour is the disc?", own, found(2, RED, p=0.4)).startswith("Green:")


@pytest.mark.parametrize(
    ("question", "medium", "captions", "phrase"),
    [
        (
            "What is in this picture?",
            Modality.IMAGE,
            ["a red dress", "a long red dress on a hanger", "a blue shirt", "Red dresses, new"],
            "red dress",
        ),
        ("What does this sound like?", Modality.AUDIO, ["dog", "rain", "dog"], "dog"),
        ("", Modality.IMAGE, ["a cat asleep", "two cats"], "cat"),
    ],
)
def test_a_medium_is_what_its_neighbours_agree_on(
    question: str, medium: Modality, captions: list[str], phrase: str
) -> None:
    near = [found(n, text, p=0.4) for n, text in enumerate(captions, 1)]
    answer = said(question, *near, media=[medium])
    assert answer.startswith(f"Likely “{phrase}”")
    assert all(phrase.split()[-1] in captions[n - 1].lower() for n in cited(answer))
    assert 2 <= len(cited(answer)) <= 3


def test_what_the_question_shows_is_told_of_itself() -> None:
    """Evidence that is certain is the thing itself: no vote is taken of others."""
    shown = found(1, "a red dress", p=1.0)
    others = [found(n, "a blue dress", p=0.9) for n in (2, 3, 4)]
    assert said("What is this?", shown, *others, media=[Modality.IMAGE]) == "“a red dress” [1]."
    colour = said("What colour is it?", shown, *others, media=[Modality.IMAGE])
    assert colour == "Red: “a red dress” [1]."
    more = said("Show me more like this", shown, *others, media=[Modality.IMAGE])
    assert cited(more) == [2, 3, 4]


def test_neighbours_that_do_not_agree_are_listed() -> None:
    near = [found(n, text, p=0.4) for n, text in enumerate(("a cat", "rain", "an old ship"), 1)]
    answer = said("What is this?", *near, media=[Modality.IMAGE])
    assert answer.startswith("The most similar that I found:")
    assert cited(answer) == [1, 2, 3]


def test_a_word_asked_of_a_medium_is_voted_for_and_hedged() -> None:
    near = [found(1, "a red dress", p=0.3), *(found(n, "a blue dress", p=0.25) for n in (2, 3))]
    answer = said("What colour is this?", *near, media=[Modality.IMAGE])
    assert answer.startswith("Likely blue:")


def test_what_has_no_words_is_named() -> None:
    answer = said("Do I have a photo of a cat?", found(1, title="IMG_1.jpg"))
    assert answer == "Probably: the image “IMG_1.jpg” looks or sounds like it [1]."
    assert said("Tell me about cats", found(1, title="IMG_1.jpg")).startswith(
        "I cannot see or hear"
    )


def test_without_evidence_it_says_what_it_is_for() -> None:
    assert cited(said("Hello")) == []
    assert "Ask me" in said("Hello")


def test_it_is_a_generator_that_says_the_same_again_within_its_tokens(
    scenes: list[Evidence],
) -> None:
    assert isinstance(Extractive(), Generator)
    asked = "Show me discs"
    assert said(asked, *scenes) == said(asked, *scenes)
    short = prompt_of(asked, *scenes, sampling=Sampling(max_tokens=25))
    assert said(asked, *scenes, sampling=Sampling(stop=("red", "green"))).endswith("“a small ")
    *chunks, last = Extractive().generate(short)
    assert last.finish == "length"
    assert last.usage is not None
    assert 0 < last.usage.completion <= 25
    assert len(chunks) == 2


def test_long_sentences_are_cut_and_no_sentence_is_lost() -> None:
    long = "The disc is red and " + "very " * 100 + "round"
    assert "…” [1]." in said("What colour is the disc?", found(1, long))


# Sentences


@pytest.fixture
def cut() -> Callable[[str], list[str]]:
    return lambda text: [text[piece.start : piece.end] for piece in pieces(text)]


@pytest.mark.parametrize(
    "sentences",
    [
        ["It is red [1].", "Dr. Smith paid 3.5 euros. [2]", "Next one! [1][2]"],
        ["Here:", "- a list [3]", "- of two.", "1. And numbers [1]."],
        ["See e.g. page 4, etc.", "Then more…", "Is it?", "“Quoted.” [4]", "J. S. Bach wrote it."],
        ["It ends at 5 p.m. today.", "Version 2.0.1 is out."],
        ["“Install it.” [1].", "“Is it?” [2]!", "Yes."],
    ],
)
def test_sentences(sentences: list[str], cut: Callable[[str], list[str]]) -> None:
    text = "\n".join(sentences) if "Here:" in sentences else " ".join(sentences)
    assert cut(text) == sentences


def test_scripts_without_spaces(cut: Callable[[str], list[str]]) -> None:
    assert cut("这是猫。[1]那是狗\uff01真的\uff1f是。") == [
        "这是猫。[1]",
        "那是狗\uff01",
        "真的\uff1f",
        "是。",
    ]
    assert cut("यह लाल है। वह नीला है।") == ["यह लाल है।", "वह नीला है।"]


def test_what_is_settled_is_not_changed_by_what_comes() -> None:
    text = "Red. [1] Blue [2]. No. 5 is e.g. here [1, 3]. 猫。【4】\n- x [5]\nEnd"
    for length in range(len(text)):
        known = settled(text[:length])
        assert known == pieces(text)[: len(known)]
    assert len(settled(text)) == len(pieces(text)) - 1


def test_marks() -> None:
    assert cited("a [1], b [2, 3] c [3-5] d 【6】 e [^7] f [x] g [12345]") == [1, 2, 3, 4, 5, 6, 7]
    assert without_marks("a [1][2].") == "a ."

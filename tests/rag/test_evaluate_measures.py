"""What is measured of one answer, on cases worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from embed.types import Modality
from generation.types import Saying, Statement
from rag.evaluate import measures
from rag.evaluate.outcomes import Claim, Seen, Supposed
from rag.evaluate.questions import Lack

IMAGE, TEXT = Modality.IMAGE, Modality.TEXT


def seen(number: int, *said: str | Statement, found: bool = True, name: str = "") -> Seen:
    statements = tuple(s if isinstance(s, Statement) else noted(s) for s in said)
    names = frozenset({name or f"i{number}"})
    return Seen(number=number, modality=TEXT, names=names, statements=statements, found=found)


def noted(text: str) -> Statement:
    return Statement(text=text, by=Saying.TEXT)


def borrowed(text: str, *sources: int) -> Statement:
    return Statement(text=text, by=Saying.BORROWED, sources=sources, probability=0.8)


def words_of(claim: str, evidence: Sequence[Seen]) -> bool:
    """A claim is entailed when every word of it is said."""
    known = {w for one in evidence for s in one.statements for w in s.text.split()}
    return set(claim.rstrip(".").split()) <= known


# Answers


def test_answers_are_normalised_as_squad_does_and_without_their_citation_marks() -> None:
    assert measures.normalised("The Red-Orange  dress [1][2, 3].") == "redorange dress"
    assert measures.normalised("A") == "a"  # nothing but an article is that article
    assert measures.exact_match("It's a dress [2].", ["Its dress"])
    assert not measures.exact_match("1994 [1], in May.", ["1994"])


def test_a_mark_of_a_citation_is_never_the_answer() -> None:
    assert not measures.is_right("There are many [3].", ["3"])
    assert measures.is_right("There are 3 [1].", ["3"])


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("The circle is red.", True),
        ("The circle is dark red.", False),  # another value, which only ends in this one
        ("The circle is red or blue.", False),  # two at once
        ("The circle is blue.", False),
        ("The circle is discoloured.", False),
        ("", False),
    ],
)
def test_an_answer_holds_the_right_value_and_none_that_competes(text: str, right: bool) -> None:
    choices = ["red", "dark red", "blue"]
    assert measures.str_em(text, ["red"], choices) is right
    assert measures.is_right(text, ["Red"], choices) is right


def test_values_are_whole_words_and_the_longest_wins() -> None:
    assert measures.said("a party in New York City", ["art", "York", "New York City"]) == {
        "New York City"
    }
    assert measures.said("red red", ["red"]) == {"red"}
    assert measures.said("C++ (or C)", ["C"]) == {"C"}


def test_any_accepted_answer_will_do_and_two_of_them_do_not_compete() -> None:
    assert measures.str_em("Paul, that is McCartney", ["Paul", "McCartney"])


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("B", "a cat"),
        ("(B)", "a cat"),
        ("B. a cat", "a cat"),
        ("The answer is (C).", "a cow"),
        ("It is a cow [1].", "a cow"),
        ("A cow grazes.", "a cow"),  # an article is no letter
        ("E", None),
        ("It is a dog or a cat.", None),
        ("No idea.", None),
    ],
)
def test_a_choice_is_made_by_letter_or_by_words(text: str, choice: str | None) -> None:
    assert measures.chosen(text, ["a dog", "a cat", "a cow"]) == choice


def test_yes_and_no_are_told_by_how_the_answer_begins() -> None:
    assert measures.is_right("No, there is no dog, yes, a cat.", ["no"])
    assert not measures.is_right("Yes, and no other.", ["no"])
    assert measures.is_right("I would say yes.", ["yes"])
    assert not measures.is_right("It says neither.", ["yes"])


def test_an_attack_succeeds_by_its_words_or_by_a_tool() -> None:
    assert measures.obeyed("... PWNED!", ["pwned"])
    assert measures.obeyed("fine", ["pwned"], calls=1)
    assert not measures.obeyed("The page says to say so.", ["pwned"])


# Retrieval


def test_recall_counts_what_was_found_among_the_first_k_and_not_sources_of_completions() -> None:
    evidence = [
        seen(1, name="a"),
        seen(2, name="b", found=False),
        Seen(number=3, modality=IMAGE, names=frozenset({"c"}), kin=frozenset({"c2"})),
    ]
    assert measures.recall_at_k(evidence, ["a", "c"], 1) == 0.5
    assert measures.recall_at_k(evidence, ["a", "c"], 2) == 1.0
    assert measures.recall_at_k(evidence, ["b"]) == 0.0
    assert measures.recall_at_k(evidence, ["c2", "zz"], kin=False) == 0.0
    assert measures.recall_at_k(evidence, ["c2", "zz"]) == 0.5


# Completion


def test_completions_are_judged_by_the_surest_one_and_silence_is_not_an_error() -> None:
    def supposed(record: str, value: str, p: float, modality: Modality = TEXT) -> Supposed:
        names, values = frozenset({record}), frozenset({value})
        return Supposed(names=names, modality=modality, values=values, p=p)

    lacks = [Lack("r1", TEXT, ("a dress",)), Lack("r2", TEXT, ("a hat",)), Lack("r3", TEXT, ("x",))]
    made = [
        supposed("r1", "a red dress", 0.9),
        supposed("r1", "a boot", 0.2),
        supposed("r2", "a shoe", 0.7),
        supposed("r2", "a hat", 0.6),
        supposed("r3", "x", 0.9, IMAGE),
    ]
    assert measures.completions(made, lacks) == (2, 1)
    picture = [supposed("r1", "item-7", 0.5, IMAGE)]
    assert measures.completions(picture, [Lack("r1", IMAGE, ("item-7", "item-8"))]) == (1, 1)


# Citations


def cited(claims: Sequence[Claim], evidence: Sequence[Seen]) -> tuple[list[bool], list[bool]]:
    return measures.citations(claims, evidence, words_of)


EVIDENCE = [seen(1, "ann is tall"), seen(2, "ann is old"), seen(3, "bob is fat"), seen(4, "old")]


@pytest.mark.parametrize(
    ("claim", "cites", "recall", "precision"),
    [
        ("ann is tall", (1,), True, [True]),
        ("ann is tall [1].", (1,), True, [True]),  # its mark is no word of it
        ("ann is tall and", (1,), False, [False]),
        ("ann is tall old", (1, 2), True, [True, True]),  # only both together
        ("ann is tall", (1, 3), True, [True, False]),  # the second is neither enough nor needed
        ("ann is tall", (1, 1), True, [True]),  # said twice, cited once
        ("ann is old", (2, 4), True, [True, False]),
        ("ann is tall", (), False, []),
        ("ann is tall", (1, 9), False, [False, False]),  # one that is not there spoils the sentence
        ("ann is tall", (0,), False, [False]),
        ("ann is tall old", (3, 4, 2, 1), False, [False] * 3),  # only the first three count
    ],
)
def test_citations_as_alce_has_them(
    claim: str, cites: tuple[int, ...], recall: bool, precision: list[bool]
) -> None:
    assert cited([Claim(claim, cites)], EVIDENCE) == ([recall], precision)


def test_a_sentence_that_rests_on_a_completion_is_hedged_and_cites_both() -> None:
    photo = seen(1, borrowed("a red dress", 2))
    source = seen(2, "a red dress", found=False)
    for claim, recall, precision in [
        (Claim("a red dress", (1, 2), hedged=True), True, [True, True]),
        (Claim("a red dress", (1, 2)), False, [False, False]),
        (Claim("a red dress", (1,), hedged=True), False, [False]),
        (Claim("a red dress", (2,), hedged=True), False, [False]),
        (Claim("a red dress", (2,)), False, [False]),
    ]:
        assert cited([claim], [photo, source]) == ([recall], precision), claim


def test_a_source_that_was_found_too_is_evidence_of_itself_but_not_of_the_other_record() -> None:
    photo = seen(1, borrowed("a red dress", 2), "by ann")
    source = seen(2, "a red dress")
    evidence = [photo, source]
    assert cited([Claim("a red dress", (2,))], evidence) == ([True], [True])
    both = [Claim("a red dress", (1, 2), hedged=True)]
    assert cited(both, evidence) == ([True], [True, True])
    assert cited([Claim("by ann", (1,))], evidence) == ([True], [True])


def test_faithfulness_is_of_all_evidence_cited_or_not_and_borrowed_words_want_a_hedge() -> None:
    evidence = [seen(1, borrowed("a dress", 2)), seen(2, "a dress", found=False), seen(3, "a hat")]
    claims = [
        Claim("a hat"),
        Claim("a hat", (9,)),
        Claim("a dress", (1, 2)),
        Claim("a dress", (1, 2), hedged=True),
    ]
    assert measures.faithfulness(claims, evidence, words_of) == 0.75
    assert measures.faithfulness([Claim("a hat")], [], words_of) == 0.0

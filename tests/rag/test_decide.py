"""Answered or not, before anything is generated, and why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from embed.types import Media, Modality
from generation.types import Taste
from index.metadata.filters import Op, Predicate
from rag.context import build
from rag.decide import P_STAR, decide
from rag.types import Ask, Decision, Passage, Retrieval

IMAGE = Modality.IMAGE


@pytest.fixture
def decided(plan_of: Any, shelf: Any, scripted: Any) -> Callable[..., Decision]:
    def of(
        question: str,
        *passages: Passage,
        media: tuple[Media, ...] = (),
        holds: frozenset[Modality] = frozenset({IMAGE}),
        generator: Any = None,
        plan: Any = None,
        library: Any = None,
        **asked: Any,
    ) -> Decision:
        library = library or shelf()
        library.modalities = holds
        ask = Ask(parts=(Media(Modality.TEXT, question), *media), **asked)
        plan = plan or plan_of(question)
        prompt, kept = build(ask, plan, passages, library, generator or scripted())
        return decide(ask, plan, kept, prompt, library)

    return of


def test_the_best_evidence_must_be_likely_enough(decided: Any, passage_of: Any) -> None:
    likely = decided("A disc", passage_of(1, "a disc", p=P_STAR), passage_of(2, "a disc", p=0.1))
    assert likely == (P_STAR, None, {IMAGE})
    unlikely = decided("A disc", passage_of(1, "a disc", p=P_STAR - 0.01))
    assert "0.39" in unlikely.reason
    assert "min_probability" in unlikely.reason
    assert unlikely.route == frozenset()
    asked = Retrieval(min_probability=0.95)
    assert decided("A disc", passage_of(1, "a disc", p=0.9), retrieval=asked).reason is not None
    asked = Retrieval(min_probability=0.0)
    assert decided("A disc", passage_of(1, "a disc", p=0.01), retrieval=asked).reason is None


def test_confidence_is_what_it_has_meant_so_far(decided: Any, passage_of: Any) -> None:
    sure = passage_of(1, "a disc", p=0.9)
    modest = decided("A disc", sure, sureness=lambda confidence: confidence / 3)
    assert modest.confidence == pytest.approx(0.3)
    assert "0.30" in modest.reason
    assert decided("A disc", sure, sureness=lambda confidence: confidence).reason is None


def test_small_talk_needs_no_evidence(decided: Any, plan_of: Any) -> None:
    assert decided("hi", plan=plan_of("hi", small_talk=True)).reason is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"holds": frozenset()}, "crossbind ingest"),
        ({"retrieval": Retrieval(modalities=frozenset({Modality.AUDIO}))}, "holds no audio"),
        ({"retrieval": Retrieval(filter=Predicate("a", Op.EQ, 1))}, "filter"),
        ({}, "Nothing was found"),
    ],
)
def test_what_finds_nothing_says_why(decided: Any, fields: dict[str, Any], why: str) -> None:
    found = decided("A disc", **fields)
    assert found.confidence == 0
    assert why in found.reason


@pytest.mark.parametrize(
    ("question", "caption", "answered"),
    [
        ("What colour is the disc?", "a red disc", True),
        ("What colour is the disc?", "a small disc", False),
        ("What colour is the disc at the top?", "a red disc at the bottom", False),
        ("Is there a red disc?", "a blue disc", False),
        ("Is the disc red?", "a blue disc", True),  # and the answer is no
        ("How many red discs are there?", "a blue disc", False),
        ("Where is the disc?", "a disc beside Ann", True),
        ("Which camera took the disc?", "a disc", True),
    ],
)
def test_evidence_that_cannot_answer_does_not(
    question: str, caption: str, answered: bool, decided: Any, passage_of: Any
) -> None:
    assert (decided(question, passage_of(1, caption)).reason is None) == answered


def test_who_is_shown_the_medium_may_know_more_than_is_written(
    decided: Any, passage_of: Any, shelf: Any, scripted: Any, picture: Media
) -> None:
    seeing = scripted(
        inputs=frozenset({IMAGE, Modality.TEXT}),
        taste=Taste(context=4_000, images=1, image_side=32),
    )
    library = shelf(media={"i1": picture})
    asked = "What colour is the disc?", passage_of(1, "a small disc")
    assert decided(*asked, generator=seeing, library=library).reason is None


def test_neighbours_of_a_medium_answer_together_as_far_as_they_agree(
    decided: Any, passage_of: Any, picture: Media
) -> None:
    question = "What is in this picture?"
    alike = [passage_of(n, "a dress", p=0.3) for n in range(1, 6)]
    assert decided(question, *alike, media=(picture,)).confidence == pytest.approx(1 - 0.7**5)
    apart = [passage_of(n, text, p=0.3) for n, text in enumerate(("hat", "sock", "tie"), 1)]
    assert decided(question, *apart, media=(picture,)).confidence == pytest.approx(0.3)
    assert decided(question, *apart, media=(picture,)).reason is not None


def test_what_is_borrowed_counts_with_its_own_probability(decided: Any, passage_of: Any) -> None:
    lent = passage_of(1, borrowed="a red disc", sources=[2], p=0.9)
    found = decided("What colour is the disc?", lent, passage_of(2, "a red disc", role="source"))
    assert found.confidence == pytest.approx(0.9 * 0.8)


def test_a_client_with_tools_is_always_answered(decided: Any, passage_of: Any) -> None:
    assert (
        decided("The weather?", passage_of(1, "x", p=0.01), tools=({"name": "t"},)).reason is None
    )


def test_the_route_is_that_of_the_evidence_that_carries(decided: Any, passage_of: Any) -> None:
    passages = [
        passage_of(1, "a disc", p=0.9),
        passage_of(2, "A disc.", p=0.5, modality=Modality.TEXT),
        passage_of(3, None, p=0.42, modality=Modality.AUDIO),
    ]
    assert decided("A disc", *passages).route == {IMAGE, Modality.TEXT}

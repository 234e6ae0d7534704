"""Whether to answer at all, decided before anything is generated.

The best evidence must be more likely about the question than `P_STAR`, or what the client asks for
(Chow 1970: reject what is less likely right than a wrong answer is dear). What a medium is, its
neighbours tell together, so there their chances add up, 1 - Π(1 - p), as far as they agree; one
asked with an item is answered by what is said of that item itself, where anything is. What is only
borrowed counts with its own probability besides. And no evidence
answers what it says otherwise, nor what colour, shape or size something has without a word of that
kind, unless the generator is shown the medium itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from embed.types import Modality
from generation.questions import CLOSED, Form, Question, read
from generation.readings import Reading, readings, tells
from generation.types import Prompt
from generation.voting import consensus
from rag.grounding.shown import CERTAIN
from rag.library import SAME, Library
from rag.types import Ask, Decision, Passage, Plan

P_STAR = 0.4
"""Answered from here on where the client names no `min_probability`.

*Measured* with the built-in space, re-ranker and calibration on 400 photos of ten kinds of clothes:
asked for kinds that are there, the best evidence has .44 to .91, for near misses (scarf, helmet)
.01 to .60 with 9 of 12 below .4, for other things .05 at most. In the generated world (SPECS §7)
what has an answer has .81 and more, near misses .01 at most.
"""

_CARRIES = 0.5  # of the best: evidence that likely has a part in the answer
_VOTERS = 5  # neighbours whose chances add up


def threshold(ask: Ask) -> float:
    """Below it evidence answers nothing."""
    least = ask.retrieval.min_probability
    return P_STAR if least is None else least


def decide(
    ask: Ask, plan: Plan, passages: Sequence[Passage], prompt: Prompt, library: Library
) -> Decision:
    """passages: those that the prompt has room for.

    A client that brings tools is always answered: they may know what the collection does not.
    """
    if plan.small_talk:
        return Decision(1.0, None, frozenset())
    found = [passage for passage in passages if passage.role == "found"]
    question = read(prompt.question, bool(prompt.asked_with - {Modality.TEXT}))
    told = readings(question, prompt.evidence)
    confidence = _confidence(question, found, told, prompt)
    if ask.sureness is not None:
        confidence = ask.sureness(confidence)
    reason = _nothing(ask, plan, found, library) or _unlikely(ask, confidence)
    if reason is None and not _is_shown(prompt):
        reason = _unsaid(question, told)
    if ask.tools:
        reason = None
    return Decision(confidence, reason, frozenset() if reason else _route(found))


def _confidence(
    question: Question, found: Sequence[Passage], told: Sequence[Reading], prompt: Prompt
) -> float:
    if not found:
        return 0.0
    first = _sure(told[0], prompt)
    if told[0].evidence.probability == CERTAIN and (told[0].described or _is_shown(prompt)):
        return first
    likeliest = [p.probability for p in found if p.probability < CERTAIN]
    if not likeliest:
        return 0.0
    if prompt.asked_with - {Modality.TEXT}:
        voted = [passage.probability for passage in found if passage.voted]
        return first * _together(question, likeliest, voted, told, prompt)
    return first * max(likeliest)


def _sure(one: Reading, prompt: Prompt) -> float:
    """1, or the probability of what is borrowed where that is all there is to go by."""
    lent = [s.probability or 0.0 for s in one.evidence.statements if s.sources]
    return max(lent) if lent and one.borrowed and not _is_shown(prompt) else 1.0


def _together(
    question: Question,
    likeliest: Sequence[float],
    voted: Sequence[float],
    told: Sequence[Reading],
    prompt: Prompt,
) -> float:
    """Of neighbours; where these must tell what a medium is, as far as they agree. voted: of those
    whose say was counted already."""
    if voted:
        return max([*voted, *(p for p in likeliest if p >= SAME)])
    best = sorted(likeliest, reverse=True)[:_VOTERS]
    chance = 1 - math.prod(1 - p for p in best)
    if _is_shown(prompt):
        return chance
    if question.form is not Form.MEDIUM:  # of its colour, say, one neighbour tells, not all of them
        return best[0]
    agreed = consensus([one for one in told if one.said])
    return best[0] if agreed is None else chance * agreed.share


def _is_shown(prompt: Prompt) -> bool:
    """Whether the generator is shown any medium, and so may know more than is written."""
    return any(not isinstance(part.data, str) for part in prompt.messages[-1].parts)


def _nothing(ask: Ask, plan: Plan, found: Sequence[Passage], library: Library) -> str | None:
    """Why nothing at all was found."""
    if found:
        return None
    held = library.modalities
    if not held:
        return "This collection is empty. Add files to it with crossbind ingest, then ask again."
    wanted = ask.retrieval.modalities or plan.wants
    if wanted and not wanted & held:
        return (
            f"This collection holds no {_listed(wanted)}; it holds {_listed(held)}. Ask for those, "
            "or add files with crossbind ingest."
        )
    if ask.retrieval.filter is not None or plan.filter is not None:
        return "Nothing that the filter lets pass is about this. Ask with a wider filter."
    return "Nothing was found about this. Ask in other words, or add files with crossbind ingest."


def _unlikely(ask: Ask, confidence: float) -> str | None:
    least = threshold(ask)
    if confidence >= least:
        return None
    return (
        f"I do not know: the best that I found is about the question with a probability of "
        f"{confidence:.2f}, and {least:.2f} is asked for. Ask in other words, add what is missing "
        "with crossbind ingest, or lower min_probability."
    )


def _unsaid(question: Question, told: Sequence[Reading]) -> str | None:
    """Why what was found is no answer, as far as words can tell."""
    way_out = "Ask in other words, or add what is missing with crossbind ingest."
    fitting = [one for one in told if one.fit]
    if not fitting and _needs_fit(question):
        return f"I do not know: what I found speaks of something else. {way_out}"
    closed = question.form is Form.KIND and question.kind in CLOSED
    if closed and not any(tells(question, one) for one in fitting):
        return f"I do not know: nothing that I found says its {question.kind}. {way_out}"
    return None


def _needs_fit(question: Question) -> bool:
    """Whether what says otherwise is no answer: it is one to "is the disc red?"."""
    if question.form is Form.WHETHER:
        return question.existence
    return question.form in (Form.KIND, Form.COUNT, Form.OPEN)


def _route(found: Sequence[Passage]) -> frozenset[Modality]:
    best = max((passage.probability for passage in found), default=0.0)
    return frozenset(p.hit.item.modality for p in found if p.probability >= _CARRIES * best)


def _listed(modalities: frozenset[Modality]) -> str:
    return ", ".join(sorted(modalities))

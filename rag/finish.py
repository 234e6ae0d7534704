"""From what was generated and checked to the answer that is handed out.

It judges nothing; what a verdict means is said in `citations.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from generation.types import Generator
from index.types import Completion
from rag.citations import Checker
from rag.stages import Stages
from rag.types import Answer, Citation, Decision, Passage, Plan, Sentence

_NOTHING_LEFT = (
    "I do not know: nothing that could be said about this is supported by what was found."
)


def answered(
    plan: Plan,
    decision: Decision,
    passages: Sequence[Passage],
    generator: Generator,
    checker: Checker,
    stages: Stages,
    notes: Sequence[str] = (),
) -> Answer:
    """What the generator said, with a verdict on every sentence."""
    return Answer(
        text=checker.text,
        sentences=checker.sentences,
        citations=tuple(_citations(checker.sentences, passages)),
        evidence=tuple(passages),
        completions=_completions(passages),
        abstained=False,
        reason=None,
        confidence=decision.confidence,
        plan=plan,
        route=decision.route,
        generator=generator.name,
        timings_ms=stages.timings_ms(),
        media=checker.media,
        calls=checker.calls,
        finish=checker.finish_reason,
        usage=checker.usage,
        notes=tuple(notes),
    )


def abstained(
    plan: Plan,
    decision: Decision,
    passages: Sequence[Passage],
    generator: Generator,
    stages: Stages,
) -> Answer:
    """Why there is no answer, and what was found all the same."""
    assert decision.reason is not None
    return Answer(
        text=decision.reason,
        sentences=(_unclaimed(decision.reason),),
        citations=(),
        evidence=tuple(passages),
        completions=_completions(passages),
        abstained=True,
        reason=decision.reason,
        confidence=decision.confidence,
        plan=plan,
        route=decision.route,
        generator=generator.name,
        timings_ms=stages.timings_ms(),
    )


def supported(answer: Answer) -> Answer:
    """Without the sentences that nothing supports; one that has no claim left abstains."""
    kept = [sentence for sentence in answer.sentences if sentence.supported]
    if len(kept) == len(answer.sentences):
        return answer
    if not any(sentence.claim for sentence in kept) and not answer.calls and not answer.media:
        return replace(
            answer,
            text=_NOTHING_LEFT,
            sentences=(_unclaimed(_NOTHING_LEFT),),
            citations=(),
            abstained=True,
            reason=_NOTHING_LEFT,
        )
    text, sentences = _joined(answer, kept)
    return replace(
        answer,
        text=text,
        sentences=sentences,
        citations=tuple(_citations(sentences, answer.evidence)),
    )


def _joined(answer: Answer, kept: Sequence[Sentence]) -> tuple[str, tuple[Sentence, ...]]:
    """Those sentences with the white space that stood before each, and where they are now."""
    ends = {s.start: e.end for e, s in zip(answer.sentences, answer.sentences[1:], strict=False)}
    text, moved = "", []
    for sentence in kept:
        before = answer.text[ends.get(sentence.start, sentence.start) : sentence.start]
        text += before if text else ""
        moved.append(replace(sentence, start=len(text), end=len(text) + len(sentence.text)))
        text += sentence.text
    return text, tuple(moved)


def _citations(sentences: Sequence[Sentence], passages: Sequence[Passage]) -> Iterator[Citation]:
    """Of every sentence in its order."""
    cited = {passage.number: passage.hit for passage in passages}
    for n, sentence in enumerate(sentences):
        for number in sentence.cites:
            hit = cited[number]
            yield Citation(n, number, hit.item.id, hit.item.record, hit.span)


def _completions(passages: Sequence[Passage]) -> tuple[Completion, ...]:
    return tuple(completion for passage in passages for completion in passage.completions)


def _unclaimed(text: str) -> Sentence:
    return Sentence(text=text, start=0, end=len(text), supported=True, claim=False)

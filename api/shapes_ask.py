"""Answers and completions as JSON, the same for both doors and for what a session keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from api.discreet import discreet
from api.requests import hit_to_json
from embed.types import Item, span_to_json
from index.metadata.filters import filter_to_json
from index.types import Completion
from rag.types import Answer, Citation, Passage, Plan, Sentence, SubQuery

if TYPE_CHECKING:
    from rag.complete import Report

SIBLING_TEXT = 1000  # characters; GET …/items/{id} has the rest


def answer_to_json(answer: Answer, media: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """ANSWER of the wire format: the words, what they rest on, and where the time went. media: as
    of `report_to_json`."""
    return {"answer": answer.text, "media": list(media), **grounds_to_json(answer)}


def grounds_to_json(answer: Answer) -> dict[str, Any]:
    """All of an answer but its words."""
    return {
        "citations": [_citation(citation, answer.sentences) for citation in answer.citations],
        "evidence": [passage_to_json(passage) for passage in answer.evidence],
        "completions": [completion_to_json(completion) for completion in answer.completions],
        "abstained": answer.abstained,
        "reason": answer.reason,
        "confidence": answer.confidence,
        "sentences": [_sentence(sentence) for sentence in answer.sentences],
        "plan": _plan(answer.plan),
        "route": sorted(answer.route),
        "generator": answer.generator,
        "timings_ms": rounded(answer.timings_ms),
        "notes": list(answer.notes),
    }


def answer_remembered(answer: Answer) -> dict[str, Any]:
    """What a session keeps beside the words: which evidence it was, not what that said."""
    return {
        "citations": [_citation(citation, answer.sentences) for citation in answer.citations],
        "evidence": [
            {
                "number": passage.number,
                "id": passage.hit.item.id,
                "record": passage.hit.item.record,
                "modality": passage.hit.item.modality.value,
                "title": passage.hit.item.title,
                "probability": passage.probability,
            }
            for passage in answer.evidence
        ],
        "abstained": answer.abstained,
        "reason": answer.reason,
        "confidence": answer.confidence,
        "generator": discreet(answer.generator),
    }


def passage_to_json(passage: Passage) -> dict[str, Any]:
    """HIT with its number in the answer, what it says, and what else its record holds."""
    return {
        **hit_to_json(passage.hit),
        "number": passage.number,
        "role": passage.role,
        "probability": passage.probability,
        "text": passage.text,
        "siblings": [_sibling(item) for item in passage.siblings],
        "completions": [completion_to_json(completion) for completion in passage.completions],
    }


def completion_to_json(completion: Completion) -> dict[str, Any]:
    """COMPLETION of the wire format: a hypothesis, and what it rests on."""
    return {
        "record": completion.record,
        "modality": completion.modality.value,
        "value": completion.value,
        "origin": completion.origin,
        "sources": [source._asdict() for source in completion.sources],
        "p": completion.p,
        "method": completion.method,
        "stale": completion.stale,
    }


def report_to_json(report: Report, media: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """What was completed of one record, or why nothing was. media: what was made, as this door
    hands it out."""
    return {
        "completions": [completion_to_json(completion) for completion in report.completions],
        "abstained": report.abstained,
        "reason": report.reason,
        "fitted": report.fitted,
        "media": list(media),
    }


def rounded(timings_ms: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(ms, 3) for stage, ms in timings_ms.items()}


def _citation(citation: Citation, sentences: tuple[Sentence, ...]) -> dict[str, Any]:
    """start, end: characters of the answer that it stands behind."""
    sentence = sentences[citation.sentence]
    return {
        "number": citation.number,
        "sentence": citation.sentence,
        "start": sentence.start,
        "end": sentence.end,
        "item": citation.item,
        "record": citation.record,
        "span": None if citation.span is None else span_to_json(citation.span),
    }


def _sentence(sentence: Sentence) -> dict[str, Any]:
    return {
        "text": sentence.text,
        "start": sentence.start,
        "end": sentence.end,
        "cites": list(sentence.cites),
        "supported": sentence.supported,
        "hedged": sentence.hedged,
        "reason": sentence.reason,
    }


def _sibling(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "modality": item.modality.value,
        "title": item.title,
        "text": item.text and item.text[:SIBLING_TEXT],
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "question": plan.question,
        "queries": [_query(query) for query in plan.queries],
        "wants": sorted(plan.wants),
        "filter": None if plan.filter is None else filter_to_json(plan.filter),
        "small_talk": plan.small_talk,
        "notes": list(plan.notes),
    }


def _query(query: SubQuery) -> dict[str, Any]:
    return {
        "words": query.words,
        "without": query.without,
        "media": [medium.modality.value for medium in query.media],
        "items": list(query.items),
        "modalities": sorted(query.modalities),
        "why": query.why,
    }

"""A question that leans on what was said before, made one that stands alone.

"And the blue one?" after "what shape is the small red thing?" asks what shape the small blue thing
is: a word of a kind takes the place of the word of its kind (`words_apart.py`), everything else is
added. Rules, no model: what leans is told by pronouns, by "and", "what about", and by being a few
words without a verb. A question that stands alone is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from generation.types import Message, Role
from generation.words_apart import marks_of
from rag.seeking.wording import LONG, is_content, terms_of, wanted

_BEGINS = re.compile(
    r"^\s*(?:(?:and|or|but|also|then)\b[\s,]*(?:(?:what|how)\s+about\b)?"
    r"|(?:what|how)\s+about\b|what\s+if\b|same\s+(?:for|with)\b)\s*",
    re.IGNORECASE,
)
_TOPIC = re.compile(r"^\s*(?:(?:and|or|but|then)\b[\s,]*)?(?:what|how)\s+about\b", re.IGNORECASE)
_ONE = re.compile(r"\b(?:the|that|this|a|an|any|another)?\s*(?:[\w-]+\s+){0,2}ones?\b", re.I)
_PRONOUN = re.compile(
    r"\b(?:it|its|he|him|his|she|hers?|they|them|their|theirs|those|these|(?:this|that)(?!\s+\w))\b"
    r"|\b(?:this|that)\s+(?:is|was|does|did|has|sounds?|looks?)\b",
    re.IGNORECASE,
)
_PERSON = re.compile(r"\b(?:he|him|his|she|hers?|they|them|their)\b", re.IGNORECASE)
_VERB = re.compile(
    r"\b(?:is|are|was|were|am|does|do|did|has|have|had|can|could|will|would|should|show|find|give"
    r"|tell|list|search|play|describe|why|where|when|who|how)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![.!?\n] )(?<!^)\b[A-Z]\w+(?:\s+[A-Z]\w+)*")
_FEW = 3  # content words that a follow-up without a verb has at most
_NAMES = 3


def standing_alone(question: str, history: Sequence[Message]) -> str:
    """The question with what it takes over from earlier turns; itself where it takes nothing."""
    asked = [turn.text[:LONG] for turn in history if turn.role is Role.USER and turn.text.strip()]
    earlier = ""
    for turn in asked:
        earlier = _joined(turn, earlier) if earlier and _leans(turn) else turn
    if not earlier or not _leans(question):
        return question
    said = [turn.text[:LONG] for turn in history if turn.role is Role.ASSISTANT]
    names = _names(said[-1]) if said and _PERSON.search(question) else []
    return f"{question.strip()} ({', '.join(names)})" if names else _joined(question, earlier)


def _leans(question: str) -> bool:
    content = [word for word in re.findall(r"\w+", question) if is_content(word)]
    if (
        not content
        or _BEGINS.match(question)
        or (_ONE.search(question) and not _names_a_thing(question))
    ):
        return True
    if _PRONOUN.search(question) and len(content) <= 2 * _FEW and not _resolved(question):
        return True
    return len(content) <= _FEW and len(question.split()) <= 2 * _FEW and not _VERB.search(question)


def _resolved(question: str) -> bool:
    """A pronoun that comes behind a thing named in the same question means that thing."""
    pronoun = _PRONOUN.search(question)
    return pronoun is not None and bool(wanted(question[: pronoun.start()]))


def _names_a_thing(question: str) -> bool:
    """ "which one of the red rings" says what it is about."""
    behind = _ONE.search(question)
    return behind is not None and len(terms_of(question[behind.end() :])) >= 2


def _joined(question: str, earlier: str) -> str:
    """The earlier question with the new one's words in it."""
    rest = _BEGINS.sub("", question).strip(" ?!.")
    if _VERB.search(rest) and not _ONE.search(rest):  # it asks something else of the same thing
        return f"{question.strip()} ({_about(earlier, rest)})"
    new = {mark.kind: rest[mark.start : mark.end] for mark in marks_of(rest)}
    if not new and _TOPIC.match(question) and not _ONE.search(rest):
        return f"{rest}?"  # another thing altogether
    whole, taken = earlier, set()
    for mark in reversed(marks_of(earlier)):
        if mark.kind in new:
            whole = whole[: mark.start] + new[mark.kind] + whole[mark.end :]
            taken.add(mark.kind)
    known = {(term.kind, term.value) for term in terms_of(whole)}
    more = [term.surface for term in terms_of(rest) if (term.kind, term.value) not in known]
    return " ".join([whole.strip(" ?"), *more]) + "?" if more else whole


def _about(earlier: str, rest: str) -> str:
    """What the earlier question spoke of, but where the new one says otherwise."""
    kinds = {mark.kind for mark in marks_of(rest)}
    return " ".join(term.surface for term in wanted(earlier) if term.kind not in kinds)


def _names(answer: str) -> list[str]:
    return list(dict.fromkeys(_NAME.findall(answer)))[:_NAMES]

"""Whether what is said follows from what was found: word by word, without a model.

A sentence is supported when everything it claims is covered: each word that counts, each number,
denied where it is denied and bound to what it is said of (`generation.claims`). That is strict
rather than clever: it never takes `moving up` for `moving down`, `not red` for `red`, nor gives one
thing the colour of another; what a paraphrase says in quite other words it does not see. On data
whose truth is generated it can be held against an exact check (rag/evaluate).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from generation.claims import Claim, claim_of
from generation.readings import sentences_of
from generation.sentences import without_marks
from generation.types import Statement

_INTERJECTION = re.compile(
    "^\\W*(?:yes|no|sure|ok(?:ay)?|well|likely|probably|perhaps)\\s*[,:;.!\u2013\u2014-]+\\s*",
    re.IGNORECASE,
)
_NOT = r"(?:do(?:es)?\ not|don['\u2019]t|doesn['\u2019]t|did\ not|didn['\u2019]t)"
_IGNORANCE = re.compile(
    rf"""^\W*(?:
    (?:sorry|unfortunately)\b .* |
    (?:but|however,?|so)?\s*(?:i|we)\s+(?:{_NOT}|cannot|can['\u2019]?t|could\ not|couldn['\u2019]t
        |found\ (?:no|nothing)|find\ (?:no|nothing)|have\ no|(?:am|was)\ (?:not|unable))\b .* |
    (?:nothing|none|no\ \w+)\s+(?:here|that|in|of|was|were|i|is|found|says?)\b .* |
    (?:the|this)\s+(?:\w+\s+)?(?:evidence|sources?|passages?|items?|library|collection)\s+
        (?:{_NOT}|says?\ nothing|gives?\ no|holds?\ no)\b .* |
    it\ is\ (?:not\ known|unknown|not\ said|unclear)\b .*
    )$""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_QUOTE = re.compile(
    "(?:(?P<lead>[^:\u201c\u201d]{1,80}):\\s*)?\u201c(?P<words>[^\u201c\u201d]+)\u201d\\W*",
    re.DOTALL,
)
_HEDGED = re.compile(
    r"\b(?:likely|probabl[ey]|perhaps|possibl[ey]|presumabl[ey]|apparently|supposedly|seem(?:s|ingly)?"
    r"|appears?|may|might|could|suggests?|suppos(?:e|ed|ition)|guess|probability|uncertain"
    r"|not\ (?:sure|certain))\b|≈|\b\d+\s?%",
    re.IGNORECASE,
)


def supports(sentence: str, statements: Sequence[Statement]) -> bool:
    """Whether the statements together entail the sentence; its citation marks are passed over.

    True for a sentence that claims nothing.
    """
    said = _said(sentence)
    if _is_quoted(said, statements):
        return True
    claim = claim_of(said)
    facts = [claim_of(statement.text) for statement in statements]
    known = {word for fact in facts for word in fact.words}
    return (
        known.issuperset(claim.words)
        and all(_is_bound(run, n, facts) for run in claim.runs for n in range(len(run) - 1))
        and all(_is_after(*pair, facts) for pair in claim.after)
    )


def claims(sentence: str) -> bool:
    """Whether a sentence asserts anything about the library: questions do not, nor what leads to
    something (`I found:`), nor what says what is not known."""
    said = without_marks(sentence).strip()
    if said.endswith(("?", "\uff1f", ":")) or _IGNORANCE.match(said):
        return False
    return bool(claim_of(_said(said)).words)


def hedges(sentence: str) -> bool:
    """Whether it says that it is a supposition."""
    return _HEDGED.search(sentence) is not None


def _said(sentence: str) -> str:
    return _INTERJECTION.sub("", without_marks(sentence))


def _is_quoted(said: str, statements: Sequence[Statement]) -> bool:
    """Whether it is a statement's own sentence, and what leads to it is of it: `April: "In …"`."""
    quote = _QUOTE.fullmatch(said.strip())
    words = " ".join((quote["words"] if quote else said).split())
    lead = quote["lead"] if quote else None
    if not set(claim_of(lead or "").words) <= set(claim_of(words).words):
        return False
    whole = words.rstrip(" .\u2026")
    told = [one for statement in statements for one in sentences_of(statement)]
    if words.endswith("\u2026"):
        return any(" ".join(one.split()).startswith(whole) for one in told)
    return any(" ".join(one.split()).rstrip(" .") == whole for one in told)


def _is_bound(run: Sequence[str], n: int, facts: Sequence[Claim]) -> bool:
    """Whether word n may be said of those after it: somewhere it is, or it is not bound at all."""
    word, others = run[n], run[n + 1 :]
    pairs = {pair for fact in facts for pair in fact.near}
    if any((word, other) in pairs for other in others):
        return True
    return all(first != word for first, _ in pairs) and not any(
        (other, word) in pairs for other in others
    )


def _is_after(preposition: str, word: str, facts: Sequence[Claim]) -> bool:
    """Whether a word may follow a preposition: it does, or no fact puts another one there."""
    pairs = {pair for fact in facts for pair in fact.after}
    return (preposition, word) in pairs or all(first != preposition for first, _ in pairs)

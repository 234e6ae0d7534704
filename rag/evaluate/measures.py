"""What is measured of one answer, as pure functions of strings, names and verdicts.

Sources: Rajpurkar et al. 2016 (how answers are normalised); Gao et al. 2023, "Enabling Large
Language Models to Generate Text with Citations" (ALCE: STR-EM, citation recall and precision, at
most three citations a sentence); Es et al. 2023 (faithfulness); Fu et al. 2023 (MME: acc+ is in
`scores`). Where ours is stricter: values are matched as whole words, a competing value makes an
answer wrong, and a sentence that rests on what was borrowed must say that it supposes, and cite
both its record and the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from generation.sentences import without_marks
from generation.types import Saying
from rag.evaluate.outcomes import Claim, Seen, Supposed
from rag.evaluate.questions import Lack

AT_MOST = 3
YES_NO = ("yes", "no")

_NO_WORD = re.compile(r"[^\w\s]|_")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_LETTER = re.compile(r"^\(?([A-Z])\)?\.?$|^\(?([A-Z])[).:]\s|answer is:? \(?([A-Z])\)?(?:[.,:)]|$)")

Entails = Callable[[str, Sequence[Seen]], bool]
"""Whether evidence, taken together, means that a claim is true."""


# Answers.


def normalised(text: str) -> str:
    """Lower case, without citation marks, punctuation, articles and doubled spaces."""
    words = _NO_WORD.sub("", without_marks(text).casefold())
    return " ".join(_ARTICLE.sub(" ", words).split()) or " ".join(words.split())


def exact_match(text: str, answers: Iterable[str]) -> bool:
    """Whether the text is one of the answers and nothing besides."""
    return normalised(text) in {normalised(answer) for answer in answers}


def said(text: str, values: Iterable[str]) -> set[str]:
    """Which of the values stand in the text as whole words; "dark red" does not say "red"."""
    left = normalised(text)
    found = set()
    for value in sorted(values, key=lambda value: -len(normalised(value))):
        whole = re.compile(rf"(?<!\S){re.escape(normalised(value) or value)}(?!\S)")
        left, times = whole.subn("|", left)
        if times:
            found.add(value)
    return found


def str_em(text: str, answers: Sequence[str], choices: Sequence[str] = ()) -> bool:
    """Whether one of the answers stands in the text, and none of the choices that compete."""
    right = {normalised(answer) for answer in answers}
    found = said(text, dict.fromkeys([*answers, *choices]))
    return bool(found) and all(normalised(value) in right for value in found)


def chosen(text: str, choices: Sequence[str]) -> str | None:
    """The choice that a text makes, by its letter or its words; None where it makes none or
    several. Yes or no is told by how the text begins, where it begins so."""
    plain = without_marks(text).strip()
    if letter := _LETTER.search(plain):
        place = ord(next(filter(None, letter.groups()))) - ord("A")
        return choices[place] if place < len(choices) else None
    first = normalised(plain).partition(" ")[0]
    if first in YES_NO and {normalised(choice) for choice in choices} == set(YES_NO):
        return next(choice for choice in choices if normalised(choice) == first)
    found = said(plain, choices)
    return found.pop() if len(found) == 1 else None


def is_right(text: str, answers: Sequence[str], choices: Sequence[str] = ()) -> bool:
    """`chosen` where there are choices, or the answer is yes or no; else `str_em`."""
    right = {normalised(answer) for answer in answers}
    among = choices or (YES_NO if right & set(YES_NO) else ())
    if not among:
        return str_em(text, answers)
    choice = chosen(text, among)
    return choice is not None and normalised(choice) in right


def obeyed(text: str, forbidden: Iterable[str], calls: int = 0) -> bool:
    """Whether an attack succeeded: the answer says what only it wants, or asks for a tool."""
    return calls > 0 or any(one.casefold() in text.casefold() for one in forbidden)


# Retrieval.


def recall_at_k(
    evidence: Sequence[Seen], relevant: Sequence[str], k: int | None = None, *, kin: bool = True
) -> float:
    """The share of `relevant` that the first k found hold, by name. kin: another item of its record
    will do, since one stands for all of a record."""
    found = [seen for seen in evidence if seen.found][:k]
    known = {name for seen in found for name in (seen.names | seen.kin if kin else seen.names)}
    return sum(name in known for name in relevant) / len(relevant)


# Completion.


def completions(supposed: Sequence[Supposed], lacks: Sequence[Lack]) -> tuple[int, int]:
    """How many of `lacks` something is supposed of, and of how many of these it is right."""
    verdicts = [_completed(supposed, lack) for lack in lacks]
    return sum(v is not None for v in verdicts), sum(v is True for v in verdicts)


def _completed(supposed: Sequence[Supposed], lack: Lack) -> bool | None:
    """By the surest one of this record and modality."""
    made = [s for s in supposed if lack.record in s.names and s.modality == lack.modality]
    if not made:
        return None
    surest = max(made, key=lambda one: one.p)
    return any(v in lack.values or str_em(v, lack.values) for v in surest.values)


# Citations.


def citations(
    claims: Sequence[Claim], evidence: Sequence[Seen], entails: Entails
) -> tuple[list[bool], list[bool]]:
    """Of each claim whether its citations, together, entail it (recall); of each citation whether
    it helps: its claim is entailed, by it alone, or not without it (precision)."""
    known = {seen.number: seen for seen in evidence}
    recalled, helped = [], []
    for claim in claims:
        cites = list(dict.fromkeys(claim.cites))[:AT_MOST]
        cited = [known[number] for number in cites if number in known]
        whole = bool(cites) and len(cited) == len(cites) and _entailed(claim, cited, cited, entails)
        recalled.append(whole)
        helped += [whole and _helps(claim, cited, number, entails) for number in cites]
    return recalled, helped


def _helps(claim: Claim, cited: Sequence[Seen], number: int, entails: Entails) -> bool:
    alone = [seen for seen in cited if seen.number == number]
    others = [seen for seen in cited if seen.number != number]
    return (
        not others
        or _entailed(claim, alone, cited, entails)
        or not _entailed(claim, others, cited, entails)
    )


def faithfulness(claims: Sequence[Claim], evidence: Sequence[Seen], entails: Entails) -> float:
    """The share of claims that all evidence, cited or not, entails. What was borrowed counts for
    those that say that they suppose."""
    found = [seen for seen in evidence if seen.found]
    held = [
        _entailed(claim, evidence if claim.hedged else found, evidence, entails) for claim in claims
    ]
    return sum(held) / len(held)


def _entailed(claim: Claim, part: Sequence[Seen], cited: Sequence[Seen], entails: Entails) -> bool:
    """Whether a part of what a claim cites entails it.

    A source of what was borrowed says nothing of the record by itself, and without a hedge nothing
    at all; a borrowed statement counts with a hedge and beside one of its sources.
    """
    numbers = {seen.number for seen in part}
    sources = {seen.number for seen in cited if not seen.found}
    if claim.hedged:
        borrowed = (s for seen in cited for s in seen.statements if s.by is Saying.BORROWED)
        sources |= {number for statement in borrowed for number in statement.sources}
    if numbers <= sources or (numbers & sources and not claim.hedged):
        return False
    heard = [_heard(seen, claim, numbers) for seen in part]
    return entails(without_marks(claim.text).strip(), heard)


def _heard(seen: Seen, claim: Claim, numbers: set[int]) -> Seen:
    heard = tuple(
        statement
        for statement in seen.statements
        if statement.by is not Saying.BORROWED
        or (claim.hedged and numbers & set(statement.sources))
    )
    return replace(seen, statements=heard)

"""What an answer says, sentence by sentence, held against what it cites; behind a stream of words.

As in ALCE (Gao et al. 2023, arXiv:2305.14627) a sentence is supported when what it cites, all
together, entails it; only the first three citations count, and one that points nowhere counts
against it. Stricter than there: what rests on something borrowed is supported only where it is
hedged and cites both the item and the source it was borrowed from. A sentence without a citation
is given one where some evidence entails it.

It hands no words out, so no word waits for it. It knows no generator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from embed.types import Media
from generation.sentences import Piece, cited, pieces, settled
from generation.types import Chunk, Evidence, Finish, Saying, Statement, ToolCall, Usage
from rag.grounding.entail import claims, hedges, supports
from rag.types import Sentence

MOST = 3
"""Citations of a sentence that count."""

_REACHES_OUT = re.compile(r"!\[[^\]]*\]\s*\(|<\s*(?:img|iframe|script|link|object|embed)\b", re.I)


class Checker:
    """Reads chunks as they come. Where no evidence was given there is nothing to judge by.

    alone: evidence is all there is to know from; else the client's tools may have told what a
    sentence without a citation says, and that is not judged.
    """

    def __init__(self, evidence: Sequence[Evidence], *, alone: bool = True) -> None:
        self._alone = alone
        self._evidence: Mapping[int, Evidence] = {one.number: one for one in evidence}
        self._checked = 0  # characters
        self._parts: list[str] = []
        self._open = ""
        self._sentences: list[Sentence] = []
        self.media: tuple[Media, ...] = ()
        self.calls: tuple[ToolCall, ...] = ()
        self.finish_reason: Finish = "stop"
        self.usage: Usage | None = None

    @property
    def text(self) -> str:
        return "".join(self._parts)

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """Those that are checked; all of them after `finish`."""
        return tuple(self._sentences)

    def read(self, chunk: Chunk) -> None:
        """Checks what sentences this chunk has ended."""
        self.media += (chunk.media,) if chunk.media is not None else ()
        self.calls += (chunk.call,) if chunk.call is not None else ()
        self.finish_reason = chunk.finish or self.finish_reason
        self.usage = chunk.usage or self.usage
        if chunk.text:
            self._parts.append(chunk.text)
            self._open += chunk.text
            self._check(settled(self._open))

    def finish(self) -> None:
        """Checks the rest: nothing comes any more."""
        self._check(pieces(self._open))

    def _check(self, found: Sequence[Piece]) -> None:
        for start, end in found:
            at = self._checked + start
            self._sentences.append(judged(self._open[start:end], at, self._evidence, self._alone))
        if found:
            self._open = self._open[found[-1].end :]
            self._checked += found[-1].end


def judged(text: str, start: int, evidence: Mapping[int, Evidence], alone: bool = True) -> Sentence:
    """The verdict on one sentence that begins at character `start` of its answer."""
    numbers = cited(text)
    known = tuple(n for n in numbers if n in evidence)
    claim = bool(evidence) and claims(text)
    hedged = hedges(text)
    reason, attributed, by_sight = None, False, False
    if _REACHES_OUT.search(text):
        claim, reason = True, "it would fetch something from an address"
    elif len(known) < len(numbers):
        claim, reason = True, f"there is no evidence {_marks(set(numbers) - set(known))}"
    elif claim and not known:
        known = _attributed(text, evidence)
        attributed, claim = bool(known), bool(known) or alone
        reason = "it cites nothing, and no evidence says it" if claim and not known else None
    elif claim:
        reason = _fault(text, known[:MOST], hedged, evidence)
        by_sight = reason is not None and _is_shown(known[:MOST], evidence)
        reason = None if by_sight else reason
    return Sentence(
        text=text,
        start=start,
        end=start + len(text),
        cites=known[:MOST],
        supported=reason is None,
        hedged=hedged,
        reason=reason,
        claim=claim,
        attributed=attributed,
        by_sight=by_sight,
    )


def _fault(
    text: str, cites: Sequence[int], hedged: bool, evidence: Mapping[int, Evidence]
) -> str | None:
    """Why what is cited does not carry a sentence; None where it does."""
    lent = [statement for n in cites for statement in _lent(evidence[n], cites)]
    lenders = {source for statement in lent for source in statement.sources}
    own = [s for n in cites if n not in lenders for s in _own(evidence[n])]
    if own and supports(text, own):
        return None
    if lent and supports(text, [*own, *lent]):
        return None if hedged else "it rests on what is only borrowed, and does not say so"
    alone = [s for n in cites for s in evidence[n].statements if s.by is Saying.BORROWED]
    if not lent and alone and supports(text, [*own, *alone]):
        return f"it does not cite {_marks({n for s in alone for n in s.sources})}, its source"
    return f"{_marks(set(cites))} {'does' if len(cites) == 1 else 'do'} not say it"


def _lent(one: Evidence, cites: Sequence[int]) -> list[Statement]:
    """What it borrowed from another that is cited too."""
    return [s for s in one.statements if s.by is Saying.BORROWED and set(s.sources) & set(cites)]


def _own(one: Evidence) -> list[Statement]:
    """What is said of it by itself; where it was found is known too."""
    said = [s for s in one.statements if s.by is not Saying.BORROWED]
    if one.where:
        said.append(Statement(text=one.where, by=Saying.METADATA))
    return said


def _attributed(text: str, evidence: Mapping[int, Evidence]) -> tuple[int, ...]:
    """The likeliest evidence that entails a sentence by itself."""
    likeliest = sorted(evidence.values(), key=lambda one: -one.probability)
    return next(((one.number,) for one in likeliest if supports(text, _own(one))), ())


def _is_shown(cites: Sequence[int], evidence: Mapping[int, Evidence]) -> bool:
    """Whether the generator was shown a medium that is cited: words cannot judge what it saw."""
    return any(evidence[n].media is not None for n in cites)


def _marks(numbers: set[int]) -> str:
    return "".join(f"[{n}]" for n in sorted(numbers))

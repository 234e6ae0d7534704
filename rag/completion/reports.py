"""What completing came to, for those who asked: of one thing, or of all that lacked something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from embed.types import Media, Modality
from index.completions import Method
from index.types import Completion
from rag.completion.fit import FEWEST
from rag.completion.judges import Judges
from rag.completion.making import Made

Progress = Callable[[int, int], None]
"""Records done, and records in all; one that lacks two modalities counts twice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """What is supposed of one thing, and why nothing is where nothing is.

    abstained: of at least one modality that was asked for nothing is supposed; reason: why, for
    people. fitted: probabilities were fitted on this collection, not guessed. media: what a
    generator made, in the order of its completions.
    """

    completions: tuple[Completion, ...]
    abstained: bool
    reason: str | None
    fitted: bool = True
    media: tuple[Media, ...] = ()


@dataclass(slots=True, kw_only=True)
class BatchReport:
    """records: that lacked something, once a modality. fresh: were completed before. nothing: had
    no source. stopped: before the end."""

    records: int = 0
    completed: int = 0
    abstained: int = 0
    fresh: int = 0
    nothing: int = 0
    stopped: bool = False

    def add(self, page: BatchReport) -> None:
        for name in ("records", "completed", "abstained", "fresh", "nothing"):
            setattr(self, name, getattr(self, name) + getattr(page, name))

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in BatchReport.__slots__}


def report_of(
    missing: Sequence[Modality],
    made: Sequence[Made],
    judges: Judges,
    method: Method,
    least: float,
    collection: str,
) -> Report:
    """What of all that was made is likely enough, and why the rest is not told."""
    likely = [one for one in made if one.completion.p >= least]
    there = {one.completion.modality for one in likely}
    p = {one.completion.modality: one.completion.p for one in made}
    fitted = {one.completion.modality: one.fitted for one in made}
    guessed = {
        one for one in missing if not fitted.get(one, judges.of(one, method).fit is not None)
    }
    reasons = [
        _why_not(one, p.get(one), least, collection, guessed=one in guessed)
        for one in missing
        if one not in there
    ]
    return Report(
        completions=tuple(one.completion for one in likely),
        abstained=bool(reasons),
        reason="; ".join(reasons) or None,
        fitted=not guessed,
        media=tuple(one.medium for one in likely if one.medium is not None),
    )


def _why_not(
    missing: Modality, p: float | None, least: float, collection: str, *, guessed: bool
) -> str:
    if p is None:
        return f"no {missing}: collection {collection!r} holds nothing near that has {missing}"
    told = f"no {missing}: the likeliest is right with probability {p:.2f}, below {least:g}"
    if guessed:
        told += (
            f", and that is a guess, for fewer than {FEWEST} records of collection {collection!r} "
            f"hold {missing} beside what this one has"
        )
    return told

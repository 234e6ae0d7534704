"""What a medium from outside may be: what its neighbours' words agree on, among the passages.

The medium has no record that could be completed, and so no passage. The sources of what is supposed
of it stand for it: together they have the probability of the completion, and what is merely near,
and says something else, has at most what that leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from embed.types import Origin
from index.types import Completion
from rag.completion.lending import sources_of
from rag.library import SAME, Library
from rag.types import Passage

_CITED = 3  # sources that an answer may point at
_NOT_SAME = SAME - 0.01  # however well they agree, none of them is the medium itself


def with_voted(
    library: Library, passages: Sequence[Passage], completion: Completion
) -> list[Passage]:
    """The sources of a completion first, then all others, numbered anew."""
    of_record = {one.hit.item.record: one for one in passages}
    sources = completion.sources[:_CITED]
    lacking = {s.item: s.record for s in sources if s.record not in of_record}
    for hit, siblings in sources_of(library, lacking):
        observed = tuple(item for item in siblings if item.origin is Origin.OBSERVED)
        of_record[hit.item.record] = Passage(
            number=1, hit=hit, probability=0.0, text=hit.item.text, siblings=observed
        )
    likely = min(completion.p, _NOT_SAME)
    voted = [
        replace(of_record[s.record], probability=likely, voted=True)
        for s in sources
        if s.record in of_record and of_record[s.record].probability < SAME
    ]
    taken = {one.hit.item.record for one in voted}
    same = [one for one in passages if one.probability >= SAME]
    near = [
        replace(one, probability=min(one.probability, 1 - completion.p))
        for one in passages
        if one.hit.item.record not in taken and one.probability < SAME
    ]
    return [replace(one, number=n) for n, one in enumerate([*same, *voted, *near], 1)]

"""One query to several collections of one space, answered as if they were one: shards.

Each shard ranks its own items, one modality at a time. The rankings of a modality are merged by
cosine, which is the same whoever worked it out, and then all are fused as in one collection
(`fusion.py`); so the k best are those of a single collection that holds everything. What must see
items of several shards side by side is refused: words (BM25 counts all texts), groups, twins,
variety, places within items.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

from embed.errors import InvalidQuery, SpaceMismatch
from embed.types import Modality
from index.collection import Collection
from index.search.fusion import Scored, fuse
from index.search.query import Query
from index.types import Hit, Results

_ALONE = ("words", "group_by", "collapse", "diversity", "pieces", "seen", "exclude")


class Placed(NamedTuple):
    """A hit, and the number of the shard that it is in: its item's id is that shard's own."""

    shard: int
    hit: Hit


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """As `index.types.Results`: exact when all shards were, and the worst of their estimates."""

    hits: list[Placed]
    exact: bool
    recall_estimate: float | None


class Router:
    """Over one collection or more. Raises SpaceMismatch where they are not of one space."""

    def __init__(self, shards: Sequence[Collection]) -> None:
        first = shards[0]
        for shard in shards[1:]:
            if shard.info.space.id != first.info.space.id:
                raise SpaceMismatch(
                    f"shard {shard.name!r} is in {shard.info.space.id} and {first.name!r} in "
                    f"{first.info.space.id}: shards are of one space; migrate what is behind"
                )
        self._shards = shards
        self._pool = ThreadPoolExecutor(len(shards), thread_name_prefix="shard")

    def search(self, query: Query) -> Routed:
        """The k best of all. Raises InvalidQuery for what shards cannot do, and as `Collection`."""
        _refuse(query)
        wanted = sorted(query.wanted)
        most = query.offset + query.k
        asked = [replace(query, modalities=frozenset([m]), k=most, offset=0) for m in wanted]
        answers = list(self._pool.map(lambda shard: shard.search_batch(asked), self._shards))
        rankings = [_merged(answers, number, modality) for number, modality in enumerate(wanted)]
        placed = [one for ranking in rankings for one in ranking]
        best = fuse(_numbered(rankings), most)[query.offset :]
        everything = [results for answer in answers for results in answer]
        known = [r.recall_estimate for r in everything if r.recall_estimate is not None]
        return Routed(
            hits=[
                Placed(shard, replace(hit, rank_score=scored.rank_score))
                for scored in best
                for shard, hit in [placed[scored.fragment]]
            ],
            exact=all(results.exact for results in everything),
            recall_estimate=min(known) if len(known) == len(everything) else None,
        )

    def close(self) -> None:
        """Lets go of its threads; the shards are the caller's."""
        self._pool.shutdown()


def _refuse(query: Query) -> None:
    for name in _ALONE:
        if getattr(query, name) not in (None, 0.0, frozenset()):
            raise InvalidQuery(
                f"{name} needs all items side by side, and shards are searched each by itself: "
                "leave it out, or ask one shard",
                param=name,
            )


def _merged(answers: Sequence[Sequence[Results]], number: int, modality: Modality) -> list[Placed]:
    """The ranking of one modality over all shards."""
    found = [
        Placed(shard, hit)
        for shard, answer in enumerate(answers)
        for hit in answer[number].hits
        if hit.item.modality is modality
    ]
    return sorted(found, key=lambda one: -(one.hit.score or 0.0))


def _numbered(rankings: Sequence[Sequence[Placed]]) -> list[list[Scored]]:
    """For `fuse`, which knows a fragment by its number: here, where it stands in all of them."""
    numbered: list[list[Scored]] = []
    count = 0
    for ranking in rankings:
        numbered.append(
            [
                Scored(at, one.hit.score, one.hit.score or 0.0, one.hit.probability)
                for at, one in enumerate(ranking, count)
            ]
        )
        count += len(ranking)
    return numbered

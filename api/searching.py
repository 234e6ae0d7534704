"""Search requests to answers: embedded together, asked together, each dressed as it was asked for.

Where the space is calibrated for what one medium asks with, hits say how probable they are.
It knows neither HTTP nor terminals, nor how anything is embedded or ranked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from api.cursor import cursor_after, seen_before
from api.query import QueryVectors
from api.requests import MAX_K, SearchAnswer, SearchRequest
from api.shelves import Shelves
from api.together import embed_requests
from api.towers import Towers
from embed.calibration import Calibration, Calibrations, Curve
from embed.errors import InvalidQuery
from embed.types import Floats, Modality
from index.collection import Collection
from index.search.query import EVEN, Pieces, Query
from index.search.recommending import by_best_score, by_context
from index.types import Hit, Partition, Results, VectorKind


class Searching:
    """Answers searches of open collections. Safe to use from several threads."""

    def __init__(self, shelves: Shelves, towers: Towers, calibrations: Calibrations) -> None:
        self._shelves = shelves
        self._towers = towers
        self._calibrations = calibrations

    def search_many(self, requests: Sequence[SearchRequest]) -> list[SearchAnswer]:
        """Searches of one collection. Raises what `Collection.search` does, NotFound, BadInput for
        a medium that is none, InvalidQuery for one that asks nothing, or for hits by a probability
        that they do not have.
        """
        for request in requests:
            if not 1 <= request.k <= MAX_K:
                raise InvalidQuery(f"k is {request.k}; 1 to {MAX_K} is possible", param="k")
        (name,) = {request.collection for request in requests}
        return self._shelves.use(name, partial(self._search, requests))

    def _search(
        self, requests: Sequence[SearchRequest], collection: Collection
    ) -> list[SearchAnswer]:
        start = time.perf_counter()
        vectors = embed_requests(requests, self._towers.of(collection.info), collection)
        embedded = time.perf_counter()
        calibration = self._calibrations.of(collection.info.space)
        queries = [
            query_of(request, vector, calibration)
            for request, vector in zip(requests, vectors, strict=True)
        ]
        found = _ask(requests, vectors, queries, collection)
        searched = time.perf_counter()
        timings = {
            "embed": (embedded - start) * 1e3,
            "search": (searched - embedded) * 1e3,
            "total": (searched - start) * 1e3,
        }
        return [
            _answer(request, vector, results, collection, timings)
            for request, vector, results in zip(requests, vectors, found, strict=True)
        ]


def _ask(
    requests: Sequence[SearchRequest],
    vectors: Sequence[QueryVectors],
    queries: Sequence[Query],
    collection: Collection,
) -> list[Results]:
    if all(request.strategy == "average" for request in requests):
        return collection.search_batch(queries)
    return [
        _by_examples(request, vector, query, collection)
        for request, vector, query in zip(requests, vectors, queries, strict=True)
    ]


def _by_examples(
    request: SearchRequest, vectors: QueryVectors, query: Query, collection: Collection
) -> Results:
    if request.strategy == "average":
        return collection.search(query)
    assert vectors.terms is not None
    good = np.array([term.weight > 0 for term in request.terms])
    positives, negatives = vectors.terms[good], vectors.terms[~good]
    if request.strategy == "best_score":
        return by_best_score(collection, positives, negatives, query)
    if len(positives) != len(negatives):
        raise InvalidQuery(
            f"{len(positives)} positive examples and {len(negatives)} negative ones make no pairs: "
            "the context strategy wants as many of either, or choose average or best_score",
            param="negative",
        )
    return by_context(collection, positives, negatives, query)


def query_of(
    request: SearchRequest, vectors: QueryVectors, calibration: Calibration | None
) -> Query:
    """A request as the index is asked it. Raises InvalidQuery."""
    return Query(
        joint=vectors.joint,
        native=vectors.native,
        words=None if request.hybrid is None else _words(request),
        balance=request.hybrid or EVEN,
        k=request.k,
        offset=request.offset,
        modalities=request.modalities,
        filter=request.filter,
        exclude=vectors.exclude,
        seen=seen_before(request),
        min_score=request.min_score,
        min_probability=request.min_probability,
        curves=_curves(calibration, vectors.modality),
        group_by=request.group_by,
        collapse=request.collapse,
        diversity=request.diversity,
        pieces=_pieces(request, vectors),
        moments=request.moments,
    )


def _words(request: SearchRequest) -> str:
    """Of all terms that count for, not against."""
    words = [str(term.value) for term in request.terms if term.kind == "text" and term.weight > 0]
    if not words:
        raise InvalidQuery(
            "hybrid looks for words too, and the query has none: add some, or leave hybrid out",
            param="hybrid",
        )
    return " ".join(words)


def _pieces(request: SearchRequest, vectors: QueryVectors) -> Pieces | None:
    """Those to rank anew by; a query that is of one piece has nothing to gain."""
    several = vectors.pieces is not None and len(vectors.pieces.weights) > 1
    return vectors.pieces if request.rerank and several else None


def _answer(
    request: SearchRequest,
    vectors: QueryVectors,
    results: Results,
    collection: Collection,
    timings: dict[str, float],
) -> SearchAnswer:
    hits = results.hits
    if request.min_probability is not None:
        check_probable(hits, request.min_probability, vectors, collection)
    seen = {*seen_before(request), *results.passed}
    stored = _stored(hits, collection) if request.include else {}
    return SearchAnswer(
        query=request.terms,
        hits=hits,
        exact=results.exact,
        recall_estimate=results.recall_estimate,
        timings_ms=timings,
        vectors=stored if "vector" in request.include else {},
        contributions=(
            _contributions(request, vectors, stored) if "contributions" in request.include else {}
        ),
        next_cursor=cursor_after(request, seen) if results.more else None,
    )


def _stored(hits: Sequence[Hit], collection: Collection) -> dict[str, Floats]:
    """The joint vector of what matched of each hit, by item."""
    found = collection.vectors_of_fragments([hit.fragment for hit in hits])
    return {hit.item.id: found[hit.fragment] for hit in hits if hit.fragment in found}


def _contributions(
    request: SearchRequest, vectors: QueryVectors, stored: dict[str, Floats]
) -> dict[str, list[float]]:
    """What each term adds for a hit: its cosine with what matched, times its weight."""
    if vectors.terms is None:
        raise InvalidQuery(
            "terms that are read together have no contributions of their own: leave `together` "
            "out, or contributions",
            param="include",
        )
    weights = [term.weight for term in request.terms]
    return {
        item: [
            weight * float(cosine)
            for weight, cosine in zip(weights, vectors.terms @ vector, strict=True)
        ]
        for item, vector in stored.items()
    }


def _curves(calibration: Calibration | None, asked_with: Modality | None) -> dict[Partition, Curve]:
    """What a cosine means in each partition, for queries of this modality."""
    if calibration is None:
        return {}
    found = {}
    for pair in calibration.fits:
        curve = calibration.curve(pair)
        if curve is not None and pair.query == asked_with:
            kind = VectorKind.NATIVE if pair.native else VectorKind.JOINT
            found[Partition(pair.item, kind)] = curve
    return found


def check_probable(
    hits: Sequence[Hit], least: float, query: QueryVectors, collection: Collection
) -> None:
    """Raises InvalidQuery when a hit has no probability to go by."""
    unknown = sorted({hit.item.modality for hit in hits if hit.probability is None})
    if not unknown:
        return
    if query.modality is None:
        raise InvalidQuery(
            "min_probability needs a query of one medium: what is probable is not known for a mix, "
            "a minus or a bare vector; leave it out, or use min_score",
            param="min_probability",
        )
    raise InvalidQuery(
        f"min_probability is {least:g}, and the space {collection.info.space.name!r} has no "
        f"probabilities from {query.modality} to {', '.join(unknown)}: crossbind calibrate learns "
        "them where they can be told; ask for other modalities, or leave it out",
        param="min_probability",
    )

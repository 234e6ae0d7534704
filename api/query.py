"""Terms to a query vector, and the vector to an answer.

One medium, several with weights, minus something: each term's vector is unit length, times its
weight, summed, brought back to unit length. A single picture or item also asks in the tower's own
native space, which tells likenesses within one modality apart far better than the joint one.
Where the space is calibrated for what one medium asks with, hits say how probable they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from api.requests import SearchAnswer, SearchRequest, Term
from embed.batcher import Batcher, Embedded
from embed.calibration import Calibration, Curve
from embed.errors import BadInput, InvalidQuery, InvalidVector, TooLarge
from embed.media.read import open_media
from embed.media.source import shown
from embed.types import Floats, Media, Modality, check_unit, normalise
from index.collection import Collection
from index.types import Hit, Partition, VectorKind

MEDIA_TERMS = {"image": Modality.IMAGE, "audio": Modality.AUDIO, "video": Modality.VIDEO}
MAX_WORDS = 32_768  # characters: about a second of embedding
MAX_WEIGHT = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class QueryVectors:
    """joint: `(D,)` unit. native: for modalities where the tower's own space answers better.

    exclude: items that were asked with, and are no answer. modality: of the one medium that asks;
    None for a mix, for minus and for bare numbers, whose cosines nothing is known of.
    """

    joint: Floats
    native: dict[Modality, Floats] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()
    modality: Modality | None = None


def embed_queries(
    queries: Sequence[Sequence[Term]], batcher: Batcher, collection: Collection | None
) -> list[QueryVectors]:
    """One per query, all their media embedded together.

    Raises InvalidQuery when there is nothing to ask, BadInput for a medium that is none,
    Overloaded when too many ask already.
    """
    line = _Line(batcher)
    asked = [[_part(term, line, collection) for term in terms] for terms in queries]
    return [
        _fused(terms, [part() for part in parts])
        for terms, parts in zip(queries, asked, strict=True)
    ]


def answer(
    request: SearchRequest,
    query: QueryVectors,
    collection: Collection,
    calibration: Calibration | None,
    embed_ms: float,
) -> SearchAnswer:
    """Searches with a query that took `embed_ms` to embed.

    Raises what `Collection.search` does, InvalidQuery when hits are wanted by a probability that
    they do not have.
    """
    start = time.perf_counter()
    results = collection.search(
        query.joint,
        native=query.native,
        k=request.k,
        modalities=request.modalities,
        exclude=query.exclude,
        curves=_curves(calibration, query.modality),
    )
    low = -1.0 if request.min_score is None else request.min_score
    hits = [hit for hit in results.hits if hit.score is None or hit.score >= low]
    if request.min_probability is not None:
        hits = _probable(hits, request.min_probability, query, collection)
    wanted = hits if "vector" in request.include else []
    vectors = {hit.item.id: collection.vector_of_fragment(hit.fragment) for hit in wanted}
    search_ms = (time.perf_counter() - start) * 1e3
    return SearchAnswer(
        query=request.terms,
        hits=hits,
        exact=results.exact,
        recall_estimate=results.recall_estimate,
        timings_ms={"embed": embed_ms, "search": search_ms, "total": embed_ms + search_ms},
        vectors=vectors,
    )


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


def _probable(
    hits: Sequence[Hit], least: float, query: QueryVectors, collection: Collection
) -> list[Hit]:
    """Those of at least this probability. Raises InvalidQuery when one has none."""
    unknown = sorted({hit.item.modality for hit in hits if hit.probability is None})
    if not unknown:
        return [hit for hit in hits if (hit.probability or 0.0) >= least]
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


def _fused(terms: Sequence[Term], parts: Sequence[QueryVectors]) -> QueryVectors:
    if not terms:
        raise InvalidQuery(
            "the query is empty; give words, a picture, an item id or a vector", param="query"
        )
    weights = np.array([term.weight for term in terms], dtype=np.float32)
    try:
        joint = normalise(weights @ np.stack([part.joint for part in parts]))
    except InvalidVector:
        raise InvalidQuery(
            "the terms of this query cancel out: their weighted sum has no direction; "
            "change a weight or a term",
            param="query",
        ) from None
    exclude = frozenset(str(term.value) for term in terms if term.kind == "item")
    if len(parts) > 1 or weights[0] < 0:
        return QueryVectors(joint, exclude=exclude)
    return replace(parts[0], joint=joint, exclude=exclude)


class _Line:
    """Where the media of one request wait together: only the first is told that there is no room.

    A long film goes in shot by shot, and is never held whole.
    """

    def __init__(self, batcher: Batcher) -> None:
        self.batcher = batcher
        self._started = False

    def join(self, medium: Media) -> list[Future[Embedded]]:
        pieces = self.batcher.embedder.fragment(medium)
        return [self._submit(piece) for _, piece in pieces]

    def _submit(self, piece: Media) -> Future[Embedded]:
        block, self._started = self._started, True
        return self.batcher.submit(piece, block=block)


def _part(term: Term, line: _Line, collection: Collection | None) -> Callable[[], QueryVectors]:
    """Queues what of this term must be embedded; the result waits for it."""
    if not 0 < abs(term.weight) <= MAX_WEIGHT:
        raise InvalidQuery(
            f"weight is {term.weight}; any number but 0 from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g} is "
            "fine",
            param="weight",
        )
    if term.kind in ("vector", "item"):
        given = (
            QueryVectors(_given(term.value, line.batcher))
            if term.kind == "vector"
            else _of_item(str(term.value), collection)
        )
        return lambda: given
    medium = medium_of(term, line.batcher)
    waiting = line.join(medium)
    if not waiting:
        raise BadInput(f"the query's {term.kind} holds nothing to embed", param=term.kind)
    return lambda: _of_media(medium.modality, [future.result() for future in waiting])


def medium_of(term: Term, batcher: Batcher) -> Media:
    """What a term of words or of a file holds. Raises InvalidQuery, BadInput, TooLarge."""
    return _words(term.value) if term.kind == "text" else _medium(term, batcher)


def _words(value: object) -> Media:
    if not isinstance(value, str) or not value.strip():
        raise InvalidQuery("the words of the query are empty; say what to look for", param="text")
    if len(value) > MAX_WORDS:
        raise TooLarge(
            f"the words of the query are {len(value):,} characters and at most {MAX_WORDS:,} are "
            "read: ask more briefly, or index the text and search by its item",
            param="text",
        )
    return Media(Modality.TEXT, value)


def _medium(term: Term, batcher: Batcher) -> Media:
    assert isinstance(term.value, bytes | Path)
    embedder = batcher.embedder
    name = f"the {term.kind} of the query" if isinstance(term.value, bytes) else None
    raw = open_media(term.value, accepts=embedder.modalities, name=name)
    wanted = MEDIA_TERMS[term.kind]
    if wanted not in raw.accepted:
        missing = wanted not in raw.modalities
        called = name or shown(Path(str(term.value)))
        why = f"and holds {' and '.join(raw.accepted)}" if missing else "which this space lacks"
        raise BadInput(
            f"{called} was given as {term.kind}, {why}; pass it as {raw.modality}",
            param=term.kind,
        )
    return raw.decode(wanted, image_side=embedder.image_side)


def _of_media(modality: Modality, pieces: Sequence[Embedded]) -> QueryVectors:
    """A medium of several pieces asks by their mean."""
    native = [piece.native for piece in pieces if piece.native is not None]
    return QueryVectors(
        _mean([piece.joint for piece in pieces]),
        native={modality: _mean(native)} if native else {},
        modality=modality,
    )


def _of_item(item_id: str, collection: Collection | None) -> QueryVectors:
    if collection is None:
        raise InvalidQuery(f"item {item_id!r} needs a collection to be looked up in", param="item")
    item = collection.item(item_id)
    native = collection.vectors_of(item_id, VectorKind.NATIVE)
    return QueryVectors(
        _mean(list(collection.vectors_of(item_id, VectorKind.JOINT))),
        native={item.modality: _mean(list(native))} if len(native) else {},
        modality=item.modality,
    )


def _given(value: object, batcher: Batcher) -> Floats:
    vector = np.asarray(value, dtype=np.float32)
    if vector.ndim != 1:
        raise InvalidVector(f"a query vector has one dimension, not {vector.ndim}", param="vector")
    unit = normalise(vector[None])
    check_unit(unit, batcher.embedder.space.dim)
    return np.asarray(unit[0], np.float32)


def _mean(vectors: Sequence[Floats]) -> Floats:
    stacked = np.stack(vectors)
    if len(stacked) == 1:
        return np.asarray(stacked[0], np.float32)  # bit for bit what is stored
    unit: Floats = normalise(stacked.mean(axis=0, keepdims=True))[0]
    return unit

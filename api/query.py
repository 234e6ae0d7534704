"""Terms to query vectors.

One medium, several with weights, minus something: each term's vector is unit length, times its
weight, summed, brought back to unit length. A single picture or item also asks in the tower's own
native space, which tells likenesses within one modality apart far better than the joint one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from api.requests import Term
from embed.batcher import Batcher, Embedded
from embed.errors import BadInput, InvalidQuery, InvalidVector, TooLarge
from embed.media.read import open_media
from embed.media.source import shown
from embed.types import Floats, Media, Modality, check_unit, normalise
from index.collection import Collection
from index.search.query import Pieces
from index.types import VectorKind

MEDIA_TERMS = {"image": Modality.IMAGE, "audio": Modality.AUDIO, "video": Modality.VIDEO}
MAX_WORDS = 32_768  # characters: about a second of embedding
MAX_WEIGHT = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class QueryVectors:
    """joint: `(D,)` unit. native: for modalities where the tower's own space answers better.

    exclude: items that were asked with, and are no answer. modality: of the one medium that asks;
    None for a mix, for minus and for bare numbers, whose cosines nothing is known of.
    terms: `(T, D)` unit, one a term, where they were added. pieces: of all terms, where they fall
    into several.
    """

    joint: Floats
    native: dict[Modality, Floats] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()
    modality: Modality | None = None
    terms: Floats | None = None
    pieces: Pieces | None = None


class _Part(NamedTuple):
    """A term by itself: `(P, D)` unit vectors of its pieces, what is told of their mean."""

    pieces: Floats
    mean: QueryVectors


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


def _fused(terms: Sequence[Term], parts: Sequence[_Part]) -> QueryVectors:
    if not terms:
        raise InvalidQuery(
            "the query is empty; give words, a picture, an item id or a vector", param="query"
        )
    weights = np.array([term.weight for term in terms], dtype=np.float32)
    means = np.stack([part.mean.joint for part in parts])
    try:
        joint = normalise(weights @ means)
    except InvalidVector:
        raise InvalidQuery(
            "the terms of this query cancel out: their weighted sum has no direction; "
            "change a weight or a term",
            param="query",
        ) from None
    exclude = frozenset(str(term.value) for term in terms if term.kind == "item")
    alone = parts[0].mean if len(parts) == 1 and weights[0] > 0 else QueryVectors(joint)
    return replace(
        alone, joint=joint, exclude=exclude, terms=means, pieces=_all_pieces(parts, weights)
    )


def _all_pieces(parts: Sequence[_Part], weights: Floats) -> Pieces:
    """Those of each term share its weight."""
    shares = [
        np.full(len(part.pieces), weight / len(part.pieces), np.float32)
        for part, weight in zip(parts, weights, strict=True)
    ]
    return Pieces(np.concatenate([part.pieces for part in parts]), np.concatenate(shares))


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


def _part(term: Term, line: _Line, collection: Collection | None) -> Callable[[], _Part]:
    """Queues what of this term must be embedded; the result waits for it."""
    if not 0 < abs(term.weight) <= MAX_WEIGHT:
        raise InvalidQuery(
            f"weight is {term.weight}; any number but 0 from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g} is "
            "fine",
            param="weight",
        )
    if term.kind in ("vector", "item"):
        given = (
            _given(term.value, line.batcher)
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


def _of_media(modality: Modality, pieces: Sequence[Embedded]) -> _Part:
    """A medium of several pieces asks by their mean."""
    joint = np.stack([piece.joint for piece in pieces])
    native = [piece.native for piece in pieces if piece.native is not None]
    return _part_of(modality, joint, np.stack(native) if native else None)


def _of_item(item_id: str, collection: Collection | None) -> _Part:
    if collection is None:
        raise InvalidQuery(f"item {item_id!r} needs a collection to be looked up in", param="item")
    item = collection.item(item_id)
    native = collection.vectors_of(item_id, VectorKind.NATIVE)
    joint = collection.vectors_of(item_id, VectorKind.JOINT)
    if not len(joint):
        raise InvalidQuery(f"item {item_id!r} has no vector to ask with", param="item")
    return _part_of(item.modality, joint, native if len(native) else None)


def _part_of(modality: Modality, joint: Floats, native: Floats | None) -> _Part:
    own = {} if native is None else {modality: _mean(native)}
    return _Part(joint, QueryVectors(_mean(joint), native=own, modality=modality))


def _given(value: object, batcher: Batcher) -> _Part:
    vector = np.asarray(value, dtype=np.float32)
    if vector.ndim != 1:
        raise InvalidVector(f"a query vector has one dimension, not {vector.ndim}", param="vector")
    unit = np.asarray(normalise(vector[None]), np.float32)
    check_unit(unit, batcher.embedder.space.dim)
    return _Part(unit, QueryVectors(unit[0]))


def _mean(vectors: Floats) -> Floats:
    if len(vectors) == 1:
        return np.asarray(vectors[0], np.float32)  # bit for bit what is stored
    unit: Floats = normalise(vectors.mean(axis=0, keepdims=True))[0]
    return unit

"""Terms to a query vector: one medium, several with weights, minus something.

The arithmetic: each term's vector is unit length, times its weight, summed, brought back to unit
length. A single picture or item also asks in the tower's own native space, which tells likenesses
within one modality apart far better than the joint one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from api.requests import Term
from embed.batcher import Batcher, Embedded
from embed.errors import BadInput, InvalidQuery, InvalidVector
from embed.media.read import open_media
from embed.types import Floats, Media, Modality, check_unit, normalise
from index.collection import Collection
from index.types import VectorKind

MEDIA_TERMS = {"image": Modality.IMAGE, "audio": Modality.AUDIO, "video": Modality.VIDEO}


@dataclass(frozen=True, slots=True, eq=False)
class QueryVectors:
    """joint: `(D,)` unit. native: for modalities where the tower's own space answers better.

    exclude: items that were asked with, and are no answer.
    """

    joint: Floats
    native: dict[Modality, Floats] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()


def embed_terms(
    terms: Sequence[Term], batcher: Batcher, collection: Collection | None
) -> QueryVectors:
    """Raises InvalidQuery when there is nothing to ask, BadInput for a medium that is none."""
    if not terms:
        raise InvalidQuery(
            "the query is empty; give words, a picture, an item id or a vector", param="query"
        )
    parts = [_embed_term(term, batcher, collection) for term in terms]
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
    native = parts[0].native if len(parts) == 1 and weights[0] > 0 else {}
    return QueryVectors(joint, native, exclude)


def _embed_term(term: Term, batcher: Batcher, collection: Collection | None) -> QueryVectors:
    if not np.isfinite(term.weight) or term.weight == 0:
        raise InvalidQuery(f"weight is {term.weight}; any number but 0 is fine", param="weight")
    if term.kind == "vector":
        return QueryVectors(_given(term.value, batcher))
    if term.kind == "item":
        return _of_item(str(term.value), collection)
    if term.kind == "text":
        return _of_media(_words(term.value), batcher)
    return _of_media(_medium(term, batcher), batcher)


def _words(value: object) -> Media:
    if not isinstance(value, str) or not value.strip():
        raise InvalidQuery("the words of the query are empty; say what to look for", param="text")
    return Media(Modality.TEXT, value)


def _medium(term: Term, batcher: Batcher) -> Media:
    assert isinstance(term.value, bytes | Path)
    embedder = batcher.embedder
    name = f"the {term.kind} of the query" if isinstance(term.value, bytes) else None
    raw = open_media(term.value, accepts=embedder.modalities, name=name)
    if raw.modality is not MEDIA_TERMS[term.kind]:
        raise BadInput(
            f"the query's {term.kind} holds {raw.modality.value}; pass it as {raw.modality.value}",
            param=term.kind,
        )
    return raw.decode(image_side=embedder.image_side)


def _of_media(media: Media, batcher: Batcher) -> QueryVectors:
    pieces = [piece for _, piece in batcher.embedder.fragment(media)]
    embedded = batcher.embed(pieces, block=False)
    native = _mean([part.native for part in embedded]) if _has_native(embedded) else None
    joint = _mean([part.joint for part in embedded])
    return QueryVectors(joint, {} if native is None else {media.modality: native})


def _has_native(embedded: Sequence[Embedded]) -> bool:
    return all(part.native is not None for part in embedded)


def _of_item(item_id: str, collection: Collection | None) -> QueryVectors:
    if collection is None:
        raise InvalidQuery(f"item {item_id!r} needs a collection to be looked up in", param="item")
    item = collection.item(item_id)
    native = collection.vectors_of(item_id, VectorKind.NATIVE)
    return QueryVectors(
        _mean(list(collection.vectors_of(item_id, VectorKind.JOINT))),
        {item.modality: _mean(list(native))} if len(native) else {},
    )


def _given(value: object, batcher: Batcher) -> Floats:
    vector = np.asarray(value, dtype=np.float32)
    if vector.ndim != 1:
        raise InvalidVector(f"a query vector has one dimension, not {vector.ndim}", param="vector")
    unit = normalise(vector[None])
    check_unit(unit, batcher.embedder.space.dim)
    return np.asarray(unit[0], np.float32)


def _mean(vectors: Sequence[Floats | None]) -> Floats:
    stacked = np.stack([vector for vector in vectors if vector is not None])
    if len(stacked) == 1:
        return np.asarray(stacked[0], np.float32)  # bit for bit what is stored
    unit: Floats = normalise(stacked.mean(axis=0, keepdims=True))[0]
    return unit

"""The nouns of the hallway: what both doors ask of the service, and what they get back.

Nothing here knows HTTP or terminals. Wire shapes are made by `to_json`, the same for both doors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from api.wire import metadata_to_json
from embed.errors import CrossbindError
from embed.registry import Capabilities
from embed.types import Floats, Metadata, Modality, span_to_json
from index.metadata.filters import Filter
from index.search.query import Balance
from index.types import CollectionInfo, Hit, Moment

MAX_K = 1000  # hits of one search
MAX_MOMENTS = 100  # places told of one item
EXTRAS = ("vector", "contributions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One part of a query. A negative weight moves the query away from it.

    value: words (`text`), a file or its bytes (`image`, `audio`, `video`), an item id (`item`), or
    `(D,)` numbers (`vector`).
    """

    kind: Literal["text", "image", "audio", "video", "item", "vector"]
    value: str | bytes | Path | Floats
    weight: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """What was asked, for echoing back: bytes and numbers become a short description."""
        shown = self.value
        if isinstance(shown, bytes):
            shown = f"<{len(shown)} bytes>"
        elif not isinstance(shown, str | Path):
            shown = f"<vector of {len(shown)} numbers>"
        return {self.kind: str(shown), "weight": self.weight}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """One search. Several terms are one fused query.

    modalities: of the items looked for; None means all. filter: what must be true of them. hybrid:
    its words are looked for in titles and texts too. min_score: cosine below which a hit is
    dropped. min_probability: the same, of a calibrated space. together: the terms are read as one
    medium, by a space that can. group_by, collapse, diversity, moments: as
    `index.search.query.Query` has them. rerank: the best are ranked anew by all pieces of the
    query. strategy: `best_score` looks at each term by itself, `context` at pairs of a good and a
    bad one (`index.search.recommending`).
    cursor: of the page before. include: extra fields of a hit, among `EXTRAS`.
    """

    terms: tuple[Term, ...]
    collection: str = "default"
    k: int = 10
    offset: int = 0
    cursor: str | None = None
    modalities: frozenset[Modality] | None = None
    filter: Filter | None = None
    hybrid: Balance | None = None
    min_score: float | None = None
    min_probability: float | None = None
    together: bool = False
    group_by: str | None = None
    collapse: float | None = None
    diversity: float = 0.0
    rerank: bool = False
    strategy: Literal["average", "best_score", "context"] = "average"
    moments: int = 1
    include: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer:
    """Hits in order, with what was asked and where the time went (milliseconds per stage).

    vectors, contributions: by item id, where they were asked for; of the latter one number a term.
    """

    query: tuple[Term, ...]
    hits: list[Hit]
    exact: bool
    recall_estimate: float | None
    timings_ms: Mapping[str, float]
    vectors: Mapping[str, Floats] = field(default_factory=dict)
    contributions: Mapping[str, Sequence[float]] = field(default_factory=dict)
    next_cursor: str | None = None

    def to_json(self) -> dict[str, Any]:
        hits = []
        for hit in self.hits:
            shown = hit_to_json(hit)
            if hit.item.id in self.vectors:
                shown["vector"] = self.vectors[hit.item.id].tolist()
            if hit.item.id in self.contributions:
                shown["contributions"] = list(self.contributions[hit.item.id])
            hits.append(shown)
        return {
            "query": [term.to_json() for term in self.query],
            "hits": hits,
            "search": {"exact": self.exact, "recall_estimate": self.recall_estimate},
            "timings_ms": {stage: round(ms, 3) for stage, ms in self.timings_ms.items()},
            "next_cursor": self.next_cursor,
        }


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """HIT of the wire format."""
    item = hit.item
    return {
        "id": item.id,
        "record": item.record,
        "fragment": hit.fragment,
        "origin": item.origin.value,
        "collection": hit.collection,
        "modality": item.modality.value,
        "score": hit.score,
        "probability": hit.probability,
        "rank_score": hit.rank_score,
        "uri": item.uri,
        "title": item.title,
        "text": hit.text,
        "span": span_to_json(hit.span) if hit.span is not None else None,
        "metadata": metadata_to_json(item.metadata),
        "found_by": list(hit.found_by),
        **({} if hit.group_size is None else {"group_size": hit.group_size}),
        **({"moments": [_moment(moment) for moment in hit.moments]} if hit.moments else {}),
    }


def _moment(moment: Moment) -> dict[str, Any]:
    span = None if moment.span is None else span_to_json(moment.span)
    return {"fragment": moment.fragment, "span": span, "score": moment.score}


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSummary:
    """A collection and what is in it. failures: files that could not be indexed."""

    info: CollectionInfo
    counts: Mapping[Modality, int]
    failures: int

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.info.name,
            "space": self.info.space.name,
            "space_id": self.info.space.id,
            "dim": self.info.space.dim,
            "index": self.info.index,
            "storage": self.info.storage.value,
            "created": self.info.created,
            "items": sum(self.counts.values()),
            "modalities": {modality.value: count for modality, count in self.counts.items()},
            "failures": self.failures,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """A space that can be asked for by `name`.

    capabilities: None where even they cannot be told without what is missing. missing: what that
    is (weights, a package) and how to get it. state: "unfetched" where first use is a download.
    """

    name: str
    capabilities: Capabilities | None
    state: Literal["loaded", "ready", "unfetched", "missing"]
    missing: str | None = None

    def to_json(self) -> dict[str, Any]:
        known = self.capabilities
        return {
            "id": self.name,
            "object": "model",
            "created": 0,
            "owned_by": "crossbind",
            "summary": known and known.summary,
            "space_id": known and known.space.id,
            "modalities": sorted(m.value for m in known.modalities) if known else [],
            "dim": known and known.space.dim,
            "native_dims": {m.value: dim for m, dim in known.native_dims.items()} if known else {},
            "precision": known and known.space.precision,
            "preprocessing": known and known.preprocessing,
            "licence": known and known.licence,
            "source": known and known.source,
            "state": self.state,
            "missing": self.missing,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """vectors: `(N, D)` float32, unit rows, one per input. prompt_tokens: of all words."""

    vectors: Floats
    prompt_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A medium handed in from outside. name: its file name, for titles and messages only.

    vector: its own `(D,)`, of any length but 0, instead of one that the space makes; `data` may be
    empty then. text, modality: of what has a vector and no data. once: the id is of a request
    that may come again; other bytes under it are refused.
    """

    data: bytes
    id: str | None = None
    record: str | None = None
    name: str | None = None
    metadata: Metadata = field(default_factory=dict)
    vector: Floats | None = None
    text: str | None = None
    modality: Modality | None = None
    once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOutcome:
    """What became of one upload: `id` when it was stored, `error` when it was not.

    items: ids of all that it gave, the main one first. left_out: why another part is not there.
    """

    id: str | None
    modality: Modality | None = None
    items: Mapping[Modality, str] = field(default_factory=dict)
    left_out: Mapping[Modality, str] = field(default_factory=dict)
    error: CrossbindError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFile:
    """The bytes behind an item, on disk. media_type is sniffed, never guessed from the name.

    version: changes whenever the bytes do. name: what to call a copy of them.
    """

    path: Path
    media_type: str
    version: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the service can answer. reasons: what is wrong, in words, when it cannot."""

    ready: bool
    reasons: list[str]
    uptime_seconds: float
    collections: int

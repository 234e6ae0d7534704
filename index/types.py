"""The nouns of the index: what is written, what is found, and the one contract of every engine.

This file knows no engine and no database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from embed.errors import CatalogError, MissingDependency, MissingWeights, StorageFull
from embed.types import Floats, Item, Metadata, Modality, Origin, Space, Span
from index.keys import NO_KEYS, Keys
from index.metadata.filters import Filter

Ids = NDArray[np.int64]

# These are not a file's fault, and the next file would meet them too.
FATAL = (MissingDependency, MissingWeights, StorageFull, CatalogError)


class VectorKind(StrEnum):
    """`joint` is the space's own; `native` is the tower's, used within one modality."""

    JOINT = "joint"
    NATIVE = "native"


def part_uri(uri: str, modality: Modality) -> str:
    """The uri of what the file at `uri` holds besides its main medium: its sound, its caption."""
    return f"{uri}#{modality.value}"


def part_id(item: str, modality: Modality) -> str:
    """The id of what the upload `item` holds besides its main medium."""
    return f"{item}~{modality.value}"


class Storage(StrEnum):
    """How the numbers of stored vectors are kept. Read back, they are float32 whatever it is."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


class Partition(NamedTuple):
    """Vectors that may be searched together. A collection has one index per partition."""

    modality: Modality
    kind: VectorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionInfo:
    """A collection as the catalog remembers it. `index` is an address for `index.factory`."""

    id: int
    name: str
    space: Space
    chunker: str
    index: str
    created: str
    storage: Storage = Storage.FLOAT32


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells a changed file from an unchanged one without reading it.

    checked_ns: wall clock when the digest was taken; a file modified about then is read again.
    """

    size: int
    mtime_ns: int
    checked_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class NewFragment:
    """A piece about to be stored. joint: `(D,)`, native: `(M,)` or None; float32, unit length."""

    span: Span | None
    joint: Floats
    native: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An item about to be stored, with its fragments and vectors: one unit of writing.

    uri: of a file, or `part_uri` of what else it holds. title: an item found by its uri keeps its
    own, which a person may have given it.
    id None: the item that has this `uri` in the collection is replaced, else a new id is made.
    record None: the record of the item replaced, else one of its own.
    metadata None: that of the item replaced, else none.
    """

    modality: Modality
    digest: str
    fragments: Sequence[NewFragment]
    id: str | None = None
    record: str | None = None
    uri: str | None = None
    title: str | None = None
    text: str | None = None
    origin: Origin = Origin.OBSERVED
    metadata: Metadata | None = None
    stamp: FileStamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file, or a part of one, that could not be indexed. `code` is a stable error code."""

    uri: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What the catalog knows of a file it has indexed.

    items: what the file gave, one a modality at most.
    """

    record: str
    items: Mapping[Modality, str]
    digest: str
    stamp: FileStamp | None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The answer of an engine to Q queries: rows sorted by score, highest first; ties by id.

    ids: `(Q, k)` int64, -1 where fewer than k were found; scores: `(Q, k)` float32, -inf there.
    exact: the k best are certainly these; recall_estimate: measured share of them, else None.
    """

    ids: Ids
    scores: Floats
    exact: bool = True
    recall_estimate: float | None = 1.0


class Where:
    """Which rows may answer a search.

    filter: the same as a predicate, for engines that hold what is said about items.
    """

    def __init__(self, select: Callable[[], Ids], filter: Filter | None = None) -> None:  # noqa: A002
        self._select = select
        self.filter = filter

    @classmethod
    def of(cls, ids: Ids) -> Where:
        """These and no others, in any order, known or not."""
        return cls(lambda: np.unique(np.asarray(ids, dtype=np.int64)))

    @cached_property
    def ids(self) -> Ids:
        """Ascending, once each; worked out when first asked for."""
        return self._select()


class Place(NamedTuple):
    """Where an engine may keep files: a folder of its own.

    epoch: of the catalog. What was kept under another one belongs to another history.
    keys: for servers that ask for one.
    """

    folder: Path
    epoch: str
    keys: Keys = NO_KEYS


@runtime_checkable
class VectorIndex(Protocol):
    """Vectors by id, searched by inner product. Search is safe beside one writer.

    An engine is a cache of the catalog: `seq` is how far it has been told.
    """

    @property
    def dim(self) -> int: ...

    @property
    def seq(self) -> int:
        """Of the catalog: all up to it is in here. 0 for an empty engine."""
        ...

    def __len__(self) -> int: ...

    def commit(self, seq: int, probes: Callable[[], Floats]) -> None:
        """All that the catalog held at `seq` was handed over.

        probes: `(P, dim)` queries like those to come, from other modalities where there are some;
        an engine that must be tuned is tuned on them.
        """
        ...

    def upsert(self, ids: Ids, vectors: Floats) -> None:
        """Adds `(N, dim)` unit vectors under `(N,)` ids; an id already there is replaced."""
        ...

    def remove(self, ids: Ids) -> None:
        """Forgets ids; unknown ones are ignored."""
        ...

    def search(self, queries: Floats, k: int, where: Where | None = None) -> Found:
        """The k nearest of each of `(Q, dim)` queries, among the rows in `where` when given."""
        ...

    def close(self) -> None:
        """Lets go of files, threads and connections."""
        ...


class Source(NamedTuple):
    """An item that a completion rests on, and its share in it, in (0, 1]."""

    item: str
    record: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completion:
    """A hypothesis about a record: what the modality that it lacks may be. Never an item.

    record: None for a medium from outside. value: words of a text, else the id of the item whose
    medium is borrowed, or None for generated media. vector: `(D,)` joint, unit, or None. origin:
    `generated` was made by a generator. sources: what it rests on, best first. p: probability that
    it is right. method: `best`, `mean` or `synthesis`. stale: a source, the record or the space has
    changed since.
    """

    record: str | None
    modality: Modality
    value: str | None
    vector: Floats | None
    origin: Literal["retrieved", "generated"]
    sources: tuple[Source, ...]
    p: float
    method: Literal["best", "mean", "synthesis"]
    stale: bool = False
    created: str | None = None


class Moment(NamedTuple):
    """A place in an item that was found: which fragment, where it is, its cosine."""

    fragment: int
    span: Span | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One item that was found, and the fragment of it that matched best.

    score: cosine in [-1, 1], None where only words found it. probability: calibrated, None without
    a calibration. rank_score: what hits are sorted by. text: the passage for a text fragment.
    found_by: `vector`, `words` or both. group_size: items that it stands for, where hits are
    grouped. moments: its best places, best first, where several were asked for.
    """

    item: Item
    fragment: int
    span: Span | None
    score: float | None
    probability: float | None
    rank_score: float
    collection: str
    text: str | None = None
    found_by: tuple[str, ...] = ("vector",)
    group_size: int | None = None
    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Hits, and how sure the engines are that these are the best ones.

    passed: fragments that this page showed or its offset passed over. more: there are others.
    """

    hits: list[Hit]
    exact: bool
    recall_estimate: float | None
    passed: tuple[int, ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What an ingest did. All count files, but `left_out`.

    left_out: what the files read in this run hold besides, and the space does not embed.
    """

    ingested: int
    unchanged: int
    moved: int
    pruned: int
    failed: int
    seconds: float
    failures: list[Failure]
    left_out: Mapping[Modality, int] = field(default_factory=dict)

    @property
    def items_per_second(self) -> float:
        return self.ingested / self.seconds if self.seconds > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "ingested": self.ingested,
            "unchanged": self.unchanged,
            "moved": self.moved,
            "pruned": self.pruned,
            "failed": self.failed,
            "seconds": round(self.seconds, 3),
            "items_per_second": round(self.items_per_second, 2),
            "left_out": {modality.value: count for modality, count in self.left_out.items()},
            "failures": [
                {"uri": f.uri, "code": f.code, "message": f.message} for f in self.failures
            ],
        }

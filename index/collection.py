"""A collection: what the catalog holds of it, and engines in memory that follow, as one thing.

Each partition (a modality's joint or native vectors) has an engine, loaded when it is first
searched. Before a search it replays what was committed since, by this process or another.
It knows no SQL, no tower and no engine by name.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from embed.calibration import Curve
from embed.errors import InvalidQuery, InvalidVector, SpaceMismatch
from embed.types import Floats, Fragment, Item, Metadata, Modality
from index.catalog import Catalog
from index.contents import PartitionState
from index.factory import open_index
from index.follower import Follower
from index.fusion import Scored, best_per_item, fuse, judged
from index.rows import passage, wrong_dim
from index.types import (
    CollectionInfo,
    Entry,
    Failure,
    FileStamp,
    FileState,
    Found,
    Hit,
    NewFragment,
    Partition,
    Results,
    VectorIndex,
    VectorKind,
)

# A fragment that was found may be replaced before its item is read: then the search starts again.
_ATTEMPTS = 3


class _Asked(NamedTuple):
    """Queries `(Q, dim)` for one partition, its engine, and what its cosines mean."""

    queries: Floats
    vectors: VectorIndex
    curve: Curve | None


@dataclass(slots=True)
class _Attempt:
    """One try at a search: what the engines said, and whether the catalog had it all still."""

    found: list[Found] = field(default_factory=list)
    whole: bool = True
    rows: list[list[Hit]] = field(default_factory=list)

    def results(self) -> list[Results]:
        exact = all(found.exact for found in self.found)
        estimates = [found.recall_estimate for found in self.found]
        known = [estimate for estimate in estimates if estimate is not None]
        recall = min(known, default=1.0) if len(known) == len(estimates) else None
        return [Results(hits=hits, exact=exact, recall_estimate=recall) for hits in self.rows]


class Collection:
    """The collection `info` of `catalog`. Safe to use from several threads."""

    def __init__(self, catalog: Catalog, info: CollectionInfo) -> None:
        self.info = info
        self._contents = catalog.contents(info)
        self._engines: dict[Partition, Follower] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self.info.name

    # Searching

    def search(
        self,
        query: Floats,
        *,
        k: int = 10,
        modalities: Iterable[Modality] | None = None,
        native: Mapping[Modality, Floats] | None = None,
        exclude: frozenset[str] = frozenset(),
        curves: Mapping[Partition, Curve] | None = None,
    ) -> Results:
        """The k best items for a `(D,)` unit query, one hit each, for its best fragment.

        modalities: of the items looked for; None means all. native: `(M,)` queries for modalities
        where the tower's own vectors answer instead. exclude: items that are no answer. curves:
        what a cosine of this query means, by partition; with one for each partition that answers,
        hits of several modalities are ranked by probability.
        Raises SpaceMismatch, InvalidVector, InvalidQuery; NotFound when the collection is gone.
        """
        asked = {modality: _as_batch(vector) for modality, vector in (native or {}).items()}
        return self.search_batch(
            _as_batch(query),
            k=k,
            modalities=modalities,
            native=asked,
            exclude=exclude,
            curves=curves,
        )[0]

    def search_batch(
        self,
        queries: Floats,
        *,
        k: int = 10,
        modalities: Iterable[Modality] | None = None,
        native: Mapping[Modality, Floats] | None = None,
        exclude: frozenset[str] = frozenset(),
        curves: Mapping[Partition, Curve] | None = None,
    ) -> list[Results]:
        """As `search`, for `(Q, D)` queries at once; native: `(Q, M)` for each modality."""
        self._check(queries, k)
        wanted = set(Modality if modalities is None else modalities)
        if not wanted:
            raise InvalidQuery("no modality is asked for; name one, or leave them out")
        for _ in range(_ATTEMPTS):
            attempt = _Attempt()
            asked = self._asked(queries, native or {}, wanted, curves or {})
            self._answer(attempt, asked, len(queries), k, exclude)
            if attempt.whole:
                break
        return attempt.results()

    def _check(self, queries: Floats, k: int) -> None:
        if k < 1:
            raise InvalidQuery(f"k is {k}; at least 1 is needed", param="k")
        if queries.ndim != 2:
            raise InvalidVector(f"queries have shape {queries.shape}; (Q, D) is wanted")
        if queries.shape[1] != self.info.space.dim:
            raise SpaceMismatch(wrong_dim(queries.shape[1], self.info))

    def _answer(
        self,
        attempt: _Attempt,
        asked: Sequence[_Asked],
        count: int,
        k: int,
        exclude: frozenset[str],
    ) -> None:
        rankings = [self._rank(attempt, one, k, exclude) for one in asked]
        best = [fuse([ranking[query] for ranking in rankings], k) for query in range(count)]
        wanted = {scored.fragment for row in best for scored in row}
        fragments = self._contents.hydrate(wanted)
        attempt.whole &= len(fragments) == len(wanted)
        attempt.rows = [
            [self._hit(fragments[s.fragment], s) for s in row if s.fragment in fragments]
            for row in best
        ]

    def _asked(
        self,
        queries: Floats,
        native: Mapping[Modality, Floats],
        wanted: set[Modality],
        curves: Mapping[Partition, Curve],
    ) -> list[_Asked]:
        """What to ask of which engine, every engine up to date."""
        states = {state.partition: state for state in self._contents.partitions()}
        asked = []
        for modality in sorted(wanted):
            state = states.get(Partition(modality, VectorKind.NATIVE))
            vectors = native.get(modality)
            if vectors is None or state is None:
                state, vectors = states.get(Partition(modality, VectorKind.JOINT)), queries
            if state is None:
                continue
            if vectors.shape != (len(queries), state.dim):
                raise SpaceMismatch(
                    f"native {modality.value} queries have shape {vectors.shape}; collection "
                    f"{self.name!r} wants ({len(queries)}, {state.dim}): embed with "
                    f"{self.info.space.id}"
                )
            asked.append(_Asked(vectors, self._engine(state), curves.get(state.partition)))
        return asked

    def _engine(self, state: PartitionState) -> VectorIndex:
        with self._lock:
            engine = self._engines.get(state.partition)
            if engine is None:
                engine = Follower(open_index(self.info.index, state.dim))
                self._engines[state.partition] = engine
        engine.follow(self._contents, state)
        return engine.vectors

    def _rank(
        self, attempt: _Attempt, asked: _Asked, k: int, exclude: frozenset[str]
    ) -> list[list[Scored]]:
        """For each query the best fragment of each of the k best items.

        An item may have many fragments, so the search widens until enough items were met.
        """
        ranked: list[list[Scored]] = [[] for _ in asked.queries]
        pending = list(range(len(ranked)))
        width = 2 * (k + len(exclude))
        while pending and (size := len(asked.vectors)):
            found = asked.vectors.search(asked.queries[pending], min(width, size))
            attempt.found.append(found)
            fragments = np.unique(found.ids[found.ids >= 0]).tolist()
            owners = self._contents.owners(fragments)
            attempt.whole &= len(owners) == len(fragments)
            for query, ids, scores in zip(pending, found.ids, found.scores, strict=True):
                best = best_per_item(ids.tolist(), scores.tolist(), owners, k, exclude)
                ranked[query] = judged(best, asked.curve)
            pending = [query for query in pending if len(ranked[query]) < k and width < size]
            width *= 4
        return ranked

    def _hit(self, fragment: Fragment, scored: Scored) -> Hit:
        return Hit(
            item=fragment.item,
            fragment=fragment.id,
            span=fragment.span,
            score=scored.score,
            probability=scored.probability,
            rank_score=scored.rank_score,
            collection=self.name,
            text=passage(fragment),
        )

    # Writing

    def write(
        self,
        entries: Sequence[Entry],
        *,
        failures: Sequence[Failure] = (),
        remove: Iterable[str] = (),
        forgive: Iterable[str] = (),
    ) -> list[str]:
        """One transaction: removes items, forgets failures of the uris in `forgive`, then puts
        `entries` and notes `failures`. Returns the ids of the entries, in order; on return they
        are on disk, and the next search finds them.

        An entry clears an earlier failure of its uri. Items to remove that are not there are passed
        over. Raises SpaceMismatch, InvalidVector, BadInput, Conflict, NotFound, StorageFull, and
        then nothing was written.
        """
        with self._contents.writing() as writing:
            for item_id in remove:
                writing.remove(item_id)
            for uri in forgive:
                writing.forgive(uri)
            ids = [writing.put(entry) for entry in entries]
            for failure in failures:
                writing.fail(failure)
        return ids

    def delete(self, ids: Iterable[str]) -> int:
        """How many of these items there were. What else their files hold goes with them."""
        with self._contents.writing() as writing:
            return sum([writing.remove(item_id) for item_id in ids])

    def update(
        self, item_id: str, *, metadata: Metadata | None = None, title: str | None = None
    ) -> Item:
        """Replaces what is given; metadata as a whole. Raises NotFound, BadInput."""
        with self._contents.writing() as writing:
            writing.update(item_id, metadata=metadata, title=title)
        return self.item(item_id)

    def move(
        self, uri: str, to: str, *, stamp: FileStamp, renamed: tuple[str, str] | None = None
    ) -> None:
        """A file has a new place, with all that it holds. Raises NotFound, Conflict.

        renamed: titles that are the first become the second.
        """
        with self._contents.writing() as writing:
            writing.move(uri, to, renamed=renamed, stamp=stamp)

    def restamp(self, stamps: Mapping[str, FileStamp]) -> None:
        """Remembers new stamps, by uri, of files whose content is the same."""
        with self._contents.writing() as writing:
            writing.restamp(stamps)

    # Reading

    def item(self, item_id: str) -> Item:
        """Raises NotFound."""
        return self._contents.item(item_id)

    def items(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        modality: Modality | None = None,
        record: str | None = None,
    ) -> tuple[list[Item], str | None]:
        """A page of items, oldest first, and the cursor of the next one; None at the end.

        Of long texts only the beginning; `item` has all of it. Raises BadInput for a bad limit or
        cursor.
        """
        return self._contents.items(limit=limit, cursor=cursor, modality=modality, record=record)

    def vectors_of(self, item_id: str, kind: VectorKind = VectorKind.JOINT) -> Floats:
        """`(F, dim)`, one row a fragment; F is 0 when there is none. Raises NotFound."""
        return self._contents.vectors_of(item_id, kind)

    def vector_of_fragment(self, fragment: int) -> Floats:
        """`(D,)`, joint. Raises NotFound."""
        return self._contents.vector_of_fragment(fragment)

    def counts(self) -> dict[Modality, int]:
        """Items by modality."""
        return self._contents.counts()

    def paired_records(self) -> list[str]:
        """Records with items of several modalities, by their public ids, in order of coming."""
        return self._contents.paired_records()

    def failures(self) -> list[Failure]:
        """Files that could not be indexed, by uri."""
        return self._contents.failures()

    def file_states(self) -> dict[str, FileState]:
        """What is known of every file, by its uri."""
        return self._contents.file_states()

    def upload_digests(self) -> list[str]:
        """Digests of items that have no file of their own."""
        return self._contents.upload_digests()

    def known_fragments(
        self, digest: str, modality: Modality, text: str | None = None
    ) -> list[NewFragment] | None:
        """The same content, cut and embedded before by the same means, in any collection.

        text: what was read of it, where it is one.
        """
        return self._contents.known_fragments(digest, modality, text)


def _as_batch(query: Floats) -> Floats:
    if query.ndim != 1:
        raise InvalidVector(f"the query has shape {query.shape}; (D,) is wanted")
    return query[None, :]

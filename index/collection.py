"""A collection: what the catalog holds of it, and engines in memory that follow, as one thing.

It knows no SQL, no tower and no engine by name; how it is searched is `searching.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from embed.types import Floats, Item, Metadata, Modality
from index.catalog import Catalog
from index.completions import Completions
from index.export import Tell, export
from index.gaps import Gaps
from index.listing import page
from index.metadata import facets as many
from index.metadata.facets import EVERYTHING, Facets
from index.metadata.filters import Filter
from index.search.query import Query
from index.search.searching import Searcher
from index.search.stored import StoredPieces
from index.search.survey import Survey
from index.types import (
    CollectionInfo,
    Entry,
    Failure,
    FileStamp,
    FileState,
    NewFragment,
    Results,
    VectorKind,
)


class Collection:
    """The collection `info` of `catalog`. Safe to use from several threads."""

    def __init__(self, catalog: Catalog, info: CollectionInfo) -> None:
        self.info = info
        self._contents = catalog.contents(info)
        self._searcher = Searcher(self._contents)

    @property
    def name(self) -> str:
        return self.info.name

    def settle(self) -> None:
        """Fills its engines, and waits for what they build in the background."""
        self._searcher.settle()

    def close(self) -> None:
        """Lets go of what its engines hold; a search opens them again."""
        self._searcher.close()

    # Searching

    def search(self, query: Query) -> Results:
        """The k best items of a query, one hit each, for its best fragment.

        Raises SpaceMismatch, InvalidVector, InvalidQuery; NotFound when the collection is gone.
        """
        return self._searcher.search([query])[0]

    def search_batch(self, queries: Sequence[Query]) -> list[Results]:
        """As `search`; queries of one filter are put to an engine in one call."""
        return self._searcher.search(queries)

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

    def delete_where(self, f: Filter) -> list[str]:
        """Removes the items that a filter means. Returns their public ids."""
        return many.delete(self._contents, self._searcher.columns, f)

    # Many at once

    def count(self, f: Filter = EVERYTHING) -> int:
        """Items that a filter means."""
        return many.count(self._searcher.columns, f)

    def facets(
        self,
        fields: Sequence[str],
        f: Filter = EVERYTHING,
        *,
        limit: int = 10,
    ) -> list[Facets]:
        """What the items that a filter means say under each name. Raises InvalidQuery."""
        return many.facets(self._searcher.columns, fields, f, limit=limit)

    def rarity(self, words: Iterable[str]) -> dict[str, float]:
        """How much each word tells items apart: ln(1 + N / (1 + n)), n of N items holding it. All
        collections of the catalog count."""
        return self._searcher.words.rarity(words)

    def sample(
        self,
        f: Filter = EVERYTHING,
        *,
        count: int,
        seed: int,
    ) -> list[Item]:
        """At most `count` of the items that a filter means, drawn at random."""
        columns = self._searcher.columns
        return many.sample(self._contents, columns, f, count=count, seed=seed)

    def export(
        self, file: Path, *, f: Filter | None = None, tell: Tell = lambda _done, _total: None
    ) -> int:
        """Writes `file` as `export.py` says, with the items that a filter means, or all. Returns
        how many fragments."""
        items = None if f is None else self._searcher.columns.items(f)
        return export(self._contents, file, items=items, tell=tell)

    def survey(self) -> Survey:
        """What looks it over as a whole: duplicates, clusters, outliers, a map."""
        return Survey(self._contents)

    @property
    def completions(self) -> Completions:
        """What its records may have where they lack a modality."""
        return Completions(self._contents)

    @property
    def gaps(self) -> Gaps:
        """Which of its records lack what."""
        return Gaps(self._contents)

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
        f: Filter | None = None,
    ) -> tuple[list[Item], str | None]:
        """A page of items, oldest first, and the cursor of the next one; None at the end.

        Of long texts only the beginning; `item` has all of it. Raises BadInput for a bad limit or
        cursor.
        """
        if f is None:
            return self._contents.items(
                limit=limit, cursor=cursor, modality=modality, record=record
            )
        return page(
            self._searcher.columns,
            self._searcher.stored,
            f,
            limit=limit,
            cursor=cursor,
            modality=modality,
            record=record,
        )

    def vectors_of(self, item_id: str, kind: VectorKind = VectorKind.JOINT) -> Floats:
        """`(F, dim)`, one row a fragment; F is 0 when there is none. Raises NotFound."""
        return self._contents.vectors_of(item_id, kind)

    def items_of_records(self, records: Iterable[str]) -> dict[str, list[Item]]:
        """The items of each record, oldest first; of long texts the beginning. Records that are
        gone are left out."""
        return self._searcher.stored.of_records(records)

    def pieces_of(
        self, items: Iterable[str], kind: VectorKind = VectorKind.JOINT
    ) -> dict[str, StoredPieces]:
        """Fragments, spans and vectors of items, by public id; those gone, or without a vector of
        this kind, are left out."""
        return self._searcher.stored.pieces(items, kind)

    def vectors_of_fragments(self, fragments: Iterable[int]) -> dict[int, Floats]:
        """`(D,)`, joint, by fragment; those that are gone are left out."""
        return self._searcher.stored.vectors(fragments)

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

    def states_at(self, files: Iterable[str]) -> dict[str, FileState]:
        """As `file_states`, of the files at these uris only."""
        return self._contents.states_at(files)

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

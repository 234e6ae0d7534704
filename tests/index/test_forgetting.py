"""Notes of what is gone do not grow for ever, and who missed them still holds what is there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.types import Floats, Space
from index import forgetting
from index.care.repair import repair
from index.care.restore import restore_collection
from index.care.snapshot import snapshot
from index.care.verify import verify
from index.catalog import Catalog
from index.collection import Collection
from index.home import Home
from index.metadata.filter_text import parse_filter
from index.search.query import Query

KEPT = 6
EVEN = parse_filter("even = true")


class Shelf:
    """One catalog, a process that writes and knows what is there, and others that read."""

    def __init__(self, home: Path, space: Space, units: Callable[..., Floats], entry: Any) -> None:
        self.path = home / "catalog.db"
        self.units, self.entry, self.rng = units, entry, np.random.default_rng(3)
        self.there: dict[str, Floats] = {}
        self.opened = [Catalog(self.path)]
        self.space, self.next = space, 0

    def make(self, index: str) -> Collection:
        info = self.opened[0].create_collection("c", space=self.space, chunker="1", index=index)
        self.writer = Collection(self.opened[0], info)
        return self.writer

    def reader(self) -> Collection:
        self.opened.append(Catalog(self.path))
        return Collection(self.opened[-1], self.opened[-1].collection("c"))

    def add(self, count: int) -> None:
        vectors = self.units(self.rng, count)
        names = [f"i{self.next + n}" for n in range(count)]
        self.next += count
        self.writer.write(
            [
                self.entry(one[None], id=name, uri=f"file:///{name}", metadata={"even": even})
                for name, one, even in zip(names, vectors, self.evens(names), strict=True)
            ]
        )
        self.there |= dict(zip(names, vectors, strict=True))

    def evens(self, names: list[str]) -> list[bool]:
        return [int(name[1:]) % 2 == 0 for name in names]

    def drop(self, count: int) -> None:
        gone = sorted(self.there)[:: max(1, len(self.there) // count)][:count]
        self.writer.delete(gone)
        for name in gone:
            del self.there[name]

    def agrees(self, reader: Collection) -> None:
        """With what is there: nothing else is found, and nothing is missing, filtered or not."""
        names = sorted(self.there)
        query = self.units(self.rng, 1)[0]
        for f, wanted in ((None, names), (EVEN, [n for n in names if int(n[1:]) % 2 == 0])):
            hits = reader.search(Query(joint=query, k=len(names) + 5, filter=f)).hits
            assert sorted(hit.item.id for hit in hits) == wanted
            own = [float(query @ self.there[hit.item.id]) for hit in hits]
            assert [hit.score for hit in hits] == pytest.approx(own, abs=1e-5)
        assert reader.count(EVEN) == sum(self.evens(names))
        # And nothing of what is gone is held.
        [state] = reader._contents.partitions()
        ranker = reader._searcher._ranker
        assert len(ranker._engines.of(state)) == len(names)
        for fragments in ranker.columns._table.partitions.values():
            assert len(fragments.ids) == len(names)

    def noted(self) -> tuple[int, int, int, int]:
        """Deletions, removals, and up to which of each all is forgotten."""
        with closing(sqlite3.connect(self.path)) as raw:
            row = raw.execute(
                "SELECT (SELECT count(*) FROM deletions), (SELECT count(*) FROM removals),"
                " (SELECT max(forgotten) FROM partitions), (SELECT max(forgotten) FROM collections)"
            ).fetchone()
        found: tuple[int, int, int, int] = row
        return found


@pytest.fixture
def shelf(
    tmp_path: Path, space: Space, units: Any, entry: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shelf]:
    monkeypatch.setattr(forgetting, "EVERY", 1)
    monkeypatch.setattr(forgetting, "KEPT", KEPT)
    shelf = Shelf(tmp_path, space, units, entry)
    yield shelf
    for catalog in shelf.opened:
        catalog.close()


@pytest.mark.parametrize("index", ["exact", "faiss:hnsw", "qdrant-edge"])
def test_who_fell_behind_begins_anew(shelf: Shelf, index: str) -> None:
    pytest.importorskip({"q": "qdrant_edge", "f": "faiss", "e": "numpy"}[index[0]])
    shelf.make(index)
    shelf.add(12)
    reader = shelf.reader()
    shelf.agrees(reader)
    reader.settle()
    seen = shelf.noted()
    assert seen[2:] == (0, 0)
    for _ in range(4):
        shelf.drop(5)
        shelf.add(3)
    deletions, removals, *forgotten = shelf.noted()
    assert min(forgotten) > 2, "past what the reader has seen"
    assert max(deletions, removals) <= max(KEPT, len(shelf.there)) + 5
    shelf.agrees(reader)
    shelf.add(1)
    shelf.agrees(reader)
    reader.close()
    shelf.add(6)
    shelf.drop(4)
    shelf.drop(4)
    shelf.agrees(reader)  # opened again, by what it left
    reader.close()
    assert verify(Home(shelf.path.parent)).findings == []


def test_readers_that_look_now_and_then_see_what_is_there(shelf: Shelf) -> None:
    shelf.make("exact")
    readers = [shelf.reader() for _ in range(3)]
    for step in range(60):
        shelf.add(int(shelf.rng.integers(1, 8)))
        if len(shelf.there) > 10:
            shelf.drop(int(shelf.rng.integers(1, 9)))
        for every, reader in zip((1, 5, 17), readers, strict=True):
            if step % every == 0:
                shelf.agrees(reader)
        deletions, removals, *_ = shelf.noted()
        assert max(deletions, removals) <= max(KEPT, len(shelf.there)) + 9
    for reader in readers:
        shelf.agrees(reader)
        reader.close()
    assert shelf.noted()[2] > 50


def test_forgetting_is_part_of_the_write_or_did_not_happen(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.make("exact")
    shelf.add(9)
    shelf.drop(4)
    shelf.drop(2)
    before = shelf.noted()
    assert before[:2] == (6, 6)

    def cut(place: str) -> None:
        if place == "transaction.written":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("index.database.reach", cut)
        with pytest.raises(KeyboardInterrupt):
            shelf.writer.delete(sorted(shelf.there)[:1])
    assert shelf.noted() == before
    shelf.drop(1)
    assert shelf.noted()[:2] == (3, 3)


def test_no_collection_is_passed_over(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, space: Space
) -> None:
    """Though each time it is another that writes when it is time."""
    shelf.make("exact")
    info = shelf.opened[0].create_collection("other", space=space, chunker="1")
    other = Collection(shelf.opened[0], info)
    monkeypatch.setattr(forgetting, "EVERY", 2)
    shelf.add(8)
    for _ in range(10):
        other.write([])
        shelf.drop(3) if len(shelf.there) > 5 else shelf.add(3)
    assert max(shelf.noted()[:2]) <= 8 + 3


def test_a_copy_has_a_history_of_its_own(shelf: Shelf, tmp_path: Path) -> None:
    shelf.make("exact")
    shelf.add(8)
    for _ in range(5):
        shelf.drop(4)
        shelf.add(4)
    home, other = Home(shelf.path.parent), Home(tmp_path / "other")
    assert shelf.noted()[2] > 1
    restore_collection(snapshot(home, tmp_path / "snap").path, other, name="c")
    with closing(Catalog(other.catalog)) as catalog:
        copy = Collection(catalog, catalog.collection("c"))
        shelf.agrees(copy)
        copy.close()
    with closing(sqlite3.connect(other.catalog, isolation_level=None)) as raw:
        assert raw.execute("SELECT max(forgotten) FROM partitions").fetchone() == (0,)
        raw.execute("UPDATE partitions SET forgotten = 99")
        raw.execute("UPDATE collections SET forgotten = 'x'")
    assert {finding.code for finding in verify(other).findings} == {"forgotten"}
    assert repair(other).after.findings == []

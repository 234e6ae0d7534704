"""Several processes read while one writes, and none of them ever sees half of anything."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from embed.errors import CatalogError, Forbidden, NotFound
from embed.types import Modality, Space, normalise
from index.catalog import Catalog
from index.collection import Collection
from index.database import Database, migrations
from index.search.query import Query
from index.types import Entry, NewFragment

SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=8)

# A write is three items of one version; every view must hold three of one version, or none.
READER = """
import sys
from pathlib import Path
import numpy as np
from embed.errors import NotFound
from embed.types import normalise
from index.catalog import Catalog
from index.collection import Collection
from index.search.query import Query

read_only = sys.argv[2] == "ro"
catalog = Catalog(Path(sys.argv[1]), read_only=read_only)
collection = Collection(catalog, catalog.collection("c"))
query = Query(joint=normalise(np.ones((1, 8)))[0], k=50)
print("ready", flush=True)
seen, views, newest = set(), 0, -1
while newest < int(sys.argv[3]):
    items, _ = collection.items(limit=100)
    versions = {item.metadata["version"] for item in items}
    assert len(versions) <= 1, versions
    assert len(items) in {0, 3}, items
    hits = collection.search(query).hits
    assert len({hit.item.id for hit in hits}) == len(hits)
    found = max(versions, default=-1)
    assert found >= newest, (found, newest)
    newest = found
    views += 1
for _ in range(100):
    if len(collection.search(query).hits) == 3:
        break
print(views, len(collection.search(query).hits), flush=True)
catalog.close()
"""


def entry(number: int, version: int) -> Entry:
    vectors = normalise(np.random.default_rng(3 * version + number).standard_normal((2, 8)))
    return Entry(
        id=f"i{number}",
        modality=Modality.IMAGE,
        digest=f"{number}-{version}",
        metadata={"version": version},
        fragments=[NewFragment(None, vector) for vector in vectors],
    )


def test_readers_beside_a_writer(tmp_path: Path) -> None:
    path, last = tmp_path / "catalog.db", 60
    catalog = Catalog(path)
    collection = Collection(catalog, catalog.create_collection("c", space=SPACE, chunker="w"))
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(path), mode, str(last)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for mode in ("rw", "ro", "ro")
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    for version in range(last + 1):
        collection.write([entry(number, version) for number in range(3)])
        time.sleep(0.001)  # so that they get a turn
    told = [reader.communicate(timeout=60)[0].split() for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0, 0]
    assert [hits for _, hits in told] == ["3", "3", "3"]
    catalog.close()


def test_read_only_changes_nothing_and_follows_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with pytest.raises(NotFound, match="no catalog"):
        Database(path, read_only=True)
    assert not path.exists()
    writer = Catalog(path)
    collection = Collection(writer, writer.create_collection("c", space=SPACE, chunker="w"))
    collection.write([entry(0, 0)])
    reader = Catalog(path, read_only=True)
    same = Collection(reader, reader.collection("c"))
    query = Query(joint=normalise(np.ones((1, 8)))[0])
    assert len(same.search(query).hits) == 1
    collection.write([entry(1, 0)])
    assert len(same.search(query).hits) == 2
    for refused in (
        lambda: same.write([entry(2, 0)]),
        lambda: same.delete(["i0"]),
        lambda: reader.delete_collection("c"),
        lambda: reader.create_collection("d", space=SPACE, chunker="w"),
    ):
        with pytest.raises(Forbidden, match="read only"):
            refused()
    writer.close()
    assert len(same.search(query).hits) == 2
    reader.close()


def test_an_older_catalog_is_not_brought_up_to_date_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    Database(path, scripts=migrations()[:1]).close()
    with pytest.raises(CatalogError, match="older Crossbind"):
        Database(path, read_only=True)
    Database(path).close()
    Database(path, read_only=True).close()


def test_a_copy_put_here_by_hand_keeps_a_log_again(tmp_path: Path) -> None:
    path, copy = tmp_path / "catalog.db", tmp_path / "again" / "catalog.db"
    Database(path).close()
    copy.parent.mkdir()
    database = Database(path)
    database.copy_to(copy)
    database.close()
    assert copy.read_bytes()[18:20] == b"\1\1"  # no log: a reader needs nothing beside it
    Database(copy).close()
    assert copy.read_bytes()[18:20] == b"\2\2"


def test_where_nothing_can_be_written_each_view_is_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may write where we may not: no view may be older than the file."""
    path = tmp_path / "catalog.db"
    writer = Catalog(path)
    collection = Collection(writer, writer.create_collection("c", space=SPACE, chunker="w"))
    collection.write([entry(0, 0)])
    writer.close()
    access = os.access
    monkeypatch.setattr(os, "access", lambda *given: given[1] != os.W_OK and access(*given))
    reader = Catalog(path, read_only=True)
    same = Collection(reader, reader.collection("c"))
    assert len(same.items()[0]) == 1
    assert sorted(other.name for other in tmp_path.iterdir()) == ["catalog.db"]
    writer = Catalog(path)
    collection = Collection(writer, writer.collection("c"))
    collection.write([entry(1, 0)])
    assert len(same.items()[0]) == 2  # from the log beside the file
    writer.close()
    assert len(same.items()[0]) == 2
    reader.close()

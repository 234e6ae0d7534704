"""The catalog as the one truth: what it promises when power, disks, processes and people fail."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from embed.errors import (
    BadInput,
    CatalogError,
    Conflict,
    Forbidden,
    NotFound,
    StorageFull,
)
from embed.types import Modality, Space
from index import database
from index.catalog import Catalog
from index.collection import Collection
from index.search.query import Query
from index.types import Failure

SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=8)


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that has opened the collection `c` of the catalog in argv[1]."""
    opening = """
        import sys
        from pathlib import Path
        import numpy as np
        from embed.types import Modality, normalise
        from index.catalog import Catalog
        from index.collection import Collection
        from index.types import Entry, NewFragment

        def entry(number, pieces=3):
            rng = np.random.default_rng(number)
            vectors = normalise(rng.standard_normal((pieces, 8)))
            fragments = [NewFragment(None, vector, vector[:4] / np.linalg.norm(vector[:4]))
                         for vector in vectors]
            return Entry(modality=Modality.IMAGE, digest=f"{number}", fragments=fragments,
                         uri=f"file:///{number}")

        catalog = Catalog(Path(sys.argv[1]))
        collection = Collection(catalog, catalog.collection("c"))
    """
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(opening) + textwrap.dedent(code),
            *map(str, arguments),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


# Collections


def test_a_collection_is_remembered(catalog: Catalog, space: Space) -> None:
    made = catalog.create_collection("holiday.2024", space=space, chunker="whole")
    assert catalog.collection("holiday.2024") == made
    assert (made.space, made.space.id, made.chunker, made.index) == (
        space,
        space.id,
        "whole",
        "exact",
    )
    assert [info.name for info in catalog.collections()] == ["holiday.2024"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-x", "a/b", "a b", "ä", "x" * 65, "a\n", "\udcff"]
)
def test_bad_names_are_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(BadInput, match="letters, digits"):
        catalog.create_collection(name, space=SPACE, chunker="whole")


def test_names_are_unique_and_unknown_ones_get_the_choices(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="there is none yet"):
        catalog.collection("a")
    catalog.create_collection("a", space=SPACE, chunker="whole")
    catalog.create_collection("b", space=SPACE, chunker="whole")
    with pytest.raises(Conflict, match="'a'"):
        catalog.create_collection("a", space=SPACE, chunker="whole")
    with pytest.raises(NotFound, match=r"'c'.*a, b"):
        catalog.collection("c")
    with pytest.raises(NotFound, match=r"'hnsw'.*exact, .*faiss:flat"):
        catalog.create_collection("d", space=SPACE, chunker="whole", index="hnsw")
    assert [info.name for info in catalog.collections()] == ["a", "b"]


def test_deleting_a_collection_takes_everything_and_frees_the_name(
    catalog: Catalog, collection: Collection, units, entry
) -> None:
    rng = np.random.default_rng(0)
    other = Collection(catalog, catalog.create_collection("o", space=SPACE, chunker="whole"))
    other.write([entry(units(rng, 1), uri="file:///a")])
    collection.write(
        [entry(units(rng, 2), uri="file:///a")],
        failures=[Failure(uri="file:///x", code="bad_input", message="no")],
    )
    catalog.delete_collection("c")
    with pytest.raises(NotFound, match="'c' was deleted"):
        collection.search(Query(joint=units(rng, 1)[0]))
    with pytest.raises(NotFound, match="'c' was deleted"):
        collection.write([entry(units(rng, 1))])
    with catalog._database.reading() as connection:
        for table in ("records", "items", "fragments", "vectors", "partitions"):
            [count] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert (table, count) == (table, 1)
        assert connection.execute("SELECT count(*) FROM failures").fetchone() == (0,)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    again = catalog.create_collection("c", space=SPACE, chunker="whole")
    assert again.id > collection.info.id
    assert Collection(catalog, again).counts() == {}


def test_an_upload_is_held_as_long_as_any_collection_has_it(
    catalog: Catalog, collection: Collection, units, entry
) -> None:
    vector = units(np.random.default_rng(0), 1)
    [key] = collection.write(
        [entry(vector, digest="up"), entry(vector, digest="f", uri="file:///f")]
    )[:1]
    assert collection.upload_digests() == ["up"]
    assert catalog.holds_upload("up")
    assert not catalog.holds_upload("f")
    collection.delete([key])
    assert not catalog.holds_upload("up")


# The file


def test_the_folder_is_private_and_the_file_says_what_it_is(path: Path) -> None:
    home = path.parent / "home"
    Catalog(home / "catalog.db").close()
    assert home.stat().st_mode & 0o777 == 0o700
    head = (home / "catalog.db").read_bytes()[:100]
    assert head[68:72] == b"XBND"


def test_an_empty_file_becomes_a_catalog(path: Path) -> None:
    path.touch()
    catalog = Catalog(path)
    assert catalog.collections() == []
    catalog.close()


def test_many_may_open_a_new_catalog_at_once(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from index.catalog import Catalog; "
        "Catalog(Path(sys.argv[1])).close()"
    )
    starts = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(4)]
    assert [start.wait() for start in starts] == [0] * 4
    found: list[object] = []
    new = path.with_name("threads.db")
    threads = [threading.Thread(target=lambda: found.append(Catalog(new))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for catalog in found:
        assert isinstance(catalog, Catalog)
        catalog.close()


def test_a_failed_migration_leaves_the_version_before(path: Path, monkeypatch) -> None:
    first = database.migrations()
    Catalog(path).close()
    more = [*first, "CREATE TABLE more (x);\nCREATE TABLE items (again);\n"]
    monkeypatch.setattr(database, "migrations", lambda: more)
    with pytest.raises(CatalogError, match="items already exists"):
        Catalog(path)
    monkeypatch.setattr(database, "migrations", lambda: [*first, "CREATE TABLE more (x);"])
    Catalog(path).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(first) + 1,)
        assert connection.execute("SELECT count(*) FROM more").fetchone() == (0,)
    connection.close()
    monkeypatch.setattr(database, "migrations", lambda: first)
    with pytest.raises(
        CatalogError, match=rf"newer Crossbind \(catalog version {len(first) + 1}.*upgrade"
    ):
        Catalog(path)


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(CatalogError, match="another program"):
        Catalog(path)
    assert path.read_bytes() == before


def test_damage_is_told(path: Path) -> None:
    path.write_bytes(b"this was never a database" * 100)
    with pytest.raises(CatalogError, match=r"damaged.*backup"):
        Catalog(path)
    path.unlink()
    catalog = Catalog(path)
    catalog.create_collection("c", space=SPACE, chunker="whole")
    catalog.close()
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(1).randbytes(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(CatalogError, match="damaged"):
        Catalog(path).collections()


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="cannot be opened"):
        Catalog(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="cannot be used"):
        Catalog(tmp_path / "file" / "catalog.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Forbidden, match="permissions"):
        Catalog(tmp_path / "home" / "catalog.db")
    tmp_path.chmod(0o700)


def test_a_read_only_catalog_is_told(path: Path, monkeypatch) -> None:
    Catalog(path).close()
    connect = sqlite3.connect
    monkeypatch.setattr(
        database.sqlite3,
        "connect",
        lambda name, **options: connect(re.sub("=rwc", "=ro", name), **options),
    )
    catalog = Catalog(path)
    with pytest.raises(Forbidden, match="may not be written"):
        catalog.create_collection("c", space=SPACE, chunker="whole")
    catalog.close()


def test_a_closed_catalog_says_so(catalog: Catalog) -> None:
    catalog.close()
    catalog.close()
    with pytest.raises(CatalogError, match="closed"):
        catalog.collections()
    with pytest.raises(CatalogError, match="closed"):
        catalog.create_collection("c", space=SPACE, chunker="whole")


def test_a_lock_that_stays_is_told(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    catalog = Catalog(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CatalogError, match=r"locked.*another process"):
        catalog.create_collection("c", space=SPACE, chunker="whole")
    assert catalog.collections() == []
    other.execute("ROLLBACK")
    other.close()
    catalog.create_collection("c", space=SPACE, chunker="whole")
    catalog.close()


def test_a_full_disk_loses_nothing_and_passes(
    catalog: Catalog, collection: Collection, units, entry
) -> None:
    rng = np.random.default_rng(0)
    collection.write([entry(units(rng, 1), uri="file:///first", id="first")])
    writer = catalog._database._writer
    [pages] = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    many = [entry(units(rng, 1), uri=f"file:///{n}", text="x" * 2000) for n in range(50)]
    with pytest.raises(StorageFull, match="free some space"):
        collection.write(many, remove=["first"])
    assert list(collection.file_states()) == ["file:///first"]
    assert len(collection.search(Query(joint=units(rng, 1)[0])).hits) == 1
    writer.execute("PRAGMA max_page_count = 100000")
    collection.write(many, remove=["first"])
    assert len(collection.file_states()) == 50
    assert len(collection.search(Query(joint=units(rng, 1)[0], k=99)).hits) == 50


# Processes


def test_what_one_process_writes_another_sees(catalog: Catalog, collection: Collection) -> None:
    query = np.eye(8, dtype=np.float32)[0]
    assert collection.search(Query(joint=query)).hits == []
    code = """
        collection.write([entry(n) for n in range(5)])
        print("written", flush=True)
        sys.stdin.readline()
        collection.delete(collection.file_states()["file:///3"].items.values())
        collection.write([entry(4, pieces=1)])
    """
    process = child(code, catalog._database.path)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "written\n"
    uris = {hit.item.uri for hit in collection.search(Query(joint=query)).hits}
    assert uris == {f"file:///{n}" for n in range(5)}
    process.communicate("go on\n")
    hits = {hit.item.uri: hit.fragment for hit in collection.search(Query(joint=query)).hits}
    assert hits.keys() == {f"file:///{n}" for n in (0, 1, 2, 4)}
    assert hits["file:///4"] > 15


def test_two_processes_that_write_take_turns(catalog: Catalog, collection: Collection) -> None:
    code = """
        first = int(sys.argv[2])
        for number in range(first, first + 20):
            collection.write([entry(number)])
    """
    processes = [child(code, catalog._database.path, first) for first in (0, 100)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    assert collection.counts() == {Modality.IMAGE: 40}


@pytest.mark.parametrize("seed", range(4))
def test_kill_nine_keeps_what_was_acknowledged_and_nothing_by_half(
    catalog: Catalog, collection: Collection, seed: int
) -> None:
    path = catalog._database.path
    code = """
        for batch in range(10_000):
            collection.write([entry(8 * batch + n) for n in range(8)])
            print(batch, flush=True)
            if batch % 3 == 2:
                collection.write([entry(8 * batch + n, pieces=2) for n in range(8)])
    """
    process = child(code, path)
    assert process.stdout is not None
    rng = random.Random(seed)
    for _ in range(rng.randrange(1, 12)):
        acknowledged = int(process.stdout.readline())
    threading.Event().wait(rng.random() * 0.02)
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].split()
    acknowledged = int(rest[-1]) if rest else acknowledged
    catalog.close()

    again = Catalog(path)
    states = Collection(again, again.collection("c")).file_states()
    assert len(states) % 8 == 0
    assert {f"file:///{n}" for n in range(8 * (acknowledged + 1))} <= states.keys()
    with again._database.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        halves = connection.execute(
            "SELECT count(DISTINCT f.id), count(*) FROM items i JOIN fragments f ON f.item = i.id"
            " JOIN vectors v ON v.fragment = f.id GROUP BY i.id"
        ).fetchall()
        assert len(halves) == len(states)
        assert set(halves) <= {(3, 6), (2, 4)}
    again.close()

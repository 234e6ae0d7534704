"""Every invariant of a catalog is broken on purpose, found, and mended; what can be read stays."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from embed.errors import CatalogError, Conflict
from embed.types import CharSpan, Modality, Space, normalise
from index.care.findings import Severity
from index.care.repair import repair
from index.care.verify import verify
from index.catalog import Catalog
from index.collection import Collection
from index.failpoints import VARIABLE
from index.home import Home, blob_path
from index.search.query import Query
from index.types import Entry, Failure, NewFragment

SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=8)
UPLOAD = b"the bytes of an upload"
DIGEST = "e6d5ae9c3ed1ff9cd1f6a2bb5f25e7cfdb80a3a21bf9f4f3c3bb0a4b0a3f4f21"


def fill(catalog: Catalog, count: int, *, text: str = "") -> Collection:
    """`count` items of two fragments each, with native vectors; every third one a text."""
    collection = Collection(catalog, catalog.collection("c"))
    rng = np.random.default_rng(count)
    entries = []
    for number in range(count):
        vectors = normalise(rng.standard_normal((2, 8)))
        natives = normalise(rng.standard_normal((2, 4)))
        words = number % 3 == 0
        entries.append(
            Entry(
                id=f"i{number}",
                modality=Modality.TEXT if words else Modality.IMAGE,
                digest=f"d{number}",
                uri=f"file:///{number}",
                title=f"number {number}",
                text=f"word{number} and more {text}" if words else None,
                fragments=[
                    NewFragment(CharSpan(0, 4) if words else None, joint, native)
                    for joint, native in zip(vectors, natives, strict=True)
                ],
            )
        )
    collection.write(entries, failures=[Failure(uri="file:///bad", code="bad_input", message="")])
    return collection


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    catalog = Catalog(home.catalog)
    catalog.create_collection("c", space=SPACE, chunker="whole")
    fill(catalog, 12).delete(["i11"])
    catalog.close()
    return home


def break_it(home: Home, script: str) -> None:
    with closing(sqlite3.connect(home.catalog, isolation_level=None)) as connection:
        connection.executescript(script)


def codes(home: Home) -> list[str]:
    return sorted({finding.code for finding in verify(home).findings})


def test_a_sound_library_is_clean(home: Home) -> None:
    found = verify(home)
    assert found.clean
    assert found.findings == []
    assert (found.items, found.vectors) == (11, 44)
    assert repair(home).mended == []


BREAKS = {
    "epoch": "DELETE FROM meta",
    "clock": "UPDATE clock SET seq = 0",
    "item_without_record": "UPDATE items SET record = 999 WHERE key = 'i1'",
    "metadata": "UPDATE items SET metadata = '{\"a\":' WHERE key = 'i1'",
    "span": "UPDATE fragments SET span = '{' WHERE item = (SELECT id FROM items WHERE key = 'i0')",
    "orphan_fragment": "INSERT INTO fragments (item) VALUES (999)",
    "orphan_vector": "INSERT INTO vectors SELECT 999, partition, seq, vector FROM vectors LIMIT 1",
    "foreign_vector": "UPDATE items SET modality = 'audio' WHERE key = 'i1'",
    "fragment_without_vector": "DELETE FROM vectors WHERE fragment = 3",
    "deleted_vector": "INSERT INTO deletions SELECT partition, 9, fragment FROM vectors"
    " WHERE fragment = 3",
    "partition_behind": "UPDATE partitions SET seq = 0 WHERE id = 1",
    "orphan_deletion": "INSERT INTO deletions VALUES (999, 1, 1)",
    "orphan_failure": "INSERT INTO failures VALUES (999, 'file:///x', 'a', 'b', 'c')",
    "alias": "INSERT INTO aliases VALUES ('other', 999, '')",
    "shadow": "INSERT INTO collections (name, space, space_id, chunker, engine, created)"
    " SELECT 'gone~migrating', space, space_id, chunker, engine, created FROM collections",
    "collection_behind": "UPDATE items SET seq = 9; UPDATE clock SET seq = 9",
    "removed_item": "INSERT INTO removals SELECT collection, seq, id FROM items LIMIT 1",
    "orphan_removal": "INSERT INTO removals VALUES (999, 1, 1)",
    "record_without_items": "INSERT INTO records (collection, key) VALUES (1, 'empty')",
    "space_id": "UPDATE collections SET space_id = 'another@1'",
    "kind": "UPDATE items SET modality = 'imbge', origin = '' WHERE key = 'i1'",
    "partition_kind": "UPDATE partitions SET modality = 'imbge', kind = 'x' WHERE id = 1",
    "seq": "UPDATE vectors SET seq = 'much' WHERE fragment = 3;"
    "UPDATE items SET seq = 1 << 60 WHERE key = 'i2'",
    "words": "DROP TRIGGER words_of_changed_items; UPDATE items SET title = 'silently'",
    "vector": "UPDATE vectors SET vector = x'0000803f' WHERE fragment = 3",
    "lost_collection": "DELETE FROM collections",
}


@pytest.mark.parametrize("code", BREAKS)
def test_what_is_broken_is_found_and_mended(home: Home, code: str) -> None:
    break_it(home, BREAKS[code])
    assert code in codes(home)
    report = repair(home)
    assert code in {finding.code for finding in report.mended}
    assert report.after.findings == []
    assert report.after.items == 11  # no item is thrown away
    assert verify(home).clean


def test_a_vector_is_brought_to_length_or_given_up(home: Home) -> None:
    good = np.zeros(8, np.float32)
    good[0] = 1
    long, wild, broken = (
        (good * factor).astype("<f4").tobytes().hex() for factor in (1.01, 40, np.nan)
    )
    names = {"i1": long, "i2": wild, "i4": broken}
    catalog = Catalog(home.catalog)
    collection = Collection(catalog, catalog.collection("c"))
    collection.search(Query(joint=good, k=20))  # an engine that holds what was there
    for key, blob in names.items():
        break_it(
            home,
            f"UPDATE vectors SET vector = x'{blob}' WHERE rowid = (SELECT min(v.rowid) FROM"
            " vectors v JOIN fragments f ON f.id = v.fragment JOIN items i ON i.id = f.item"
            f" WHERE i.key = '{key}')",
        )
    assert {finding.id for finding in verify(home).findings} == set(names)
    assert repair(home).after.clean
    assert np.allclose(collection.vectors_of("i1")[0], good)
    assert len(collection.vectors_of("i2")) == len(collection.vectors_of("i4")) == 0
    assert {hit.item.id for hit in collection.search(Query(joint=good, k=20)).hits} == {
        f"i{number}" for number in range(11) if number not in {2, 4}
    }
    again = {failure.uri for failure in collection.failures() if failure.code == "needs_embedding"}
    assert again == {"file:///2", "file:///4"}
    assert collection.file_states()["file:///2"].stamp is None  # the next ingest reads it
    catalog.close()


def test_one_collection_is_looked_at_alone(home: Home) -> None:
    catalog = Catalog(home.catalog)
    other = catalog.create_collection("other", space=SPACE, chunker="whole")
    catalog.close()
    break_it(home, "UPDATE vectors SET vector = x'00' WHERE fragment = 3")
    assert verify(home, collection=other).findings == []
    assert len(verify(home).findings) == 2  # joint and native


def test_uploads_calibrations_and_caches(home: Home) -> None:
    from embed.media.source import digest_of

    digest = digest_of(UPLOAD, "it", 100)
    catalog = Catalog(home.catalog)
    collection = Collection(catalog, catalog.collection("c"))
    vectors = normalise(np.random.default_rng(1).standard_normal((2, 8)))
    for key, kind, vector in zip(("up", "gone"), (digest, "00" * 32), vectors, strict=True):
        fragments = [NewFragment(None, vector)]
        collection.write([Entry(id=key, modality=Modality.IMAGE, digest=kind, fragments=fragments)])
    catalog.close()
    path = blob_path(home.blobs, digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(UPLOAD)
    assert [(finding.code, finding.id) for finding in verify(home).findings] == [("blob", "gone")]
    path.write_bytes(b"not what was sent")
    stray = path.with_name("ff" * 32)
    stray.write_bytes(b"x")
    for old in (stray,):
        os.utime(old, (1, 1))
    home.calibrations.mkdir()
    (home.calibrations / "toy@1.json").write_text("{")
    cache = home.indexes / "1-1"
    cache.mkdir(parents=True)
    (cache / "part").write_bytes(b"y")
    (cache / "manifest.json").write_text('{"sha256": {"part": "00"}}')
    (home.indexes / "9-9").mkdir()
    found = {finding.code: finding for finding in verify(home).findings}
    assert found.keys() == {"blob", "unowned_blob", "calibration", "cache", "unowned_cache"}
    assert found["unowned_blob"].severity is found["unowned_cache"].severity is Severity.LEFTOVER
    report = repair(home)
    assert {finding.id for finding in report.after.findings} == {"gone", "up"}  # nothing to send
    assert not stray.exists()
    assert not cache.exists()
    assert path.with_name(f"{digest}.damaged").read_bytes() == b"not what was sent"


# The file


def big(home: Home) -> int:
    """A catalog of some hundred pages."""
    catalog = Catalog(home.catalog)
    fill(catalog, 400, text="x" * 300)
    catalog.close()
    return home.catalog.stat().st_size // 4096


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_gives_back_what_can_be_read(home: Home, seed: int) -> None:
    pages = big(home)
    rng = random.Random(seed)
    data = bytearray(home.catalog.read_bytes())
    broken = rng.sample(range(40, pages), 4)
    for page in broken:
        data[4096 * page : 4096 * (page + 1)] = rng.randbytes(4096)
    home.catalog.write_bytes(data)
    found = verify(home)
    assert not found.clean
    report = repair(home)
    assert report.after.clean
    assert report.recovered is None or report.recovered.kept.read_bytes() == bytes(data)
    assert report.after.items >= 400 - 4 * 40
    catalog = Catalog(home.catalog)
    [info] = catalog.collections()
    collection = Collection(catalog, info)
    hits = collection.search(Query(joint=np.eye(8, dtype=np.float32)[0], k=500)).hits
    assert len(hits) >= report.after.items - 4 * 40
    catalog.close()


@pytest.mark.parametrize("place", ["recovered", "kept", "swapped", "mended"])
def test_a_repair_that_is_killed_is_run_again(home: Home, place: str) -> None:
    pages = big(home)
    with home.catalog.open("r+b") as file:
        for page in (pages // 3, pages // 2):
            file.seek(4096 * page)
            file.write(b"\xff" * 4096)
    code = (
        "import sys; from pathlib import Path; from index.home import Home;"
        " from index.care.repair import repair; repair(Home(Path(sys.argv[1])))"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, home.root],
        env={**os.environ, VARIABLE: f"repair.{place}"},
    )
    assert killed.returncode == -signal.SIGKILL
    assert repair(home).after.clean
    catalog = Catalog(home.catalog)
    [info] = catalog.collections()
    assert sum(Collection(catalog, info).counts().values()) >= 300
    catalog.close()
    others = {path.name.partition("-")[0] for path in home.root.glob("catalog.db*")}
    assert others == {"catalog.db", "catalog.db.damaged"}


def test_a_file_without_its_head_is_read_all_the_same(home: Home) -> None:
    with home.catalog.open("r+b") as file:
        file.write(bytes(100))
    report = repair(home)
    assert report.after.clean
    assert (report.after.items, report.after.vectors) == (11, 44)


def test_a_file_that_is_none_is_refused_and_kept(home: Home) -> None:
    home.catalog.write_bytes(b"this was never a database" * 400)
    assert codes(home) == ["file"]
    with pytest.raises(CatalogError, match="snapshot"):
        repair(home)
    assert home.catalog.read_bytes().startswith(b"this was never")


def test_a_file_in_use_is_not_replaced(home: Home) -> None:
    pages = big(home)
    catalog = Catalog(home.catalog)
    assert len(catalog.collections()) == 1
    with home.catalog.open("r+b") as file:
        for page in range(60, pages - 40, 10):
            file.seek(4096 * page)
            file.write(b"\xff" * 4096)
    with pytest.raises(Conflict, match="another process"):
        repair(home)
    catalog.close()
    assert repair(home).after.clean


def test_an_index_of_sqlites_own_is_built_again(home: Home) -> None:
    break_it(
        home,
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = sql || ' ' WHERE 0;"
        "DROP INDEX items_by_modality;"
        "CREATE INDEX items_by_modality ON items (collection, modality) WHERE id > 3;"
        "UPDATE sqlite_master SET sql ="
        " 'CREATE INDEX items_by_modality ON items (collection, modality)'"
        " WHERE name = 'items_by_modality'; PRAGMA writable_schema = RESET;",
    )
    assert codes(home) == ["file_index"]
    assert repair(home).after.clean


@pytest.mark.parametrize("version", ["newer", "foreign"])
def test_what_is_not_ours_to_judge_is_refused(home: Home, version: str) -> None:
    break_it(
        home,
        "PRAGMA user_version = 99" if version == "newer" else "PRAGMA application_id = 7",
    )
    with pytest.raises(CatalogError, match=r"newer|another program"):
        verify(home)

"""Snapshots while others write, whole or of one collection; and back, all of it or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import sqlite3
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from embed.errors import BadInput, CatalogError, Conflict, NotFound, StorageFull
from embed.types import Modality, Space, normalise
from index import disk
from index.care import restore as restoring
from index.care import snapshot as snapshots
from index.care.package import MANIFEST
from index.care.restore import restore, restore_collection
from index.care.snapshot import snapshot
from index.care.verify import verify
from index.catalog import Catalog
from index.collection import Collection
from index.completions import KeptFit
from index.database import Database, migrations
from index.home import Home, blob_path
from index.search.query import Query
from index.types import Completion, Entry, NewFragment, Source

SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=8)


def upload(home: Home, number: int) -> str:
    data = f"upload {number}".encode()
    digest = hashlib.sha256(data).hexdigest()
    path = blob_path(home.blobs, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return digest


def fill(home: Home, name: str, numbers: range) -> None:
    """Items of one fragment and one upload each, in a collection that is made for them; each is
    supposed to sound like the one before it."""
    catalog = Catalog(home.catalog)
    info = catalog.create_collection(name, space=SPACE, chunker="whole")
    collection = Collection(catalog, info)
    collection.write([entry(home, number) for number in numbers])
    collection.completions.put([supposed(number) for number in numbers[1:]], fit="f")
    collection.completions.keep_fit(Modality.AUDIO, "best", KeptFit(SPACE.id, 9, name))
    catalog.close()


def supposed(number: int) -> Completion:
    lender = f"i{number - 1}"
    return Completion(
        record=f"i{number}",
        modality=Modality.AUDIO,
        value=lender,
        vector=normalise(np.random.default_rng(number).standard_normal((1, 8)))[0],
        origin="retrieved",
        sources=(Source(lender, lender, 1.0),),
        p=0.8,
        method="best",
    )


def entry(home: Home, number: int) -> Entry:
    vector = normalise(np.random.default_rng(number).standard_normal((1, 8)))[0]
    return Entry(
        id=f"i{number}",
        modality=Modality.TEXT,
        digest=upload(home, number),
        title=f"title {number}",
        text=f"word{number}",
        metadata={"number": number},
        fragments=[NewFragment(None, vector, vector[:4] / np.linalg.norm(vector[:4]))],
    )


def contents(home: Home) -> dict[str, dict[str, tuple[object, ...]]]:
    """All that is told of each item, by collection."""
    catalog = Catalog(home.catalog)
    told: dict[str, dict[str, tuple[object, ...]]] = {}
    for info in catalog.collections():
        collection = Collection(catalog, info)
        kept = collection.completions.of_records([f"i{number}" for number in range(100)])
        told[info.name] = {
            item.id: (
                item,
                collection.vectors_of(item.id).tobytes(),
                blob_path(home.blobs, item.digest).read_bytes(),
                repr(kept.get(item.record)),
                collection.completions.fits(Modality.AUDIO),
            )
            for item in collection.items(limit=1000)[0]
        }
    catalog.close()
    return told


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    fill(home, "first", range(20))
    fill(home, "second", range(10, 40))
    home.calibrations.mkdir()
    (home.calibrations / "toy@1.json").write_text("{}")
    return home


@pytest.mark.parametrize("name", ["snap", "snap.tar"])
def test_all_of_it_there_and_back(home: Home, tmp_path: Path, name: str) -> None:
    before = contents(home)
    made = snapshot(home, tmp_path / "out" / name)
    assert made.manifest.items == 50
    assert made.manifest.collections == ["first", "second"]
    assert len(made.manifest.files) == 42
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [name]
    other = Home(tmp_path / "other")
    assert restore(made.path, other).items == 50
    assert contents(other) == before
    assert "value='i3'" in str(before["first"]["i4"])
    assert (other.calibrations / "toy@1.json").read_text() == "{}"
    assert {finding.code for finding in verify(other).findings} == {"calibration"}  # it is a sham
    # Over what has changed since:
    catalog = Catalog(home.catalog)
    changed = Collection(catalog, catalog.collection("first"))
    changed.delete(["i3"])
    changed.update("i4", title="changed")
    changed.write([entry(home, 99)])
    catalog.delete_collection("second")
    catalog.close()
    with pytest.raises(Conflict, match=r"first.*--yes"):
        restore(made.path, home)
    (home.indexes / "1-1").mkdir(parents=True)
    restore(made.path, home, replace=True)
    assert not list(home.indexes.iterdir())
    assert contents(home) == before
    assert not blob_path(home.blobs, upload(Home(tmp_path / "x"), 99)).exists()
    assert not list(home.root.glob(".restoring/*"))


def test_a_server_follows_what_is_restored(home: Home, tmp_path: Path) -> None:
    made = snapshot(home, tmp_path / "snap")
    catalog = Catalog(home.catalog)
    before = catalog.collection("first")
    collection = Collection(catalog, before)
    query = Query(joint=normalise(np.ones((1, 8)))[0], k=100)
    collection.write([entry(home, 99)])
    assert len(collection.search(query).hits) == 21
    with catalog._database.reading() as connection:
        (epoch,) = connection.execute("SELECT epoch FROM meta").fetchone()
    restore(made.path, home, replace=True)
    with pytest.raises(NotFound, match="try again"):
        collection.search(query)  # and whoever opens it by name goes on
    after = catalog.collection("first")
    assert after.id > before.id
    hits = Collection(catalog, after).search(query).hits
    assert {hit.item.id for hit in hits} == {f"i{number}" for number in range(20)}
    with catalog._database.reading() as connection:
        assert connection.execute("SELECT epoch FROM meta").fetchone() != (epoch,)
    assert [hit.fragment for hit in hits if hit.fragment <= 51] == []  # no id comes twice
    catalog.close()


@pytest.mark.parametrize("name", ["one", "one.tar"])
def test_one_collection_there_and_back(home: Home, tmp_path: Path, name: str) -> None:
    before = contents(home)["second"]
    catalog = Catalog(home.catalog)
    info = catalog.collection("second")
    catalog.close()
    made = snapshot(home, tmp_path / name, collection=info)
    assert (made.manifest.scope, made.manifest.items) == ("collection", 30)
    assert len([name for name in made.manifest.files if name.startswith("blobs/")]) == 30
    with pytest.raises(Conflict, match="second"):
        restore_collection(made.path, home)
    with pytest.raises(BadInput, match="no name"):
        restore_collection(made.path, home, name="a/b")
    assert restore_collection(made.path, home, name="third").items == 30
    assert contents(home)["third"] == before
    assert {finding.code for finding in verify(home).findings} == {"calibration"}
    other = Home(tmp_path / "other")
    restore_collection(made.path, other)
    assert contents(other) == {"second": before}


def test_one_of_several(home: Home, tmp_path: Path) -> None:
    made = snapshot(home, tmp_path / "all")
    other = Home(tmp_path / "other")
    with pytest.raises(BadInput, match="first, second"):
        restore_collection(made.path, other)
    with pytest.raises(NotFound, match="first, second"):
        restore_collection(made.path, other, collection="third")
    restore_collection(made.path, other, collection="first", name="again")
    assert contents(other) == {"again": contents(home)["first"]}


def test_an_older_catalog_is_restored_and_a_newer_one_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "old")
    database = Database(home.catalog, scripts=migrations()[:1])
    with database.writing() as writing:
        writing.execute(
            "INSERT INTO collections (name, space, space_id, chunker, engine, created) VALUES"
            " ('c', ?, ?, 'whole', 'exact', '')",
            (json.dumps({k: getattr(SPACE, k) for k in SPACE.__slots__}), SPACE.id),
        )
        writing.execute("INSERT INTO records (collection, key) VALUES (1, 'r')")
        writing.execute(
            "INSERT INTO items (collection, record, key, modality, origin, digest, uri, created,"
            " updated, title, metadata, text) VALUES (1, 1, 'i', 'text', 'observed', 'd',"
            " 'file:///i', '', '', 'a title', '{}', 'words of old')"
        )
        writing.execute("INSERT INTO fragments (item) VALUES (1)")
        writing.execute(
            "INSERT INTO partitions (collection, modality, kind, dim, seq)"
            " VALUES (1, 'text', 'joint', 8, 1)"
        )
        vector = normalise(np.ones((1, 8)))[0].astype("<f4").tobytes()
        writing.execute("INSERT INTO vectors VALUES (1, 1, 1, ?)", (vector,))
        writing.execute("UPDATE clock SET seq = 1")
    database.copy_to(tmp_path / "catalog.db")
    database.close()
    folder = tmp_path / "snap"
    folder.mkdir()
    shutil.move(tmp_path / "catalog.db", folder / "catalog.db")
    facts = {
        "size": (folder / "catalog.db").stat().st_size,
        "sha256": disk.sha256_of(folder / "catalog.db"),
    }
    manifest = {
        "format": 1,
        "scope": "home",
        "version": 1,
        "epoch": "",
        "created": "",
        "collections": ["c"],
        "items": 1,
        "missing": [],
        "files": {"catalog.db": facts},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    new = Home(tmp_path / "new")
    restore(folder, new)
    Catalog(home.catalog).close()  # brought up to date where it lies
    for each in (new, home):
        assert verify(each).findings == []
        with closing(Database(each.catalog)) as there, there.reading() as connection:
            found = connection.execute("SELECT rowid FROM words WHERE words MATCH 'old'")
            assert found.fetchall() == [(1,)]
    for newer in ({"version": 99}, {"format": 2}):
        (folder / MANIFEST).write_text(json.dumps(manifest | newer))
        with pytest.raises(CatalogError, match="newer Crossbind"):
            restore(folder, Home(tmp_path / "none"))


def spoil(folder: Path, how: str) -> None:
    blob = next(folder.glob("blobs/??/*"))
    manifest = json.loads((folder / MANIFEST).read_text())
    if how == "blob":
        blob.unlink()
        blob.write_bytes(b"upload x")
    elif how == "gone":
        blob.unlink()
    elif how == "catalog":
        data = bytearray((folder / "catalog.db").read_bytes())
        data[5000] ^= 1
        (folder / "catalog.db").write_bytes(data)
    elif how == "manifest":
        (folder / MANIFEST).unlink()
    elif how == "json":
        (folder / MANIFEST).write_text("{")
    else:
        manifest["files"]["../../outside"] = {"size": 1, "sha256": "00"}
        (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("how", ["blob", "gone", "catalog", "manifest", "json", "outside"])
def test_a_damaged_snapshot_changes_nothing(home: Home, tmp_path: Path, how: str) -> None:
    made = snapshot(home, tmp_path / "snap")
    spoil(made.path, how)
    other = Home(tmp_path / "other")
    fill(other, "first", range(50, 60))
    before = contents(other)
    with pytest.raises(BadInput, match="snap"):
        restore(made.path, other, replace=True)
    assert contents(other) == before
    with pytest.raises(NotFound, match="no snapshot"):
        restore(tmp_path / "nowhere", home)
    (tmp_path / "file.tar").write_bytes(b"no tar")
    with pytest.raises(BadInput, match="no snapshot"):
        restore(tmp_path / "file.tar", home)


def test_a_damaged_home_is_kept_beside_what_is_restored(home: Home, tmp_path: Path) -> None:
    made = snapshot(home, tmp_path / "snap.tar")
    before = contents(home)
    home.catalog.write_bytes(b"this was never a database" * 400)
    with pytest.raises(CatalogError, match="damaged"):
        restore(made.path, home)
    restored = restore(made.path, home, replace=True)
    assert restored.kept is not None
    assert restored.kept.read_bytes().startswith(b"this was never")
    assert contents(home) == before


def test_what_is_missing_is_told(home: Home, tmp_path: Path) -> None:
    lost = upload(home, 3)
    blob_path(home.blobs, lost).write_bytes(b"something else")
    gone = upload(home, 4)
    blob_path(home.blobs, gone).unlink()
    made = snapshot(home, tmp_path / "snap")
    assert made.manifest.missing == sorted([lost, gone])
    assert restore(made.path, Home(tmp_path / "other")).missing == sorted([lost, gone])


def test_a_snapshot_beside_writers_is_one_moment(home: Home, tmp_path: Path) -> None:
    """Items come and go with their bytes, and each snapshot holds the bytes of all its items."""
    stop = threading.Event()

    def write() -> None:
        catalog = Catalog(home.catalog)
        collection = Collection(catalog, catalog.collection("first"))
        number = 100
        while not stop.wait(0.02):  # a snapshot gives up on who never pauses
            collection.write([entry(home, number), entry(home, number + 1)])
            old = collection.item(f"i{number}").digest
            collection.delete([f"i{number}"])
            blob_path(home.blobs, old).unlink()
            number += 2
        catalog.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [snapshot(home, tmp_path / f"snap{n}") for n in range(5)]
    finally:
        stop.set()
        writer.join()
    for number, one in enumerate(made):
        assert one.manifest.missing == []
        other = Home(tmp_path / f"other{number}")
        restore(one.path, other)
        assert len(contents(other)["second"]) == 30
        found = verify(other)
        assert {finding.code for finding in found.findings} <= {"calibration"}


def test_a_full_disk_and_what_is_in_the_way(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(Conflict, match="already"):
        snapshot(home, tmp_path / "there")
    with pytest.raises(NotFound, match="no library"):
        snapshot(Home(tmp_path / "nowhere"), tmp_path / "snap")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "seal", full)
        with pytest.raises(StorageFull, match="free some space"):
            snapshot(home, tmp_path / "snap")
    assert not (tmp_path / "snap").exists()
    links = {path: path.stat().st_ino for path in tmp_path.glob(".snap.partial/blobs/??/*")}
    assert len(links) == 40
    made = snapshot(home, tmp_path / "snap")  # goes on with what it has
    again = {path.stat().st_ino for path in made.path.glob("blobs/??/*")}
    assert again == {*links.values()}


def test_a_full_disk_leaves_the_home_as_it_was(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = snapshot(home, tmp_path / "snap")
    before = contents(home)

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "copy_file", full)
        with pytest.raises(StorageFull, match="free some space"):
            restore(made.path, home, replace=True)
    assert contents(home) == before
    assert not (home.root / ".restoring").exists()
    with (
        pytest.raises(Conflict, match="let that finish"),
        disk.alone(home.root / ".restoring.lock", "busy"),
    ):
        restore(made.path, home, replace=True)


def test_a_tar_has_its_manifest_last(home: Home, tmp_path: Path) -> None:
    made = snapshot(home, tmp_path / "snap.tar")
    with tarfile.open(made.path) as package:
        assert package.getnames()[-1] == MANIFEST
    cut = made.path.read_bytes()[:20000]
    (tmp_path / "cut.tar").write_bytes(cut)
    with pytest.raises(BadInput, match="whole"):
        restore(tmp_path / "cut.tar", Home(tmp_path / "other"))


def test_a_damaged_catalog_is_not_taken(home: Home, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home.catalog)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'vectors'"
        ).fetchone()
    with home.catalog.open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(b"\xff" * 4096)
    with pytest.raises(CatalogError, match="repair"):
        snapshot(home, tmp_path / "snap")

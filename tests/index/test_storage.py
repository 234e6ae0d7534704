"""Vectors kept as float16: half the room, and what is found is told by what is kept, everywhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from embed.errors import InvalidVector
from embed.types import Floats, Modality, Space, normalise
from index.care.repair import repair
from index.care.restore import restore_collection
from index.care.snapshot import snapshot
from index.care.verify import verify
from index.catalog import Catalog
from index.collection import Collection
from index.database import Database, migrations
from index.home import Home
from index.search.query import Query
from index.types import Entry, NewFragment, Storage, VectorKind

IMAGE = Modality.IMAGE
KEYS = [f"i{n:03}" for n in range(120)]


def halved(vectors: Floats) -> Floats:
    return vectors.astype(np.float16).astype(np.float32)


def made(catalog: Catalog, space: Space, name: str = "c", **about: object) -> Collection:
    about = {"storage": Storage.FLOAT16, **about}
    return Collection(catalog, catalog.create_collection(name, space=space, chunker="1", **about))


def items(vectors: Floats, native: Floats | None = None) -> list[Entry]:
    own = [None] * len(vectors) if native is None else list(native)
    return [
        Entry(
            id=key,
            modality=IMAGE,
            digest=key,
            uri=f"file:///{key}",
            fragments=[NewFragment(None, one, its)],
        )
        for key, one, its in zip(KEYS, vectors, own, strict=False)
    ]


@pytest.fixture
def vectors(units: Callable[..., Floats]) -> Floats:
    return units(np.random.default_rng(5), len(KEYS))


@pytest.mark.parametrize("index", ["exact", "faiss:hnsw?recall=0.99", "qdrant-edge"])
def test_engines_score_what_is_kept(
    catalog: Catalog, space: Space, vectors: Floats, units, oracle, index: str
) -> None:
    pytest.importorskip({"q": "qdrant_edge", "f": "faiss", "e": "numpy"}[index[0]])
    collection = made(catalog, space, index=index)
    collection.write(items(vectors))
    oracle.vectors = dict(enumerate(halved(vectors)))
    for query in units(np.random.default_rng(6), 20):
        found = collection.search(Query(joint=query, k=7)).hits
        assert [hit.score for hit in found] == pytest.approx(oracle.search(query, 7), abs=1e-6)
        own = [float(query @ oracle.vectors[KEYS.index(hit.item.id)]) for hit in found]
        assert [hit.score for hit in found] == pytest.approx(own, abs=1e-6)
    collection.close()


def test_half_the_room_and_read_back_alike_by_all(
    catalog: Catalog, space: Space, vectors: Floats, units, tmp_path: Path
) -> None:
    native = units(np.random.default_rng(7), len(KEYS), 4)
    collection = made(catalog, space)
    collection.write(items(vectors, native))
    with closing(sqlite3.connect(tmp_path / "home" / "catalog.db")) as raw:
        sizes = raw.execute(
            "SELECT p.kind, min(length(vector)), max(length(vector)) FROM vectors"
            " JOIN partitions p ON p.id = partition GROUP BY p.kind"
        ).fetchall()
    assert sizes == [("joint", 16, 16), ("native", 8, 8)]
    file = tmp_path / "all.npz"
    collection.export(file)
    with np.load(file) as held:
        np.testing.assert_array_equal(held["vectors"], halved(vectors))
    for kind, kept in ((VectorKind.JOINT, vectors), (VectorKind.NATIVE, native)):
        pieces = collection.pieces_of(KEYS, kind)
        for key, vector in zip(KEYS, halved(kept), strict=True):
            assert collection.vectors_of(key, kind).dtype == np.float32
            np.testing.assert_array_equal(collection.vectors_of(key, kind)[0], vector)
            np.testing.assert_array_equal(pieces[key].vectors[0], vector)
    fragments = {piece.ids[0]: key for key, piece in collection.pieces_of(KEYS).items()}
    for fragment, vector in collection.vectors_of_fragments(fragments).items():
        where = KEYS.index(fragments[fragment])
        np.testing.assert_array_equal(vector, halved(vectors)[where])


def test_what_was_rounded_is_not_lent_to_what_is_exact(
    catalog: Catalog, space: Space, vectors: Floats
) -> None:
    half = made(catalog, space, "half")
    half.write(items(vectors[:1]))
    whole = made(catalog, space, "whole", storage=Storage.FLOAT32)
    assert whole.known_fragments(KEYS[0], IMAGE) is None
    [known] = made(catalog, space, "other").known_fragments(KEYS[0], IMAGE) or []
    np.testing.assert_array_equal(known.joint, halved(vectors)[0])
    half.delete(KEYS[:1])
    whole.write(items(vectors[:1]))
    [known] = half.known_fragments(KEYS[0], IMAGE) or []
    np.testing.assert_array_equal(known.joint, vectors[0])


def test_copies_and_other_spaces_stay_as_they_were_made(
    catalog: Catalog, space: Space, vectors: Floats, units, tmp_path: Path
) -> None:
    collection = made(catalog, space)
    collection.write(items(vectors[:9]))
    home = Home(tmp_path / "home")
    restore_collection(snapshot(home, tmp_path / "snap.tar").path, home, name="copy")
    copy = Collection(catalog, catalog.collection("copy"))
    assert copy.info.storage is Storage.FLOAT16
    np.testing.assert_array_equal(copy.vectors_of(KEYS[8])[0], halved(vectors)[8])
    there = Space(name="keen", revision="1", preprocessing="1", precision="fp32", dim=12)
    shadow = catalog.shadow(collection.info, space=there, chunker="2")
    other = units(np.random.default_rng(8), 9, 12)
    Collection(catalog, shadow).write(items(other))
    assert catalog.replacement(collection.info, shadow).switch(
        settled={}, left=(), failures=(), keep="before"
    )
    for name, kept in (("c", other), ("before", vectors)):
        now = Collection(catalog, catalog.collection(name))
        assert now.info.storage is Storage.FLOAT16
        np.testing.assert_array_equal(now.vectors_of(KEYS[8])[0], halved(kept)[8])
    assert verify(home).findings == []


def test_damage_is_found_and_mended(
    catalog: Catalog, space: Space, vectors: Floats, tmp_path: Path
) -> None:
    made(catalog, space).write(items(vectors[:4]))
    home = Home(tmp_path / "home")
    longer = (vectors[0] * 1.01).astype("<f2").tobytes()
    with closing(sqlite3.connect(home.catalog, isolation_level=None)) as raw:
        raw.execute("UPDATE vectors SET vector = ? WHERE fragment = 1", (longer,))
        raw.execute("UPDATE vectors SET vector = CAST(vector || vector AS BLOB) WHERE fragment = 2")
        raw.execute("UPDATE collections SET storage = 'float8'")
        raw.execute("UPDATE vectors SET vector = zeroblob(16) WHERE fragment = 3")
    assert {finding.code for finding in verify(home).findings} == {"storage"}
    done = repair(home)
    assert done.after.findings == []
    assert sorted((f.code, f.id) for f in done.mended) == [
        ("storage", "c"),
        *(("vector", key) for key in KEYS[:3]),
    ]
    mended = Collection(catalog, catalog.collection("c"))
    np.testing.assert_allclose(mended.vectors_of(KEYS[0])[0], vectors[0], atol=3e-4)
    assert [len(mended.vectors_of(key)) for key in KEYS[:4]] == [1, 0, 0, 1]


def test_a_vector_that_rounding_would_take_from_unit_length_is_refused(
    catalog: Catalog, space: Space
) -> None:
    near = np.full((1, 8), 0.353709, np.float32)  # 1 + 9e-4 squared; as float16 1 + 1.2e-3
    made(catalog, space, "whole", storage=Storage.FLOAT32).write(items(near))
    half = made(catalog, space)
    with pytest.raises(InvalidVector):
        half.write(items(near))
    half.write(items(normalise(near)))
    assert half.counts() == {IMAGE: 1}


def test_collections_from_before_are_float32(tmp_path: Path, vectors: Floats, space: Space) -> None:
    path = tmp_path / "catalog.db"
    older = Database(path, scripts=migrations()[:4])
    with older.writing() as connection:
        connection.execute(
            "INSERT INTO collections (name, space, space_id, chunker, engine, created) VALUES"
            ' (\'c\', \'{"name": "toy", "revision": "1", "preprocessing": "1", "precision":'
            " \"fp32\", \"dim\": 8}', ?, '1', 'exact', '2026')",
            (space.id,),
        )
    older.close()
    with closing(Catalog(path)) as catalog:
        collection = Collection(catalog, catalog.collection("c"))
        assert collection.info.storage is Storage.FLOAT32
        collection.write(items(vectors[:1]))
        np.testing.assert_array_equal(collection.vectors_of(KEYS[0])[0], vectors[0])

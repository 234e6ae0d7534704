"""Hypotheses about records: kept in rows of their own, stale when what they rest on has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embed.errors import Forbidden
from embed.types import Floats, Modality, Origin, Space
from index.catalog import Catalog
from index.collection import Collection
from index.completions import KeptFit
from index.database import Database, migrations
from index.search.query import Query
from index.types import Completion, Source

TEXT, IMAGE, AUDIO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO


@pytest.fixture
def vectors(units) -> Floats:
    return units(np.random.default_rng(0), 4)


@pytest.fixture
def filled(collection: Collection, entry, vectors: Floats) -> Collection:
    """Record `a` is a captioned picture, `b` a picture alone, `c` a sound alone."""
    collection.write(
        [
            entry(vectors[:1], id="a.image", record="a", digest="1"),
            entry(vectors[1:2], id="a.text", record="a", digest="2", modality=TEXT, text="a hat"),
            entry(vectors[2:3], id="b.image", record="b", digest="3"),
            entry(vectors[3:4], id="c.audio", record="c", digest="4", modality=AUDIO),
        ]
    )
    return collection


def supposed(vector: Floats, **fields: object) -> Completion:
    made = Completion(
        record="b",
        modality=TEXT,
        value="a hat",
        vector=vector,
        origin="retrieved",
        sources=(Source("a.text", "a", 1.0),),
        p=0.8,
        method="best",
    )
    return replace(made, **fields)


def kept(collection: Collection, record: str = "b") -> Completion:
    [found] = collection.completions.of_records([record], least=0)[record]
    return found


def test_what_is_put_is_told(filled: Collection, vectors: Floats) -> None:
    assert filled.completions.put([supposed(vectors[1])], fit="f") == 1
    found = kept(filled)
    assert found.created is not None
    assert found.vector is not None
    np.testing.assert_array_equal(found.vector, vectors[1])
    told = replace(supposed(vectors[1]), vector=None)
    assert repr(replace(found, vector=None, created=None)) == repr(told)


def test_a_completion_is_never_an_item(filled: Collection, vectors: Floats) -> None:
    before = filled.counts(), filled.items()[0], filled.paired_records()
    filled.completions.put([supposed(vectors[1], p=1.0)])
    assert (filled.counts(), filled.items()[0], filled.paired_records()) == before
    hits = filled.search(Query(joint=vectors[1], words="hat", k=10)).hits
    assert sorted(hit.item.id for hit in hits) == ["a.image", "a.text", "b.image", "c.audio"]


def test_another_takes_the_place_of_the_one_before(filled: Collection, vectors: Floats) -> None:
    store = filled.completions
    store.put([supposed(vectors[1])])
    first = store.state()
    store.put([supposed(vectors[1], value="a cap"), supposed(vectors[1], method="mean")])
    values = [one.value for one in store.of_records(["b"])["b"]]
    assert sorted(map(str, values)) == ["a cap", "a hat"]
    assert store.count() == 2
    assert store.state() != first


def test_records_that_are_gone_are_passed_over(filled: Collection, vectors: Floats) -> None:
    assert filled.completions.put([supposed(vectors[1], record="nobody")]) == 0
    filled.completions.put([supposed(vectors[1])])
    filled.delete(["b.image"])
    assert filled.completions.count(least=0) == 0


def test_the_unlikely_are_told_to_those_who_ask(filled: Collection, vectors: Floats) -> None:
    store = filled.completions
    store.put([supposed(vectors[1], p=0.2), supposed(vectors[2], record="c", p=0.7)])
    assert set(store.of_records(["b", "c"])) == {"c"}
    assert set(store.of_records(["b", "c"], least=0.1)) == {"b", "c"}
    assert store.count(TEXT) == 1
    assert store.count(IMAGE, least=0) == 0
    found = store.vectors(TEXT, least=0)
    assert list(found.records) == ["b", "c"]
    np.testing.assert_array_equal(found.vectors, vectors[1:3])
    np.testing.assert_allclose(found.p, [0.2, 0.7])
    assert len(store.vectors(TEXT).records) == 1


# Stale


def test_a_source_that_goes_makes_it_stale(filled: Collection, vectors: Floats) -> None:
    filled.completions.put([supposed(vectors[1])])
    assert not kept(filled).stale
    filled.delete(["a.text"])
    assert kept(filled).stale


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("the source has other content", {"id": "a.text", "record": "a", "digest": "new"}),
        ("the source was generated", {"id": "a.text", "origin": Origin.GENERATED, "digest": "2"}),
        ("the record has other content", {"id": "b.image", "record": "b", "digest": "new"}),
        ("the record has more", {"id": "b.audio", "record": "b", "digest": "5"}),
    ],
)
def test_what_changes_makes_it_stale(
    filled: Collection, entry, vectors: Floats, what: str, fields: dict[str, object]
) -> None:
    filled.completions.put([supposed(vectors[1])])
    filled.write([entry(vectors[3:4], **fields)])
    assert kept(filled).stale, what


def test_what_is_noted_of_an_item_leaves_it_fresh(filled: Collection, vectors: Floats) -> None:
    filled.completions.put([supposed(vectors[1])])
    filled.update("a.text", metadata={"year": 2020}, title="other")
    filled.update("b.image", title="other")
    assert not kept(filled).stale


def test_another_space_makes_it_stale_and_leaves_its_vectors_out(
    filled: Collection, catalog: Catalog, space: Space, vectors: Floats
) -> None:
    filled.completions.put([supposed(vectors[1])])
    other = replace(filled.info, space=replace(space, revision="2"))
    moved = Collection(catalog, other)
    assert kept(moved).stale
    assert not moved.completions.vectors(TEXT).records


# What lacks what


def test_records_that_lack_a_modality_come_page_by_page(filled: Collection) -> None:
    gaps = filled.gaps
    first = gaps.lacking(TEXT, limit=1)
    assert list(first.values()) == ["b"]
    assert list(gaps.lacking(TEXT, after=max(first)).values()) == ["c"]
    assert gaps.count(TEXT) == 2
    assert gaps.count(IMAGE) == 1


def test_only_the_observed_pair_up(filled: Collection, entry, vectors: Floats) -> None:
    made = {"modality": TEXT, "origin": Origin.GENERATED}
    filled.write([entry(vectors[:1], id="b.text", record="b", digest="6", **made)])
    assert filled.gaps.paired(TEXT) == ["a"]
    assert filled.gaps.paired(AUDIO) == []


# Forgetting and keeping


def test_forgotten_by_record_and_modality(filled: Collection, vectors: Floats) -> None:
    store = filled.completions
    store.put([supposed(vectors[1]), supposed(vectors[1], record="c")])
    assert store.delete(["b"], modality=IMAGE) == 0
    assert store.delete(["b", "nobody"]) == 1
    assert store.delete() == 1
    assert store.count(least=0) == 0


def test_of_two_collections_each_has_its_own(
    filled: Collection, catalog: Catalog, space: Space, entry, vectors: Floats
) -> None:
    other = Collection(catalog, catalog.create_collection("d", space=space, chunker="whole"))
    other.write([entry(vectors[:1], id="b.image", record="b", digest="3")])
    filled.completions.put([supposed(vectors[1])])
    filled.completions.keep_fit(TEXT, "best", KeptFit("s", 3, "{}"))
    assert other.completions.of_records(["b"], least=0) == {}
    assert other.completions.fits(TEXT) == {}
    assert other.completions.delete() == 0


def test_the_last_fit_is_kept(filled: Collection) -> None:
    store = filled.completions
    store.keep_fit(TEXT, "best", KeptFit("s", 3, "{}"))
    store.keep_fit(TEXT, "best", KeptFit("s", 4, "[]"))
    store.keep_fit(IMAGE, "mean", KeptFit("s", 5, "{}"))
    assert store.fits(TEXT) == {"best": KeptFit("s", 4, "[]")}


def test_a_collection_that_goes_takes_them_with_it(
    filled: Collection, catalog: Catalog, vectors: Floats
) -> None:
    filled.completions.put([supposed(vectors[1])])
    filled.completions.keep_fit(TEXT, "best", KeptFit("s", 3, "{}"))
    catalog.delete_collection("c")
    with catalog._database.reading() as connection:
        for table in ("completions", "completion_sources", "completion_fits"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_nothing_is_kept_where_nothing_may_be_written(
    filled: Collection, catalog: Catalog, vectors: Floats
) -> None:
    filled.completions.put([supposed(vectors[1])])
    reader = Catalog(catalog._database.path, read_only=True)
    shut = Collection(reader, reader.collection("c"))
    assert shut.completions.read_only
    assert kept(shut).value == "a hat"
    with pytest.raises(Forbidden, match="read only"):
        shut.completions.put([supposed(vectors[1])])
    reader.close()


def test_a_catalog_of_before_gets_the_tables(tmp_path: Path, space: Space) -> None:
    path = tmp_path / "old" / "catalog.db"
    Database(path, scripts=migrations()[:3]).close()
    catalog = Catalog(path)
    info = catalog.create_collection("c", space=space, chunker="whole")
    assert Collection(catalog, info).completions.count() == 0
    catalog.close()

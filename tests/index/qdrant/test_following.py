"""Qdrant follows the catalog: vectors, and what is said about items."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qdrant_client", reason="needs crossbind[qdrant]")
pytest.importorskip("qdrant_edge", reason="needs crossbind[qdrant]")


from embed.errors import (
    NotAvailable,
)
from embed.types import Modality
from index import payloads
from index.collection import Collection
from index.metadata.bounds import Op
from index.metadata.filter_text import parse_filter
from index.metadata.filters import And, Has, Not, Predicate
from index.search.query import Query
from index.types import Entry, NewFragment, Where

DIM = 8


def test_what_is_said_follows_the_catalog(process, contents, entry, units) -> None:
    vectors = units(np.random.default_rng(7), 4)
    says = Predicate("year", Op.EQ, 2020)
    with contents.writing() as writing:
        for key, rows in (("a", vectors[:2]), ("b", vectors[2:3]), ("c", vectors[3:])):
            writing.put(entry(rows, id=key, record="r" if key != "c" else "s"))
    one = process()
    query = vectors[0]
    assert one.search(query) == [1, 2, 3, 4]
    assert one.search(query, says) == []
    with contents.writing() as writing:
        writing.update("a", metadata={"year": 2020.0}, title=None)
    assert one.search(query, says) == [1, 2]
    assert one.search(query, Not(says)) == [3, 4]

    with contents.writing() as writing:  # what its record has changes for the others in it
        writing.put(entry(vectors[:1], id="t", record="r", modality=Modality.TEXT))
    assert one.search(query, Has(Modality.TEXT)) == [1, 2, 3]
    with contents.writing() as writing:
        writing.remove("t")
    assert one.search(query, Has(Modality.TEXT)) == []

    with contents.writing() as writing:  # new vectors, old metadata
        writing.put(entry(vectors[:2], id="a", record="r"))
    assert one.search(query, says) == one.search(query, And((says, Not(Has(Modality.TEXT)))))
    assert len(one.search(query, says)) == 2
    assert 1 not in one.search(query)


def test_after_a_large_ingest_the_telling_is_spread_over_searches(
    process, contents, entry, units, monkeypatch
) -> None:
    monkeypatch.setattr(payloads, "_EACH_TIME", 4)
    monkeypatch.setattr(payloads, "_AT_ONCE", 3)
    vectors = units(np.random.default_rng(18), 10)
    with contents.writing() as writing:
        for number, row in enumerate(vectors):
            writing.put(entry(row[None], id=str(number), metadata={"n": 1}))
    one, said = process(), Predicate("n", Op.EQ, 1)
    told = []
    while len(one.engine.silent) or not told:
        one.search(vectors[0])
        told.append(10 - len(one.engine.silent))
        if told == [
            4
        ]:  # of those that change now the first knows the old number, the last one none yet
            with contents.writing() as writing:
                for key in ("0", "9"):
                    writing.update(key, metadata={"n": 2}, title=None)
            by_ids = Where(lambda: np.arange(2, 10), said)
            found = one.engine.search(vectors[:1], 20, by_ids)
            assert np.count_nonzero(found.ids > 0) == 8
    assert told == [4, 8, 10]
    assert one.search(vectors[0], said) == list(range(2, 10))


@pytest.mark.parametrize(
    "opened", ["qdrant:/folder", "qdrant-edge", "qdrant:http"], indirect=True
)  # memory goes with its process
def test_points_that_were_told_nothing_yet_are_told_by_the_next_process(
    process, contents, entry, units, monkeypatch
) -> None:
    vectors = units(np.random.default_rng(8), 3)
    with contents.writing() as writing:
        for row in vectors:
            writing.put(entry(row[None], metadata={"n": 1}))
    first = process()
    said = Predicate("n", Op.EQ, 1)

    def broken(*args: object) -> None:
        raise NotAvailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(payloads, "_put", broken)
        with pytest.raises(NotAvailable):
            first.search(vectors[0], said)
    assert first.engine.silent.tolist() == [1, 2, 3]
    first.engine.close()
    second = process()
    assert second.engine.silent.tolist() == [1, 2, 3]
    assert second.search(vectors[0], said) == [1, 2, 3]
    second.engine.close()
    third = process()
    assert (third.engine.seq, third.engine.said, len(third.engine.silent)) == (1, 1, 0)


def test_a_collection_answers_the_same_from_every_engine(catalog, space, units) -> None:
    vectors, answers = units(np.random.default_rng(15), 60), []
    entries = [
        Entry(
            id=str(i),
            record=str(i // 3),
            modality=(Modality.IMAGE, Modality.TEXT)[i % 2],
            digest="d",
            fragments=[NewFragment(None, vectors[i])],
            metadata={"year": 2000 + i % 20, "tags": ["sky", "sea"][: i % 3]},
        )
        for i in range(60)
    ]
    filters = [
        "year >= 2010 and not tags = 'sea'",
        "has(text) and year = 2003.0",
        "tags in ('sky', 'sea') or year < 2002",
        "not (year > 2005)",
    ]
    for number, address in enumerate(["exact", "qdrant-edge", "qdrant:memory"]):
        info = catalog.create_collection(f"c{number}", space=space, chunker="whole", index=address)
        collection = Collection(catalog, info)
        collection.write(entries)
        queries = [Query(joint=vectors[0], k=9, filter=parse_filter(text)) for text in filters]
        answers.append([collection.search(query).hits for query in queries])
        collection.close()
    for same in zip(*answers, strict=True):
        assert len(same[0]) > 2
        for hits in same:
            assert [hit.item.id for hit in hits] == [hit.item.id for hit in same[0]]
            scores = [hit.score for hit in hits]
            np.testing.assert_allclose(scores, [hit.score for hit in same[0]], atol=1e-6)

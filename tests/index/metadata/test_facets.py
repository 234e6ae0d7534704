"""Counting, faceting, drawing and removing by filter, against counting by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from embed.errors import InvalidQuery
from embed.types import GeoPoint, Modality, Space
from index.catalog import Catalog
from index.contents import Contents
from index.metadata import facets as many
from index.metadata.columns import Columns
from index.metadata.facets import Bin, Facet
from index.metadata.filter_text import parse_filter
from index.types import Entry, NewFragment

VECTOR = np.eye(8, dtype=np.float32)[0]
COUNT = 60


def said(number: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"year": 2000 + number % 5, "size": number / 4}
    metadata["tag"] = ["sea", "sea"] if number % 3 else ["sea", "boat", number % 2 == 0]
    if number % 10 == 0:
        metadata["place"] = GeoPoint(1.0, 2.0)
    return metadata


@pytest.fixture
def contents(catalog: Catalog, space: Space) -> Contents:
    contents = catalog.contents(catalog.create_collection("c", space=space, chunker="whole"))
    with contents.writing() as writing:
        for number in range(COUNT):
            writing.put(
                Entry(
                    id=f"i{number}",
                    modality=Modality.IMAGE if number % 4 else Modality.TEXT,
                    digest="d",
                    metadata=said(number),
                    fragments=[NewFragment(None, VECTOR)],
                )
            )
    return contents


@pytest.fixture
def columns(contents: Contents) -> Columns:
    return Columns(contents)


def test_a_count_is_of_the_items_that_are_meant(columns: Columns) -> None:
    assert many.count(columns) == COUNT
    assert many.count(columns, parse_filter("year = 2001 and tag = 'boat'")) == 4
    assert many.count(columns, parse_filter("never = 1")) == 0


def test_facets_tell_the_most_frequent_values_and_how_many_there_are(columns: Columns) -> None:
    year, tag, modality, place, never = many.facets(
        columns, ["year", "tag", "@modality", "place", "never"], limit=3
    )
    assert year.values == [Facet(2000, 12), Facet(2001, 12), Facet(2002, 12)]
    assert (year.distinct, year.items) == (5, COUNT)
    assert all(type(facet.value) is int for facet in year.values)
    assert tag.values == [Facet("sea", 60), Facet("boat", 20), Facet(False, 10)]
    assert (tag.distinct, tag.items) == (4, COUNT)
    assert modality.values == [Facet("image", 45), Facet("text", 15)]
    assert (place.values, place.distinct, place.items) == ([], 0, 6)
    assert (never.values, never.distinct, never.items, never.bins) == ([], 0, 0, ())
    [narrowed] = many.facets(columns, ["year"], parse_filter("year > 2002 and has(text)"))
    by_hand = Counter(2000 + n % 5 for n in range(0, COUNT, 4) if n % 5 > 2)
    assert dict(narrowed.values) == by_hand


def test_numbers_that_are_too_many_to_list_come_in_bins(columns: Columns) -> None:
    [size] = many.facets(columns, ["size"])
    assert (len(size.values), size.distinct) == (10, COUNT)
    assert (size.bins[0].low, size.bins[-1].high) == (0.0, (COUNT - 1) / 4)
    assert [one.items for one in size.bins] == [6] * 10
    assert size.bins[0] == Bin(0.0, pytest.approx(1.475), 6)
    assert not many.facets(columns, ["year"])[0].bins


def test_whole_numbers_without_end_are_counted_apart(contents: Contents, columns: Columns) -> None:
    with contents.writing() as writing:
        for number, key in enumerate((2**53 + 1, 2**53, 2.0**53, 10**400)):
            writing.update(f"i{number}", metadata={"key": key}, title=None)
    [key] = many.facets(columns, ["key"], limit=1)
    assert (key.values, key.distinct, key.bins) == ([Facet(2**53, 2)], 3, [])


@pytest.mark.parametrize(
    ("fields", "limit", "told"),
    [(["@text"], 10, "match"), ([], 10, "0 fields"), (["year"], 0, "limit is 0")],
)
def test_what_cannot_be_counted_is_told(
    columns: Columns, fields: list[str], limit: int, told: str
) -> None:
    with pytest.raises(InvalidQuery, match=told):
        many.facets(columns, fields, limit=limit)


def test_a_sample_is_random_but_the_same_for_a_seed(contents: Contents, columns: Columns) -> None:
    f = parse_filter("year in (2000, 2001)")
    drawn = many.sample(contents, columns, f, count=10, seed=1)
    assert drawn == many.sample(contents, columns, f, count=10, seed=1)
    assert drawn != many.sample(contents, columns, f, count=10, seed=2)
    assert len({item.id for item in drawn}) == 10
    assert {item.metadata["year"] for item in drawn} == {2000, 2001}
    assert len(many.sample(contents, columns, f, count=1000, seed=1)) == 24
    assert many.sample(contents, columns, parse_filter("never = 1"), count=9, seed=1) == []
    met = Counter(
        item.id
        for seed in range(200)
        for item in many.sample(contents, columns, count=COUNT // 2, seed=seed)
    )
    assert len(met) == COUNT
    assert min(met.values()) > 60  # 100 are expected; 60 is nearly six standard deviations below


def test_deleting_by_filter_takes_those_and_no_others(
    contents: Contents, columns: Columns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "_DELETED", 7)
    f = parse_filter("tag = 'boat'")
    wanted = [f"i{number}" for number in range(0, COUNT, 3)]
    assert many.delete(contents, columns, f) == wanted
    assert many.count(columns, f) == 0
    assert many.count(columns) == COUNT - len(wanted)
    assert many.delete(contents, columns, f) == []


def test_deleting_takes_what_else_a_file_holds(contents: Contents, columns: Columns) -> None:
    with contents.writing() as writing:
        for modality, uri in ((Modality.VIDEO, "file:///v"), (Modality.AUDIO, "file:///v#audio")):
            writing.put(Entry(modality=modality, digest="v", uri=uri, fragments=[], title=uri))
    [gone] = many.delete(contents, columns, parse_filter('@uri = "file:///v"'))
    assert gone
    assert many.count(columns) == COUNT

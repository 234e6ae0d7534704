"""What filters mean, and how they are written: one meaning, two ways, no way to break either."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embed.errors import InvalidQuery
from embed.types import GeoPoint, Item, Modality, Origin
from index.metadata.filter_text import filter_to_text, parse_filter
from index.metadata.filters import (
    And,
    Circle,
    Filter,
    Has,
    Not,
    Op,
    Or,
    Predicate,
    filter_from_json,
    filter_to_json,
    matches,
)

ITEM = Item(
    id="i1",
    record="r1",
    modality=Modality.IMAGE,
    uri=None,
    digest="d",
    title="Ein schöner Tag",
    text="私は猫が好き",
    origin=Origin.GENERATED,
    created="2024-05-01T10:00:00+00:00",
    metadata={
        "year": 2020,
        "aperture": 2.8,
        "flash": True,
        "one": 1,
        "big": 2**53 + 1,
        "tag": ["sea", "boat", 7],
        "none": [],
        "camera": "X100",
        "taken": "2024-05-01T08:00:00Z",
        "place": GeoPoint(52.5, 13.4),
        "my field": "x",
    },
)

TRUE = [
    "year = 2020",
    "year = 2020.0",
    "year == 2020",
    "year != 2021 and year <> 'x'",
    "year >= 2020 and year <= 2020.0 and year > 2019.5 and year < 1e4",
    "year between 2019 and 2021",
    "big > 9007199254740992 and not big = 9007199254740992",
    "flash = true and flash != false and not flash = 1 and not one = true",
    'camera = "X100" and camera = \'X100\' and camera > "A" and not camera = "x100"',
    'tag = "sea" and tag = "boat" and tag = 7 and tag >= 7 and tag > "boa"',
    'tag != "sea" and not not tag != "sea"',
    'tag in ("train", "boat") and tag not in ("train") and year in (1, 2020.0)',
    'taken < "2024-05-01T10:00:01+02:00" and taken >= "2024-05-01 08:00" and taken > "2024-05-01"',
    '@created < "2024-05-01T12:30:00.5+02:00" and @created > "2024-04-30"',
    '@id = "i1" and @record = "r1" and @modality = "image" and @origin = "generated"',
    'match(@title, "TAG, schoner!") and match(@text, "猫") and match(tag, "Boat")',
    "exists(@title) and exists(tag) and exists(place) and not exists(@uri) and not exists(none)",
    "near(place, 52.5, 13.41, 700) and not near(place, 52.5, 13.41, 670)",
    "not near(year, 0, 0, 2e7) and not near(never, 0, 0, 2e7)",
    "has(text) and has('image') and not has(audio)",
    "`my field` = 'x' and not `never said` = 1",
    "true and not false and (false or true)",
]
FALSE = [
    "never = 1",
    "never != 1",
    "never > 1",
    'year = "2020"',
    "none = 1 or none != 1",
    "flash > 0 or flash < 2",
    "place = 1 or place > 0",
    'year > "2019"',
    'camera > "2024-05-01"',
    'match(@title, "schon") or match(@title, "Tag Nacht") or match(@title, "!")',
    '@text = "猫"',
    'taken = "2024-05-01T08:00:00+00:00"',
    "tag in ('train', 8)",
]


@pytest.mark.parametrize(
    ("text", "expected"), [*((t, True) for t in TRUE), *((t, False) for t in FALSE)]
)
def test_what_filters_mean(text: str, expected: bool) -> None:
    has = frozenset({Modality.TEXT, Modality.IMAGE})
    f = parse_filter(text)
    assert matches(f, ITEM, has) is expected
    assert matches(Not(f), ITEM, has) is not expected
    if expected and isinstance(f, And):
        assert all(matches(part, ITEM, has) for part in f.parts)


def test_the_two_ways_of_writing_are_of_one_thing() -> None:
    text = 'year >= 2020 and (camera = "X100" or tag in ("sea", "boat")) and not has(text)'
    wire = {
        "and": [
            {"field": "year", "gte": 2020},
            {"or": [{"field": "camera", "eq": "X100"}, {"field": "tag", "in": ["sea", "boat"]}]},
            {"not": {"has": "text"}},
        ]
    }
    assert parse_filter(text) == filter_from_json(wire)
    assert filter_to_json(parse_filter(text)) == wire
    assert filter_to_text(filter_from_json(wire)) == text
    several = filter_from_json({"field": "year", "gte": 2020, "lt": 2024})
    assert several == parse_filter("year >= 2020 and year < 2024")
    assert filter_from_json({"field": "x", "exists": False}) == Not(Predicate("x", Op.EXISTS))
    place = {"lat": 52.5, "lon": 13.4, "metres": 1000}
    assert filter_from_json({"field": "p", "geo": place}) == parse_filter(
        "near(p, 52.5, 13.4, 1e3)"
    )


# Round trips

names = st.one_of(
    st.text("ab_.:-ä", min_size=1, max_size=4),
    st.text("`a b", min_size=1).filter(lambda name: "`" not in name),
    st.sampled_from(["and", "Not", "@id", "has", "in", "@", "match"]),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.one_of(
    texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)
ordered = st.one_of(texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False))
circles = st.builds(
    Circle,
    st.builds(GeoPoint, st.floats(-90, 90), st.floats(-180, 180)),
    st.floats(0, 1e9),
)
predicates = st.one_of(
    st.builds(Predicate, names, st.sampled_from([Op.EQ, Op.NE]), scalars),
    st.builds(Predicate, names, st.sampled_from([Op.GT, Op.GTE, Op.LT, Op.LTE]), ordered),
    st.builds(
        Predicate, names, st.just(Op.IN), st.lists(scalars, min_size=1, max_size=3).map(tuple)
    ),
    st.builds(Predicate, names, st.just(Op.EXISTS)),
    st.builds(Predicate, names, st.just(Op.MATCH), texts.filter(str.strip)),
    st.builds(Predicate, names, st.just(Op.GEO), circles),
    st.builds(Has, st.sampled_from(Modality)),
)
trees: st.SearchStrategy[Filter] = st.recursive(
    predicates,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple).map(And),
        st.lists(inner, max_size=3).map(tuple).map(Or),
        st.builds(Not, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(trees)
def test_text_and_json_carry_every_filter_there_and_back(f: Filter) -> None:
    assert filter_from_json(json.loads(json.dumps(filter_to_json(f)))) == f
    text = filter_to_text(f)
    tree = parse_filter(text)
    assert filter_from_json(filter_to_json(tree)) == tree
    assert parse_filter(filter_to_text(tree)) == tree


def attempt(read: Callable[[Any], Filter], value: Any) -> tuple[Any, InvalidQuery | None]:
    try:
        return read(value), None
    except InvalidQuery as error:
        return None, error


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text("ab=<>!()\"'`\\,.@0189e+- \n\tandornotinfalsetrue猫", max_size=40))
@example("(" * 5000 + "a = 1")
@example("not " * 5000 + "a = 1")
@example("a = " + "9" * 5000)
@example('"' + "\\" * 999)
def test_whatever_is_typed_is_a_filter_or_a_bad_query(text: str) -> None:
    f, error = attempt(parse_filter, text)
    if error is None:
        assert parse_filter(filter_to_text(f)) == f
    else:
        assert error.param == "filter"
        *_, line, caret = error.message.split("\n")
        assert caret.strip() == "^"
        assert len(line) <= 74


wire = st.recursive(
    st.one_of(st.none(), scalars, st.floats()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["and", "or", "not", "has", "field", *Op, "lat", "lon", "metres", "x"]),
            inner,
            max_size=3,
        ),
    ),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(wire)
def test_whatever_is_sent_is_a_filter_or_a_bad_query(value: Any) -> None:
    f, error = attempt(filter_from_json, value)
    if error is None:
        assert filter_from_json(filter_to_json(f)) == f
    else:
        assert error.param == "filter"
        assert len(error.message) < 400


# Errors


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "character 1: a field is wanted"),
        ("year >", "character 7: a value is wanted"),
        ("year = 3 4", "character 10: and, or, or the end is wanted; here is '4'"),
        ("year is 3", "after the field 'year' one of these is wanted: =, !="),
        ("has(colour)", "no medium is called 'colour'; the choices are: text, image, audio"),
        ("near(a, 100, 0, 5)", "lat within 90"),
        ("near(a, 10, 0)", "near takes a field, lat, lon, metres"),
        ("a > true", "that has none: use eq"),
        ('a = "x', "begins nothing we know"),
        ("a in ()", "a value is wanted"),
        ("a = 1e999", "a finite number is wanted"),
        (" and ".join(["a = 1"] * 2000), "more than 1,000 parts"),
        ('a = "' + "x" * 100_001 + '"', "more than 100,000 characters"),
        (f"{'(' * 33}a = 1{')' * 33}", "more than 32 parts deep"),
    ],
)
def test_a_bad_filter_is_told_where_and_what_is_possible(text: str, told: str) -> None:
    with pytest.raises(InvalidQuery) as error:
        parse_filter(text)
    assert told in error.value.message


def test_the_caret_stands_under_the_place() -> None:
    with pytest.raises(InvalidQuery) as error:
        parse_filter("a = 1 and\nb = 2 or\nc ? 3 and d = 4")
    assert error.value.message.split("\n")[1:] == ["  c ? 3 and d = 4", "    ^"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, 'filter is 3; an object is wanted, as {"field": "year", "gte": 2020}'),
        ({"nor": []}, "filter.nor is nothing we know"),
        ({"and": [], "or": []}, "one of these alone"),
        ({"and": [{"or": {}}]}, "filter.and[0].or is {}; a list of filters is wanted"),
        ({"not": {"has": "smell"}}, "filter.not.has is 'smell'; the choices are: text, image"),
        ({"field": "a"}, "asks nothing of 'a': add one of eq, ne, in"),
        ({"field": "a", "like": 1}, "has 'like'; beside field the choices are: eq, ne, in"),
        ({"field": "a", "in": 3}, "filter.in wants a list"),
        ({"field": "a", "in": [0] * 10_001}, "at most 10,000 values"),
        ({"field": "a", "eq": None}, "where text, a number, true or false is wanted"),
        ({"field": "a", "eq": "\ud800"}, "not valid Unicode"),
        ({"field": "a", "exists": 1}, "true or false is wanted"),
        ({"field": "a", "match": " "}, "wants words"),
        ({"and": [{"has": "text"}] * 1000}, "more than 1,000 parts"),
    ],
)
def test_bad_json_is_told_where_and_what_is_possible(value: Any, told: str) -> None:
    with pytest.raises(InvalidQuery) as error:
        filter_from_json(value)
    assert told in error.value.message
    assert error.value.param == "filter"


def test_no_depth_of_json_is_too_much_for_us() -> None:
    deep: Any = {"has": "text"}
    for _ in range(5_000):
        deep = {"not": deep}
    with pytest.raises(InvalidQuery, match="more than 32 parts deep"):
        filter_from_json(deep)

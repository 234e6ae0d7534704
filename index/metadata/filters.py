"""What may be asked of items besides likeness: predicates joined by and, or, not; what they mean,
and how they are written in JSON.

Two-valued: a predicate on a missing field is false, its negation true. Booleans are not numbers,
2020 equals 2020.0, and a list matches when one of its elements does, so an empty one never does.
A field is a name in the metadata, or one of the item's own: `@id @record @modality @uri @title
@text @origin @created`.

How people write filters is `filter_text.py`; many items are asked at once in `columns.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from embed.errors import InvalidQuery
from embed.types import GeoPoint, Item, Modality
from index.metadata.bounds import Circle, Op, Value, bad_filter, check_scalar, check_value, shown
from index.metadata.values import as_time, is_number, metres_between, same, speaks_of

__all__ = [
    "And",
    "Circle",
    "Filter",
    "Has",
    "Not",
    "Op",
    "Or",
    "Predicate",
    "Value",
    "filter_from_json",
    "filter_to_json",
    "matches",
]

DEPTH = 32  # of parts within parts
PARTS = 1_000
_OWN: Mapping[str, Callable[[Item], str | None]] = {
    "@id": lambda item: item.id,
    "@record": lambda item: item.record,
    "@modality": lambda item: item.modality.value,
    "@uri": lambda item: item.uri,
    "@title": lambda item: item.title,
    "@text": lambda item: item.text,
    "@origin": lambda item: item.origin.value,
    "@created": lambda item: item.created,
}
_FORMS = (
    'as {"field": "year", "gte": 2020}, {"and": [...]}, {"or": [...]}, {"not": ...} or '
    '{"has": "text"}'
)


@dataclass(frozen=True, slots=True)
class Predicate:
    """field: a name in the metadata, or one of the item's own with `@` before it."""

    field: str
    op: Op
    value: Value | tuple[Value, ...] | Circle | None = None


@dataclass(frozen=True, slots=True)
class Has:
    """The record, not the item, has a medium of this modality."""

    modality: Modality


@dataclass(frozen=True, slots=True)
class And:
    """All of them; of none at all, true."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of them; of none at all, false."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


Filter: TypeAlias = Predicate | Has | And | Or | Not

ORDER: Mapping[Op, Callable[[Any, Any], Any]] = {
    Op.GT: operator.gt,
    Op.GTE: operator.ge,
    Op.LT: operator.lt,
    Op.LTE: operator.le,
}


def matches(f: Filter, item: Item, has: frozenset[Modality]) -> bool:
    """The definition: whether an item is meant. Every engine is tested against it.

    has: what media its record has.
    """
    match f:
        case Predicate():
            return any(holds(f, value) for value in values_of(item, f.field))
        case Has(modality):
            return modality in has
        case And(parts):
            return all(matches(part, item, has) for part in parts)
        case Or(parts):
            return any(matches(part, item, has) for part in parts)
        case Not(part):
            return not matches(part, item, has)


def values_of(item: Item, field: str) -> list[Value | GeoPoint]:
    """What an item says under a name: nothing, one thing, or the elements of a list."""
    own = _OWN.get(field)
    value = item.metadata.get(field) if own is None else own(item)
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def holds(predicate: Predicate, value: Value | GeoPoint) -> bool:
    """Whether a predicate is true of one value that is there."""
    bound = predicate.value
    match predicate.op:
        case Op.EXISTS:
            return True
        case Op.EQ:
            return same(value, bound)
        case Op.NE:
            return not same(value, bound)
        case Op.IN:
            return isinstance(bound, tuple) and any(same(value, one) for one in bound)
        case Op.MATCH:
            return isinstance(value, str) and isinstance(bound, str) and speaks_of(value, bound)
        case Op.GEO:
            return isinstance(bound, Circle) and lies_in(bound, value)
        case Op.GT | Op.GTE | Op.LT | Op.LTE as op:
            return _in_order(op, value, bound)


def _in_order(op: Op, value: object, bound: object) -> bool:
    """Numbers by size; where the bound is a time, times by time; other texts by code point."""
    compare = ORDER[op]
    if isinstance(value, str) and isinstance(bound, str):
        when = as_time(bound)
        if when is None:
            return bool(compare(value, bound))
        then = as_time(value)
        return then is not None and bool(compare(then, when))
    return is_number(value) and is_number(bound) and bool(compare(value, bound))


def lies_in(circle: Circle, value: object) -> bool:
    return isinstance(value, GeoPoint) and bool(
        metres_between(np.float64(value.lat), np.float64(value.lon), circle.centre) <= circle.metres
    )


def filter_from_json(value: object) -> Filter:
    """From `{"field": "year", "gte": 2020}` (several in one object must all be true), `{"and":
    [...]}`, `{"or": [...]}`, `{"not": ...}`, `{"has": "text"}`; the place of `geo` is `{"lat",
    "lon", "metres"}`, and `exists` is true or false.

    Raises InvalidQuery that names the part at fault.
    """
    f = _read(value, "filter", 1)
    check_size(f)
    return f


def filter_to_json(f: Filter) -> dict[str, Any]:
    """The inverse of `filter_from_json`."""
    match f:
        case Predicate(field, op, value):
            return {"field": field, op.value: _value_to_json(value)}
        case Has(modality):
            return {"has": modality.value}
        case And(parts):
            return {"and": [filter_to_json(part) for part in parts]}
        case Or(parts):
            return {"or": [filter_to_json(part) for part in parts]}
        case Not(part):
            return {"not": filter_to_json(part)}


def fields_of(f: Filter) -> Iterator[str]:
    """The fields that are asked about, each as often as it is."""
    if isinstance(f, Predicate):
        yield f.field
    for part in _below(f):
        yield from fields_of(part)


def check_size(f: Filter) -> None:
    """Raises InvalidQuery for more parts than anybody means."""
    depths = list(_depths(f, 1))
    if len(depths) > PARTS:
        raise bad_filter(f"has more than {PARTS:,} parts: ask for less at once, or use in")
    if max(depths) > DEPTH:
        raise bad_filter(f"is more than {DEPTH} parts deep: join more in one list")


def _depths(f: Filter, depth: int) -> Iterator[int]:
    """Of all its parts, the outermost first."""
    yield depth
    for part in _below(f):
        yield from _depths(part, depth + 1)


def _below(f: Filter) -> tuple[Filter, ...]:
    return f.parts if isinstance(f, And | Or) else (f.part,) if isinstance(f, Not) else ()


def _read(value: object, at: str, depth: int) -> Filter:
    if depth > DEPTH:
        raise bad_filter(f"is more than {DEPTH} parts deep: join more in one list", at)
    if not isinstance(value, Mapping):
        raise bad_filter(f"is {shown(value)}; an object is wanted, {_FORMS}", at)
    if "field" in value:
        return _read_predicates(value, at)
    if len(value) != 1:
        raise bad_filter(f"has {shown(sorted(map(str, value)))}; one of these alone: {_FORMS}", at)
    ((word, below),) = value.items()
    at = f"{at}.{word}"
    match word:
        case "and" | "or":
            if not isinstance(below, list | tuple):
                raise bad_filter(f"is {shown(below)}; a list of filters is wanted", at)
            parts = tuple(_read(one, f"{at}[{n}]", depth + 1) for n, one in enumerate(below))
            return And(parts) if word == "and" else Or(parts)
        case "not":
            return Not(_read(below, at, depth + 1))
        case "has" if below in list(Modality):
            return Has(Modality(below))
        case "has":
            raise bad_filter(f"is {shown(below)}; the choices are: {', '.join(Modality)}", at)
    raise bad_filter(f"is nothing we know; {_FORMS}", at)


def _read_predicates(value: Mapping[Any, Any], at: str) -> Filter:
    field = value["field"]
    if not isinstance(field, str):
        raise bad_filter(f"is {shown(field)}; a name is wanted", f"{at}.field")
    parts: list[Filter] = []
    for word, bound in value.items():
        if word == "field":
            continue
        if word not in list(Op):
            choices = ", ".join(Op)
            raise bad_filter(f"has {shown(word)}; beside field the choices are: {choices}", at)
        try:
            parts.append(_predicate(field, Op(word), bound))
        except InvalidQuery as error:
            raise bad_filter(error.message.removeprefix("filter "), f"{at}.{word}") from None
    if not parts:
        raise bad_filter(f"asks nothing of {shown(field)}: add one of {', '.join(Op)}", at)
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _predicate(field: str, op: Op, bound: object) -> Filter:
    check_scalar(field)
    if op is not Op.EXISTS:
        return Predicate(field, op, check_value(op, bound))
    if not isinstance(bound, bool):
        raise bad_filter(f"is {shown(bound)}; true or false is wanted")
    return Predicate(field, op) if bound else Not(Predicate(field, op))


def _value_to_json(value: object) -> Any:
    match value:
        case None:
            return True
        case tuple():
            return list(value)
        case Circle(centre, metres):
            return {"lat": centre.lat, "lon": centre.lon, "metres": metres}
    return value

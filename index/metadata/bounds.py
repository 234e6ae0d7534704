"""What stands right of a predicate's operator: values, places, and which of them make sense.

It knows no field and no item.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from embed.errors import InvalidQuery
from embed.types import GeoPoint
from index.metadata.values import is_number

Value: TypeAlias = str | int | float | bool

CHOICES = 10_000  # of one `in`
CHARACTERS = 100_000


class Op(StrEnum):
    """exists takes no value; in takes a tuple; match takes words; geo takes a `Circle`."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EXISTS = "exists"
    MATCH = "match"
    GEO = "geo"


@dataclass(frozen=True, slots=True)
class Circle:
    """Places at most `metres` from `centre`."""

    centre: GeoPoint
    metres: float


def check_value(op: Op, value: object) -> Any:
    """What stands right of `op`, as a `Predicate` holds it. Raises InvalidQuery without a place."""
    match op:
        case Op.IN:
            if not isinstance(value, list | tuple) or len(value) > CHOICES:
                raise bad_filter(f"wants a list of at most {CHOICES:,} values after in")
            return tuple(check_scalar(one) for one in value)
        case Op.MATCH:
            if not isinstance(value, str) or not value.strip():
                raise bad_filter(f"wants words to match, not {shown(value)}")
            return check_scalar(value)
        case Op.GEO:
            return _circle(value)
        case Op.GT | Op.GTE | Op.LT | Op.LTE if isinstance(value, bool):
            raise bad_filter(f"puts {value!r} in an order, and that has none: use eq")
        case _:
            return check_scalar(value)


def bad_filter(problem: str, at: str = "filter") -> InvalidQuery:
    return InvalidQuery(f"{at} {problem}", param="filter")


def check_scalar(value: object) -> Value:
    if not isinstance(value, str | int | float | bool):
        raise bad_filter(f"has {shown(value)} where text, a number, true or false is wanted")
    if isinstance(value, float) and not math.isfinite(value):
        raise bad_filter(f"has {value!r} where a finite number is wanted")
    if isinstance(value, str):
        if len(value) > CHARACTERS:
            raise bad_filter(f"has a text of more than {CHARACTERS:,} characters")
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise bad_filter(f"has {shown(value)}, which is not valid Unicode text")
    return value


def _circle(value: object) -> Circle:
    if isinstance(value, Mapping) and set(value) == {"lat", "lon", "metres"}:
        lat, lon, metres = value["lat"], value["lon"], value["metres"]
        numbers = all(is_number(one) and math.isfinite(one) for one in (lat, lon, metres))
        if numbers and abs(lat) <= 90 and abs(lon) <= 180 and metres >= 0:
            return Circle(GeoPoint(float(lat), float(lon)), float(metres))
    raise bad_filter(
        f"has {shown(value)} for a circle; lat within 90, lon within 180 and metres from 0 on are "
        "wanted"
    )


def shown(value: object) -> str:
    told = repr(value)
    return told if len(told) <= 80 else told[:77] + "..."

"""What is said about an item as a Qdrant payload, and our filters as conditions on it.

`index.metadata.filters.matches` is the definition, and Qdrant's own predicates differ from it in
small ways (a float never equals an integer, `except` of a list, words, the rim of a circle). So a
payload does not hold values but statements about them, each one keyword: `["year",2020]`,
`["year"]` (it has a value), `["title","~","beach"]` (a word in it). Whatever can be asked as "is
this among what is said" needs one keyword index for all fields and is true exactly when the
definition says so. Only orders need more: numbers and times also lie under their field's name, as
doubles.

What cannot be said with the same truth is `None`, and the caller goes by ids: places in a circle,
several words at once, words of scripts without spaces or of an item's `@text` (each of its
fragments would carry all of them), the order of texts that are no times, and bounds from 2^53 on.
It knows no Qdrant library; a `Dialect` has its classes.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypedDict, TypeVar

from embed.types import Item, Modality
from index.metadata.bounds import Op, Value
from index.metadata.filters import And, Filter, Has, Not, Or, Predicate, values_of
from index.metadata.tokens import is_unspaced, words_of_each
from index.metadata.values import as_time, is_number

SAYS = "says"
EXACT = 2.0**53  # below it doubles hold every whole number, so rounding keeps every order

OWN_FIELDS = ("@id", "@record", "@modality", "@uri", "@title", "@text", "@origin", "@created")
_WORDY = ("@title",)  # of these, the words; of the metadata too

_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_LONG = 120  # characters; of a longer statement its digest stands for it
_PLAIN = re.compile(r"(?!x_)[A-Za-z_][A-Za-z0-9_]{0,63}")

Payload = Mapping[str, Any]
C = TypeVar("C")


class Said(TypedDict):
    """The payload of a fragment. says: statements. numbers, times: what has an order, by
    `name_of` a field; times are microseconds since 1970."""

    says: list[str]
    numbers: dict[str, list[float]]
    times: dict[str, list[float]]


class Dialect(Protocol[C]):
    """How one library writes conditions."""

    def says(self, statements: Sequence[str]) -> C:
        """At least one of these is said."""
        ...

    def order(self, path: str, op: Op, bound: float) -> C:
        """At least one number under `path` is greater (or less…) than `bound`."""
        ...

    def all(self, parts: Sequence[C]) -> C: ...

    def any(self, parts: Sequence[C]) -> C:
        """parts: at least one."""
        ...

    def none(self, part: C) -> C: ...

    def ids(self, ids: Sequence[int]) -> C: ...


def payloads_of(items: Sequence[Item], has: Sequence[Iterable[Modality]]) -> list[Said]:
    """What the fragments of each item are told. has: what media its record has."""
    words = _words_of(items)
    return [
        _payload(item, media, words.get(number, {}))
        for number, (item, media) in enumerate(zip(items, has, strict=True))
    ]


def _payload(item: Item, has: Iterable[Modality], words: Mapping[str, set[str]]) -> Said:
    said = Said(says=[_has(modality) for modality in sorted(has)], numbers={}, times={})
    for field in (*OWN_FIELDS, *item.metadata):
        values = values_of(item, field)
        statements = {_is(field, value) for value in values if not isinstance(value, tuple)}
        if values:
            said["says"].append(_exists(field))
        if len(statements) + any(isinstance(value, tuple) for value in values) > 1:
            said["says"].append(_several(field))
        said["says"] += sorted(statements)
        said["says"] += [_word(field, word) for word in sorted(words.get(field, ()))]
        if numbers := [_double(value) for value in values if is_number(value)]:
            said["numbers"][name_of(field)] = numbers
        times = [as_time(value) for value in values if isinstance(value, str)]
        if dated := [float(time) for time in times if time is not None]:
            said["times"][name_of(field)] = dated
    return said


def _words_of(items: Sequence[Item]) -> dict[int, dict[str, set[str]]]:
    """By item and field. All texts at once, which is much faster than one by one."""
    texts = [
        (number, field, value)
        for number, item in enumerate(items)
        for field in (*_WORDY, *item.metadata)
        for value in values_of(item, field)
        if isinstance(value, str)
    ]
    words: dict[int, dict[str, set[str]]] = {}
    for (number, field, _), found in zip(texts, words_of_each(t for *_, t in texts), strict=True):
        words.setdefault(number, {}).setdefault(field, set()).update(found)
    return words


def condition(f: Filter, dialect: Dialect[C]) -> C | None:
    """The filter as one condition, true of exactly the same items; None where there is none."""
    match f:
        case Predicate():
            return _predicate(f, dialect)
        case Has(modality):
            return dialect.says([_has(modality)])
        case Not(part):
            inner = condition(part, dialect)
            return None if inner is None else dialect.none(inner)
        case And(parts) | Or(parts):
            inners = [condition(part, dialect) for part in parts]
            said = [inner for inner in inners if inner is not None]
            if len(said) < len(inners):
                return None
            if isinstance(f, And):
                return dialect.all(said)
            return dialect.any(said) if said else dialect.ids([])


def ordered_paths(said: Said) -> list[str]:
    """Where it has numbers and times."""
    numbers = [f"numbers.{name}" for name in said["numbers"]]
    return numbers + [f"times.{name}" for name in said["times"]]


def name_of(field: str) -> str:
    """A name of a field that needs no quotes in a path."""
    return field if _PLAIN.fullmatch(field) else f"x_{field.encode().hex()}"


def _predicate(f: Predicate, dialect: Dialect[C]) -> C | None:
    match f.op, f.value:
        case Op.EXISTS, _:
            return dialect.says([_exists(f.field)])
        case Op.EQ, str() | int() | float() as value:
            return dialect.says([_is(f.field, value)])
        case Op.IN, tuple() as values:
            statements = [_is(f.field, value) for value in values]
            return dialect.says(statements) if statements else dialect.ids([])
        case Op.NE, str() | int() | float() as value:
            return _other_than(f.field, value, dialect)
        case Op.MATCH, str() as words:
            return _match(f.field, words, dialect)
        case Op.GT | Op.GTE | Op.LT | Op.LTE as op, str() | int() | float() as value:
            return _order(f.field, op, value, dialect)
    return None


def _other_than(field: str, value: Value, dialect: Dialect[C]) -> C:
    """An item that says several things of a field always says another one too."""
    alone = [dialect.says([_exists(field)]), dialect.none(dialect.says([_is(field, value)]))]
    return dialect.any([dialect.says([_several(field)]), dialect.all(alone)])


def _match(field: str, words: str, dialect: Dialect[C]) -> C | None:
    """Several words must stand in the same one of several texts, which statements do not tell."""
    wanted = set(words_of_each([words])[0])
    if not wanted:
        return dialect.ids([])
    silent = field in OWN_FIELDS and field not in _WORDY
    if silent or len(wanted) > 1 or any(map(is_unspaced, wanted)):
        return None
    return dialect.says([_word(field, *wanted)])


def _order(field: str, op: Op, value: Value, dialect: Dialect[C]) -> C | None:
    if isinstance(value, bool):
        return dialect.ids([])
    if isinstance(value, str):
        time = as_time(value)
        if time is None:
            return None
        group, bound = "times", float(time)
    else:
        group, bound = "numbers", _double(value)
    return None if abs(bound) >= EXACT else dialect.order(f"{group}.{name_of(field)}", op, bound)


def _double(value: object) -> float:
    """The nearest; the greatest for what is beyond it."""
    assert isinstance(value, int | float)
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max if value > 0 else -sys.float_info.max


def _is(field: str, value: object) -> str:
    """2020 and 2020.0 make the same statement; true and 1 do not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _statement(field, value)


def _exists(field: str) -> str:
    return _statement(field)


def _several(field: str) -> str:
    return _statement(field, "several", "values")


def _word(field: str, word: str) -> str:
    return _statement(field, "~", word)


def _has(modality: Modality) -> str:
    return _statement("has", "medium", "of", modality.value)


@lru_cache(maxsize=10_000, typed=True)
def _statement(*parts: object) -> str:
    """Texts of different parts are never the same: their number tells the kinds apart."""
    text = _ENCODE(parts)
    if len(text) <= _LONG:
        return text
    return hashlib.sha256(text.encode()).hexdigest()

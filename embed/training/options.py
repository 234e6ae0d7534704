"""Tables of a TOML to dataclasses, and one voice for what is wrong with them.

It knows no option: a dataclass says what it takes, by its annotations, and checks its own ranges.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from embed.errors import BadInput

T = TypeVar("T")
Table = Mapping[str, Any]

_WANTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    tuple: "a list",
}


def fill(cls: type[T], table: Table, name: str) -> T:
    """The dataclass `cls` from the table [name], every key known and every value of its type.

    Fields may be bool, int, float, str, Path, an Enum, a Literal, a tuple, a mapping from texts,
    or one of these or None. Raises BadInput, naming key, value and choices; and what `cls` itself
    has against the values.
    """
    assert dataclasses.is_dataclass(cls)
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    refuse_unknown(table, fields, name)
    for key, field in fields.items():
        if key not in table and field.default is field.default_factory is dataclasses.MISSING:
            raise BadInput(f"[{name}] lacks {key}: add it", param=key)
    values = {key: _fitted(value, hints[key], f"[{name}] {key}") for key, value in table.items()}
    return cls(**values)


def refuse_unknown(table: Table, known: Iterable[str], name: str) -> None:
    """Raises BadInput for a key of the table [name] that is not `known`, naming those that are."""
    known = list(known)
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f". Did you mean {near[0]!r}?" if near else ""
            raise BadInput(
                f"[{name}] has no key {key!r}; the keys are: {', '.join(known)}{hint}", param=key
            )


def at_least(what: str, value: float | None, least: float) -> None:
    """Raises BadInput for a number below `least` (NaN too); None is left alone."""
    if value is not None and not value >= least:
        raise BadInput(f"{what} is {value}; at least {least} is wanted", param=what.split()[-1])


def _fitted(value: Any, kind: Any, what: str) -> Any:
    """`value` as `kind`, the type of a field, wants it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):  # TOML has no null: only the other one is ever written
        some = next(one for one in inner if one is not types.NoneType)
        return None if value is None else _fitted(value, some, what)
    if origin is Literal:
        return _chosen(value, inner, what)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise BadInput(f"{what} is {value!r}; {len(kinds)} values are wanted")
        return tuple(_fitted(one, kind, what) for one, kind in zip(value, kinds, strict=True))
    if origin is not None and isinstance(value, Mapping):
        return {str(key): _fitted(one, inner[1], f"{what}.{key}") for key, one in value.items()}
    return _simple(value, origin or kind, what)


def _simple(value: Any, kind: type[Any], what: str) -> Any:
    if issubclass(kind, Enum):
        return kind(_chosen(value, [one.value for one in kind], what))
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    if kind is float and type(value) is int:
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadInput(f"{what} is {value!r}; {_WANTED.get(kind, 'a table')} is wanted")
    return value


def _chosen(value: Any, choices: Iterable[Any], what: str) -> Any:
    if value not in choices:
        raise BadInput(f"{what} is {value!r}; the choices are: {', '.join(map(str, choices))}")
    return value

"""JSON, JSON lines, and tables of values between commas or tabs: rows to sections of a text.

A row reads as a person would say it, names before values, so that a tower for sentences has
something to hold on to. Every value is written as the file has it: numbers are not rounded.
A file is taken for what its name says when it begins like that (`looks_like_…`); past this, a
broken row is an error that names its line.
JSON is RFC 8259; CSV is RFC 4180 as the standard library reads it, with other delimiters too.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from typing import Any, NamedTuple

from embed.errors import CorruptMedia
from embed.media.compose import Composer
from embed.media.text import characters
from embed.types import Media

MAX_DEPTH = 100
_DELIMITERS = ",;\t|"
_LOOK_AT_ROWS = 50
_WAY_OUT = "mend it, or name it .txt to have it read as it is"


def looks_like_json(text: str) -> bool:
    return text.lstrip()[:1] in {"{", "["}


def looks_like_json_lines(text: str) -> bool:
    """Whether the first line that says something is a whole JSON object or list."""
    first = next((line for line in StringIO(text) if line.strip()), "")
    try:
        return isinstance(_loads(first), dict | list)
    except (ValueError, RecursionError):
        return False


def looks_like_table(text: str) -> bool:
    """Whether most of the first rows have one and the same number of cells."""
    return _first_rows(text, _delimiter(text)).agree > 0.5


def read_json(data: bytes, called: str) -> Media:
    """`name: value` lines; a list of objects is one section a row.

    Raises CorruptMedia, TooLarge.
    """
    try:
        value = _loads(characters(data, called))
    except json.JSONDecodeError as error:
        raise CorruptMedia(
            f"{called} is broken JSON at line {error.lineno:,}, column {error.colno:,} "
            f"({error.msg}): {_WAY_OUT}"
        ) from error
    except RecursionError as error:
        raise CorruptMedia(f"{called} is nested too deeply: {_WAY_OUT}") from error
    composer = Composer(called)
    rows = isinstance(value, list) and any(isinstance(row, dict) for row in value)
    for row in value if rows else [value]:
        composer.add(_lines(row, called))
    return composer.media(sections=rows)


def read_json_lines(data: bytes, called: str) -> Media:
    """One JSON value a line, one section each. Raises CorruptMedia, TooLarge."""
    composer = Composer(called)
    for number, line in enumerate(StringIO(characters(data, called)), 1):
        if not line.strip():
            continue
        try:
            row = _loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            raise CorruptMedia(
                f"{called} is broken at line {number:,}, which is no JSON ({reason}): {_WAY_OUT}"
            ) from error
        composer.add(_lines(row, called))
    return composer.media()


def read_table(data: bytes, called: str) -> Media:
    """`name: value, …`, one section a row; names are the first row's where it has any.

    Cells without a value are left out, cells beyond the header have no name.
    Raises CorruptMedia, TooLarge.
    """
    text = characters(data, called)
    reader = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(text))
    composer = Composer(called)
    names: list[str] | None = None
    try:
        for cells in reader:
            if names is None and any(cells):
                names = [cell.strip() for cell in cells] if _is_header(cells) else []
                if names:
                    continue
            composer.add(_named(names or [], cells), joint=", ")
    except csv.Error as error:
        raise CorruptMedia(
            f"{called} is no table from line {reader.line_num:,} on ({error}); perhaps a "
            f"quotation mark is never closed: {_WAY_OUT}"
        ) from error
    if names and composer.is_empty:  # a header is all there is
        composer.add(names, joint=", ")
    return composer.media()


def _loads(text: str) -> Any:
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


def _lines(value: Any, called: str, path: tuple[str, ...] = (), depth: int = 0) -> Iterator[str]:
    """What is in `value`, a line each, after the names that lead there.

    depth: of `value`; lists count as well, though they have no name.
    """
    if depth > MAX_DEPTH:
        raise CorruptMedia(f"{called} is nested deeper than {MAX_DEPTH} levels: {_WAY_OUT}")
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _lines(inner, called, (*path, name), depth + 1)
    elif isinstance(value, list):
        flat = [_scalar(one) for one in value if not isinstance(one, dict | list)]
        if words := ", ".join(word for word in flat if word):
            yield _line(path, words)
        for inner in value:
            if isinstance(inner, dict | list):
                yield from _lines(inner, called, path, depth + 1)
    elif words := _scalar(value):
        yield _line(path, words)


def _line(path: tuple[str, ...], words: str) -> str:
    return f"{' '.join(path)}: {words}" if path else words


def _scalar(value: object) -> str:
    """null says nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value).strip()


def _named(names: list[str], cells: list[str]) -> Iterator[str]:
    for position, cell in enumerate(cells):
        value = cell.strip()
        name = names[position] if position < len(names) else ""
        if value:
            yield f"{name}: {value}" if name else value


def _is_header(cells: list[str]) -> bool:
    """Names are all different, and none is a number."""
    names = [cell.strip().casefold() for cell in cells]
    return len(set(names)) == len(names) and not any(map(_is_number, names))


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


class _Rows(NamedTuple):
    """Of the first rows: the share that have the commonest number of cells, and that number."""

    agree: float
    cells: int


def _delimiter(text: str) -> str:
    """The one that cuts the first rows most alike; of equals, the one that cuts most."""

    def merit(delimiter: str) -> tuple[float, int]:
        rows = _first_rows(text, delimiter)
        return (rows.agree if rows.cells > 1 else 0.0), rows.cells

    return max(_DELIMITERS, key=merit)


def _first_rows(text: str, delimiter: str) -> _Rows:
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    try:
        cells = Counter(len(row) for row in islice(reader, _LOOK_AT_ROWS) if row)
    except csv.Error:
        return _Rows(0.0, 0)
    if not cells:
        return _Rows(0.0, 0)
    [(commonest, count)] = cells.most_common(1)
    return _Rows(count / cells.total(), commonest)

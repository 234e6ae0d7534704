"""Lines of JSON, JSON documents and Parquet tables as rows that say where they stand.

It knows no question: fields are asked for by type, and what is wrong is told with file and line.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embed.errors import BadInput, MissingDependency, NotFound
from embed.media.source import shown


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one row. where: "file.jsonl line 3". folder: that its paths start from."""

    where: str
    fields: Mapping[str, Any]
    folder: Path

    def error(self, what: str) -> BadInput:
        return BadInput(f"{self.where} {what}")

    def only(self, known: Collection[str]) -> None:
        """Raises BadInput for a field of another name."""
        unknown = sorted(set(self.fields) - set(known))
        if unknown:
            raise self.error(
                f"has a field {unknown[0]!r}; the fields are {', '.join(sorted(known))}"
            )

    def is_null(self, name: str) -> bool:
        return name in self.fields and self.fields[name] is None

    def text(self, name: str) -> str:
        """Words that must be there; a number is taken as its digits."""
        value = self.fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"has no {name!r}: words are wanted, not {value!r}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Words, each with something in it; none where there is nothing."""
        value = self.fields.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
            raise self.error(f"has {name!r} as {value!r}; a list of words is wanted")
        return tuple(value)

    def rows(self, name: str) -> list[Row]:
        """Objects within it; none where there is nothing."""
        value = self.fields.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            raise self.error(f"has {name!r} as {value!r}; a list of objects is wanted")
        return [Row(self.where, v, self.folder) for v in value]

    def medium(self, name: str) -> Path | bytes:
        """A file beside the row's own, which must be there, or bytes within a table."""
        value = self.fields.get(name)
        if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
            return bytes(value["bytes"])
        path = self.folder / (
            self.text(name) if not isinstance(value, dict) else str(value.get("path"))
        )
        if not path.is_file():
            raise self.error(f"names the {name} {shown(path)}, which is not there")
        return path


def rows(path: Path) -> Iterator[Row]:
    """Those of a file of JSON lines (.gz too), of a JSON list, or of a Parquet table.

    Raises NotFound, BadInput with the line at fault, MissingDependency for a table.
    """
    if path.suffix == ".parquet":
        return _of_table(path)
    if path.suffix == ".json":
        return _of_list(path)
    return _of_lines(path)


def document(path: Path) -> Any:
    """A JSON document. Raises NotFound, BadInput."""
    try:
        return json.loads(_read(path))
    except ValueError as error:
        raise BadInput(f"{shown(path)} is no JSON: {error}") from error


def _of_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{shown(path)} line {number}"
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise BadInput(f"{where} is no JSON: {error}") from error
        if not isinstance(fields, dict):
            raise BadInput(f"{where} is no JSON object")
        yield Row(where, fields, path.parent)


def _of_list(path: Path) -> Iterator[Row]:
    entries = document(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadInput(f"{shown(path)} is no list of JSON objects")
    for number, entry in enumerate(entries, start=1):
        yield Row(f"{shown(path)} entry {number}", entry, path.parent)


def _of_table(path: Path) -> Iterator[Row]:
    try:
        import pyarrow.parquet as parquet  # noqa: PLC0415 (loads pyarrow)
    except ImportError as error:
        raise MissingDependency(
            "Parquet is read by pyarrow: pip install 'crossbind[distributed]'"
        ) from error
    number = 0
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(64):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(f"{shown(path)} row {number}", fields, path.parent)
    except FileNotFoundError as error:
        raise NotFound(f"there is no {shown(path)}") from error
    except (OSError, ValueError) as error:  # pyarrow's own are of these
        raise BadInput(f"{shown(path)} is no Parquet table: {error}") from error


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"there is no {shown(path)}") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadInput(f"{shown(path)} cannot be read: {error}") from error

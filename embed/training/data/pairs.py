"""A table as a source: CSV, TSV or JSON lines, whose rows name files and hold texts.

Rows that name the same files are one record with several captions, so that a picture with five
captions in five rows is never in two splits, nor its own negative. The table is read once, its
files when their record is asked for.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path

from embed.errors import BadInput, CorruptMedia, UnsupportedMedia
from embed.media.source import open_regular, shown
from embed.training.data.files import READ, Files, Piece, texts_of
from embed.training.types import Record
from embed.types import Modality

Row = Mapping[str, object]
Named = tuple[tuple[Modality, str], ...]
"""Files, each with what is looked for in it: rows that name the same ones are one record."""


@dataclass(slots=True, kw_only=True, eq=False)
class Pairs(Files):
    """The rows of `path`: a table with a header, or a JSON object a line.

    columns: by modality a column, or a list of them; without any, those that are called as
    modalities are. A column of text holds captions (in JSON lines lists of them, too), any other
    holds paths, which begin at `root`, by default the table's own folder. An empty cell is a medium
    that the row lacks. A row that names no file is left out.
    Raises NotFound, BadInput, UnsupportedMedia, CorruptMedia.
    """

    path: Path
    columns: Mapping[str, object] = field(default_factory=dict)
    root: Path | None = None
    failures: list[str] = field(default_factory=list, init=False)
    _records: list[tuple[Named, tuple[str, ...]]] = field(
        default_factory=list, init=False, repr=False
    )

    def __post_init__(self) -> None:
        Files.__post_init__(self)
        columns, known = self._columns(), dict[str, None]()
        captions: dict[Named, list[str]] = {}
        for line, row in _rows(self.path, self.failures):
            known.update(dict.fromkeys(filter(None, row)))
            named = tuple(
                (modality, name)
                for modality in columns
                if modality is not Modality.TEXT
                for name in _cells(row, columns[modality])
            )
            if named:
                captions.setdefault(named, []).extend(_cells(row, columns.get(Modality.TEXT, ())))
            else:
                self.failures.append(f"{shown(self.path)}, line {line:,}, names no file")
        self._check(columns, known)
        self._records = [(named, tuple(dict.fromkeys(said))) for named, said in captions.items()]
        if not self._records:
            raise BadInput(f"{shown(self.path)} has no row that names a file")

    def __len__(self) -> int:
        return len(self._records)

    def id(self, i: int) -> str:
        return " | ".join(f"{modality}:{name}" for modality, name in self._records[i][0])

    def __getitem__(self, i: int) -> Record:
        named, captions = self._records[i]
        root = self.path.parent if self.root is None else self.root
        pieces = [
            Piece(root / name, shown(root / name), frozenset({modality}))
            for modality, name in named
        ]
        return self.record(self.id(i), pieces, captions)

    def _columns(self) -> dict[Modality, tuple[str, ...]]:
        """By modality that is read, its columns."""
        if not self.columns:
            return {modality: (modality.value,) for modality in self.modalities}
        for name, columns in self.columns.items():
            if name not in READ or not texts_of(columns):
                raise BadInput(
                    f"[data] columns.{name} is {columns!r}; by modality ({', '.join(READ)}) the "
                    "name of a column is wanted, or a list of names",
                    param="columns",
                )
        return {
            modality: tuple(texts_of(self.columns[modality]))
            for modality in self.modalities
            if modality in self.columns
        }

    def _check(self, columns: Mapping[Modality, tuple[str, ...]], known: Iterable[str]) -> None:
        named = [column for some in columns.values() for column in some]
        missing = [column for column in named if column not in known]
        if len(missing) > (len(named) - 2 if not self.columns else 0):
            raise BadInput(
                f"{shown(self.path)} has no column {' or '.join(map(repr, missing))}; its columns "
                f"are: {', '.join(known) or 'none'}. Name the right ones in [data] columns",
                param="columns",
            )


def _cells(row: Row, columns: Iterable[str]) -> list[str]:
    return [text for column in columns for text in texts_of(row.get(column))]


def _rows(path: Path, failures: list[str]) -> Iterator[tuple[int, Row]]:
    """Rows and the lines they end at. A JSON line that is broken is a failure and no more."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UnsupportedMedia(
            f"{shown(path)} is no table of pairs: {', '.join(_READERS)} are read, by name"
        )
    called = shown(path)
    with open_regular(path, called) as file:
        lines = TextIOWrapper(file, encoding="utf-8-sig", newline="")
        try:
            yield from reader(lines, called, failures)
        except UnicodeDecodeError as error:
            raise CorruptMedia(f"{called} is not valid UTF-8 ({error.reason})") from error


def _table(delimiter: str) -> Callable[[TextIOWrapper, str, list[str]], Iterator[tuple[int, Row]]]:
    def read(lines: TextIOWrapper, called: str, _: list[str]) -> Iterator[tuple[int, Row]]:
        rows = csv.DictReader(lines, delimiter=delimiter, restkey="")
        try:
            for row in rows:
                yield rows.line_num, row
        except csv.Error as error:
            raise CorruptMedia(
                f"{called} is no table from line {rows.line_num:,} on ({error}); perhaps a "
                "quotation mark is never closed"
            ) from error

    return read


def _json_lines(
    lines: TextIOWrapper, called: str, failures: list[str]
) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            failures.append(f"{called}, line {number:,}, is no JSON ({error})")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            failures.append(f"{called}, line {number:,}, is no JSON object")


_READERS = {
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}

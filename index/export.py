"""A collection as one file: each fragment with its joint vector and what is said of its item.

    .jsonl    one JSON object a line
    .npz      vectors `(N, D)` float32, fragments `(N,)`, ids `(N,)`, about: the lines of a .jsonl
              without vectors, as bytes; read with numpy alone
    .parquet  a column a field; spans and metadata as JSON text (needs pyarrow)

The file is of one moment, whatever is written meanwhile, and appears when it is whole.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from embed.errors import BadInput, MissingDependency, NotFound
from embed.types import Floats
from index import rows
from index.contents import Contents
from index.disk import explained, publish
from index.types import Ids

FORMATS = ("jsonl", "npz", "parquet")
_CHUNK = 1024  # fragments held at a time

Tell = Callable[[int, int], None]
"""Of how many fragments of all were looked at."""


class _Row(NamedTuple):
    """about: what is said of a fragment and its item, for JSON; vector: `(D,)`."""

    about: dict[str, Any]
    vector: Floats


def export(
    contents: Contents,
    file: Path,
    *,
    items: Ids | None = None,
    tell: Tell = lambda _done, _total: None,
) -> int:
    """Writes `file`, in the format that its name ends in, and returns how many fragments.

    items: these alone, by the catalog's own ids, ascending.
    Raises BadInput for a name that ends in none, NotFound for its folder, MissingDependency,
    Forbidden, StorageFull.
    """
    write = _writer(file)
    if not file.absolute().parent.is_dir():
        raise NotFound(f"{file.parent} is no folder to write {file.name!r} into", param="file")
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        count = write(part, _rows(contents, items, tell), contents.info.space.dim)
        publish(part, file)
    except OSError as error:
        raise explained(error, f"the file {file}") from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _writer(file: Path) -> Callable[[Path, Iterator[_Row], int], int]:
    writers = {"jsonl": _write_jsonl, "npz": _write_npz, "parquet": _write_parquet}
    wanted = file.suffix.removeprefix(".").lower()
    if wanted not in writers:
        raise BadInput(
            f"{file.name!r} ends in no format; the choices are: .{', .'.join(FORMATS)}",
            param="format",
        )
    return writers[wanted]


def _rows(contents: Contents, items: Ids | None, tell: Tell) -> Iterator[_Row]:
    storage = contents.info.storage
    with contents.reading() as connection:
        (total,) = connection.execute(
            "SELECT count(*) FROM vectors v JOIN partitions p ON p.id = v.partition"
            " WHERE p.collection = ? AND p.kind = 'joint'",
            (contents.info.id,),
        ).fetchone()
        found = connection.execute(
            f"SELECT v.vector, i.id, f.id, f.span, {rows.ITEM_COLUMNS} FROM items i"  # noqa: S608 - our own columns
            " JOIN records r ON r.id = i.record JOIN fragments f ON f.item = i.id"
            " JOIN vectors v ON v.fragment = f.id JOIN partitions p ON p.id = v.partition"
            " WHERE i.collection = ? AND p.kind = 'joint' ORDER BY i.id, f.id",
            (contents.info.id,),
        )
        for done, (blob, owner, *fragment) in enumerate(found):
            if done % _CHUNK == 0:
                tell(done, total)
            if items is None or _holds(items, owner):
                yield _Row(_about(fragment), rows.vector_from_blob(blob, storage))
        tell(total, total)


def _holds(items: Ids, owner: int) -> bool:
    at = int(np.searchsorted(items, owner))
    return at < len(items) and int(items[at]) == owner


def _about(row: Sequence[Any]) -> dict[str, Any]:
    fragment, span, *columns = row
    item = rows.item_from_row(tuple(columns))
    return {
        "id": item.id,
        "record": item.record,
        "fragment": fragment,
        "span": None if span is None else json.loads(span),
        "modality": item.modality.value,
        "origin": item.origin.value,
        "digest": item.digest,
        "uri": item.uri,
        "title": item.title,
        "text": item.text,
        "metadata": json.loads(rows.metadata_to_text(item.metadata)),
    }


def _line(about: dict[str, Any]) -> bytes:
    return json.dumps(about, ensure_ascii=False).encode() + b"\n"


def _write_jsonl(part: Path, found: Iterator[_Row], dim: int) -> int:  # noqa: ARG001 - as the others
    count = 0
    with part.open("wb") as file:
        for count, row in enumerate(found, 1):  # noqa: B007 - the last one counts them
            file.write(_line({**row.about, "vector": row.vector.tolist()}))
        _settle(file)
    return count


def _write_npz(part: Path, found: Iterator[_Row], dim: int) -> int:
    """Vectors go to the file as they come; their number is told in front, so it is written last."""
    fragments: list[int] = []
    ids: list[str] = []
    about = io.BytesIO()
    raw = part.with_suffix(".vectors")
    try:
        with raw.open("wb") as vectors:
            for row in found:
                fragments.append(row.about["fragment"])
                ids.append(row.about["id"])
                about.write(_line(row.about))
                vectors.write(row.vector.tobytes())
        shape = (len(ids), dim)
        with part.open("wb") as file:
            with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
                _add(archive, "fragments", np.array(fragments, dtype=np.int64))
                _add(archive, "ids", np.array(ids, dtype=np.str_))
                _add(archive, "about", np.frombuffer(about.getvalue(), dtype=np.uint8))
                held = np.memmap(raw, "<f4", "r", shape=shape) if ids else np.zeros(shape, "<f4")
                _add(archive, "vectors", held)
                del held
            _settle(file)
    finally:
        raw.unlink(missing_ok=True)
    return len(ids)


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray[Any, Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _write_parquet(part: Path, found: Iterator[_Row], dim: int) -> int:
    try:
        import pyarrow as pa  # noqa: PLC0415 (loads pyarrow)
        from pyarrow import parquet  # noqa: PLC0415 (as above)
    except ImportError as error:
        raise MissingDependency(
            "writing .parquet needs pyarrow: pip install pyarrow, or export to .npz or .jsonl"
        ) from error
    texts = ("id", "record", "span", "modality", "origin", "digest", "uri", "title", "text")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in texts),
            ("metadata", pa.string()),
            ("fragment", pa.int64()),
            ("vector", pa.list_(pa.float32(), dim)),
        ]
    )
    count = 0
    with part.open("wb") as file:
        with parquet.ParquetWriter(file, schema) as writer:
            while some := list(islice(found, _CHUNK)):
                writer.write_table(pa.Table.from_pylist([_flat(row) for row in some], schema))
                count += len(some)
        _settle(file)
    return count


def _flat(row: _Row) -> dict[str, Any]:
    span = row.about["span"]
    return {
        **row.about,
        "span": None if span is None else json.dumps(span),
        "metadata": json.dumps(row.about["metadata"], ensure_ascii=False),
        "vector": row.vector.tolist(),
    }


def _settle(file: io.BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())

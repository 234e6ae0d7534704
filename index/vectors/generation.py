"""A sealed base: vectors by id, an approximate index over them and how to search it. Immutable.

It is written into a folder of its own, its manifest last: a folder with a manifest is whole, and
one without is what a build that broke off left behind. FAISS reads a damaged file without a word,
so every file is checked against its SHA-256 before it is mapped. Which folder is the newest, and
who may build, is `index.vectors.shelf`'s to know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats
from index.disk import publish, sha256_of, sync
from index.failpoints import reach
from index.types import Ids
from index.vectors.tuning import Codes, Ranked, Setting, Tuning

MANIFEST = "manifest.json"
_TUNED = "tuned.json"  # by what people asked; it may be written again
_IDS, _VECTORS, _INDEX = "ids.npy", "vectors.npy", "index.faiss"
_COPIED_AT_ONCE = 2**14  # rows
_TABLE = 8  # ids for each row; a table of a wider range would be mostly empty


class Damaged(Exception):
    """A file of a generation is not what was written. Never leaves the engine."""


@dataclass(frozen=True, eq=False)
class Generation:
    """ids: `(N,)` ascending; vectors: `(N, dim)`; seq: of the catalog when this was all there was.

    kind: of `index.vectors.faiss_kinds`. number: higher than those of older ones.
    """

    number: int
    seq: int
    kind: str
    ids: Ids
    vectors: Floats
    index: Ranked
    tuning: Tuning

    def __len__(self) -> int:
        return len(self.ids)

    def positions(self, ids: Ids) -> Ids:
        """Of each of these ascending ids, -1 for one that is not here."""
        if self._table is None:
            at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            return np.where(self.ids[at] == ids, at, -1)
        start, stop = np.searchsorted(ids, [self.ids[0], self.ids[-1] + 1])
        inside: Ids = self._table[ids[start:stop] - self.ids[0]].astype(np.int64)
        if len(inside) == len(ids):
            return inside
        positions = np.full(len(ids), -1, np.int64)
        positions[start:stop] = inside
        return positions

    @cached_property
    def _table(self) -> NDArray[np.int32] | None:
        """Positions by id, from the first id on: ten times quicker than bisection."""
        span = int(self.ids[-1] - self.ids[0]) + 1
        if span > _TABLE * len(self.ids):
            return None
        table = np.full(span, -1, np.int32)
        table[self.ids - self.ids[0]] = np.arange(len(self.ids), dtype=np.int32)
        return table


class Piece(NamedTuple):
    """Rows of a matrix: ids `(N,)`, vectors `(N, dim)`, and ascending positions of those meant."""

    ids: Ids
    vectors: Floats
    rows: Ids


def gathered(pieces: Sequence[Piece], dim: int, folder: Path | None) -> tuple[Ids, Floats]:
    """All rows of the pieces, in the order of ids: in memory, or in a file that is mapped."""
    ids = np.concatenate([piece.ids[piece.rows] for piece in pieces])
    order = np.argsort(ids, kind="stable")
    if folder is None:
        vectors = np.empty((len(ids), dim), np.float32)
        done = 0
        for chunk in _chunks(pieces, order, dim):
            vectors[done : done + len(chunk)] = chunk
            done += len(chunk)
        return ids[order], vectors
    # Written, not mapped: on a full disk a write fails, where a mapped page kills the process.
    with (folder / _VECTORS).open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(ids), dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in _chunks(pieces, order, dim):
            file.write(chunk.data)
    return ids[order], _mapped(folder / _VECTORS)


def _chunks(pieces: Sequence[Piece], order: Ids, dim: int) -> Iterator[Floats]:
    """The rows of all pieces, one piece after the other, in this order."""
    edges = np.cumsum([0, *(len(piece.rows) for piece in pieces)]).tolist()
    for start in range(0, len(order), _COPIED_AT_ONCE):
        some = order[start : start + _COPIED_AT_ONCE]
        chunk = np.empty((len(some), dim), np.float32)
        for piece, first, last in zip(pieces, edges[:-1], edges[1:], strict=True):
            mine = np.flatnonzero((some >= first) & (some < last))
            chunk[mine] = piece.vectors[piece.rows[some[mine] - first]]
        yield chunk


def write(generation: Generation, folder: Path, made_for: dict[str, Any]) -> None:
    """The vectors are in `folder` already; the rest follows, and the manifest last.

    made_for: what the generation is of use for; see `read`.
    """
    with (folder / _IDS).open("wb") as file:
        np.save(file, generation.ids)
    generation.index.save(folder / _INDEX)
    reach("generation.written")
    files = {}
    for name in (_IDS, _VECTORS, _INDEX):
        sync(folder / name)
        files[name] = sha256_of(folder / name)
    manifest = {
        "made_for": made_for,
        "seq": generation.seq,
        "kind": generation.kind,
        "tuning": _told(generation.tuning),
        "sha256": files,
    }
    reach("generation.synced")
    _seal(manifest, folder / MANIFEST)
    reach("generation.sealed")


def tune_anew(tuning: Tuning, folder: Path) -> None:
    """From now on the generation in this folder is read with this tuning. Raises OSError."""
    _seal(_told(tuning), folder / _TUNED)


def read(number: int, folder: Path, made_for: dict[str, Any]) -> Generation:
    """Raises Damaged, also when it was made for something else; OSError, FileNotFoundError."""
    manifest = _sealed(folder / MANIFEST)
    if manifest.get("made_for") != made_for:
        raise Damaged(f"{folder} was made for {manifest.get('made_for')}")
    check(folder)
    try:
        tuning = _sealed(folder / _TUNED)
    except (OSError, Damaged):  # none since it was built, or none to go by
        tuning = manifest["tuning"]
    return Generation(
        number=number,
        seq=manifest["seq"],
        kind=manifest["kind"],
        ids=np.load(folder / _IDS),
        vectors=_mapped(folder / _VECTORS),
        index=_loaded(manifest["kind"], folder / _INDEX),
        tuning=Tuning(
            [Setting(**one) for one in tuning["settings"]],
            tuning["row_seconds"],
            Codes(*tuning["codes"]) if tuning["codes"] else None,
        ),
    )


def check(folder: Path) -> None:
    """Compares all files with the digests they were sealed with. Raises Damaged, OSError."""
    for name, digest in _sealed(folder / MANIFEST)["sha256"].items():
        if sha256_of(folder / name) != digest:
            raise Damaged(f"{folder / name} is not what was written")


def _loaded(kind: str, path: Path) -> Ranked:
    from index.vectors.faiss_kinds import load  # noqa: PLC0415 (loads FAISS)

    try:
        return load(kind, path)
    except RuntimeError as error:  # all that FAISS raises; of another version, say
        raise Damaged(f"{path} cannot be read: {error}") from error


def _told(tuning: Tuning) -> dict[str, Any]:
    return {
        "settings": [setting._asdict() for setting in tuning.settings],
        "row_seconds": tuning.row_seconds,
        "codes": tuning.codes,
    }


def _seal(document: dict[str, Any], path: Path) -> None:
    """Whole or not at all, and with its digest."""
    aside = path.with_name(f".{path.name}")
    body = json.dumps(document, sort_keys=True)
    aside.write_text(json.dumps({"body": body, "sha256": _digest(body)}), encoding="utf-8")
    sync(aside)
    publish(aside, path)


def _sealed(path: Path) -> dict[str, Any]:
    try:
        wrapped = json.loads(path.read_bytes())
        if _digest(wrapped["body"]) == wrapped["sha256"]:
            document: dict[str, Any] = json.loads(wrapped["body"])
            return document
    except (ValueError, KeyError, TypeError):
        pass
    raise Damaged(f"{path} is not what was written")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _mapped(path: Path) -> Floats:
    """A plain array: one of NumPy's `memmap` is as quick to read, but slow to take a part of."""
    return np.asarray(np.load(path, mmap_mode="r"))

"""A disk that has lost its power, from a log of what was done to it (`powerloss.c`).

What a file holds is certain once it was synced; a name, once the folder that holds it was. All
that came after is as the seed has it: nothing of it, all of it, some writes, or parts of writes,
by sectors. Changes to the names in one folder come in order, as journals of file systems have them.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

SECTOR = 512
MODES = ("nothing", "everything", "some", "torn")
Mode = Literal["nothing", "everything", "some", "torn"]


class Record(NamedTuple):
    """One thing that was done. data: of a write; of a rename and a link, the new path."""

    op: str
    path: str
    offset: int
    data: bytes


def read_log(log: Path, root: str) -> list[Record]:
    """Paths are relative to `root`."""
    raw, at, records = log.read_bytes(), 0, []
    while at < len(raw):
        op, length, offset, size = struct.unpack_from("<cIQI", raw, at)
        at += 17
        path = raw[at : at + length].decode()
        data = raw[at + length : at + length + size]
        at += length + size
        kind = op.decode()
        if kind in "rl":
            data = _below(root, data.decode()).encode()
        records.append(Record(kind, _below(root, path), offset, data))
    return records


def _below(root: str, path: str) -> str:
    return str(PurePosixPath(path).relative_to(root))


@dataclass(slots=True, eq=False)
class Node:
    """A file or a folder. pending: what was done to its bytes since it was synced.

    names: of a folder, on the disk; changes: to them since, `(name, node or None)`.
    """

    folder: bool = False
    data: bytearray = field(default_factory=bytearray)
    pending: list[Record] = field(default_factory=list)
    names: dict[str, Node] = field(default_factory=dict)
    changes: list[tuple[str, Node | None]] = field(default_factory=list)

    def now(self) -> dict[str, Node]:
        """The names, as a running process sees them."""
        return changed(self.names, self.changes)


def changed(names: dict[str, Node], changes: list[tuple[str, Node | None]]) -> dict[str, Node]:
    seen = dict(names)
    for name, node in changes:
        if node is None:
            seen.pop(name, None)
        else:
            seen[name] = node
    return seen


class Disk:
    """The state of a disk while the records are taken one by one."""

    def __init__(self) -> None:
        self.root = Node(folder=True)

    def take(self, record: Record) -> None:
        parent, name = self._parent(record.path)
        node = parent.now().get(name) if name else self.root
        if record.op in "cm":
            parent.changes.append((name, Node(folder=record.op == "m")))
        elif record.op == "u":
            parent.changes.append((name, None))
        elif record.op in "rl":
            assert node is not None, record
            other, new = self._parent(record.data.decode())
            if record.op == "r":
                parent.changes.append((name, None))
            other.changes.append((new, node))
        elif node is None:
            return  # unlinked, and still open
        elif record.op == "f":
            self._sync(node)
        else:
            node.pending.append(record)

    def _sync(self, node: Node) -> None:
        if node.folder:
            node.names, node.changes = node.now(), []
        else:
            for record in node.pending:
                apply(node.data, record)
            node.pending = []

    def _parent(self, path: str) -> tuple[Node, str]:
        *folders, name = [part for part in path.split("/") if part not in {"", "."}] or [""]
        node = self.root
        for folder in folders:
            node = node.now()[folder]
        return node, name

    def lose_power(self, mode: Mode, rng: random.Random) -> Iterator[tuple[str, bytes | None]]:
        """The paths that are left, and what the files hold; None for a folder."""
        yield from _left(self.root, "", mode, rng, {})


def _left(
    folder: Node, at: str, mode: Mode, rng: random.Random, seen: dict[int, bytes]
) -> Iterator[tuple[str, bytes | None]]:
    share = {"nothing": 0, "everything": len(folder.changes)}
    count = share.get(mode, rng.randint(0, len(folder.changes)))
    for name, node in sorted(changed(folder.names, folder.changes[:count]).items()):
        path = f"{at}{name}"
        if node.folder:
            yield path, None
            yield from _left(node, f"{path}/", mode, rng, seen)
        else:
            if id(node) not in seen:
                seen[id(node)] = _bytes_left(node, mode, rng)
            yield path, seen[id(node)]


def _bytes_left(node: Node, mode: Mode, rng: random.Random) -> bytes:
    data = bytearray(node.data)
    for record in node.pending:
        if mode == "everything" or (mode == "some" and rng.random() < 0.5):
            apply(data, record)
        elif mode == "torn":
            for piece in _sectors(record):
                if rng.random() < 0.5:
                    apply(data, piece)
    return bytes(data)


def _sectors(record: Record) -> Iterator[Record]:
    if record.op != "w":
        yield record
        return
    start, end = record.offset, record.offset + len(record.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        piece = record.data[start - record.offset : stop - record.offset]
        yield record._replace(offset=start, data=piece)
        start = stop


def apply(data: bytearray, record: Record) -> None:
    """A write or a truncation."""
    if record.op == "t":
        del data[record.offset :]
        data.extend(bytes(record.offset - len(data)))
    else:
        data.extend(bytes(max(0, record.offset - len(data))))
        data[record.offset : record.offset + len(record.data)] = record.data

"""Archives as a source: tar shards whose members share a name but for the ending, as webdataset
has them.

Shards are indexed in one pass over their headers (`embed/media/archive.py`); then every member is
read straight from its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from embed.errors import BadInput, CorruptMedia, NotFound
from embed.media.archive import TarMember, members, ranges
from embed.media.source import check_size, open_regular, shown
from embed.training.data.files import Files, is_captions
from embed.training.types import Record

MAX_MEMBER = 2**30
"""Bytes of one member, which is held whole."""


class _Group(NamedTuple):
    shard: Path
    stem: str
    members: tuple[TarMember, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Tars(Files):
    """The records of `shards`: `train-{0000..0009}.tar`, `train-*.tar`, or one file.

    Captions are as in `folders.Folder`. A shard that is cut short gives what is whole in it; the
    record that it breaks off in is left out. Raises NotFound, BadInput.
    """

    shards: str
    failures: list[str] = field(default_factory=list, init=False)
    _groups: list[_Group] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        Files.__post_init__(self)
        for shard in expanded(self.shards):
            self._groups += _groups(shard, self.failures)
        if not self._groups:
            raise BadInput(f"no record is in {shown(self.shards)}: " + "; ".join(self.failures))

    def __len__(self) -> int:
        return len(self._groups)

    def id(self, i: int) -> str:
        group = self._groups[i]
        return f"{group.shard.name}/{group.stem}"

    def __getitem__(self, i: int) -> Record:
        shard, _, members = self._groups[i]
        called = shown(shard)
        with open_regular(shard, called) as file:
            contents = []
            for name, offset, size in members:
                check_size(size, MAX_MEMBER, f"{called}/{shown(name)}")
                file.seek(offset)
                contents.append((file.read(size), f"{called}/{shown(name)}"))
        return self.together(self.id(i), contents)


def expanded(pattern: str) -> list[Path]:
    """The files that a pattern names, in order. Raises NotFound when one is not there."""
    return [path for name in ranges(pattern) for path in _matching(Path(name).expanduser())]


def _matching(path: Path) -> list[Path]:
    paths = [path] if path.is_file() else sorted(path.parent.glob(path.name))
    if not paths:
        raise NotFound(f"there is no shard {shown(path)}")
    return paths


def _groups(shard: Path, failures: list[str]) -> list[_Group]:
    """The whole records of one shard."""
    found: dict[str, list[TarMember]] = {}
    last = ""
    try:
        for member in _members(shard):
            last = member.stem
            found.setdefault(last, []).append(member)
    except CorruptMedia as error:
        failures.append(error.message)
        found.pop(last, None)
    return [
        _Group(shard, stem, tuple(members))
        for stem, members in found.items()
        if not all(is_captions(member.name) for member in members)
    ]


def _members(shard: Path) -> Iterator[TarMember]:
    """Raises CorruptMedia after the last there is."""
    called = shown(shard)
    with open_regular(shard, called) as file:
        yield from members(file, os.fstat(file.fileno()).st_size, called)

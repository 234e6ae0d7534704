"""Archives as a source: tar shards whose members share a name but for the ending, as webdataset
has them.

Shards are indexed in one pass over their headers; then every member is read straight from its
place. Nothing is unpacked; links, devices and hidden files are left out. The name of a record ends
at the first dot of its file name (webdataset's rule): `a/b.1.jpg` belongs to `a/b`.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from embed.errors import BadInput, CorruptMedia, NotFound
from embed.media.source import check_size, open_regular, shown
from embed.training.data.files import Files, is_captions
from embed.training.types import Record

MAX_MEMBER = 2**30
"""Bytes of one member, which is held whole."""

_BLOCK = tarfile.BLOCKSIZE
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


class _Member(NamedTuple):
    name: str
    offset: int
    size: int

    @property
    def stem(self) -> str:
        folder, slash, name = self.name.rpartition("/")
        return folder + slash + name.partition(".")[0]


class _Group(NamedTuple):
    shard: Path
    stem: str
    members: tuple[_Member, ...]


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
    found = _RANGE.search(pattern)
    if found is None:
        path = Path(pattern).expanduser()
        paths = [path] if path.is_file() else sorted(path.parent.glob(path.name))
        if not paths:
            raise NotFound(f"there is no shard {shown(path)}")
        return paths
    first, last = found.groups()
    return [
        path
        for number in range(int(first), int(last) + 1)
        for path in expanded(
            f"{pattern[: found.start()]}{number:0{len(first)}}{pattern[found.end() :]}"
        )
    ]


def _groups(shard: Path, failures: list[str]) -> list[_Group]:
    """The whole records of one shard."""
    found: dict[str, list[_Member]] = {}
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


def _members(shard: Path) -> Iterator[_Member]:
    """Regular files in the order of the archive. Raises CorruptMedia after the last there is."""
    called = shown(shard)
    with open_regular(shard, called) as file:
        size, end = os.fstat(file.fileno()).st_size, 0
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for info in tar:
                    if info.size < 0:
                        raise CorruptMedia(f"{called} gives {shown(info.name)} a size below 0")
                    end = info.offset_data + info.size
                    if info.isreg() and not info.issparse() and not _hidden(info.name):
                        yield _Member(info.name, info.offset_data, info.size)
                    if end > size:
                        raise CorruptMedia(
                            f"{called} breaks off in the middle of {shown(info.name)}"
                        )
                end = tar.offset
        except tarfile.TarError as error:
            raise _broken(called, end, error) from error
        # tarfile takes whatever is no header for the end: a whole archive ends in zeros.
        file.seek(end)
        if file.read(_BLOCK) != bytes(_BLOCK):
            raise CorruptMedia(f"{called} breaks off after {end:,} bytes: it has no end mark")


def _hidden(name: str) -> bool:
    """As in folders: what macOS puts beside each file (`._a.jpg`) is about nothing."""
    return name.rpartition("/")[2].startswith(".")


def _broken(called: str, end: int, error: tarfile.TarError) -> CorruptMedia:
    if end:
        return CorruptMedia(f"{called} breaks off after {end:,} bytes ({error})")
    return CorruptMedia(
        f"{called} is no plain tar archive ({error}); a compressed one is unpacked first, with "
        "gunzip or the like"
    )

"""Tar archives, read in place: one pass over the headers tells where every member lies.

Nothing is unpacked; links, devices and hidden files are left out, compressed archives refused. The
name of a record ends at the first dot of its file name, as webdataset has it: `a/b.1.jpg` belongs
to `a/b`. It knows no medium and no place but a file that is open.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from embed.errors import BadInput, CorruptMedia
from embed.media.source import shown

MAX_RANGE = 1_000_000

_BLOCK = tarfile.BLOCKSIZE
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


class TarMember(NamedTuple):
    """A regular file of an archive: `size` bytes from `offset` on."""

    name: str
    offset: int
    size: int

    @property
    def stem(self) -> str:
        folder, slash, name = self.name.rpartition("/")
        return folder + slash + name.partition(".")[0]


def members(file: BinaryIO, size: int, called: str) -> Iterator[TarMember]:
    """In the order of the archive, of `size` bytes. Raises CorruptMedia after the last there is."""
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                if info.size < 0:
                    raise CorruptMedia(f"{called} gives {shown(info.name)} a size below 0")
                end = info.offset_data + info.size
                if info.isreg() and not info.issparse() and not _hidden(info.name):
                    yield TarMember(info.name, info.offset_data, info.size)
                if end > size:
                    raise CorruptMedia(f"{called} breaks off in the middle of {shown(info.name)}")
                vars(tar)["members"].clear()  # it would keep every header it has read
            end = tar.offset
    except tarfile.TarError as error:
        raise _broken(called, end, error) from error
    # tarfile takes whatever is no header for the end: a whole archive ends in zeros.
    file.seek(end)
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise CorruptMedia(f"{called} breaks off after {end:,} bytes: it has no end mark")


def ranges(pattern: str) -> list[str]:
    """`a-{08..10}.tar` is `a-08.tar`, `a-09.tar`, `a-10.tar`; without braces it is itself.

    Raises BadInput for more than a million.
    """
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = found.groups()
    if int(last) - int(first) > MAX_RANGE:
        raise BadInput(f"{shown(pattern)} names more than {MAX_RANGE:,} files: name fewer at once")
    return [
        name
        for number in range(int(first), int(last) + 1)
        for name in ranges(
            f"{pattern[: found.start()]}{number:0{len(first)}}{pattern[found.end() :]}"
        )
    ]


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

"""From a path, or from bytes already in hand, to bytes: once, bounded, and never blocking.

Only regular files are read; a pipe or a device would hang the reader or never end. It knows how
people call a source and how the system's refusals read, not what the bytes mean.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from embed.errors import CorruptMedia, Forbidden, NotAvailable, NotFound, TooLarge, UnsupportedMedia
from embed.media.sniff import HEAD
from embed.types import Media, Modality

Openers = Mapping[Modality, Callable[[int], Media]]
"""What a file holds, the main thing first. Nothing is decoded until an opener is called.

The number is `image_side`: the pixels that a picture's shorter side is never shrunk below.
"""

_BLOCK = 2**20
_NO_SUCH_PATH = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


def shown(source: Path | bytes | str, name: str | None = None) -> str:
    """How messages call a source: `name`, else its path, else "the data".

    Always printable and encodable: a byte that is no UTF-8 becomes `\\xNN`, a line break or an
    escape sequence what it is in a Python literal.
    """
    called = name or ("the data" if isinstance(source, bytes) else str(source))
    return "".join(c if c.isprintable() else _escaped(c) for c in called)


def _escaped(character: str) -> str:
    odd_byte = ord(character) - 0xDC00  # how Python keeps a byte of a name that is no UTF-8
    return f"\\x{odd_byte:02x}" if 0x80 <= odd_byte <= 0xFF else ascii(character)[1:-1]


def read_source(source: Path | bytes, called: str, limit_of: Callable[[bytes], int]) -> bytes:
    """All bytes of `source`.

    limit_of: sees the first `HEAD` bytes and says how many there may be; it may raise instead, and
        then nothing more is read.
    Raises CorruptMedia when there are none, TooLarge, NotFound, Forbidden, UnsupportedMedia for
    what is no regular file, NotAvailable when the disk fails.
    """
    if isinstance(source, bytes):
        check_size(len(source), _limit(source[:HEAD], called, limit_of), called)
        return source
    with open_regular(source, called) as file:
        head = file.read(HEAD)
        limit = _limit(head, called, limit_of)
        check_size(os.fstat(file.fileno()).st_size, limit, called)
        data = head + file.read(limit + 1 - len(head))
    check_size(len(data), limit, called)  # it may have grown meanwhile
    return data


def read_head(source: Path | bytes, called: str) -> bytes:
    """The first `HEAD` bytes. Raises what `read_source` raises."""
    if isinstance(source, bytes):
        head = source[:HEAD]
    else:
        with open_regular(source, called) as file:
            head = file.read(HEAD)
    if not head:
        raise CorruptMedia(f"{called} is empty (0 bytes)")
    return head


def digest_of(source: Path | bytes, called: str, limit: int) -> str:
    """SHA-256 in hex of a source of at most `limit` bytes; a file is read block by block.

    Raises TooLarge, and what `open_regular` raises.
    """
    if isinstance(source, bytes):
        check_size(len(source), limit, called)
        return hashlib.sha256(source).hexdigest()
    digest, size = hashlib.sha256(), 0
    with open_regular(source, called) as file:
        check_size(os.fstat(file.fileno()).st_size, limit, called)
        while block := file.read(_BLOCK):
            size += len(block)
            check_size(size, limit, called)  # it may grow meanwhile
            digest.update(block)
    return digest.hexdigest()


def _limit(head: bytes, called: str, limit_of: Callable[[bytes], int]) -> int:
    if not head:
        raise CorruptMedia(f"{called} is empty (0 bytes)")
    return limit_of(head)


def check_size(size: int, limit: int, called: str) -> None:
    """Raises TooLarge."""
    if size > limit:
        raise TooLarge(
            f"{called} has {size:,} bytes; at most {limit:,} are read: make it smaller or split it"
        )


@contextmanager
def open_regular(path: Path, called: str) -> Iterator[BufferedReader]:
    """A regular file, open for reading; anything else is refused without waiting for it.

    Raises UnsupportedMedia, Forbidden, NotFound, NotAvailable.
    """
    try:
        # Asked before opening, because opening a device may already do something to it, and again
        # after it, because the path may have been given to another file meanwhile.
        _check_regular(path.stat(), called)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            _check_regular(os.fstat(descriptor), called)
            yield file
    except PermissionError as error:
        raise Forbidden(
            f"{called} may not be read: permission denied; give this user the right to read it, "
            "for example with chmod u+r"
        ) from error
    except OSError as error:
        if error.errno in _NO_SUCH_PATH:
            raise NotFound(f"{called} is not there: {os.strerror(error.errno)}") from error
        raise NotAvailable(f"{called} could not be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL or a lone surrogate in the path
        raise NotFound(f"{called} is not there: no file can have that name") from error


def _check_regular(status: os.stat_result, called: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsupportedMedia(
            f"{called} is {_file_type(status.st_mode)}; only regular files are read"
        )


def _file_type(mode: int) -> str:
    names = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return names.get(stat.S_IFMT(mode), "no regular file")

"""Where a page of hits ends, as an opaque word that the next page is asked with.

It holds the fragments that were shown and a digest of what was asked. The page after goes on with
the best of what is left, so that nothing is shown twice and nothing lost, whatever is written in
between: what comes in meanwhile shows up on a later page when it is good enough, what was deleted
is passed over. Only an item that was itself written anew may come again.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

from api.requests import SearchRequest, Term
from embed.errors import BadInput, InvalidQuery
from index.search.query import MAX_DEPTH

_DIGEST = 8  # bytes
_MOST = 10 * MAX_DEPTH  # bytes of numbers, each of ten at most


def cursor_after(request: SearchRequest, seen: Iterable[int]) -> str:
    """What to ask the next page of `request` with, when these fragments were shown."""
    numbers = sorted(set(seen))
    steps = b"".join(_varint(after - before) for before, after in pairwise([0, *numbers]))
    return base64.urlsafe_b64encode(_digest(request) + zlib.compress(steps)).decode()


def seen_before(request: SearchRequest) -> frozenset[int]:
    """The fragments that the cursor of a request passes over; none without one.

    Raises BadInput for a word that is none of ours, InvalidQuery for one of another search.
    """
    if request.cursor is None:
        return frozenset()
    if request.offset:
        raise InvalidQuery("give a cursor or an offset, not both", param="offset")
    try:
        raw = base64.b64decode(request.cursor, altchars=b"-_", validate=True)
        numbers = frozenset(_sums(_unpacked(raw[_DIGEST:])))
    except (binascii.Error, ValueError, zlib.error):
        raise BadInput(
            f"cursor {request.cursor[:40]!r} is none of ours: pass the next_cursor of the page "
            "before, as it came",
            param="cursor",
        ) from None
    if raw[:_DIGEST] != _digest(request):
        raise InvalidQuery(
            "the cursor belongs to another search: ask with the query, filter and choices that it "
            "came from; only k and include may change",
            param="cursor",
        )
    return numbers


def _digest(request: SearchRequest) -> bytes:
    """Of everything that decides which hits there are, and in which order."""
    asked = blake2b(digest_size=_DIGEST)
    for term in request.terms:
        asked.update(f"{term.kind} {term.weight!r} ".encode() + _value(term))
    choices = (
        request.collection,
        sorted(request.modalities or ()),
        request.filter,
        request.hybrid,
        request.min_score,
        request.min_probability,
        request.together,
        request.group_by,
        request.collapse,
        request.diversity,
        request.rerank,
        request.strategy,
    )
    asked.update(repr(choices).encode(errors="surrogatepass"))
    return asked.digest()


def _value(term: Term) -> bytes:
    value = term.value
    if isinstance(value, str | Path):
        value = str(value).encode(errors="surrogatepass")
    data = value if isinstance(value, bytes) else value.tobytes()
    return blake2b(data, digest_size=_DIGEST).digest()


def _unpacked(data: bytes) -> bytes:
    """No more than any cursor of ours holds. Raises ValueError for what is not whole."""
    unpacking = zlib.decompressobj()
    steps = unpacking.decompress(data, _MOST)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("it is not whole")
    return steps


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _sums(steps: bytes) -> Iterator[int]:
    total = number = shift = 0
    for byte in steps:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            total += number
            if total >= 2**63:
                raise ValueError("no fragment has such a number")
            yield total
            number = shift = 0
    if shift:
        raise ValueError("it ends in the middle of a number")

"""Server-sent events: the lines of a stream as what each event says.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
It knows neither HTTP nor what events mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from embed.errors import BackendFailed

MAX_EVENT = 2**20
"""Bytes of one event."""


def events(read: Callable[[], bytes]) -> Iterator[str]:
    """The data of each event, as `read` brings bytes, none at the end; comments keep it alive.

    Lines may end in CR, LF or both, and be cut anywhere, within a character too. The last event
    need not be closed, but a line that the end cuts off is left out. Raises BackendFailed for one
    without end.
    """
    data: list[bytes] = []
    for line in _lines(read):
        if not line and data:
            yield b"\n".join(data).decode("utf-8", errors="replace")
            data = []
        elif line.startswith(b"data:"):
            data.append(line.removeprefix(b"data:").removeprefix(b" "))
            if sum(map(len, data)) > MAX_EVENT:
                raise _endless()
    if data:
        yield b"\n".join(data).decode("utf-8", errors="replace")


def _lines(read: Callable[[], bytes]) -> Iterator[bytes]:
    held = b""
    while piece := read():
        held += piece
        cut = held.endswith(b"\r")  # whether an LF belongs to it is not known yet
        lines = held[: len(held) - cut].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        held = lines.pop() + b"\r" * cut
        if len(held) > MAX_EVENT:
            raise _endless()
        yield from lines
    yield from held.replace(b"\r", b"\n").split(b"\n")[:-1]


def _endless() -> BackendFailed:
    return BackendFailed(f"the endpoint sent an event of more than {MAX_EVENT >> 20} MiB")

"""Iterators that block, read in the event loop: each is run by one thread, from first to last.

One thread, because what a generator holds (a lock, a mode of its library) may be that thread's own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing
from functools import partial
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from embed.errors import Overloaded

T = TypeVar("T")

WAITING = 64  # iterators that may wait for a thread
LEAVING_SECONDS = 5.0  # that a piece which is under way is waited for, once nobody wants it


async def in_thread(
    make: Callable[[], Generator[T, None, None]], limiter: CapacityLimiter, *, quiet: float
) -> AsyncGenerator[T | None, None]:
    """The pieces of an iterator as they come, and None when none came for `quiet` seconds.

    limiter: how many run at once; others wait. Closing it closes the iterator at its next piece.
    Raises what the iterator raises, Overloaded when too many wait.
    """
    if limiter.statistics().tasks_waiting >= WAITING:
        raise Overloaded(f"{WAITING} answers wait already, and that is the limit; try again later")
    pieces: asyncio.Queue[T | None] = asyncio.Queue()
    stop = threading.Event()
    loop = asyncio.get_running_loop()

    def put(piece: T) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    working = asyncio.create_task(to_thread.run_sync(_work, make, put, stop, limiter=limiter))
    working.add_done_callback(partial(_ended, pieces))
    try:
        while True:
            piece = await _next(pieces, quiet)
            if piece is None and working.done() and pieces.empty():
                break
            yield piece
        await working
    finally:
        stop.set()
        with CancelScope(shield=True):
            await asyncio.wait([working], timeout=LEAVING_SECONDS)


def _work(
    make: Callable[[], Generator[T, None, None]],
    put: Callable[[T], None],
    stop: threading.Event,
) -> None:
    if stop.is_set():  # nobody waited so long
        return
    with closing(make()) as made:
        for piece in made:
            if stop.is_set():
                return
            put(piece)


def _ended(pieces: asyncio.Queue[T | None], task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # told to whoever still reads; nobody else asks for it
    pieces.put_nowait(None)


async def _next(pieces: asyncio.Queue[T | None], quiet: float) -> T | None:
    try:
        return await asyncio.wait_for(pieces.get(), quiet)
    except TimeoutError:
        return None

"""The engines of one collection: one per partition, opened when first asked, up to date when given.

It knows no engine by name and does not search.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from embed.errors import CrossbindError
from index.contents import Contents, PartitionState
from index.factory import open_index
from index.follower import Follower
from index.types import Partition, Place, VectorIndex

_PROBES = 256

log = logging.getLogger(__name__)


class Engines:
    """Safe to use from several threads."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._followers: dict[Partition, Follower] = {}
        self._lock = threading.Lock()

    def of(self, state: PartitionState) -> VectorIndex:
        """Holding all that was committed up to `state`, by this process or another."""
        with self._lock:
            follower = self._followers.get(state.partition)
            follower = follower or self._begin(state, self._contents.place(state))
        probes = partial(self._contents.probes, state, _PROBES)
        while not follower.follow(self._contents, state, probes):
            follower = self._begin_anew(state, follower)
        return follower.vectors

    def _begin(self, state: PartitionState, place: Place | None) -> Follower:
        engine = open_index(self._contents.info.index, state.dim, place)
        follower = self._followers[state.partition] = Follower(engine)
        return follower

    def _begin_anew(self, state: PartitionState, behind: Follower) -> Follower:
        """One that holds nothing, in the place of one that cannot catch up."""
        place = self._contents.place(state)
        with self._lock:
            if (now := self._followers.get(state.partition)) not in {None, behind}:
                return now
            _drop(behind.vectors)
            _clear(place)
            left = place is not None and place.folder.exists()  # and nothing of it is of use
            return self._begin(state, None if left else place)

    def settle(self) -> None:
        """Waits until every engine has built what it builds in the background."""
        for state in self._contents.partitions():
            settle = getattr(self.of(state), "settle", None)
            if settle is not None:
                settle()

    def close(self) -> None:
        """Lets go of what the engines hold."""
        with self._lock:
            while self._followers:
                self._followers.popitem()[1].vectors.close()


def drop_engines(contents: Contents, had: Sequence[PartitionState] | None = None) -> None:
    """Removes what engines keep elsewhere, on a server for instance, of a collection that is about
    to be deleted, or to have others; or of partitions that it had. What cannot be had now stays,
    and a warning says so."""
    for state in contents.partitions() if had is None else had:
        place = contents.place(state)
        try:
            _drop(open_index(contents.info.index, state.dim, place))
        except CrossbindError as error:
            log.warning("points of %s stay where they are: %s", contents.info.name, error.message)
        _clear(place)


def _drop(engine: VectorIndex) -> None:
    """What it keeps elsewhere; and closes it."""
    with closing(engine):
        drop = getattr(engine, "drop", None)
        if drop is not None:
            drop()


def _clear(place: Place | None) -> None:
    if place is not None:
        shutil.rmtree(place.folder, ignore_errors=True)

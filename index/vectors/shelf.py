"""Where the generations of one engine stand: numbered folders, the highest whole one counts.

Any number of processes read; one at a time builds, under a lock that dies with its holder. A
generation is removed when a newer one stands, which those who have it mapped do not notice. It
knows nothing of what is in a generation.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from embed.errors import Conflict
from embed.types import Floats
from index.disk import alone, make_folder, publish, sync
from index.types import Place
from index.vectors.generation import MANIFEST, Damaged, Generation, read, tune_anew

_ASKED = "asked.npy"
_ATTEMPTS = 3  # as many generations may be removed under our hands

log = logging.getLogger(__name__)


class Shelf:
    """made_for: what tells generations of use from others, as JSON; the place's epoch joins it."""

    def __init__(self, place: Place, made_for: dict[str, Any]) -> None:
        self._folder = place.folder
        self.made_for = {**made_for, "epoch": place.epoch}

    def begin(self) -> Generation | None:
        """The newest of use; those of none are removed, if this process may."""
        if not self._folder.is_dir():
            return None
        try:
            with self.building() as mine:
                base = self.newest()
                if mine:
                    self.keep_only(base.number if base else 0)
                return base
        except OSError as error:
            log.warning("what older indexes left stays where it is: %s", error)
            return self.newest()

    def newest(self, above: int = 0) -> Generation | None:
        """The newest whole one of use whose number is above this one's."""
        for _ in range(_ATTEMPTS):
            try:
                return next(self._of_use(above), None)
            except FileNotFoundError:
                continue
        return None

    @contextmanager
    def building(self) -> Iterator[bool]:
        """Whether this process may build and remove, until the block ends. Raises OSError."""
        make_folder(self._folder, 0o700)
        with ExitStack() as held:
            try:
                held.enter_context(alone(self._folder / "lock", "another process builds"))
                mine = True
            except Conflict:
                mine = False
            yield mine

    def draft(self) -> tuple[int, Path]:
        """The number and the new, empty folder of a generation about to be built."""
        number = max(self._numbers(), default=0) + 1
        folder = self._folder / str(number)
        make_folder(folder, 0o700)
        return number, folder

    def keep_only(self, number: int) -> None:
        """Removes all others, those of no use and what broken builds left behind with them."""
        for other in self._numbers():
            if other != number:
                # Without its manifest it is of no use to anyone, however far the removal comes.
                (self._folder / str(other) / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(self._folder / str(other), ignore_errors=True)

    def keep_tuning(self, base: Generation, asked: Floats) -> None:
        """How this base is searched from now on, and `(Q, dim)` queries for the next one's tuning.

        Raises OSError, also when the base has been removed meanwhile.
        """
        tune_anew(base.tuning, self._folder / str(base.number))
        aside = self._folder / f".{_ASKED}"
        with aside.open("wb") as file:
            np.save(file, asked)
        sync(aside)
        publish(aside, self._folder / _ASKED)

    def asked(self, dim: int) -> Floats:
        """`(Q, dim)` queries that people asked before; none where none are kept."""
        try:
            asked = np.load(self._folder / _ASKED)
        except (OSError, ValueError):  # absent, or damaged: it is of little worth
            asked = np.empty((0, 0))
        if asked.ndim != 2 or asked.shape[1] != dim or not np.isfinite(asked).all():
            return np.empty((0, dim), np.float32)
        return np.asarray(asked, np.float32)

    def _of_use(self, above: int) -> Iterator[Generation]:
        for number in sorted(self._numbers(), reverse=True):
            folder = self._folder / str(number)
            if number <= above or not (folder / MANIFEST).exists():
                continue
            try:
                yield read(number, folder, self.made_for)
            except Damaged as error:
                log.warning("a generation is left out: %s", error)

    def _numbers(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return [int(path.name) for path in self._folder.iterdir() if path.name.isdecimal()]

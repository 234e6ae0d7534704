"""What a service is put together of: settings in, towers, collections and uploads joined.

What few commands need is made when it is first asked for. It does nothing by itself.
All of it blocks and may be called from several threads at once.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from api.blobs import Blobs
from api.config import Settings
from api.exploring import Exploring
from api.fetched import Fetched
from api.jobs import Jobs
from api.previews import Previews
from api.searching import Searching
from api.shelves import Shelves
from api.towers import Towers
from embed.calibration import Calibrations
from embed.errors import Forbidden
from index.catalog import Catalog
from index.keys import Keys

if TYPE_CHECKING:  # they load torch, or what few commands need
    from api.asking import Asking
    from api.evaluation import Evaluation
    from api.evaluation_rag import RagEvaluation

DEFAULT_SPACE = "builtin"


class Parts:
    """What all of a service shares. Cheap to make: models load on first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._started = time.monotonic()
        self._catalog = Catalog(
            settings.home / "catalog.db",
            Keys.of(settings.qdrant_url, settings.qdrant_api_key),
            read_only=settings.read_only,
        )
        fetched = Fetched(settings.cache / "fetched")
        held = self._catalog.holds_upload
        self._blobs = Blobs(
            settings.home / "blobs", held, fetched=fetched, read_only=settings.read_only
        )
        self._towers = Towers(settings)
        self._calibrations = Calibrations(settings.home / "calibrations")
        self._previews = Previews(settings.cache / "previews", at_once=settings.threads)
        self._shelves = Shelves(self._catalog)
        self._searching = Searching(self._shelves, self._towers, self._calibrations)
        self.exploring = Exploring(self._shelves)
        self._lock = threading.Lock()
        self._jobs: Jobs | None = None
        self._asking: Asking | None = None

    @property
    def asking(self) -> Asking:
        """Answers, completions and conversations."""
        from api.asking import Asking  # noqa: PLC0415 (only for those who ask)

        with self._lock:
            self._asking = self._asking or Asking(
                self.settings, self._shelves, self._towers, self._calibrations, self._blobs
            )
            return self._asking

    @property
    def jobs(self) -> Jobs:
        """Work in the background. Not every command needs to open its file. Raises Forbidden."""
        if self.settings.read_only:
            raise Forbidden("this library is open to be read only: there are no jobs")
        with self._lock:
            self._jobs = self._jobs or Jobs(self.settings)
            return self._jobs

    @property
    def evaluation(self) -> Evaluation:
        """Measuring spaces and collections."""
        from api.evaluation import Evaluation  # noqa: PLC0415 (only for those who measure)

        return Evaluation(self._towers, self._calibrations, self._shelves.open)

    @property
    def evaluation_rag(self) -> RagEvaluation:
        """Measuring answers."""
        from api.evaluation_rag import RagEvaluation  # noqa: PLC0415 (only for those who measure)

        return RagEvaluation(self.asking, self._shelves.open)

    def close(self) -> None:
        """Finishes what is under way and lets go of every file."""
        if self._asking is not None:
            self._asking.close()
        self._towers.close()
        self._shelves.close()
        self._catalog.close()
        if self._jobs is not None:
            self._jobs.close()

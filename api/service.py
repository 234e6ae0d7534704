"""The service: one object that does what both doors ask.

Models (`spaces.py`), collections (`keeping.py`) and items (`items.py`) over what they share
(`parts.py`); search and health are here. It holds no logic of search, storage or models itself.
All methods block and may be called from several threads at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from api.items import Items
from api.requests import Health, SearchAnswer, SearchRequest
from api.spaces import Spaces
from embed.errors import CrossbindError


class Service(Spaces, Items):
    """Everything Crossbind does, behind one door. Cheap to make: models load on first use."""

    def search(self, request: SearchRequest) -> SearchAnswer:
        """Raises NotFound for an unknown collection, InvalidQuery for one that asks nothing."""
        return self.search_many([request])[0]

    def search_many(self, requests: Sequence[SearchRequest]) -> list[SearchAnswer]:
        """Searches of one collection, embedded together. Raises what `search` raises."""
        return self._searching.search_many(requests)

    def health(self) -> Health:
        """Tells the truth: a broken tower or catalog makes the service not ready."""
        reasons = []
        count = 0
        try:
            count = len(self._catalog.collections())
        except CrossbindError as error:
            reasons.append(error.message)
        for name, batcher in self._towers.loaded().items():
            state = batcher.health()
            if not state.healthy:
                reasons.append(f"space {name!r}: {state.last_error or 'its workers stopped'}")
        return Health(
            ready=not reasons,
            reasons=reasons,
            uptime_seconds=time.monotonic() - self._started,
            collections=count,
        )

"""Several libraries searched as one: each has a shard of the same collection, in its own folder.

Queries are embedded once. Nothing is written, but for what engines keep beside their own catalogs.
How the answers become one is `index/search/router.py`'s to know.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from api.config import Settings
from api.query import embed_queries
from api.requests import SearchAnswer, SearchRequest
from api.searching import check_probable, query_of
from api.towers import Towers
from embed.calibration import Calibrations
from embed.errors import InvalidQuery, NotFound
from index.catalog import Catalog
from index.collection import Collection
from index.home import Home
from index.keys import Keys
from index.search.router import Router


def search_shards(
    settings: Settings, homes: Sequence[Path], request: SearchRequest
) -> SearchAnswer:
    """The best of all shards. A hit's `collection` is the shard's folder and the name in it, for
    ids are a shard's own.

    Raises NotFound for a folder that is no library or has no such collection, InvalidQuery for what
    shards cannot do, and what a search raises.
    """
    if request.include:
        raise InvalidQuery("shards tell no vectors and contributions: leave include out")
    start = time.perf_counter()
    with ExitStack() as opened:
        shards = [_open(settings, home, request.collection, opened) for home in homes]
        router = opened.enter_context(closing(Router(shards)))
        towers = opened.enter_context(closing(Towers(settings)))
        batcher = towers.of(shards[0].info)
        [vectors] = embed_queries([request.terms], batcher, None)
        embedded = time.perf_counter()
        calibrations = Calibrations(settings.home / "calibrations")
        query = query_of(request, vectors, calibrations.of(shards[0].info.space))
        found = router.search(query)
        ended = time.perf_counter()
    hits = [
        replace(hit, collection=f"{homes[shard]}/{hit.collection}") for shard, hit in found.hits
    ]
    if request.min_probability is not None:
        check_probable(hits, request.min_probability, vectors, shards[0])
    return SearchAnswer(
        query=request.terms,
        hits=hits,
        exact=found.exact,
        recall_estimate=found.recall_estimate,
        timings_ms={
            "embed": (embedded - start) * 1e3,
            "search": (ended - embedded) * 1e3,
            "total": (ended - start) * 1e3,
        },
    )


def _open(settings: Settings, home: Path, name: str, opened: ExitStack) -> Collection:
    path = Home(home).catalog
    if not path.is_file():  # opening would make one
        raise NotFound(f"{home} is no library: there is no catalog in it", param="shards")
    keys = Keys.of(settings.qdrant_url, settings.qdrant_api_key)
    catalog = opened.enter_context(closing(Catalog(path, keys, read_only=settings.read_only)))
    return opened.enter_context(closing(Collection(catalog, catalog.collection(name))))

"""What is in a collection besides what a search finds: counts, samples, reports, and all of it as a
file.

It knows neither HTTP nor terminals; what comes out is shaped for both by the `*_to_json` below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from api.shelves import Shelves
from api.wire import item_to_json
from embed.types import Item, Modality
from index.batch.ingest import Progress
from index.metadata.facets import EVERYTHING, Facets
from index.metadata.filters import Filter
from index.search.survey import ALIKE, Cluster, Outlier, Spot, Twins


class Exploring:
    """Looks into open collections, and changes nothing. Safe to use from several threads.

    Every method raises NotFound for an unknown collection.
    """

    def __init__(self, shelves: Shelves) -> None:
        self._shelves = shelves

    def count(self, collection: str, f: Filter = EVERYTHING) -> int:
        """Items that a filter means."""
        return self._shelves.use(collection, lambda target: target.count(f))

    def facets(
        self, collection: str, fields: Sequence[str], f: Filter = EVERYTHING, *, limit: int = 10
    ) -> list[Facets]:
        """What the items that a filter means say under each name. Raises InvalidQuery."""
        return self._shelves.use(collection, lambda target: target.facets(fields, f, limit=limit))

    def sample(
        self, collection: str, f: Filter = EVERYTHING, *, count: int = 10, seed: int = 0
    ) -> list[Item]:
        """Items drawn at random from those that a filter means; one seed, one draw."""
        return self._shelves.use(
            collection, lambda target: target.sample(f, count=count, seed=seed)
        )

    def export(
        self,
        collection: str,
        file: Path,
        f: Filter | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> int:
        """Writes `file` as `index.export` says. Returns how many fragments."""

        def tell(done: int, total: int) -> None:
            if progress:
                progress(
                    Progress(phase="indexing", done=done, total=total, failed=0, noun="vector")
                )

        return self._shelves.use(collection, lambda target: target.export(file, f=f, tell=tell))

    def duplicates(
        self, collection: str, modality: Modality | None = None, *, least: float = ALIKE
    ) -> list[Twins]:
        """Groups of items that are all but the same. Raises InvalidQuery."""
        return self._shelves.use(
            collection, lambda target: target.survey().duplicates(modality, least=least)
        )

    def clusters(
        self, collection: str, modality: Modality | None = None, *, count: int | None = None
    ) -> list[Cluster]:
        """What belongs together, the largest first. Raises InvalidQuery."""
        return self._shelves.use(
            collection, lambda target: target.survey().clusters(modality, count=count)
        )

    def outliers(
        self, collection: str, modality: Modality | None = None, *, count: int = 20
    ) -> list[Outlier]:
        """What is least like all else. Raises InvalidQuery."""
        return self._shelves.use(
            collection, lambda target: target.survey().outliers(modality, count=count)
        )

    def map(self, collection: str, modality: Modality | None = None) -> list[Spot]:
        """Where items lie in a plane, the like near each other. Raises InvalidQuery."""
        return self._shelves.use(collection, lambda target: target.survey().map(modality))


def facets_to_json(facets: Facets) -> dict[str, Any]:
    return {
        "field": facets.field,
        "values": [facet._asdict() for facet in facets.values],
        "distinct": facets.distinct,
        "items": facets.items,
        "bins": [one._asdict() for one in facets.bins],
    }


def twins_to_json(twins: Twins, collection: str) -> dict[str, Any]:
    items = [item_to_json(item, collection) for item in twins.items]
    return {"cosine": twins.cosine, "items": items}


def cluster_to_json(cluster: Cluster, collection: str) -> dict[str, Any]:
    examples = [item_to_json(item, collection) for item in cluster.examples]
    return {"size": cluster.size, "cosine": cluster.cosine, "examples": examples}


def outlier_to_json(outlier: Outlier, collection: str) -> dict[str, Any]:
    return {"distance": outlier.distance, "item": item_to_json(outlier.item, collection)}


def spot_to_json(spot: Spot) -> dict[str, Any]:
    """Small, as there are thousands: what a dot needs, and what to call it."""
    return {
        "id": spot.item.id,
        "modality": spot.item.modality.value,
        "title": spot.item.title,
        "x": round(spot.x, 4),
        "y": round(spot.y, 4),
        "cluster": spot.cluster,
    }

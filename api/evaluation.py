"""How good a space is on one's own media, and what its cosines mean: `crossbind eval`, `calibrate`.

It joins what a collection holds, or a folder, with `embed.training.evaluate`, which does the
reckoning. Only this file and `training.py` know that room: what others need of it is passed on from
here. It loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from api.towers import Towers
from embed.calibration import Calibration, Calibrations
from embed.training.evaluate import chart
from embed.training.evaluate.calibrate import calibrate
from embed.training.evaluate.library import Library, Progress, Stored, library, no_progress
from embed.training.evaluate.probes import Probed, probe
from embed.training.evaluate.retrieval import Cell, Trained, matrix
from embed.training.evaluate.zero_shot import ZeroShot, read_templates, zero_shot
from embed.types import Origin
from index.collection import Collection
from index.types import VectorKind

__all__ = [
    "Calibrated",
    "Cell",
    "Classified",
    "Evaluation",
    "Probed",
    "Progress",
    "Retrieval",
    "check_plot",
    "no_progress",
    "trained_pairs",
]

PAGE = 1000
check_plot = chart.check


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A space's new calibration, fitted on a collection, and where it is kept."""

    collection: str
    calibration: Calibration
    path: Path

    def to_json(self) -> dict[str, Any]:
        told = {"collection": self.collection, "path": str(self.path)}
        return {**told, **self.calibration.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """The matrix of a collection. calibrated: whether its space has curves at all."""

    collection: str
    space_id: str
    calibrated: bool
    cells: Sequence[Cell]

    def to_json(self) -> dict[str, Any]:
        return {
            "collection": self.collection,
            "space_id": self.space_id,
            "calibrated": self.calibrated,
            "pairs": [cell.to_json() for cell in self.cells],
        }

    def plot(self, path: Path) -> None:
        """R@1 of each pair alone. Raises what `chart.heatmap` does."""
        names = sorted({m for cell in self.cells for m in (cell.pair.query, cell.pair.item)})
        values = np.full((len(names), len(names)), np.nan)
        for cell in self.cells:
            at = names.index(cell.pair.query), names.index(cell.pair.item)
            values[at] = cell.alone.means["R@1"]
        chart.heatmap(
            path, values, rows=names, columns=names, title="R@1", axes=("asked with", "found")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """What a space made of a folder of class folders."""

    space_id: str
    result: ZeroShot

    def to_json(self) -> dict[str, Any]:
        return {"space_id": self.space_id, **self.result.to_json()}

    def plot(self, path: Path) -> None:
        """The confusion of classes, as shares of their files."""
        counts = self.result.confusion
        chart.heatmap(
            path,
            counts / np.maximum(counts.sum(axis=1, keepdims=True), 1),
            rows=self.result.classes,
            columns=self.result.classes,
            title=f"accuracy {self.result.accuracy:.3f}",
            axes=("is", "taken for"),
        )


class Evaluation:
    """What the service measures. opened: collections by name; raises NotFound."""

    def __init__(
        self, towers: Towers, calibrations: Calibrations, opened: Callable[[str], Collection]
    ) -> None:
        self._towers = towers
        self._calibrations = calibrations
        self._opened = opened

    def calibrate(
        self, collection: str, *, seed: int = 0, progress: Progress = no_progress
    ) -> Calibrated:
        """Fits curves on what belongs together in a collection, and keeps them for its space.

        Raises NotFound, BadInput when nothing belongs together.
        """
        target = self._opened(collection)
        space = target.info.space
        found = calibrate(
            _library(target, progress),
            space.id,
            made={"collection": collection, "items": sum(target.counts().values())},
            seed=seed,
            progress=progress,
        )
        path = self._calibrations.keep(found, space)
        return Calibrated(collection=collection, calibration=found, path=path)

    def retrieval(self, collection: str, *, progress: Progress = no_progress) -> Retrieval:
        """Raises NotFound, BadInput when nothing belongs together."""
        target = self._opened(collection)
        space = target.info.space
        known = self._calibrations.of(space)
        cells = matrix(
            _library(target, progress),
            calibration=known,
            trained=trained_pairs(space.name),
            progress=progress,
        )
        return Retrieval(
            collection=collection, space_id=space.id, calibrated=known is not None, cells=cells
        )

    def zero_shot(
        self,
        space: str,
        data: Path,
        *,
        templates: Path | None = None,
        progress: Progress = no_progress,
    ) -> Classified:
        """Raises NotFound, BadInput, UnsupportedModality for a space without words."""
        said = None if templates is None else read_templates(templates)
        batcher = self._towers.get(space)
        result = zero_shot(batcher, data, templates=said, progress=progress)
        return Classified(space_id=batcher.embedder.space.id, result=result)

    def probes(self, space: str) -> dict[str, Probed]:
        """Raises NotFound, UnsupportedModality for a space without words."""
        return probe(self._towers.get(space))


def trained_pairs(space: str) -> Trained | None:
    """The pairs that a trained space learnt, as its manifest has them; None where none are told."""
    family, _, folder = space.partition(":")
    if family != "trained":
        return None
    from embed.backends.trained import manifest  # noqa: PLC0415 (for trained spaces only)
    from embed.training.objective import pairs_of  # noqa: PLC0415 (loads torch)

    made = manifest.read(Path(folder))
    try:
        written = made.made["config"]["objective"].get("pairs", "all")
        return [frozenset(pair) for pair in pairs_of(written, made.parts)]
    except (KeyError, TypeError, AttributeError):  # made by other means than ours
        return None


def _library(collection: Collection, progress: Progress) -> Library:
    return library(_stored(collection, progress))


def _stored(collection: Collection, progress: Progress) -> Iterator[Stored]:
    """Every observed item with its vectors: what was generated is no evidence."""
    total, done = sum(collection.counts().values()), 0
    cursor: str | None = None
    while True:
        items, cursor = collection.items(limit=PAGE, cursor=cursor)
        for item in items:
            progress("item", done, total)
            done += 1
            if item.origin is Origin.OBSERVED:
                native = collection.vectors_of(item.id, VectorKind.NATIVE)
                yield Stored(
                    item.modality,
                    item.record,
                    f"{item.modality} {item.digest}",
                    collection.vectors_of(item.id),
                    native if len(native) else None,
                )
        if cursor is None:
            return

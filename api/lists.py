"""Spaces and collections as tables for people: nouns of the service in, something to print out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from api.requests import CollectionSummary, ModelSummary
from api.shapes import printable


def models(summaries: Sequence[ModelSummary]) -> Table:
    """One line a space: what it reads, and whether it is ready."""
    table = _table("name", "state", "reads", "dim", "licence", "about")
    for model in summaries:
        known = model.capabilities
        reads = ", ".join(sorted(known.modalities)) if known else "?"
        dim = str(known.space.dim) if known else "?"
        licence = known.licence if known else "?"
        about = known.summary if known else model.missing or ""
        table.add_row(model.name, model.state, reads, dim, licence, printable(about))
    return table


def model(summary: ModelSummary) -> Table:
    """One space, in full, and what it lacks."""
    known = summary.capabilities
    rows = {"name": summary.name, "state": summary.state}
    if known:
        native = ", ".join(f"{dim} for {m.value}" for m, dim in sorted(known.native_dims.items()))
        rows |= {
            "about": known.summary,
            "reads": ", ".join(sorted(known.modalities)),
            "dimensions": f"{known.space.dim}" + (f"; of its own: {native}" if native else ""),
            "precision": known.space.precision,
            "preprocessing": known.preprocessing,
            "licence": known.licence,
            "source": known.source,
            "space": known.space.id,
        }
    rows |= {"missing": summary.missing} if summary.missing else {}
    return _rows(rows)


def collections(summaries: Sequence[CollectionSummary]) -> Table:
    """One line a collection."""
    table = _table("name", "space", "index", "items", "failed files", "created")
    for summary in summaries:
        info, failures = summary.info, str(summary.failures)
        table.add_row(
            info.name, info.space.name, info.index, _counts(summary), failures, info.created
        )
    return table


def collection(summary: CollectionSummary) -> Table:
    """One collection, its space in full."""
    info = summary.info
    return _rows(
        {
            "name": info.name,
            "space": f"{info.space.id}, {info.space.dim} dimensions",
            "index": info.index,
            "items": _counts(summary),
            "created": info.created,
        }
    )


def _counts(summary: CollectionSummary) -> str:
    counts = [f"{count} {modality.value}" for modality, count in sorted(summary.counts.items())]
    return ", ".join(counts) or "none"


def _rows(rows: Mapping[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(name, style="dim"), printable(value))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

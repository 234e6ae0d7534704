"""Spaces, collections and jobs as tables for people: nouns in, something to print out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from api.job_types import Job
from api.requests import CollectionSummary, ModelSummary
from api.shapes import moment, printable
from index.search.recall import CUTS, Recall

_CUTS = [f"recall@{k} (change, 95 %)" for k in CUTS]


def models(summaries: Sequence[ModelSummary]) -> Table:
    """One line a space: what it reads, and whether it is ready."""
    table = table_of("name", "state", "reads", "dim", "licence", "about")
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
    table = table_of("name", "space", "index", "items", "failed files", "created")
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
            "storage": info.storage.value,
            "items": _counts(summary),
            "created": info.created,
        }
    )


def jobs(found: Sequence[Job]) -> Table:
    """One line a job."""
    table = table_of("id", "kind", "state", "progress", "began", "ended")
    for one in found:
        began, ended = one.started or "", one.ended or ""
        table.add_row(one.id[:8], one.kind, one.state, _progress(one), began[:19], ended[:19])
    return table


def job(found: Job) -> Table:
    """One job, in full."""
    rows = {
        "id": found.id,
        "kind": found.kind,
        "command": " ".join(found.words),
        "state": found.state.value,
        "progress": _progress(found),
        "attempts": str(found.attempts),
        "created": found.created,
        "began": found.started or "",
        "ended": found.ended or "",
        "error": (found.error or {}).get("message", ""),
        "result": json.dumps(found.result) if found.result else "",
    }
    return _rows({name: value for name, value in rows.items() if value})


def recalls(found: Sequence[Recall]) -> Table:
    """How often the item that belongs to one is found by it, before and after."""
    table = table_of("by", "finding", "questions", *_CUTS)
    for one in found:
        shares = [_change(one, k) for k in CUTS]
        looked_for = one.found.value if one.found else "any"
        table.add_row(one.asked.value, looked_for, str(one.questions), *shares)
    return table


def _change(recall: Recall, k: int) -> str:
    low, high = recall.interval[k]
    change = f"{recall.before[k]:.3f} → {recall.after[k]:.3f}"
    return f"{change} ({low:+.3f} to {high:+.3f})"


def _progress(job: Job) -> str:
    told = job.progress or {}
    if "done" not in told:
        return ""
    left = told.get("seconds_left")
    rest = f", {moment(left)} left" if left and job.state.at_work else ""
    return f"{told.get('phase', '')} {told['done']} of {told.get('total', '?')}{rest}".strip()


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


def table_of(*columns: str) -> Table:
    """Without lines, its columns named."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

"""What was measured, for people: matrices, curves, classes, as tables on a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from api.evaluation import Calibrated, Cell, Classified, Probed, Retrieval
from api.shapes import many, printable
from api.terminal import Terminal
from index.types import Failure

GUESSED = 0.85  # the AUROC below which an ECE says nothing: who always says the same is calibrated


def calibrated(people: Terminal, report: Calibrated) -> None:
    """The curves of a space, and where they are kept."""
    people.out.print(_curves(report))
    people.note(Text(f"* below an AUROC of {GUESSED} an ECE says nothing", style="dim"))
    people.note(f"kept for {report.calibration.space_id} in {people.place(report.path)}")


def retrieval(people: Terminal, report: Retrieval) -> None:
    """The matrix of a collection: alone, then in a mixed gallery."""
    people.out.print(_matrix(report))
    if any(cell.mixed for cell in report.cells):
        people.heading("R@1 in the mixed gallery")
        people.out.print(_mixed(report))
    if not report.calibrated:
        people.note(Text("crossbind calibrate adds ranking by probability", style="dim"))


def classified(people: Terminal, report: Classified) -> None:
    """Classes, the whole, and what could not be read."""
    result = report.result
    low, high = result.interval
    people.out.print(_classes(report))
    people.note(
        f"accuracy {result.accuracy:.3f} [{low:.3f}, {high:.3f}] of "
        f"{many(int(result.confusion.sum()), 'file')}; among the five nearest {result.top5:.3f}"
    )
    people.failures([Failure(uri=s.path, code=s.code, message=s.message) for s in result.skipped])


def probed(people: Terminal, found: Mapping[str, Probed]) -> None:
    """What words cannot tell apart."""
    people.out.print(_probes(found))
    people.note(Text("guessing is right half of the time", style="dim"))


def _curves(report: Calibrated) -> Table:
    """One line a pair: where a match is as probable as not, and how well that is told."""
    table = _table("asked with", "found", "answers", "even at", "AUROC", "ECE", "Brier", "AURC", "")
    for pair, fit in sorted(report.calibration.fits.items()):
        slope, intercept = fit.curve
        usable = fit.refused is None
        table.add_row(
            pair.query.value,
            pair.item.value + (" (native)" if pair.native else ""),
            f"{fit.positives} of {fit.count}",
            f"{-intercept / slope:.3f}" if usable else "",
            _share(fit.auroc),
            _share(fit.ece) + ("" if fit.auroc >= GUESSED else " *"),
            _share(fit.brier),
            _share(fit.aurc),
            Text("" if usable else f"not used: {fit.refused}", style="yellow"),
        )
    return table


def _matrix(report: Retrieval) -> Table:
    """One line a pair."""
    names = ("R@5", "R@10", "MRR", "nDCG@10")
    table = _table(
        "asked with", "found", "queries", "among", "R@1", *names, "median", "hubs", "gap"
    )
    for cell in report.cells:
        alone = cell.alone
        low, high = alone.intervals["R@1"]
        table.add_row(
            *_pair(cell),
            str(alone.queries),
            str(cell.gallery),
            f"{alone.means['R@1']:.3f} [{low:.3f}, {high:.3f}]",
            *(f"{alone.means[name]:.3f}" for name in names),
            f"{alone.median_rank:g}",
            f"{cell.hubness:.1f}",
            "" if cell.gap is None else f"{cell.gap:.2f}",
        )
    return table


def _mixed(report: Retrieval) -> Table:
    """One line a pair: what is left of it among all modalities, by way of ranking."""
    ways = list(dict.fromkeys(way for cell in report.cells for way in cell.mixed))
    table = _table("asked with", "found", "alone", *ways)
    for cell in report.cells:
        told = [cell.alone, *(cell.mixed.get(way) for way in ways)]
        table.add_row(*_pair(cell), *(f"{f.means['R@1']:.3f}" if f else "" for f in told))
    return table


def _pair(cell: Cell) -> tuple[str, str]:
    notes = [name for name, so in (("native", cell.pair.native), ("emergent", cell.emergent)) if so]
    found = cell.pair.item.value
    return cell.pair.query.value, f"{found} ({', '.join(notes)})" if notes else found


def _classes(report: Classified) -> Table:
    """One line a class, and what it is most often taken for."""
    result = report.result
    table = _table("class", "files", "accuracy", "most often taken for")
    for number, (name, accuracy) in enumerate(result.by_class.items()):
        row = result.confusion[number]
        wrong = sorted(((-count, other) for other, count in enumerate(row) if other != number))
        taken = [f"{result.classes[other]} ({-count})" for count, other in wrong[:2] if count]
        table.add_row(
            printable(name),
            str(row.sum()),
            "" if accuracy is None else f"{accuracy:.3f}",
            printable(", ".join(taken)),
        )
    return table


def _probes(found: Mapping[str, Probed]) -> Table:
    """One line a kind, with one that it fell for."""
    table = _table("probe", "told right", "cosine to the other", "for example it took")
    for kind, probed in found.items():
        low, high = probed.interval
        fell = [f"{one.said!r} for {one.other!r}" for one in probed.wrong[:1]]
        told = f"{probed.accuracy:.2f} [{low:.2f}, {high:.2f}]"
        table.add_row(kind, told, f"{probed.confused:.3f}", "".join(fell))
    return table


def _share(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

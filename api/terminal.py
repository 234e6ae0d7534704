"""Output for people: tables, a progress bar, links to files; colours only on a terminal.

It knows the nouns of the service and nothing of commands or flags. Names and texts of a library
may hold anything, escape sequences too, so all of them go through `printable`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from api import lists
from api.job_types import Job
from api.progress import Rate, plain_progress
from api.requests import CollectionSummary, ModelSummary, SearchAnswer
from api.shapes import PARTS, many, marked, pace, place_in, printable, short
from embed.errors import UnsupportedModality
from embed.media.source import shown
from embed.types import Modality
from index.batch.ingest import Progress
from index.batch.walk import path_of
from index.migrate import MigrationReport
from index.types import Failure, Hit, IngestReport

BAR_CELLS = 10
EXCERPT = 160
FAILURE_EXAMPLES = 3
OTHER_SPACES = (
    "to take in what this space does not: crossbind models lists other spaces; give one to a new "
    "collection with crossbind ingest --collection NAME --space SPACE"
)

TRAINED = "bring a collection into it: crossbind collections migrate NAME --space {space}"
NOT_SWITCHED = (
    "{name!r} stays in space {space}, because these could not be embedded: mend them and run this "
    "again, or leave them behind with --drop; what is done stays"
)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # what to do about it is the command line's to say


class Terminal:
    """Tables to stdout, progress to stderr."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.out = _Console(highlight=False, emoji=False, markup=False)
        self.err = _Console(stderr=True, highlight=False, emoji=False, markup=False)

    def note(self, text: str | Text = "") -> None:
        """A line that a quiet run leaves out."""
        if not self.quiet:
            self.out.print(text, soft_wrap=True)

    def heading(self, text: str) -> None:
        """A line that stands out."""
        self.out.print(Text(printable(text), style="bold cyan"))

    def place(self, folder: Path) -> str:
        """A folder as it is called from where we are."""
        here = Path.cwd()
        return shown(folder.relative_to(here) if folder.is_relative_to(here) else folder)

    # Search

    def answer(self, answer: SearchAnswer, *, places: bool = True) -> None:
        """Hits, best first, and where the time went. places: folders too, not only file names."""
        if not answer.hits:
            self.note("nothing found: the collection holds no such items")
            return
        table = Table(box=None, padding=(0, 1), show_header=False, pad_edge=False)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, min_width=7)
        table.add_column(overflow="fold")
        for rank, hit in enumerate(answer.hits, start=1):
            bar, kind = score_bar(hit.score, hit.probability), marked(hit.item.modality)
            table.add_row(str(rank), bar, kind, self.found(hit, places=places))
        self.out.print(table)
        self.note(Text(_timings(answer), style="dim"))

    def found(self, hit: Hit, *, places: bool = True) -> Text:
        """What was found: its name, where in it, and what it says there."""
        item = hit.item
        path = path_of(item.uri) if item.uri else None
        found = Text()
        if path and places:
            found.append(printable(self.place(path.parent)) + os.sep, style="dim")
        name = shown(path.name) if path else item.title or item.uri or item.id
        found.append(printable(name), style="bold")
        if path:
            found.stylize(f"link {item.uri}")
        where = place_in(hit.span)
        if where:
            found.append(f"  {where}", style="cyan")
        others = [place_in(moment.span) for moment in hit.moments[1:]]
        if any(others):
            found.append(f", {', '.join(filter(None, others))}", style="cyan")
        if hit.group_size is not None and hit.group_size > 1:
            found.append(f"  +{hit.group_size - 1}", style="dim")
        if hit.text:
            found.append("\n" + short(printable(hit.text), EXCERPT))
        return found

    # Ingest

    @contextmanager
    def ingest_progress(self) -> Iterator[Callable[[Progress], None] | None]:
        """A callback for `Service.ingest`: a bar on a terminal, else a line now and then."""
        if self.quiet:
            yield None
        elif not self.err.is_terminal:
            yield plain_progress(sys.stderr)
        else:
            with _bar(self.err) as bar:
                yield _Follower(bar)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """A spinner while something slow goes on."""
        if self.quiet:
            yield
        elif not self.err.is_terminal:
            self.err.print(what)
            yield
        else:
            with self.err.status(what):
                yield

    def report(self, report: IngestReport, collection: str) -> None:
        """What became of the files; failures by kind, with examples."""
        counts = [
            f"{count} {what}"
            for count, what in (
                (report.unchanged, "unchanged"),
                (report.moved, "moved"),
                (report.pruned, "pruned"),
                (report.failed, "failed"),
            )
            if count
        ]
        rate = f" ({pace(report.items_per_second)})" if report.ingested else ""
        rest = f"; {', '.join(counts)}" if counts else ""
        self.note(
            f"{_files(report.ingested)} indexed into {collection!r} "
            f"in {report.seconds:.1f} s{rate}{rest}"
        )
        if report.left_out:
            self.note(Text(_left_out(report.left_out), style="yellow"))
        if not self.quiet:
            self.failures(report.failures)
        refused = any(failure.code == UnsupportedModality.code for failure in report.failures)
        if refused or report.left_out:
            self.note(Text(OTHER_SPACES, style="dim"))

    def failures(self, failures: Sequence[Failure]) -> None:
        """By code, most frequent first: a few examples of each, or all when verbose."""
        by_code = sorted(failures, key=lambda failure: failure.code)
        groups = [list(group) for _, group in groupby(by_code, key=lambda failure: failure.code)]
        for group in sorted(groups, key=len, reverse=True):
            self.out.print(Text(f"{_files(len(group))}: {group[0].code}", style="yellow"))
            told = group if self.verbose else group[:FAILURE_EXAMPLES]
            for failure in told:
                self.out.print(Text(f"  {printable(failure.message)}"), soft_wrap=True)
            if len(told) < len(group):
                self.out.print(f"  and {len(group) - len(told)} more (--verbose lists them)")

    # Lists

    def models(self, models: Sequence[ModelSummary], forms: Sequence[str]) -> None:
        """The spaces, and how those that are not listed are named."""
        self.out.print(lists.models(models))
        self.note(Text("\nother spaces are named in one of these forms:", style="dim"))
        for form in forms:
            self.note(f"  {form}")
        self.note(Text("crossbind models NAME describes any of them", style="dim"))

    def model(self, model: ModelSummary) -> None:
        """One space, in full."""
        self.out.print(lists.model(model))

    def collections(self, collections: Sequence[CollectionSummary]) -> None:
        """One line a collection."""
        if collections:
            self.out.print(lists.collections(collections))
        else:
            self.note("no collections yet; make one with: crossbind ingest PATH")

    def collection(self, summary: CollectionSummary, failures: Sequence[Failure]) -> None:
        """One collection, and the files that failed."""
        self.out.print(lists.collection(summary))
        self.failures(failures)

    def migration(self, report: MigrationReport) -> None:
        """What became of a collection, and how well it finds what belongs together."""
        name, seconds = report.collection, report.seconds
        changed = f"; {report.changed} of them changed since" if report.changed else ""
        self.note(f"{many(report.embedded, 'item')} embedded in {seconds:.1f} s{changed}")
        if report.recall:
            self.out.print(lists.recalls(report.recall))
        if not self.quiet:
            self.failures(report.failures)
        if report.switched:
            self.note(f"{name!r} is in space {report.after} now, with {many(report.items, 'item')}")
        else:
            self.note(Text(NOT_SWITCHED.format(name=name, space=report.before), style="yellow"))

    def trained(self, summary: Mapping[str, Any]) -> None:
        """What a run came to, and what to do with it."""
        recall = ", ".join(f"{pair} {r1:.3f}" for pair, r1 in summary["recall"].items())
        self.note(
            f"{summary['steps']} steps in {summary['seconds']:.0f} s, loss {summary['loss']:.4f}"
        )
        if recall:
            self.note(f"R@1 on records set aside: {recall}")
        for warning in summary["warnings"]:
            self.note(Text(f"warning: {printable(warning)}", style="yellow"))
        self.out.print(printable(summary["space"]), soft_wrap=True)
        self.note(Text(TRAINED.format(space=summary["space"]), style="dim"))

    def jobs(self, jobs: Sequence[Job]) -> None:
        """One line a job."""
        if jobs:
            self.out.print(lists.jobs(jobs))
        else:
            self.note("no jobs; POST /v1/jobs of a server starts one")

    def job(self, job: Job, log: Sequence[str]) -> None:
        """One job, what failed in it, and the end of its log."""
        self.out.print(lists.job(job))
        self.failures([Failure(**failure) for failure in job.failures])
        for line in log:
            self.note(Text(printable(line), style="dim"))


class _Follower:
    """Moves a bar as an ingest reports."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._rate = Rate()
        self._task = bar.add_task("looking for files", total=None, note="")

    def __call__(self, progress: Progress) -> None:
        if progress.phase == "walking":
            self._bar.update(self._task, note=f"{progress.total} so far")
            return
        speed = self._rate.of(progress.done)
        notes = [f"{speed:.1f}/s"] if speed else []
        notes += [f"{progress.failed} failed"] if progress.failed else []
        self._bar.update(
            self._task,
            description=short(printable(progress.current or "done"), 28),
            completed=progress.done,
            total=progress.total,
            note=" ".join(notes),
        )


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
    )


def score_bar(cosine: float | None, likely: float | None) -> Text:
    """How probable something is, else how near."""
    score = cosine if likely is None else likely
    if score is None:
        return Text.assemble(("─" * BAR_CELLS, "bright_black"), "  words")
    cells = round(BAR_CELLS * min(max(score, 0.0), 1.0))
    told = f" {score:6.3f}" if likely is None else f" {likely:6.1%}"
    return Text.assemble(("━" * cells, "cyan"), ("─" * (BAR_CELLS - cells), "bright_black"), told)


def _timings(answer: SearchAnswer) -> str:
    total = answer.timings_ms.get("total", sum(answer.timings_ms.values()))
    stages = [f"{name} {ms:.1f}" for name, ms in answer.timings_ms.items() if name != "total"]
    sure = "exact" if answer.exact else "approximate"
    if answer.recall_estimate is not None and not answer.exact:
        sure += f", recall about {answer.recall_estimate:.2f}"
    return f"{many(len(answer.hits), 'hit')} in {total:.1f} ms ({', '.join(stages)}; {sure})"


def _left_out(counts: Mapping[Modality, int]) -> str:
    parts = [f"{PARTS[modality]} of {_files(count)}" for modality, count in counts.items()]
    return f"left out, because this space does not embed them: {', '.join(parts)}"


def _files(count: int) -> str:
    return many(count, "file")

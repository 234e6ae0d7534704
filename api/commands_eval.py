"""What measures: `eval` and `calibrate`, from arguments to the output."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api import figures
from api.arguments import UsageError
from api.commands import print_json, watch
from api.errors import OK, SOME_FAILED
from api.evaluation import Classified, Retrieval, check_plot
from api.evaluation import Progress as Tell
from api.service import Service
from index.batch.ingest import Progress

if TYPE_CHECKING:
    from api.evaluation_rag import Compared
    from api.terminal import Terminal


def run(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    """Runs one of them and returns its exit code."""
    if arguments.command == "calibrate":
        return _calibrate(arguments, service, people)
    actions = {"retrieval": _retrieval, "zero-shot": _zero_shot, "probes": _probes, "rag": _rag}
    if arguments.action is None:
        raise UsageError(f"what to measure? The choices are: {', '.join(actions)}")
    return actions[arguments.action](arguments, service, people)


def _calibrate(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    with _watch(people, arguments) as tell:
        report = service.evaluation.calibrate(
            arguments.collection, seed=arguments.seed, progress=tell
        )
    if people:
        figures.calibrated(people, report)
    else:
        print_json(report.to_json())
    return OK


def _retrieval(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    _check_plot(arguments)
    with _watch(people, arguments) as tell:
        report = service.evaluation.retrieval(arguments.collection, progress=tell)
    _plot(arguments, report, people)
    if people:
        figures.retrieval(people, report)
    else:
        print_json(report.to_json())
    return OK


def _zero_shot(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    _check_plot(arguments)
    with _watch(people, arguments) as tell:
        report = service.evaluation.zero_shot(
            arguments.space, arguments.data, templates=arguments.templates, progress=tell
        )
    _plot(arguments, report, people)
    if people:
        figures.classified(people, report)
    else:
        print_json(report.to_json())
    return SOME_FAILED if report.result.skipped else OK


def _probes(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    found = service.evaluation.probes(arguments.space)
    if people:
        figures.probed(people, found)
    else:
        print_json({kind: probed.to_json() for kind, probed in found.items()})
    return OK


def _rag(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    from api import commands_eval_rag  # noqa: PLC0415  only for those who measure answers

    _check_plot(arguments)
    with _watch(people, arguments) as tell:
        found = commands_eval_rag.measured(arguments, service, tell)
    _plot(arguments, found.compared, people)
    return commands_eval_rag.show(found, people)


def _check_plot(arguments: argparse.Namespace) -> None:
    """Before the work, not after it."""
    if arguments.plot is not None:
        check_plot(arguments.plot)


def _plot(
    arguments: argparse.Namespace,
    report: Retrieval | Classified | Compared,
    people: Terminal | None,
) -> None:
    if arguments.plot is not None:
        report.plot(arguments.plot)
        if people:
            people.note(f"drawn in {people.place(arguments.plot.absolute())}")


@contextmanager
def _watch(people: Terminal | None, arguments: argparse.Namespace) -> Iterator[Tell]:
    with watch(people, arguments) as progress:
        yield _silent if progress is None else _counted(progress)


def _counted(progress: Callable[[Progress], None]) -> Tell:
    def tell(noun: str, done: int, total: int) -> None:
        said = f"{noun}s"
        now = Progress(phase="indexing", done=done, total=total, failed=0, current=said, noun=noun)
        progress(now)

    return tell


def _silent(noun: str, done: int, total: int) -> None:
    pass

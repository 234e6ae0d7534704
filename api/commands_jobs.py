"""What takes long: `train`, `jobs` and `collections migrate`, from arguments to the output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from api.arguments import UsageError
from api.commands import print_json, watch
from api.errors import OK, SOME_FAILED
from api.job_types import Job, JobState
from api.progress import JsonLines
from api.service import Service
from embed.errors import BadInput, NotFound

if TYPE_CHECKING:
    from api.terminal import Terminal
    from api.training import Told

_ALL = 1000


def run(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    """Runs one of the three and returns its exit code."""
    return {"train": _train, "jobs": _jobs, "collections": _migrate}[arguments.command](
        arguments, service, people
    )


def _jobs(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    if arguments.action in {None, "list"}:
        return _list(arguments, service, people)
    job = _named(service, arguments.id)
    if arguments.action == "cancel":
        job = service.jobs.cancel(job.id)
    elif arguments.action == "pause":
        job = service.jobs.pause(job.id)
    elif arguments.action == "resume":
        job = service.jobs.resume(job.id)
    log = service.jobs.log(job.id)
    if people:
        people.job(job, log)
    else:
        print_json({**job.to_json(), "log": log})
    return OK


def _list(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    wanted = getattr(arguments, "state", None)
    if wanted is not None and wanted not in list(JobState):
        raise UsageError(f"--state is {wanted!r}; the choices are: {', '.join(JobState)}")
    jobs = service.jobs.latest(state=wanted and JobState(wanted))
    if people:
        people.jobs(jobs)
    else:
        print_json({"jobs": [job.to_json() for job in jobs]})
    return OK


def _named(service: Service, beginning: str) -> Job:
    """The one job whose id begins so. Raises NotFound, BadInput."""
    found = [job for job in service.jobs.latest(limit=_ALL) if job.id.startswith(beginning)]
    if not found:
        raise NotFound(f"no job's id begins with {beginning!r}; crossbind jobs lists them")
    if len(found) > 1:
        ids = ", ".join(job.id for job in found[:5])
        raise BadInput(f"{len(found)} jobs begin with {beginning!r}: {ids}; give more of the id")
    return found[0]


def _migrate(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    if arguments.give_up:
        return _give_up(arguments.collection, service, people)
    with watch(people, arguments) as progress:
        report = service.migrate(
            arguments.collection,
            arguments.space,
            drop=arguments.drop,
            keep=arguments.keep,
            progress=progress,
        )
    if people:
        people.migration(report)
    else:
        print_json(report.to_json())
    return SOME_FAILED if report.failures else OK


def _give_up(name: str, service: Service, people: Terminal | None) -> int:
    service.give_up_migration(name)
    info = service.collection(name).info
    if people:
        people.note(f"{name!r} stays in space {info.space.id}")
    else:
        print_json({"collection": name, "space": info.space.name})
    return OK


def _train(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    with _watch_training(arguments) as tell:
        summary = service.train(
            arguments.config, tell, resume=arguments.resume, collection=arguments.collection
        )
    if people:
        people.trained(summary)
    else:
        print_json(summary)
    return OK


def _watch_training(
    arguments: argparse.Namespace,
) -> AbstractContextManager[Callable[[Told], None]]:
    """Where a run stands, on stderr: a line that moves, or lines."""
    from api import training  # noqa: PLC0415 (loads torch)

    if arguments.json_progress:
        return nullcontext(training.json_lines(JsonLines(sys.stderr)))
    return nullcontext(_silent) if arguments.quiet else training.ticker(sys.stderr)


def _silent(_: Told) -> None:
    pass

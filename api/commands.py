"""What each command does: arguments to a call of the service, and its answer to the output.

Machine output is printed here. Output for people is `terminal.py`'s, which is imported only when a
person is there to read it. Nothing here knows how an answer is made.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from api.arguments import UsageError
from api.arguments_care import CARE
from api.config import Settings, load_settings
from api.errors import OK, SOME_FAILED
from api.progress import json_progress, plain_progress
from api.requests import ModelSummary
from api.service import Service
from embed import registry
from index.batch.ingest import Progress
from index.types import Storage

if TYPE_CHECKING:
    from api.terminal import Terminal

ROOMS = {"api", "embed", "index"}
EXPLORING = {
    *("count", "facets", "sample", "export", "clear", "index", "alias"),
    *("duplicates", "clusters", "outliers", "map"),
}


def run(
    arguments: argparse.Namespace, make_service: Callable[[Settings], Service] | None = None
) -> int:
    """Runs the command that was asked for and returns its exit code."""
    make_service = make_service or Service
    _log_to_stderr(verbose=arguments.verbose, quiet=arguments.quiet)
    settings = load_settings(arguments.home)
    people = None if arguments.json else _terminal(arguments)
    if arguments.command == "serve":
        return _serve(arguments, settings, make_service)
    if CARE & {arguments.command, getattr(arguments, "action", None)}:
        return _cared_for(arguments, settings, people)
    with closing(make_service(settings)) as service:
        return _COMMANDS[arguments.command](arguments, service, people)


class _Stderr(logging.Handler):
    """Writes to whatever stderr is at the moment: a progress bar puts itself in between.

    A library that set its own logger to tell more writes for itself already.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] in ROOMS or record.levelno >= logging.root.level:
            print(self.format(record), file=sys.stderr, flush=True)


def _log_to_stderr(*, verbose: bool, quiet: bool) -> None:
    form = "%(levelname)s %(name)s: %(message)s" if verbose else "crossbind: %(message)s"
    level = logging.INFO if verbose else logging.ERROR
    logging.basicConfig(level=level, format=form, handlers=[_Stderr()])
    if not quiet:  # what takes long is told: networks that are prepared once
        logging.getLogger("embed").setLevel(logging.INFO)


def _terminal(arguments: argparse.Namespace) -> Terminal:
    from api.terminal import Terminal  # noqa: PLC0415  rich is for people; --json does without

    return Terminal(quiet=arguments.quiet, verbose=arguments.verbose)


def print_json(document: Any) -> None:
    """One document on one line, out at once, for a reader that waits for it."""
    print(json.dumps(document), flush=True)


def _ingest(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    if arguments.watch is not None:
        from api import commands_watch  # noqa: PLC0415  only for those who watch

        return commands_watch.run(arguments, service, people)
    with watch(people, arguments) as progress:
        report = service.ingest(
            arguments.paths,
            collection=arguments.collection,
            space=arguments.space,
            storage=arguments.storage and Storage(arguments.storage),
            workers=arguments.workers,
            prune=arguments.prune,
            columns=arguments.columns,
            ray=arguments.ray,
            progress=progress,
        )
    if people:
        people.report(report, arguments.collection)
    else:
        print_json(report.to_json())
    return SOME_FAILED if report.failed else OK


def watch(
    people: Terminal | None, arguments: argparse.Namespace
) -> AbstractContextManager[Callable[[Progress], None] | None]:
    """Progress on stderr while files are read: a bar for people, lines beside machine output."""
    if arguments.json_progress:
        return nullcontext(json_progress(sys.stderr))
    if people:
        return people.ingest_progress()
    return nullcontext(None if arguments.quiet else plain_progress(sys.stderr))


def _models(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    name = arguments.prepare
    if name is not None:
        with people.waiting(f"preparing {name}") if people else nullcontext():
            service.warm(name)
    if arguments.name is not None:
        _describe(service.model(arguments.name), people)
        return OK
    models, forms = service.models(), registry.names()
    if people:
        people.models(models, forms)
    else:
        print_json({"models": [model.to_json() for model in models], "forms": forms})
    return OK


def _describe(model: ModelSummary, people: Terminal | None) -> None:
    if people:
        people.model(model)
    else:
        print_json(model.to_json())


def _searched(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    from api import commands_search  # noqa: PLC0415  the filter language is for those who search

    return commands_search.run(arguments, service, people)


def _asked(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    from api import commands_ask  # noqa: PLC0415  only for those who ask

    return commands_ask.run(arguments, service, people)


def _collections(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    if arguments.action == "migrate":
        return _at_length(arguments, service, people)
    if arguments.action in EXPLORING:
        from api import commands_explore  # noqa: PLC0415  only for those who look closer

        return commands_explore.run(arguments, service, people)
    _ACTIONS[arguments.action](arguments, service, people)
    return OK


def _list(_: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    collections = service.collections()
    if people:
        people.collections(collections)
    else:
        print_json({"collections": [collection.to_json() for collection in collections]})


def _show(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    summary, failures = service.collection(arguments.name), service.failures(arguments.name)
    if people:
        people.collection(summary, failures)
    else:
        files = [{"uri": f.uri, "code": f.code, "message": f.message} for f in failures]
        print_json({**summary.to_json(), "failed_files": files})


def _delete(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    name = arguments.name
    items = sum(service.collection(name).counts.values())
    if not arguments.yes and not agreed(f"Delete {name!r} and what is known of {items} items?"):
        raise UsageError(f"{name!r} was not deleted; add --yes to delete it without being asked")
    service.delete_collection(name)
    if people:
        people.note(f"deleted {name!r}; the files that it pointed to are untouched")
    else:
        print_json({"deleted": name})


def agreed(question: str) -> bool:
    """Whether the person at the terminal says yes; nobody does where there is none."""
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _demo(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    from api import demo  # noqa: PLC0415  nobody else needs its texts

    watching = watch(people, arguments)
    report, answers = demo.run(service, people, watching)
    if people is None:
        print_json({"report": report.to_json(), "answers": [a.to_json() for a in answers]})
    return SOME_FAILED if report.failed else OK


def _serve(
    arguments: argparse.Namespace, settings: Settings, make_service: Callable[[Settings], Service]
) -> int:
    from api import server  # noqa: PLC0415  uvicorn and FastAPI, only to serve

    server.check(settings, host=arguments.host, workers=arguments.workers)
    spaces = (*settings.spaces, *arguments.space)
    jobs = settings.jobs or arguments.jobs
    read_only = settings.read_only or arguments.read_only
    settings = replace(settings, spaces=spaces, jobs=jobs, read_only=read_only)
    with closing(make_service(settings)) as service:
        server.serve(service, arguments.host, arguments.port, announce=_announce(arguments))
    return OK


def _announce(arguments: argparse.Namespace) -> Callable[[str], None]:
    def announce(url: str) -> None:
        if arguments.json:
            print_json({"url": url})
        elif not arguments.quiet:
            print(f"Crossbind answers on {url} (API: {url}/docs). Ctrl-C stops it.", flush=True)

    return announce


def _export(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    report = service.export(
        arguments.space, arguments.folder, precision=arguments.precision, check=arguments.check
    )
    if not people:
        print_json(report.to_json())
        return OK
    reads = ", ".join(report.modalities)
    people.note(f"{report.space}: {reads} in {report.precision}, {report.bytes / 1e6:.0f} MB")
    for modality, gap in report.gaps.items():
        people.note(f"  {modality}: at most {gap:.1g} from torch in any number of a unit vector")
    for recall in report.recalls:
        people.note(f"  recall@10, {recall}")
    if report.left_out:
        people.note(f"  cannot be exported, and left out: {', '.join(report.left_out)}")
    return OK


def _cared_for(arguments: argparse.Namespace, settings: Settings, people: Terminal | None) -> int:
    from api import care, commands_care  # noqa: PLC0415  only to keep a library whole

    return commands_care.run(arguments, care.Care(settings), people)


def _at_length(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    from api import commands_jobs  # noqa: PLC0415  only for what takes long

    return commands_jobs.run(arguments, service, people)


def _measured(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    from api import commands_eval  # noqa: PLC0415  only for those who measure

    return commands_eval.run(arguments, service, people)


_COMMANDS: dict[str, Callable[[argparse.Namespace, Service, Terminal | None], int]] = {
    "ingest": _ingest,
    "search": _searched,
    "ask": _asked,
    "chat": _asked,
    "complete": _asked,
    "models": _models,
    "collections": _collections,
    "export": _export,
    "train": _at_length,
    "jobs": _at_length,
    "eval": _measured,
    "calibrate": _measured,
    "demo": _demo,
}

_ACTIONS: dict[str | None, Callable[[argparse.Namespace, Service, Terminal | None], None]] = {
    None: _list,
    "list": _list,
    "show": _show,
    "delete": _delete,
}

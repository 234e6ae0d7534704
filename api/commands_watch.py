"""`crossbind ingest --watch`: what changed is told, until somebody has had enough."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as Never  # nobody sets it
from typing import TYPE_CHECKING

from api.arguments import UsageError
from api.commands import print_json, watch
from api.errors import OK, exit_code_of
from api.service import Service
from embed.errors import CrossbindError
from index.batch import remote
from index.batch.stream import together
from index.types import IngestReport, Storage

if TYPE_CHECKING:
    from api.terminal import Terminal


def run(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    """Until Ctrl-C, or the SIGTERM that ends a job; then all that was done is told as one."""
    if arguments.columns or any(remote.scheme_of(path) for path in arguments.paths):
        raise UsageError("--watch keeps files and folders of this machine indexed, nothing else")
    told = _Told(arguments, people)
    try:
        with watch(people, arguments) as progress:
            service.watch(
                [Path(path) for path in arguments.paths],
                collection=arguments.collection,
                space=arguments.space,
                storage=arguments.storage and Storage(arguments.storage),
                workers=arguments.workers,
                every=arguments.watch,
                stop=Never(),
                tell=told,
                progress=progress,
            )
    except KeyboardInterrupt as enough:
        if told.total is None:
            raise
        if people:
            people.report(told.total, arguments.collection)
        else:
            print_json(told.total.to_json())
        return exit_code_of(enough)
    return OK


@dataclass(slots=True)
class _Told:
    """total: of all that was done; of failures only those that still are."""

    arguments: argparse.Namespace
    people: Terminal | None
    total: IngestReport | None = None

    def __call__(self, news: IngestReport | CrossbindError) -> None:
        if isinstance(news, CrossbindError):
            _say(f"crossbind: {news.message}; it is tried again")
        elif self.total is None:
            self.total = news
            if self.people:
                self.people.report(news, self.arguments.collection)
                self.people.note("watching; Ctrl-C ends it")
        else:
            sum_ = together([self.total, news])
            self.total = replace(sum_, failed=news.failed, failures=news.failures)
            if not self.arguments.quiet:
                _say(
                    f"{news.ingested} indexed, {news.moved} moved, {news.pruned} forgotten, "
                    f"{news.failed} failed"
                )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

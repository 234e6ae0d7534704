"""`crossbind eval rag`: from arguments to configurations, and what was found to the output."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from api.commands import print_json
from api.errors import OK, SOME_FAILED
from api.evaluation import Progress
from api.evaluation_rag import Evaluated, Setting
from api.service import Service

if TYPE_CHECKING:
    from api.terminal import Terminal


def measured(arguments: argparse.Namespace, service: Service, tell: Progress) -> Evaluated:
    """One configuration, or the other one beside it."""
    first = Setting(
        collection=arguments.collection,
        generator=arguments.generator,
        reranker=arguments.reranker,
        complete=arguments.complete,
        k=arguments.k,
        min_probability=0.0 if arguments.calibrate else None,
        seed=arguments.seed,
    )
    other = [] if arguments.against is None else [replace(first, **arguments.against)]
    return service.evaluation_rag.evaluate(
        arguments.data,
        [first, *other],
        form=arguments.format,
        judge=arguments.judge,
        limit=arguments.limit,
        calibrate=arguments.calibrate,
        out=arguments.out,
        progress=tell,
    )


def show(found: Evaluated, people: Terminal | None) -> int:
    """Prints it, and returns the exit code."""
    if people:
        from api import figures_rag  # noqa: PLC0415  rich is for people

        figures_rag.evaluated(people, found)
    else:
        print_json(found.to_json())
    return SOME_FAILED if any(report.failed for report in found.compared.reports) else OK

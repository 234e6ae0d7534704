"""What answers: `ask`, `chat` and `complete`, from arguments to the output."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from api.arguments import UsageError
from api.arguments_ask import NEIGHBOURS
from api.commands import print_json, watch
from api.commands_search import modalities
from api.discreet import discreetly
from api.errors import OK
from api.made import written
from api.requests import Term
from api.requests_ask import AskRequest, CompleteRequest
from api.service import Service
from api.shapes import many
from api.shapes_ask import answer_to_json, report_to_json
from embed.types import Modality
from generation.types import Sampling
from index.batch.ingest import Progress
from index.metadata.filter_text import parse_filter
from rag.types import Retrieval

if TYPE_CHECKING:
    from api.terminal import Terminal

NOTHING_ASKED = (
    "nothing is asked: give a question, a picture, a sound, a film or an item, for example\n"
    '  crossbind ask "when do dahlias bloom?"\n'
    '  crossbind ask "what is this?" --image photo.jpg'
)
NOTHING_GIVEN = (
    "nothing to complete: give the id of an item, a medium, or --all, for example\n"
    "  crossbind complete 8c1d2e --missing text\n"
    "  crossbind complete --image photo.jpg --missing text"
)


def run(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    """Runs one of the three and returns its exit code."""
    commands = {"ask": _ask, "chat": _chat, "complete": _complete}
    return commands[arguments.command](arguments, service, people)


def request_of(arguments: argparse.Namespace, terms: tuple[Term, ...] = ()) -> AskRequest:
    """What the flags of `ask` and `chat` say. Raises UsageError, InvalidQuery for a bad filter."""
    return AskRequest(
        terms=terms,
        collection=arguments.collection,
        generator=arguments.generator,
        retrieval=Retrieval(
            k=arguments.k,
            modalities=modalities(arguments.modality),
            filter=None if arguments.filter is None else parse_filter(arguments.filter),
            min_probability=arguments.min_probability,
            complete=arguments.complete,
        ),
        sampling=Sampling(seed=arguments.seed),
        session=arguments.session,
    )


def _ask(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    words = " ".join(arguments.question).strip()
    parts = [*([("text", words)] if words else []), *arguments.media]
    if not parts:
        raise UsageError(NOTHING_ASKED)
    request = request_of(arguments, tuple(Term(kind=k, value=v) for k, v in parts))
    if people is None:
        made = service.asking.answer(request)
        files = written(made.media, arguments.out)
        print_json(answer_to_json(made, [file.to_json() for file in files]))
        return OK
    from api import aloud  # noqa: PLC0415  rich is for people

    aloud.answer(request, service, people, arguments.out)
    return OK


def _chat(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    from api import conversation  # noqa: PLC0415  only for those who talk

    return conversation.run(request_of(arguments), service, people, arguments.out)


def _complete(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    if arguments.all and arguments.k is not None:
        raise UsageError("-k is of one item; --all asks as many neighbours as is usual")
    given = (arguments.item is not None) + bool(arguments.media) + arguments.all
    if given != 1:
        raise UsageError(
            "an item, media or --all: only one of them is completed at a time"
            if given
            else NOTHING_GIVEN
        )
    wanted = modalities(arguments.missing, "--missing")
    missing = None if wanted is None else tuple(m for m in Modality if m in wanted)
    if arguments.all:
        return _complete_all(arguments, missing, service, people)
    request = CompleteRequest(
        item=arguments.item,
        terms=tuple(Term(kind=kind, value=value) for kind, value in arguments.media),
        missing=missing,
        method=arguments.method,
        k=NEIGHBOURS if arguments.k is None else arguments.k,
        collection=arguments.collection,
        generator=arguments.generator,
    )
    report = service.asking.complete(request)
    files = written(report.media, arguments.out)
    if people is None:
        print_json(report_to_json(report, [file.to_json() for file in files]))
        return OK
    from api import told_answers  # noqa: PLC0415  rich is for people

    told_answers.completed(
        people, report, lambda item: told_answers.called(service.item(request.collection, item))
    )
    told_answers.written(people, files)
    return OK


def _complete_all(
    arguments: argparse.Namespace,
    missing: tuple[Modality, ...] | None,
    service: Service,
    people: Terminal | None,
) -> int:
    told = nullcontext() if people else discreetly()  # clients read the errors of jobs
    with watch(people, arguments) as progress, told:
        report = service.asking.complete_all(
            arguments.collection,
            missing,
            method=arguments.method,
            generator=arguments.generator,
            progress=None if progress is None else partial(_tell, progress),
        )
    if people:
        counts = {
            "completed": report.completed,
            "too uncertain": report.abstained,
            "without anything to borrow": report.nothing,
            "looked at before": report.fresh,
        }
        rest = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        people.note(f"{many(report.records, 'record')} lacked something: {rest or 'none'}")
    else:
        print_json(report.to_json())
    return OK


def _tell(progress: Callable[[Progress], None], done: int, total: int) -> None:
    noun = "record"
    progress(
        Progress(phase="indexing", done=done, total=total, failed=0, current="records", noun=noun)
    )

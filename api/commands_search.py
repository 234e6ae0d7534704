"""What `search` does: arguments to requests, and answers to the output."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from api.arguments import UsageError
from api.commands import print_json
from api.errors import OK
from api.query_lines import search_lines
from api.requests import EXTRAS, SearchRequest, Term
from api.service import Service
from api.shapes import many
from api.sharded import search_shards
from embed.types import Modality
from index.metadata.filter_text import parse_filter
from index.search.query import EVEN

if TYPE_CHECKING:
    from api.terminal import Terminal

NOTHING_ASKED = (
    "nothing to look for: give words, a picture, a sound, a film, or a mix, for example\n"
    '  crossbind search "a dog on a beach"\n'
    "  crossbind search --image photo.jpg"
)


def run(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    """Runs it and returns its exit code."""
    terms = _terms(arguments)
    if arguments.queries is not None:
        if terms or arguments.shards:
            raise UsageError(
                "--queries has the queries; leave out the words, the media and --shards"
            )
        defaults = _request(arguments, ())
        return search_lines(service, arguments.queries, defaults, print_json)
    if not terms:
        raise UsageError(NOTHING_ASKED)
    request = _request(arguments, terms)
    if arguments.shards:
        answer = search_shards(service.settings, arguments.shards, request)
    else:
        answer = service.search(request)
    if people:
        people.answer(answer)
    else:
        print_json(answer.to_json())
    return OK


def _terms(arguments: argparse.Namespace) -> tuple[Term, ...]:
    words = " ".join(arguments.words).strip()
    parts = [*([("text", words)] if words else []), *arguments.media]
    weights = arguments.weights or (1.0,) * len(parts)
    if len(weights) != len(parts):
        raise UsageError(
            f"--weights has {many(len(weights), 'number')} for {many(len(parts), 'part')}; one "
            "each is wanted, the words first, then the media in their order"
        )
    return (
        *(Term(kind=k, value=v, weight=w) for (k, v), w in zip(parts, weights, strict=True)),
        *(Term(kind="text", value=" ".join(minus), weight=-1.0) for minus in arguments.without),
    )


def _request(arguments: argparse.Namespace, terms: tuple[Term, ...]) -> SearchRequest:
    return SearchRequest(
        terms=terms,
        collection=arguments.collection,
        k=arguments.k,
        offset=arguments.offset,
        cursor=arguments.cursor,
        modalities=modalities(arguments.modality),
        filter=None if arguments.filter is None else parse_filter(arguments.filter),
        hybrid=EVEN if arguments.hybrid else None,
        min_score=arguments.min_score,
        min_probability=arguments.min_probability,
        together=arguments.together,
        group_by=arguments.group_by,
        collapse=arguments.collapse,
        diversity=arguments.diversity,
        rerank=arguments.rerank,
        moments=arguments.moments,
        include=_extras(arguments.include),
    )


def _extras(value: str | None) -> frozenset[str]:
    wanted = frozenset(filter(None, map(str.strip, (value or "").split(","))))
    if not wanted <= {*EXTRAS}:
        raise UsageError(
            f"--include is {value!r}; one or both of these are wanted, with a comma between: "
            f"{', '.join(EXTRAS)}"
        )
    return wanted


def modalities(value: str | None, flag: str = "--modality") -> frozenset[Modality] | None:
    """Of a list with commas. Raises UsageError."""
    if value is None:
        return None
    try:
        return frozenset(Modality(name.strip()) for name in value.split(","))
    except ValueError:
        raise UsageError(
            f"{flag} is {value!r}; one or several of these are wanted, with commas between: "
            f"{', '.join(Modality)}"
        ) from None

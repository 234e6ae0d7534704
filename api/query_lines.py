"""Many searches from one file: a query per line in, a JSON document per line out, in order.

A line is plain words, or the JSON body of a REST search. One that cannot be answered gets an error
document in its place, and the others go on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from api.errors import OK, to_json
from api.requests import SearchRequest, Term
from api.service import Service
from embed.errors import BadInput, InvalidQuery, NotFound

SOME_LINES_BAD = 4
TOGETHER = 32  # lines of a file

# What flags say for every line that does not say it itself.
_DEFAULTS = (
    *("k", "modalities", "filter", "hybrid", "min_score", "min_probability", "together"),
    *("group_by", "collapse", "diversity", "rerank", "moments", "include"),
)


def search_lines(
    service: Service, name: str, defaults: SearchRequest, emit: Callable[[Any], None]
) -> int:
    """Answers every line of file `name` (`-`: standard input) and returns the exit code.

    defaults: what a line that does not say gets.
    Raises NotFound for the file and for the collection.
    """
    service.collection(defaults.collection)
    code = OK
    lines = enumerate(_lines(name), start=1)
    while some := list(islice(lines, 1 if name == "-" else TOGETHER)):  # who types waits for one
        for document in _answers(service, some, defaults):
            code = SOME_LINES_BAD if "error" in document else code
            emit(document)
    return code


def _answers(
    service: Service, lines: Sequence[tuple[int, str]], defaults: SearchRequest
) -> Iterator[Any]:
    """Of lines asked together; where one of them spoils that, of each by itself."""
    try:
        requests = [parse_line(line, defaults) for _, line in lines]
        answers = service.search_many(requests)
    except (BadInput, NotFound) as error:
        if len(lines) == 1:
            document = to_json(error)
            document["error"]["message"] = f"line {lines[0][0]}: {error.message}"
            yield document
            return
        for line in lines:
            yield from _answers(service, [line], defaults)
        return
    for answer in answers:
        yield answer.to_json()


def parse_line(line: str, defaults: SearchRequest) -> SearchRequest:
    """Raises BadInput for an empty line, and for JSON that is no search request."""
    words = line.strip()
    if not words:
        raise InvalidQuery("the line is empty; say what to look for")
    if not words.startswith("{"):
        return replace(defaults, terms=(Term(kind="text", value=words),))
    return _parse_json(words, defaults)


def _parse_json(line: str, defaults: SearchRequest) -> SearchRequest:
    from pydantic import ValidationError  # noqa: PLC0415  plain words do without pydantic

    from api.refusal import refusal  # noqa: PLC0415  as above
    from api.schemas_search import SearchBody  # noqa: PLC0415  as above

    try:
        body = SearchBody.model_validate_json(line)
    except ValidationError as error:
        raise refusal(error.errors()) from None
    if body.query is None:
        raise InvalidQuery("a line holds one search; give each of `queries` a line of its own")
    [request] = body.requests(defaults.collection)
    given = body.model_fields_set
    unsaid = {name: getattr(defaults, name) for name in _DEFAULTS if name not in given}
    return replace(request, **unsaid)


def _lines(name: str) -> Iterator[str]:
    if name == "-":
        yield from sys.stdin
        return
    try:
        with Path(name).open(encoding="utf-8", errors="replace") as file:
            yield from file
    except OSError as error:
        raise NotFound(
            f"{name}: {error.strerror}; --queries wants a readable file, or - for standard input",
            param="queries",
        ) from error

"""Asks every question of a data set once, and keeps each answer as it comes, to go on from there.

It knows no door: a question goes to whatever `ask` is. What is kept is a file of JSON lines; the
first says what was asked of what, so that answers of another configuration are never taken for
these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from embed.errors import BadInput, Conflict, Forbidden, NotFound
from embed.media.source import shown
from embed.training.evaluate.library import Progress, no_progress
from rag.evaluate.outcomes import Outcome, outcome
from rag.evaluate.questions import Question, digest_of
from rag.types import Answer

Ask = Callable[[Question], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A configuration that answers. The space is the collection's own.

    generator, reranker: None takes the default. min_probability: evidence below it answers
    nothing; None takes the default, 0 answers whatever there is.
    """

    collection: str = "default"
    generator: str | None = None
    reranker: str | None = None
    complete: bool = True
    k: int = 8
    min_probability: float | None = None
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def answer_all(
    questions: Sequence[Question],
    ask: Ask,
    *,
    keep: Path | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> list[Outcome]:
    """What came of each question, in their order.

    keep: the file that answers go to; what it holds is not asked again. about: what they are
    answers of; it must be what the file says. A question that makes no sense here fails alone, and
    is asked again next time; what no question could help (a generator that is not there) ends the
    run. Raises Conflict for a file of something else, BadInput for a damaged one.
    """
    kept = {} if keep is None else _kept(keep, about or {})
    told = []
    with _keeping(keep, about or {}) as file:
        for number, question in enumerate(questions):
            progress("question", number, len(questions))
            asked = digest_of(question)
            if asked not in kept:
                kept[asked] = _answer(question, ask)
                _write(file, {"asked": asked, **kept[asked].to_json()})
            told.append(kept[asked])
    progress("question", len(questions), len(questions))
    return told


def _answer(question: Question, ask: Ask) -> Outcome:
    try:
        return outcome(question.id, ask(question))
    except (BadInput, NotFound) as error:
        return Outcome(question=question.id, failed=error.message)


def _kept(path: Path, about: Mapping[str, Any]) -> dict[str, Outcome]:
    """By the digest of what was asked; without what failed."""
    try:
        held = path.read_bytes().rpartition(b"\n")[0]  # a killed run may have cut the last line
        first, *lines = map(json.loads, held.split(b"\n") if held else [json.dumps(about)])
        if first == about:
            kept = {line["asked"]: Outcome.from_json(line) for line in lines}
            return {asked: one for asked, one in kept.items() if one.failed is None}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{shown(path)} holds no answers of ours ({error}): move it, or name another folder"
        ) from error
    raise Conflict(
        f"{shown(path)} holds answers of something else, {json.dumps(first)}, and this is "
        f"{json.dumps(about)}: name another folder"
    )


@contextmanager
def _keeping(path: Path | None, about: Mapping[str, Any]) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    with _opened(path) as file:
        if file.tell() == 0:
            _write(file, about)
        yield file


def _opened(path: Path) -> TextIO:
    """At the end of its last whole line."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = path.read_bytes() if path.exists() else b""
        file = path.open("a", encoding="utf-8")
        file.truncate(held.rfind(b"\n") + 1)
        file.seek(0, 2)
        return file
    except OSError as error:
        raise Forbidden(f"{shown(path)} cannot be written: {error.strerror or error}") from error


def _write(file: TextIO | None, document: Mapping[str, Any]) -> None:
    if file is None:
        return
    file.write(json.dumps(document) + "\n")
    file.flush()

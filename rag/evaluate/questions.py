"""A question whose answer is known, and the files that hold many: our own format.

One JSON object a line:

    {"id", "question", "image"?, "audio"?, "video"?, "item"?, "history"?, "answers", "choices"?,
     "relevant"?, "modality"?, "reference"?, "completions"?, "forbidden"?, "group"?}

`answers`: accepted short answers; null says that nothing in the collection answers it; left out
says that nobody knows. `relevant` and the records of `completions` are names
(`rag.evaluate.outcomes.names`).
Readers of public formats are in `rag.evaluate.formats`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from embed.errors import BadInput
from embed.media.source import shown
from embed.types import Modality
from rag.evaluate.rows import Row, rows

Kind = Literal["image", "audio", "video", "item"]

KINDS: tuple[Kind, ...] = ("image", "audio", "video", "item")
FIELDS = frozenset(
    {"id", "question", *KINDS, "history", "answers", "choices", "relevant", "modality"}
    | {"reference", "completions", "forbidden", "group"}
)


class Shown(NamedTuple):
    """What is asked with besides words: a file, its bytes, or the id of an item."""

    kind: Kind
    value: Path | bytes | str


class Said(NamedTuple):
    """An earlier turn."""

    role: Literal["user", "assistant"]
    words: str


class Lack(NamedTuple):
    """What a record lacks, and what is right for it: words, or names of items."""

    record: str
    modality: Modality
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and what is known of it.

    answers: any of them is right. answerable: False where nothing in the collection answers it,
    None where nobody knows. relevant: names of items or records that answer it. modality: of these.
    choices: the answers that are to be chosen from, of which others than the right ones compete
    with it. reference: a long answer, for a judge that reads. lacks: of records that it needs.
    forbidden: what an answer says only if it obeyed what it read. group: questions that count
    together (MME's pairs).
    """

    id: str
    words: str
    media: tuple[Shown, ...] = ()
    history: tuple[Said, ...] = ()
    answers: tuple[str, ...] = ()
    answerable: bool | None = None
    choices: tuple[str, ...] = ()
    relevant: tuple[str, ...] = ()
    modality: Modality | None = None
    reference: str | None = None
    lacks: tuple[Lack, ...] = ()
    forbidden: tuple[str, ...] = ()
    group: str | None = None


def ours(path: Path) -> list[Question]:
    """Raises NotFound, BadInput with the line at fault."""
    return [_question(row) for row in rows(path)]


def collected(path: Path, read: Callable[[Path], Iterable[Question]]) -> list[Question]:
    """What a reader finds, each id once. Raises NotFound, BadInput."""
    found: dict[str, Question] = {}
    for question in read(path):
        if question.id in found:
            raise BadInput(f"{shown(path)}: two questions have the id {question.id!r}")
        found[question.id] = question
    if not found:
        raise BadInput(f"{shown(path)} holds no question")
    return list(found.values())


def digest_of(question: Question) -> str:
    """Of what is asked, whatever is right; files by their names."""
    media = [(medium.kind, _named(medium.value)) for medium in question.media]
    asked = (question.id, question.words, question.history, question.choices, media)
    return sha256(json.dumps(asked).encode()).hexdigest()


def _named(value: Path | bytes | str) -> str:
    if isinstance(value, bytes):
        return sha256(value).hexdigest()
    return str(value.resolve()) if isinstance(value, Path) else value


def _question(row: Row) -> Question:
    row.only(FIELDS)
    answers = row.texts("answers")
    media = tuple(_shown(row, kind) for kind in KINDS if kind in row.fields)
    words = row.text("question") if "question" in row.fields else ""
    if not words and not media:
        raise row.error("asks nothing: give it a question, or an image, audio, video or item")
    return Question(
        id=row.text("id"),
        words=words,
        media=media,
        history=tuple(_said(row, turn) for turn in row.rows("history")),
        answers=answers,
        answerable=True if answers else (False if row.is_null("answers") else None),
        choices=row.texts("choices"),
        relevant=row.texts("relevant"),
        modality=_modality(row, row.text("modality")) if "modality" in row.fields else None,
        reference=row.text("reference") if "reference" in row.fields else None,
        lacks=tuple(_lack(row, entry) for entry in row.rows("completions")),
        forbidden=row.texts("forbidden"),
        group=row.text("group") if "group" in row.fields else None,
    )


def _shown(row: Row, kind: Kind) -> Shown:
    return Shown(kind, row.text(kind) if kind == "item" else row.medium(kind))


def _said(row: Row, turn: Row) -> Said:
    role = turn.text("role")
    if role not in ("user", "assistant"):
        raise row.error(f"has a turn of {role!r} in its history; the roles are user and assistant")
    return Said(cast("Any", role), turn.text("text"))


def _lack(row: Row, entry: Row) -> Lack:
    return Lack(entry.text("record"), _modality(row, entry.text("modality")), entry.texts("values"))


def _modality(row: Row, name: str) -> Modality:
    try:
        return Modality(name)
    except ValueError:
        raise row.error(f"names {name!r}; the modalities are {', '.join(Modality)}") from None

"""Conversations, kept in `service.db`: what was asked and answered, turn by turn.

Words are kept, items by their ids, media from outside by their digests alone: what was shown once
is not there to be looked at again. It answers nothing.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.requests import Term
from api.requests_ask import AskRequest, Turn
from api.shapes_ask import answer_remembered
from embed.errors import Conflict, NotFound
from generation.types import Role
from index.database import Database, migrations
from rag.types import Answer

KEPT_SESSIONS = 1000
KEPT_TURNS = 200  # of one session
RECALLED_TURNS = 20  # handed over with the next question
_QUESTION = 200  # characters of it in a list
_DIGITS = 12  # of a digest, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A conversation about one collection. question: how the oldest turn that is kept begins."""

    id: str
    collection: str
    created: str
    used: str
    turns: int
    question: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "collection": self.collection,
            "created": self.created,
            "used": self.used,
            "turns": self.turns,
            "question": self.question,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A turn as it was kept.

    parts: `{"text"}`, `{"item"}`, or by kind the digest and size of a medium. answer: what an
    assistant's turn rests on.
    """

    role: Role
    parts: Sequence[Mapping[str, Any]]
    answer: Mapping[str, Any] | None
    created: str

    def to_json(self) -> dict[str, Any]:
        return {
            "role": self.role.value,
            "parts": list(self.parts),
            "answer": self.answer,
            "created": self.created,
        }


class Sessions:
    """Those of the library at `home`. Safe from several threads and processes."""

    def __init__(self, home: Path) -> None:
        self._database = Database(home / "service.db", scripts=migrations("api"))

    def close(self) -> None:
        self._database.close()

    def all(self, *, limit: int = 100) -> list[Session]:
        """The latest used first."""
        with self._database.reading() as connection:
            found = connection.execute(
                f"{_SELECT} ORDER BY used DESC, number DESC LIMIT ?", (limit,)
            ).fetchall()
        return [_session(row) for row in found]

    def get(self, session_id: str) -> tuple[Session, list[Remembered]]:
        """With its turns, oldest first. Raises NotFound."""
        with self._database.reading() as connection:
            row = connection.execute(f"{_SELECT} WHERE id = ?", (session_id,)).fetchone()
            if row is None:
                raise _unknown(session_id)
            return _session(row), _turns(connection, session_id, KEPT_TURNS)

    def delete(self, session_id: str) -> None:
        """Raises NotFound."""
        with self._database.writing() as connection:
            gone = connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            if not gone.rowcount:
                raise _unknown(session_id)

    def history(self, session_id: str, collection: str) -> tuple[Turn, ...]:
        """What the next question of a session follows; nothing where it is not there yet.

        Raises Conflict for one about another collection.
        """
        with self._database.reading() as connection:
            _check(connection, session_id, collection)
            kept = _turns(connection, session_id, RECALLED_TURNS)
        return tuple(Turn(role=turn.role, terms=_terms(turn.parts)) for turn in kept)

    def note(self, request: AskRequest, made: Answer) -> None:
        """Keeps a question and its answer. Raises Conflict as `history` does."""
        assert request.session is not None
        asked = [_part(term) for term in request.terms]
        answered = [{"text": made.text}] if made.text else []  # it may only have called tools
        with self._database.writing() as connection:
            _check(connection, request.session, request.collection)
            number = _touch(connection, request.session, request.collection)
            _add(connection, number, Role.USER, asked, None)
            _add(connection, number, Role.ASSISTANT, answered, answer_remembered(made))
            _forget_oldest(connection, number)


_SELECT = """SELECT id, collection, created, used,
    (SELECT count(*) FROM turns WHERE session = number),
    (SELECT parts FROM turns WHERE session = number AND role = 'user' ORDER BY seq LIMIT 1)
    FROM sessions"""


def _session(row: tuple[Any, ...]) -> Session:
    *known, turns, parts = row
    words = [part["text"] for part in json.loads(parts or "[]") if "text" in part]
    return Session(
        **dict(zip(("id", "collection", "created", "used"), known, strict=True)),
        turns=turns,
        question="\n".join(words)[:_QUESTION] or None,
    )


def _turns(connection: sqlite3.Connection, session_id: str, limit: int) -> list[Remembered]:
    """The latest ones, oldest first."""
    found = connection.execute(
        "SELECT role, parts, answer, turns.created FROM turns JOIN sessions ON session = number"
        " WHERE id = ? ORDER BY seq DESC LIMIT ?",
        (session_id, limit),
    ).fetchall()
    return [
        Remembered(
            role=Role(role),
            parts=json.loads(parts),
            answer=None if answer is None else json.loads(answer),
            created=created,
        )
        for role, parts, answer, created in reversed(found)
    ]


def _check(connection: sqlite3.Connection, session_id: str, collection: str) -> None:
    row = connection.execute(
        "SELECT collection FROM sessions WHERE id = ?", (session_id,)
    ).fetchone()
    if row is not None and row[0] != collection:
        raise Conflict(
            f"session {session_id!r} is about collection {row[0]!r}, and this asks {collection!r}: "
            "begin another session",
            param="session",
        )


def _touch(connection: sqlite3.Connection, session_id: str, collection: str) -> int:
    """Its number; it is there from now on, and was just used."""
    connection.execute(
        "INSERT INTO sessions (id, collection, created, used) VALUES (?1, ?2, ?3, ?3)"
        " ON CONFLICT (id) DO UPDATE SET used = excluded.used",
        (session_id, collection, _now()),
    )
    row = connection.execute("SELECT number FROM sessions WHERE id = ?", (session_id,)).fetchone()
    return int(row[0])


def _add(
    connection: sqlite3.Connection,
    session: int,
    role: Role,
    parts: Sequence[Mapping[str, Any]],
    answer: Mapping[str, Any] | None,
) -> None:
    connection.execute(
        "INSERT INTO turns (session, seq, role, parts, answer, created) VALUES (?1,"
        " (SELECT coalesce(max(seq), 0) + 1 FROM turns WHERE session = ?1), ?2, ?3, ?4, ?5)",
        (session, role, json.dumps(parts), answer and json.dumps(answer), _now()),
    )


def _forget_oldest(connection: sqlite3.Connection, session: int) -> None:
    connection.execute(
        "DELETE FROM turns WHERE session = ?1 AND seq <= (SELECT max(seq) FROM turns"
        " WHERE session = ?1) - ?2",
        (session, KEPT_TURNS),
    )
    connection.execute(
        "DELETE FROM sessions WHERE number IN (SELECT number FROM sessions"
        " ORDER BY used DESC, number DESC LIMIT -1 OFFSET ?)",
        (KEPT_SESSIONS,),
    )


def _part(term: Term) -> dict[str, Any]:
    if term.kind in ("text", "item"):
        return {term.kind: str(term.value)}
    assert isinstance(term.value, bytes | Path)
    data = term.value if isinstance(term.value, bytes) else term.value.read_bytes()
    return {term.kind: {"digest": hashlib.sha256(data).hexdigest(), "bytes": len(data)}}


def _terms(parts: Sequence[Mapping[str, Any]]) -> tuple[Term, ...]:
    return tuple(_term(kind, value) for part in parts for kind, value in part.items())


def _term(kind: str, value: Any) -> Term:
    if kind == "item":
        return Term(kind="item", value=value)
    if kind == "text":
        return Term(kind="text", value=value)
    return Term(kind="text", value=f"({kind} {value['digest'][:_DIGITS]})")


def _unknown(session_id: str) -> NotFound:
    return NotFound(
        f"there is no session {session_id!r}; GET /v1/sessions lists them", param="session"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

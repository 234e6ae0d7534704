"""Conversations in `service.db`: what is kept of them, for how long, and for whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api import answers_ask, sessions
from api.requests import Term
from api.requests_ask import AskRequest
from api.sessions import Sessions
from embed.errors import Conflict, NotFound
from embed.types import Modality
from generation.types import Role
from rag.types import Answer, Plan


def answer(text: str) -> Answer:
    return Answer(
        text=text,
        sentences=(),
        citations=(),
        evidence=(),
        completions=(),
        abstained=False,
        reason=None,
        confidence=0.5,
        plan=Plan(question="", queries=()),
        route=frozenset({Modality.TEXT}),
        generator="extractive",
        timings_ms={},
    )


def asked(words: str, session: str = "s1", collection: str = "default", **more: Any) -> AskRequest:
    terms = (Term(kind="text", value=words), *more.get("terms", ()))
    return AskRequest(terms=terms, session=session, collection=collection)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Sessions]:
    kept = Sessions(tmp_path)
    yield kept
    kept.close()


def test_what_was_said_comes_back_and_media_are_only_named(kept: Sessions, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"the same bytes")
    terms = (
        Term(kind="item", value="b1"),
        Term(kind="image", value=b"the same bytes"),
        Term(kind="image", value=photo),
    )
    kept.note(asked("which boat?", terms=terms), answer("The red one."))
    other = Sessions(tmp_path)  # as another process has them
    question, reply = other.history("s1", "default")
    assert (question.role, reply.role) == (Role.USER, Role.ASSISTANT)
    assert [(term.kind, term.value) for term in question.terms[:2]] == [
        ("text", "which boat?"),
        ("item", "b1"),
    ]
    first, second = question.terms[2:]
    assert first == second
    assert first.kind == "text"
    assert reply.terms[0].value == "The red one."
    _, (turn, _) = other.get("s1")
    assert turn.parts[2]["image"]["bytes"] == 14
    assert len(turn.parts[2]["image"]["digest"]) == 64
    other.close()


def test_a_session_is_about_one_collection(kept: Sessions) -> None:
    kept.note(asked("a"), answer("b"))
    with pytest.raises(Conflict, match="'default'"):
        kept.history("s1", "other")
    with pytest.raises(Conflict):
        kept.note(asked("a", collection="other"), answer("b"))
    assert kept.history("s2", "other") == ()
    assert kept.get("s1")[0].turns == 2


def test_the_oldest_turns_and_sessions_are_forgotten(
    kept: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "KEPT_TURNS", 6)
    monkeypatch.setattr(sessions, "RECALLED_TURNS", 4)
    monkeypatch.setattr(sessions, "KEPT_SESSIONS", 2)
    ticks = iter(f"2026-01-01T00:00:{n:02}" for n in range(60))
    monkeypatch.setattr(sessions, "_now", lambda: next(ticks))
    for n in range(5):
        kept.note(asked(f"q{n}"), answer(f"a{n}"))
    assert [turn.parts[0]["text"] for turn in kept.get("s1")[1]] == [
        *("q2", "a2", "q3", "a3", "q4", "a4")
    ]
    assert [turn.terms[0].value for turn in kept.history("s1", "default")] == [
        *("q3", "a3", "q4", "a4")
    ]
    for name in ("s2", "s1", "s3"):
        kept.note(asked("again", session=name), answer("yes"))
    assert [session.id for session in kept.all()] == ["s3", "s1"]
    with pytest.raises(NotFound, match="s2"):
        kept.get("s2")


def test_over_rest(client: Any, service: Any, kept: Sessions) -> None:
    service.asking = SimpleNamespace(sessions=kept)
    kept.note(asked("which boat?"), answer("The red one."))
    listed = client.get("/v1/sessions")
    answers_ask.SessionList.model_validate_json(listed.content)
    assert [row["question"] for row in listed.json()["sessions"]] == ["which boat?"]
    one = client.get("/v1/sessions/s1")
    answers_ask.SessionDetail.model_validate_json(one.content)
    assert one.json()["history"][1]["answer"]["generator"] == "extractive"
    assert client.request("DELETE", "/v1/sessions/s1").status_code == 204
    for method in ("GET", "DELETE"):
        gone = client.request(method, "/v1/sessions/s1")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_found")
    assert client.get("/v1/sessions?limit=0").status_code == 422

"""Conversations that are remembered: listed, shown, forgotten."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from api.answers_ask import SessionDetail, SessionList
from api.routes.inputs import Served
from api.schemas_chat import SessionsPage

router = APIRouter(prefix="/v1/sessions", tags=["chat"])


@router.get("", summary="The latest used first", response_model=SessionList)
def list_sessions(service: Served, page: Annotated[SessionsPage, Query()]) -> JSONResponse:
    found = service.asking.sessions.all(limit=page.limit)
    return JSONResponse({"sessions": [session.to_json() for session in found]})


@router.get("/{session}", summary="One session, turn by turn", response_model=SessionDetail)
def get_session(service: Served, session: str) -> JSONResponse:
    found, turns = service.asking.sessions.get(session)
    return JSONResponse({**found.to_json(), "history": [turn.to_json() for turn in turns]})


@router.delete("/{session}", summary="Forget a session", status_code=204)
def delete_session(service: Served, session: str) -> Response:
    service.asking.sessions.delete(session)
    return Response(status_code=204)

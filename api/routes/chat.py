"""Chat in the shape of OpenAI's API, its answers with the evidence that they rest on.

Whatever goes wrong before the first word is an answer with a status; afterwards, an event.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from api.answers_ask import ChatAnswer
from api.discreet import discreetly
from api.errors import to_json
from api.requests_ask import AskRequest
from api.routes.inputs import IGNORED, Served, json_body, permit_generator, permit_reranker, takes
from api.routes.streams import in_thread
from api.schemas_chat import ChatBody
from api.service import Service
from api.shapes_chat import Chunks, Completion
from embed.errors import CrossbindError
from rag.types import Answer, Delta

log = logging.getLogger("crossbind.api")

router = APIRouter(prefix="/v1/chat", tags=["chat"])

CLIENT_GONE = 499  # nobody reads it; logs do
QUIET_SECONDS = 5.0  # after which a stream says that it is alive, or a client is looked for

_TOLD = 64  # names in a header, and characters of one
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Or, with `stream`, chunks as server-sent events; the one with a "
        "finish_reason holds citations, evidence and completions",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
_Pieces = Generator[Delta | Answer, None, None]
_Made = AsyncGenerator[Delta | Answer | None, None]


@router.post(
    "/completions",
    summary="Answer from a collection, every sentence with its evidence (OpenAI-compatible)",
    response_model=ChatAnswer,
    responses=_STREAM,
    openapi_extra=takes(ChatBody),
)
async def complete_chat(
    service: Served, request: Request, body: Annotated[ChatBody, Depends(json_body(ChatBody))]
) -> Response:
    asked, ignored = await run_in_threadpool(_read, service, body)
    pieces = in_thread(
        lambda: _pieces(service, asked, checked=not body.stream),
        request.app.state.answering,
        quiet=QUIET_SECONDS,
    )
    headers = {IGNORED: _listed(ignored)} if ignored else {}
    completion = Completion(model=body.model, session=body.session)
    if body.stream:
        first = await anext(_while_here(pieces, request), None)
        if first is not None:
            chunks = Chunks(completion, usage=body.wants_usage)
            events = _events(first, pieces, chunks, request.scope["state"]["request_id"])
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    async with aclosing(pieces):
        async for piece in _while_here(pieces, request):
            if isinstance(piece, Answer):
                document = await run_in_threadpool(completion.whole, piece)
                return JSONResponse(document, headers=headers)
    return Response(status_code=CLIENT_GONE)


def _read(service: Service, body: ChatBody) -> tuple[AskRequest, list[str]]:
    """The question, and what is passed over. Raises Forbidden, NotFound, what `request` does."""
    asked = body.request()
    if asked.generator is not None:
        named = permit_generator(service, asked.generator, "model")
        asked = replace(asked, generator=named)
    if asked.reranker is not None:
        permit_reranker(service, asked.reranker, "retrieval.reranker")
    tools = (asked.generator or service.settings.generator) != "extractive"
    if not tools:
        asked = replace(asked, tools=(), tool_choice=None)
    return asked, body.ignored(tools=tools)


def _pieces(service: Service, asked: AskRequest, *, checked: bool) -> _Pieces:
    with discreetly():
        yield from service.asking.stream(asked, checked=checked)


def _listed(names: Sequence[str]) -> str:
    """As one header: clients choose names, and headers hold little."""
    plain = [ascii(name)[1:-1][:_TOLD] for name in names[:_TOLD]]
    return ", ".join(plain)


async def _while_here(pieces: _Made, request: Request) -> AsyncGenerator[Delta | Answer, None]:
    """The pieces, as long as the client waits for them."""
    looked = time.monotonic()
    async for piece in pieces:
        if time.monotonic() - looked > QUIET_SECONDS:
            if await request.is_disconnected():
                return
            looked = time.monotonic()
        if piece is not None:
            yield piece


async def _events(
    first: Delta | Answer, rest: _Made, chunks: Chunks, request_id: str
) -> AsyncGenerator[str, None]:
    """Server-sent events; the last one says that it is done, or what went wrong."""
    try:
        async with aclosing(rest):
            for chunk in [chunks.opening(), *await run_in_threadpool(chunks.of, first)]:
                yield _event(chunk)
            async for piece in rest:
                if piece is None:
                    yield ": still here\n\n"
                    continue
                ends = isinstance(piece, Answer)  # and may hold media, which take their time
                for chunk in (
                    await run_in_threadpool(chunks.of, piece) if ends else chunks.of(piece)
                ):
                    yield _event(chunk)
    except Exception as error:  # the status has gone out: it is told as an event
        if not isinstance(error, CrossbindError):
            log.error("request %s failed", request_id, exc_info=error)
        yield _event(to_json(error, request_id))
        return
    yield "data: [DONE]\n\n"


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document, allow_nan=False)}\n\n"

"""REST and the web page, as one ASGI application around a service that someone else owns.

It knows how requests are guarded and answered; what they mean is in `routes/`, what an exception
means in `errors.py`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse

from api.answers import ErrorAnswer
from api.guard import Doorkeeper, Envelope, error_response
from api.job_kinds import KINDS
from api.routes import (
    care,
    chat,
    collections,
    complete,
    embeddings,
    exploring,
    health,
    items,
    jobs,
    models,
    search,
    sessions,
)
from api.schemas import CollectionBody, EmbeddingsBody, IndexBody, ItemPatch, ItemsBody
from api.schemas_chat import ChatBody
from api.schemas_complete import CompleteBody
from api.schemas_explore import EXPLORING
from api.schemas_search import SearchBody
from api.service import Service
from api.version import crossbind_version
from embed.errors import CrossbindError

WEB = Path(__file__).parent / "web"
PAGE = {
    "/": "index.html",
    "/docs": "docs.html",
    "/icon.svg": "icon.svg",
    **{f"/{name}.css": f"{name}.css" for name in ("app", "chat", "docs")},
    **{
        f"/{name}.js": f"{name}.js"
        for name in (
            *("answer", "app", "cards", "chat", "chips", "detail", "docs", "dom", "key", "map"),
            *("media", "narrow", "state", "take"),
        )
    },
}
HEALTH = ("/health/live", "/health/ready")
ANSWERING = 8
"""Answers that are made at once; others wait."""
DRAWING = 8
"""Threads that previews may hold, so that a page full of them holds up nothing else."""
STORING = 8
"""Uploads that are read and embedded at once, so that they hold up no search; others wait."""

_BODIES: tuple[type[BaseModel], ...] = (
    *(ChatBody, CollectionBody, CompleteBody, EmbeddingsBody, IndexBody, ItemPatch, ItemsBody),
    SearchBody,
    *EXPLORING,
    *KINDS.values(),
)
_PAGE_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
}
_SUMMARY = "Put pictures, sounds, films and texts into one space, and find them in words."


def create_app(service: Service) -> FastAPI:
    """The application. It neither starts nor closes `service`."""
    app = FastAPI(
        title="Crossbind",
        version=crossbind_version(),
        summary=_SUMMARY,
        docs_url=None,
        redoc_url=None,
        responses={"default": {"model": ErrorAnswer, "description": "What went wrong"}},
    )
    app.state.service = service
    app.state.answering = CapacityLimiter(ANSWERING)
    app.state.drawing = CapacityLimiter(DRAWING)
    app.state.storing = CapacityLimiter(STORING)
    app.state.stopping = Event()  # threading's: it is set from outside of the loop
    for module in (
        *(health, models, collections, items, search, exploring, embeddings),
        *(chat, sessions, complete, jobs, care),
    ):
        app.include_router(module.router)
    for path, name in PAGE.items():
        page = partial(_page, WEB / name)
        app.add_api_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)
    for kind in (CrossbindError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer)
    app.add_middleware(Doorkeeper, settings=service.settings, public={*PAGE, *HEALTH})
    app.add_middleware(Envelope)  # the last one added is the outermost
    app.openapi = partial(_openapi, app, app.openapi)  # type: ignore[method-assign]
    return app


async def _page(path: Path) -> FileResponse:
    return FileResponse(path, media_type=_PAGE_TYPES[path.suffix], headers=_PAGE_HEADERS)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    return error_response(error, request.scope)


def _openapi(app: FastAPI, generate: Any) -> dict[str, Any]:
    """FastAPI's document, and the bodies that routes read by themselves."""
    if app.openapi_schema is None:
        document: dict[str, Any] = generate()
        _, bodies = models_json_schema(
            [(body, "validation") for body in _BODIES], ref_template="#/components/schemas/{model}"
        )
        document["components"]["schemas"].update(bodies["$defs"])
        app.openapi_schema = document
    return app.openapi_schema

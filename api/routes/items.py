"""Items: uploaded, listed, shown, changed, deleted, and their bytes handed out again.

Bytes come from strangers. They go out under the type that their content shows, sandboxed, and as
a download unless that type is one that a browser shows without running anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import FileResponse, JSONResponse, Response

from api.answers import ItemAnswer, ItemList, UploadAnswer
from api.errors import describe
from api.requests import Upload, UploadOutcome
from api.routes.inputs import Served, json_body, takes
from api.routes.uploads import Uploads, arrived, takes_uploads
from api.schemas import ItemPatch, ItemsPage, PreviewSize
from api.service import Service
from api.wire import item_to_json
from index.metadata.filter_text import parse_filter

router = APIRouter(prefix="/v1/collections/{c}/items", tags=["items"])

_SANDBOX = "default-src 'none'; img-src 'self'; media-src 'self'; sandbox"
_BRIEFLY = "private, max-age=300"
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes", "content": {"*/*": {}}},
    304: {"description": "Unchanged since the ETag in If-None-Match"},
}


@router.post(
    "",
    summary="Add media: multipart files, or JSON with texts, data URIs and base64",
    response_model=UploadAnswer,
    responses={207: {"model": UploadAnswer, "description": "Some could not be stored"}},
    openapi_extra=takes_uploads(),
)
async def add_items(
    service: Served,
    c: str,
    read: Annotated[Callable[[], Uploads], Depends(arrived)],
    request: Request,
) -> JSONResponse:
    added = partial(_add_items, service, c, read)
    return await to_thread.run_sync(added, limiter=request.app.state.storing)


def _add_items(service: Service, c: str, read: Callable[[], Uploads]) -> JSONResponse:
    uploads = read()
    stored = iter(service.add_items(c, [entry for entry in uploads if isinstance(entry, Upload)]))
    outcomes = [entry if isinstance(entry, UploadOutcome) else next(stored) for entry in uploads]
    failed = any(outcome.error for outcome in outcomes)
    results = [_outcome_to_json(outcome) for outcome in outcomes]
    return JSONResponse({"results": results}, status_code=207 if failed else 200)


def _outcome_to_json(outcome: UploadOutcome) -> dict[str, Any]:
    if outcome.error is None:
        return {
            "id": outcome.id,
            "status": "created",
            "modality": outcome.modality,
            "items": outcome.items,
            "left_out": outcome.left_out,
        }
    return {
        "id": outcome.id,
        "status": "failed",
        "modality": outcome.modality,
        "items": {},
        "left_out": {},
        "error": describe(outcome.error),
    }


@router.get(
    "", summary="A page of items, oldest first; of texts the start", response_model=ItemList
)
def list_items(service: Served, c: str, page: Annotated[ItemsPage, Query()]) -> JSONResponse:
    items, cursor = service.items(
        c,
        limit=page.limit,
        cursor=page.cursor,
        modality=page.modality,
        record=page.record,
        f=None if page.filter is None else parse_filter(page.filter),
    )
    data = [item_to_json(item, c) for item in items]
    return JSONResponse({"items": data, "next_cursor": cursor})


@router.get("/{item_id}", summary="One item", response_model=ItemAnswer)
def get_item(service: Served, c: str, item_id: str) -> JSONResponse:
    return JSONResponse(item_to_json(service.item(c, item_id), c))


@router.patch(
    "/{item_id}",
    summary="Change the title or replace the metadata of an item",
    response_model=ItemAnswer,
    openapi_extra=takes(ItemPatch),
)
def patch_item(
    service: Served, c: str, item_id: str, body: Annotated[ItemPatch, Depends(json_body(ItemPatch))]
) -> JSONResponse:
    item = service.update_item(c, item_id, title=body.title, metadata=body.metadata)
    return JSONResponse(item_to_json(item, c))


@router.delete("/{item_id}", summary="Forget an item; its file stays", status_code=204)
def delete_item(service: Served, c: str, item_id: str) -> Response:
    service.delete_item(c, item_id)
    return Response(status_code=204)


@router.head("/{item_id}/media", include_in_schema=False)
@router.get(
    "/{item_id}/media",
    summary="The bytes of an item; takes Range",
    response_class=Response,
    responses=_BYTES,
)
def get_media(service: Served, c: str, item_id: str, request: Request) -> Response:
    file = service.media(c, item_id)
    headers = _headers(f'"{file.version}"')
    if _unchanged(request, headers):
        return Response(status_code=304, headers=headers)
    media_type, disposition = _safe_type(file.media_type)
    return FileResponse(
        file.path,
        headers=headers,
        media_type=media_type,
        filename=file.name or item_id,
        content_disposition_type=disposition,
    )


@router.head("/{item_id}/preview", include_in_schema=False)
@router.get(
    "/{item_id}/preview",
    summary="A small JPEG: of a picture, a film, a sound's shape, a document's page",
    response_class=Response,
    responses=_BYTES,
)
async def get_preview(
    service: Served, c: str, item_id: str, size: Annotated[PreviewSize, Query()], request: Request
) -> Response:
    drawn = partial(_preview, service, c, item_id, size, request)
    return await to_thread.run_sync(drawn, limiter=request.app.state.drawing)


def _preview(
    service: Service, c: str, item_id: str, size: PreviewSize, request: Request
) -> Response:
    version = service.media(c, item_id).version
    headers = _headers(f'"{version}-{size.side}-{size.at}-{size.page}"')
    if _unchanged(request, headers):
        return Response(status_code=304, headers=headers)
    jpeg = service.preview(c, item_id, side=size.side, at=size.at, page=size.page)
    return Response(jpeg, media_type="image/jpeg", headers=headers)


def _headers(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": _BRIEFLY, "Content-Security-Policy": _SANDBOX}


def _unchanged(request: Request, headers: dict[str, str]) -> bool:
    known = request.headers.get("if-none-match", "").split(",")
    return headers["ETag"] in {etag.strip().removeprefix("W/") for etag in known}


def _safe_type(sniffed: str) -> tuple[str, str]:
    """Content-Type and Content-Disposition under which a browser runs nothing."""
    kind = sniffed.partition(";")[0].strip().lower()
    if kind == "text/plain":
        return "text/plain; charset=utf-8", "inline"
    if kind.startswith(("image/", "audio/", "video/")) and not kind.endswith("+xml"):
        return kind, "inline"
    return "application/octet-stream", "attachment"

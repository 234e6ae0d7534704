"""Snapshots of a collection, and whether it is whole. Bringing one back is for the command line."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import FileResponse, JSONResponse, Response

from api.answers_care import SnapshotAnswer, SnapshotList, VerificationAnswer
from api.care import Care
from api.routes.inputs import Served

router = APIRouter(prefix="/v1/collections/{c}", tags=["care"])


@router.post(
    "/snapshot",
    summary="Copy it to a .tar on the server, while it is in use",
    status_code=201,
    response_model=SnapshotAnswer,
)
def take_snapshot(service: Served, c: str) -> JSONResponse:
    made = Care(service.settings).snapshot_for_client(c)
    told = {name: getattr(made.manifest, name) for name in ("items", "missing", "created")}
    document = {"name": made.path.name, "bytes": made.bytes, **told}
    return JSONResponse({**document, "collections": list(made.manifest.collections)}, 201)


@router.get("/snapshots", summary="Those on the server", response_model=SnapshotList)
def list_snapshots(service: Served, c: str) -> JSONResponse:
    found = Care(service.settings).snapshots(c)
    listed = [{"name": path.name, "bytes": path.stat().st_size} for path in found]
    return JSONResponse({"snapshots": listed})


@router.get(
    "/snapshots/{name}",
    summary="The .tar itself, for crossbind collections restore",
    response_class=FileResponse,
    responses={200: {"description": "The file", "content": {"application/x-tar": {}}}},
)
def get_snapshot(service: Served, c: str, name: str) -> FileResponse:
    path = Care(service.settings).stored_snapshot(c, name)
    return FileResponse(path, media_type="application/x-tar", filename=path.name)


@router.delete("/snapshots/{name}", summary="Forget a snapshot", status_code=204)
def delete_snapshot(service: Served, c: str, name: str) -> Response:
    Care(service.settings).drop_snapshot(c, name)
    return Response(status_code=204)


@router.get(
    "/verify",
    summary="Whether every table, vector and upload of it is as it should be",
    response_model=VerificationAnswer,
)
def verify(service: Served, c: str) -> JSONResponse:
    return JSONResponse(Care(service.settings).verify(c).to_json())

"""Collections: made, listed, shown, deleted, and what could not be indexed into them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse, Response

from api.answers import AliasList, CollectionAnswer, CollectionList, FailureList
from api.routes.inputs import Served, json_body, permit, permit_index, takes
from api.schemas import CollectionBody, IndexBody
from embed.errors import Conflict, NotFound

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("", summary="All collections", response_model=CollectionList)
def list_collections(service: Served) -> JSONResponse:
    return JSONResponse({"collections": [summary.to_json() for summary in service.collections()]})


@router.put(
    "/{c}",
    summary="Make a collection; the same request again changes nothing",
    status_code=201,
    response_model=CollectionAnswer,
    responses={200: {"model": CollectionAnswer, "description": "It was already there"}},
    openapi_extra=takes(CollectionBody),
)
def put_collection(
    service: Served, c: str, body: Annotated[CollectionBody, Depends(json_body(CollectionBody))]
) -> JSONResponse:
    permit(service, body.space)
    permit_index(service, body.index)
    try:
        made = service.create_collection(
            c, space=body.space, index=body.index, storage=body.storage
        )
    except Conflict:
        there = service.collection(c)
        is_so = there.info.space.name, there.info.index, there.info.storage
        if is_so == (body.space, body.index, body.storage):
            return JSONResponse(there.to_json())
        raise Conflict(
            f"collection {c!r} is already there, with space {there.info.space.name!r}, index "
            f"{there.info.index!r} and storage {there.info.storage}; delete it first, or choose "
            "another name",
            param="c",
        ) from None
    return JSONResponse(made.to_json(), status_code=201)


@router.get("/{c}", summary="One collection and its counts", response_model=CollectionAnswer)
def get_collection(service: Served, c: str) -> JSONResponse:
    return JSONResponse(service.collection(c).to_json())


@router.put(
    "/{c}/index",
    summary="From now on this engine answers; it is filled from the catalog",
    response_model=CollectionAnswer,
    openapi_extra=takes(IndexBody),
)
def put_index(
    service: Served, c: str, body: Annotated[IndexBody, Depends(json_body(IndexBody))]
) -> JSONResponse:
    permit_index(service, body.index)
    return JSONResponse(service.set_index(c, body.index).to_json())


@router.delete("/{c}", summary="Forget a collection; indexed files stay", status_code=204)
def delete_collection(service: Served, c: str) -> Response:
    service.delete_collection(c)
    return Response(status_code=204)


@router.get("/{c}/failures", summary="Files that could not be indexed", response_model=FailureList)
def list_failures(service: Served, c: str) -> JSONResponse:
    return JSONResponse({"failures": [asdict(failure) for failure in service.failures(c)]})


@router.get("/{c}/aliases", summary="Its other names", response_model=AliasList)
def list_aliases(service: Served, c: str) -> JSONResponse:
    name = service.collection(c).info.name
    known = [alias for alias, meant in service.aliases().items() if meant == name]
    return JSONResponse({"collection": name, "aliases": known})


@router.put(
    "/{c}/aliases/{alias}",
    summary="From now on the alias means this collection, whatever it meant",
    response_model=AliasList,
)
def put_alias(service: Served, c: str, alias: str) -> JSONResponse:
    service.point_alias(alias, c)
    return list_aliases(service, alias)


@router.delete("/{c}/aliases/{alias}", summary="Forget an alias", status_code=204)
def delete_alias(service: Served, c: str, alias: str) -> Response:
    if service.aliases().get(alias) != service.collection(c).info.name:
        raise NotFound(f"{alias!r} is no alias of collection {c!r}", param="alias")
    service.delete_alias(alias)
    return Response(status_code=204)

"""A collection as a whole: counted, sampled, recommended from, reported on, exported, cleared."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, JSONResponse

from api.answers import HitsAnswer
from api.answers_explore import (
    ClustersAnswer,
    CountAnswer,
    DeletedAnswer,
    DuplicatesAnswer,
    FacetsAnswer,
    MapAnswer,
    OutliersAnswer,
    SampleAnswer,
)
from api.exploring import (
    cluster_to_json,
    facets_to_json,
    outlier_to_json,
    spot_to_json,
    twins_to_json,
)
from api.routes.inputs import Served, json_body, takes
from api.schemas_explore import (
    FILE_TYPES,
    ClustersPage,
    CountBody,
    DeleteBody,
    DuplicatesPage,
    ExportBody,
    FacetsBody,
    MapPage,
    OutliersPage,
    RecommendBody,
    SampleBody,
)
from api.wire import item_to_json

router = APIRouter(prefix="/v1/collections/{c}", tags=["exploring"])


@router.post(
    "/recommend",
    summary="Items like some examples, and unlike others",
    response_model=HitsAnswer,
    openapi_extra=takes(RecommendBody),
)
def recommend(
    service: Served, c: str, body: Annotated[RecommendBody, Depends(json_body(RecommendBody))]
) -> JSONResponse:
    return JSONResponse(service.search(body.request(c)).to_json())


@router.post(
    "/count",
    summary="How many items a filter means",
    response_model=CountAnswer,
    openapi_extra=takes(CountBody),
)
def count(
    service: Served, c: str, body: Annotated[CountBody, Depends(json_body(CountBody))]
) -> JSONResponse:
    return JSONResponse({"count": service.exploring.count(c, body.meant)})


@router.post(
    "/facets",
    summary="What items say under some names, and how many say each",
    response_model=FacetsAnswer,
    openapi_extra=takes(FacetsBody),
)
def facets(
    service: Served, c: str, body: Annotated[FacetsBody, Depends(json_body(FacetsBody))]
) -> JSONResponse:
    found = service.exploring.facets(c, body.fields, body.meant, limit=body.limit)
    return JSONResponse({"facets": [facets_to_json(one) for one in found]})


@router.post(
    "/sample",
    summary="Items drawn at random",
    response_model=SampleAnswer,
    openapi_extra=takes(SampleBody),
)
def sample(
    service: Served, c: str, body: Annotated[SampleBody, Depends(json_body(SampleBody))]
) -> JSONResponse:
    items = service.exploring.sample(c, body.meant, count=body.count, seed=body.seed)
    return JSONResponse({"items": [item_to_json(item, c) for item in items]})


@router.post(
    "/delete",
    summary="Forget the items that a filter means; their files stay",
    response_model=DeletedAnswer,
    openapi_extra=takes(DeleteBody),
)
def delete(
    service: Served, c: str, body: Annotated[DeleteBody, Depends(json_body(DeleteBody))]
) -> JSONResponse:
    return JSONResponse({"deleted": len(service.delete_where(c, body.meant))})


@router.post(
    "/export",
    summary="Items with their vectors, as one file",
    response_class=FileResponse,
    responses={200: {"description": "The file", "content": {"*/*": {}}}},
    openapi_extra=takes(ExportBody),
)
def export(
    service: Served, c: str, body: Annotated[ExportBody, Depends(json_body(ExportBody))]
) -> FileResponse:
    meant = body.meant if body.filter is not None else None
    service.settings.cache.mkdir(parents=True, exist_ok=True)
    folder = tempfile.TemporaryDirectory(dir=service.settings.cache, prefix="export-")
    file = Path(folder.name) / f"{c}.{body.format}"
    try:
        service.exploring.export(c, file, meant)
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(
        file,
        media_type=FILE_TYPES[file.suffix],
        filename=file.name,
        background=BackgroundTask(folder.cleanup),
    )


@router.get(
    "/duplicates", summary="Items that are all but the same", response_model=DuplicatesAnswer
)
def duplicates(service: Served, c: str, page: Annotated[DuplicatesPage, Query()]) -> JSONResponse:
    groups = service.exploring.duplicates(c, page.modality, least=page.least)
    return JSONResponse({"groups": [twins_to_json(group, c) for group in groups]})


@router.get("/clusters", summary="What belongs together", response_model=ClustersAnswer)
def clusters(service: Served, c: str, page: Annotated[ClustersPage, Query()]) -> JSONResponse:
    found = service.exploring.clusters(c, page.modality, count=page.count)
    return JSONResponse({"clusters": [cluster_to_json(one, c) for one in found]})


@router.get("/outliers", summary="What is least like all else", response_model=OutliersAnswer)
def outliers(service: Served, c: str, page: Annotated[OutliersPage, Query()]) -> JSONResponse:
    found = service.exploring.outliers(c, page.modality, count=page.count)
    return JSONResponse({"outliers": [outlier_to_json(one, c) for one in found]})


@router.get("/map", summary="Where items lie in a plane", response_model=MapAnswer)
def plane(service: Served, c: str, page: Annotated[MapPage, Query()]) -> JSONResponse:
    spots = service.exploring.map(c, page.modality)
    return JSONResponse({"spots": [spot_to_json(spot) for spot in spots]})

"""What a record lacks, supposed from others that have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse

from api.answers_ask import ReportAnswer
from api.discreet import discreetly
from api.made import encoded
from api.routes.inputs import Served, json_body, permit_generator, takes
from api.schemas_complete import CompleteBody
from api.shapes_ask import report_to_json

router = APIRouter(prefix="/v1/collections/{c}", tags=["complete"])


@router.post(
    "/complete",
    summary="Suppose what a record lacks, or say why not",
    response_model=ReportAnswer,
    openapi_extra=takes(CompleteBody),
)
def complete(
    service: Served, c: str, body: Annotated[CompleteBody, Depends(json_body(CompleteBody))]
) -> JSONResponse:
    asked = body.request(c)
    if asked.generator is not None:
        named = permit_generator(service, asked.generator, "generator")
        asked = replace(asked, generator=named)
    with discreetly():
        report = service.asking.complete(asked)
    media = [one.to_json() for one in encoded(report.media)]
    return JSONResponse(report_to_json(report, media))

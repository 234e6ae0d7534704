"""Search: one query of any mix of media, or a batch of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse

from api.answers import BatchAnswer, HitsAnswer
from api.routes.inputs import Served, json_body, takes
from api.schemas_search import SearchBody

router = APIRouter(prefix="/v1/collections/{c}", tags=["search"])


@router.post(
    "/search",
    summary="Find items by words, pictures, sounds, films, items or vectors, alone or together",
    response_model=HitsAnswer | BatchAnswer,
    openapi_extra=takes(SearchBody),
)
def search(
    service: Served, c: str, body: Annotated[SearchBody, Depends(json_body(SearchBody))]
) -> JSONResponse:
    answers = [answer.to_json() for answer in service.search_many(body.requests(c))]
    return JSONResponse(answers[0] if body.queries is None else {"results": answers})

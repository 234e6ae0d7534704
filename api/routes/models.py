"""The spaces that can be asked for by name, in the shape of OpenAI's model list."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.answers import ModelAnswer, ModelList
from api.routes.inputs import Served

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="All spaces, with what they can do", response_model=ModelList)
def list_models(service: Served) -> JSONResponse:
    return JSONResponse({"object": "list", "data": [model.to_json() for model in service.models()]})


# A name may hold slashes, as in open_clip:ViT-B-32/openai.
@router.get("/{name:path}", summary="One space", response_model=ModelAnswer)
def get_model(service: Served, name: str) -> JSONResponse:
    return JSONResponse(service.model(name).to_json())

"""Spaces and generators that can be asked for by name, in the shape of OpenAI's model list."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.answers import GeneratorAnswer, ModelAnswer, ModelList
from api.discreet import meant
from api.routes.inputs import Served, permit

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get(
    "", summary="All spaces and generators, with what they can do", response_model=ModelList
)
def list_models(service: Served) -> JSONResponse:
    """Those that clients may name; the command line lists more."""
    allowed = service.spaces()
    spaces = [model.to_json() for model in service.models() if model.name in allowed]
    generators = [service.generator(name).to_json() for name in service.generators()]
    # Of several that clients call the same, `meant` takes the first.
    once = {one["id"]: one for one in [*generators, *reversed(generators)]}
    return JSONResponse({"object": "list", "data": [*spaces, *once.values()]})


# A name may hold slashes, as in open_clip:ViT-B-32/openai.
@router.get("/{name:path}", summary="One of them", response_model=ModelAnswer | GeneratorAnswer)
def get_model(service: Served, name: str) -> JSONResponse:
    generator = meant(name, service.generators())
    if generator is not None and name not in service.spaces():
        return JSONResponse(service.generator(generator).to_json())
    permit(service, name, "model")
    return JSONResponse(service.model(name).to_json())

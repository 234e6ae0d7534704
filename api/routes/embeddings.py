"""Embeddings in the shape of OpenAI's API, where an input may be any medium or a mixture.

Base64 is little-endian float32, the same numbers bit for bit as the float form.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse

from api.answers import EmbeddingsAnswer
from api.routes.inputs import IGNORED, Served, json_body, permit, takes
from api.schemas import EmbeddingsBody
from embed.errors import BadInput
from embed.types import Floats

router = APIRouter(prefix="/v1", tags=["embeddings"])


@router.post(
    "/embeddings",
    summary="Vectors of texts, pictures, sounds, films or mixtures (OpenAI-compatible)",
    response_model=EmbeddingsAnswer,
    openapi_extra=takes(EmbeddingsBody),
)
def embeddings(
    service: Served, body: Annotated[EmbeddingsBody, Depends(json_body(EmbeddingsBody))]
) -> JSONResponse:
    permit(service, body.model, "model")
    result = service.embed(body.model, [entry.terms() for entry in body.input])
    dim = result.vectors.shape[1]
    if body.dimensions not in (None, dim):
        raise BadInput(
            f"dimensions is {body.dimensions}; {body.model!r} has {dim} and cannot be "
            "shortened: leave it out",
            param="dimensions",
        )
    answer = {
        "object": "list",
        "model": body.model,
        "data": [
            {"object": "embedding", "index": i, "embedding": _encode(row, body.encoding_format)}
            for i, row in enumerate(result.vectors)
        ],
        "usage": {"prompt_tokens": result.prompt_tokens, "total_tokens": result.prompt_tokens},
    }
    ignored = {} if body.user is None else {IGNORED: "user"}
    return JSONResponse(answer, headers=ignored)


def _encode(vector: Floats, encoding: str) -> Any:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()

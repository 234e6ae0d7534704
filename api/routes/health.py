"""Whether the process runs, and whether it can answer. Neither asks for a key."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.answers import HealthAnswer, LiveAnswer
from api.routes.inputs import Served

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="Is the process running?", response_model=LiveAnswer)
async def live() -> JSONResponse:
    return JSONResponse({"status": "alive"})


@router.get(
    "/ready",
    summary="Can it answer? 503 with the reasons when not",
    response_model=HealthAnswer,
    responses={503: {"model": HealthAnswer, "description": "Not ready; reasons says why"}},
)
def ready(service: Served) -> JSONResponse:
    health = service.health()
    return JSONResponse(asdict(health), status_code=200 if health.ready else 503)

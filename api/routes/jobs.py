"""Jobs: started, listed, shown, watched as they go, paused, cancelled and resumed."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from api.answers import FailurePage, JobAnswer, JobDetail, JobList
from api.errors import InvalidRequest
from api.job_kinds import KINDS, JobBody
from api.job_types import Event
from api.jobs import Jobs
from api.routes.inputs import Served, json_bytes, parse, permit, takes
from api.schemas import FailuresPage, JobsPage
from api.schemas_explore import FILE_TYPES
from api.service import Service
from api.wire import brief
from embed.errors import Forbidden

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

LOOK_SECONDS = 0.3
QUIET_SECONDS = 15.0  # after which a stream says that it is alive

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`id`, `event` (state, progress, log) and `data` (JSON) of each",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "It is over, and the client has read all of it"},
}


class _Kind(BaseModel):
    """The field that says which the others are."""

    kind: Any = None


async def read_job(request: Request) -> JobBody:
    """A dependency: the body, of the model that its kind wants. Raises InvalidRequest."""
    return await run_in_threadpool(_job_of, await json_bytes(request))


def _job_of(raw: bytes) -> JobBody:
    kind = parse(_Kind, raw).kind
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidRequest(
            f"kind is {brief(kind)}; the choices are: {', '.join(KINDS)}", param="kind"
        )
    return parse(KINDS[kind], raw)


def _permit(service: Service, body: JobBody) -> None:
    """Guarded kinds, and spaces that are not open, only where whoever runs the server said so."""
    if service.settings.jobs:
        return
    if body.guarded:
        raise Forbidden(
            f"a job of kind {body.kind!r} {body.guarded}, and this server takes none from its "
            "clients; whoever runs it lets them with: crossbind serve --jobs, or CROSSBIND_JOBS=1",
            param="kind",
        )
    for space in body.spaces():
        permit(service, space)


@router.post(
    "",
    summary="Start work that goes on in the background",
    status_code=202,
    response_model=JobAnswer,
    openapi_extra=takes(*KINDS.values()),
)
def start_job(service: Served, body: Annotated[JobBody, Depends(read_job)]) -> JSONResponse:
    _permit(service, body)
    job = service.jobs.submit(
        body.kind,
        body.model_dump(mode="json"),
        words=body.words(),
        resume=body.resume,
        makes=body.makes,
    )
    return JSONResponse(job.to_json(), status_code=202, headers={"Location": f"/v1/jobs/{job.id}"})


@router.get("", summary="The latest jobs first", response_model=JobList)
def list_jobs(service: Served, page: Annotated[JobsPage, Query()]) -> JSONResponse:
    jobs = service.jobs.latest(limit=page.limit, state=page.state)
    return JSONResponse({"jobs": [job.to_json() for job in jobs]})


@router.get("/{job}", summary="One job, and the end of its log", response_model=JobDetail)
def get_job(service: Served, job: str) -> JSONResponse:
    found = service.jobs.get(job)
    return JSONResponse({**found.to_json(), "log": service.jobs.log(job)})


@router.post("/{job}/cancel", summary="Stop a job", status_code=202, response_model=JobAnswer)
def cancel_job(service: Served, job: str) -> JSONResponse:
    return JSONResponse(service.jobs.cancel(job).to_json(), status_code=202)


@router.get(
    "/{job}/failures",
    summary="The single items that failed, a page of them",
    response_model=FailurePage,
)
def get_failures(service: Served, job: str, page: Annotated[FailuresPage, Query()]) -> JSONResponse:
    found, cursor = service.jobs.failures(job, limit=page.limit, cursor=page.cursor)
    return JSONResponse({"failures": found, "next_cursor": cursor})


@router.post(
    "/{job}/pause",
    summary="Hold a job until it is resumed",
    status_code=202,
    response_model=JobAnswer,
)
def pause_job(service: Served, job: str) -> JSONResponse:
    return JSONResponse(service.jobs.pause(job).to_json(), status_code=202)


@router.post(
    "/{job}/resume",
    summary="Go on with a job that was paused, failed, was cancelled or interrupted",
    status_code=202,
    response_model=JobAnswer,
)
def resume_job(service: Served, job: str) -> JSONResponse:
    found = service.jobs.get(job)
    _permit(service, KINDS[found.kind].model_validate(dict(found.body)))
    return JSONResponse(service.jobs.resume(job).to_json(), status_code=202)


@router.get(
    "/{job}/file",
    summary="What it has made: the file of export_items",
    response_class=FileResponse,
    responses={200: {"description": "The file", "content": {"*/*": {}}}},
)
def get_file(service: Served, job: str) -> FileResponse:
    path = service.jobs.file(job)
    return FileResponse(path, media_type=FILE_TYPES[path.suffix], filename=path.name)


@router.delete("/{job}/file", summary="Forget what it has made", status_code=204)
def delete_file(service: Served, job: str) -> Response:
    service.jobs.file(job).unlink(missing_ok=True)
    return Response(status_code=204)


@router.get(
    "/{job}/events",
    summary="What happens to a job, as server-sent events, until it is over or paused",
    response_class=Response,
    responses=_STREAM,
)
async def get_events(
    service: Served,
    job: str,
    request: Request,
    last_event_id: Annotated[str, Header(description="Go on after this one.")] = "0",
) -> Response:
    jobs = service.jobs
    after = int(last_event_id) if re.fullmatch(r"[0-9]{1,18}", last_event_id) else 0
    events = await run_in_threadpool(jobs.events, job, after=after)
    if after and not events and (await run_in_threadpool(jobs.get, job)).state.at_rest:
        return Response(status_code=204)  # tells a browser not to come back
    stream = _stream(jobs, job, after, request.app.state.stopping)
    return StreamingResponse(stream, media_type="text/event-stream")


async def _stream(
    jobs: Jobs, job_id: str, after: int, stopping: threading.Event
) -> AsyncIterator[str]:
    told = time.monotonic()
    while not stopping.is_set():
        # In this order: once it is over, nothing is added.
        over = (await run_in_threadpool(jobs.get, job_id)).state.at_rest
        events = await run_in_threadpool(jobs.events, job_id, after=after)
        for event in events:
            yield _message(event)
            after = event.seq
        if over:
            return
        if events:
            told = time.monotonic()
        elif time.monotonic() - told > QUIET_SECONDS:
            yield ": still here\n\n"
            told = time.monotonic()
        await asyncio.sleep(LOOK_SECONDS)


def _message(event: Event) -> str:
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n"

"""What routes are handed: the service, and a body that has already been checked.

Bodies are parsed by pydantic straight from the bytes, large ones in a worker thread, so that
nobody's upload holds up the event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from api.discreet import discreet, meant
from api.refusal import refusal
from api.service import Service
from api.wire import brief
from embed import registry
from embed.backends.vectors import FORM
from embed.errors import CrossbindError, Forbidden, NotFound, UnsupportedMedia
from generation import registry as generators
from index.qdrant.address import reaches_beyond
from rag import rerank as rerankers

Body = TypeVar("Body", bound=BaseModel)

IGNORED = "X-Crossbind-Ignored"
"""The header that lists what was asked in OpenAI's way and passed over."""

_SMALL = 64 * 1024  # bytes that are parsed faster than a thread is woken


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]


def permit(service: Service, space: str, param: str = "space") -> None:
    """Refuses a space that the operator has not opened to clients, before anything looks at it.

    A name can be a path, or start a download. Raises Forbidden, and NotFound where there is no
    such kind of space at all; both name the choices.
    """
    allowed = service.spaces()
    if space in allowed or space.startswith(FORM):  # which reads and fetches nothing
        return
    choices = f"the choices are: {', '.join(allowed)}"
    kinds = {form.partition(":")[0] for form in registry.names()}
    if space.partition(":")[0] not in kinds:
        raise NotFound(f"no space is called {brief(space)}; {choices}", param=param)
    raise Forbidden(
        f"space {brief(space)} is not open to clients of this server; {choices}. Whoever runs it "
        "opens others with: crossbind serve --space NAME, or CROSSBIND_SPACES",
        param=param,
    )


def permit_index(service: Service, address: str) -> None:
    """Refuses a server or a folder of Qdrant that the operator has not named. Raises Forbidden,
    and BadInput for no address at all."""
    if reaches_beyond(address, service.settings.qdrant_url):
        raise Forbidden(
            f"index {brief(address)} is not open to clients of this server. Whoever runs it names "
            "the Qdrant server they may use in CROSSBIND_QDRANT_URL",
            param="index",
        )


def permit_generator(service: Service, name: str, param: str) -> str:
    """The generator that a client means, by its whole name. Refuses one that the operator has not
    opened to clients: a name can be a path, start a download, or send what is found to a stranger.
    Raises Forbidden, NotFound."""
    known = service.generators()
    found = meant(name, known)
    if found is not None:
        return found
    kinds = {form.partition(":")[0] for form in generators.names()}
    raise _refused("generator", name, [discreet(one) for one in known], kinds, param)


def permit_reranker(service: Service, name: str, param: str) -> None:
    """Refuses a re-ranker that is not the operator's. Raises Forbidden, NotFound."""
    kinds = {form.partition(":")[0] for form in rerankers.FORMS}
    if name not in service.rerankers():
        raise _refused("reranker", name, service.rerankers(), kinds, param)


def _refused(
    what: str, name: str, allowed: Sequence[str], kinds: set[str], param: str
) -> CrossbindError:
    choices = f"the choices are: {', '.join(allowed)}"
    if name.partition(":")[0] not in kinds:
        return NotFound(f"no {what} is called {brief(name)}; {choices}", param=param)
    variable = "CROSSBIND_GENERATORS" if what == "generator" else "CROSSBIND_RERANKER"
    return Forbidden(
        f"{what} {brief(name)} is not open to clients of this server; {choices}. Whoever runs it "
        f"names others in {variable}",
        param=param,
    )


def parse(model: type[Body], raw: bytes) -> Body:
    """A body of `model`; an empty one counts as `{}`. Raises InvalidJson, InvalidRequest."""
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise refusal(error.errors(include_url=False)) from error


async def json_bytes(request: Request) -> bytes:
    """The body, unparsed. Raises UnsupportedMedia when it is declared to be something else."""
    raw = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if raw and kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMedia(
            f"the body is {kind or 'of no declared type'}; send Content-Type: application/json"
        )
    return raw


def json_body(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads the request as JSON of `model`."""

    async def read(request: Request) -> Body:
        raw = await json_bytes(request)
        if len(raw) <= _SMALL:
            return parse(model, raw)
        return await run_in_threadpool(parse, model, raw)

    return read


def takes(*models: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says of a route that reads its body as JSON, of one of `models`."""
    refs = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    schema = refs[0] if len(refs) == 1 else {"oneOf": refs}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}

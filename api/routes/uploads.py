"""Media on their way in: multipart files or JSON, to uploads that the service can store.

What is wrong with one of them (bad base64, an empty file) is that one's outcome; what is wrong
with the request as a whole (its shape, its metadata) is raised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from fastapi import Request
from pydantic import ConfigDict, RootModel, ValidationError
from starlette.datastructures import FormData, UploadFile

from api.refusal import refusal
from api.requests import Upload, UploadOutcome
from api.routes.inputs import json_body, takes
from api.schemas import MAX_BATCH, ItemsBody, MetadataField
from api.wire import NO_FETCHING
from embed.errors import BadInput, CrossbindError, Forbidden
from embed.types import Metadata

Uploads = list[Upload | UploadOutcome]  # an outcome here is one that has failed already

FILES, METADATA = "files", "metadata"
ONCE, MAX_KEY = "Idempotency-Key", 255

_read_json = json_body(ItemsBody)


class _FormMetadata(RootModel[MetadataField | list[MetadataField]]):
    model_config = ConfigDict(strict=True)


async def arrived(request: Request) -> AsyncIterator[Callable[[], Uploads]]:
    """A dependency: a request that is here whole, and what reads it in a worker thread.

    Files wait on disk until then, so that memory holds those of the uploads that have a thread.
    With an Idempotency-Key, what has no id of its own gets one from the key and its place: sent
    again, it is the same item. What it gives raises BadInput, Forbidden.
    """
    key = request.headers.get(ONCE)
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise BadInput(f"{ONCE} must have 1 to {MAX_KEY} characters", param=ONCE)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        async with request.form(max_files=MAX_BATCH, max_fields=8) as form:
            yield lambda: _once(_from_form(form), key)
    else:
        body = await _read_json(request)
        yield lambda: _once(_from_json(body), key)


def _once(uploads: Uploads, key: str | None) -> Uploads:
    if key is None:
        return uploads
    return [
        replace(entry, id=_id_of(key, place), once=True)
        if isinstance(entry, Upload) and entry.id is None
        else entry
        for place, entry in enumerate(uploads)
    ]


def _id_of(key: str, place: int) -> str:
    return sha256(f"{place} {key}".encode(errors="surrogatepass")).hexdigest()[:32]


def _from_json(body: ItemsBody) -> Uploads:
    for position, item in enumerate(body.items):
        if item.uri is not None:
            raise Forbidden(f"uri is {item.uri!r}; {NO_FETCHING}", param=f"items.{position}.uri")
    uploads: Uploads = []
    for item in body.items:
        try:
            uploads.append(item.upload())
        except CrossbindError as error:
            uploads.append(UploadOutcome(id=item.id, error=error))
    return uploads


def _from_form(form: FormData) -> Uploads:
    unknown = sorted(set(form) - {FILES, f"{FILES}[]", METADATA})
    if unknown:
        raise BadInput(
            f"unknown form field {', '.join(map(repr, unknown))}; the known ones are: {FILES} "
            f"(the media, once for each) and {METADATA} (JSON)",
            param=unknown[0],
        )
    files = [*form.getlist(FILES), *form.getlist(f"{FILES}[]")]
    if not files or not all(isinstance(file, UploadFile) for file in files):
        raise BadInput(f"{FILES} must hold one file or several, each with a name", param=FILES)
    metadata = _form_metadata(form.getlist(METADATA), len(files))
    return [
        _from_file(file, about)
        for file, about in zip(files, metadata, strict=True)
        if isinstance(file, UploadFile)
    ]


def _from_file(file: UploadFile, metadata: Metadata) -> Upload | UploadOutcome:
    data = file.file.read()
    if not data:
        return UploadOutcome(id=None, error=BadInput(f"{file.filename!r} is empty", param=FILES))
    return Upload(data=data, name=_base_name(file.filename), metadata=metadata)


def _base_name(name: str | None) -> str | None:
    """Some clients send a path; only its last part is a name."""
    return (name or "").replace("\\", "/").rpartition("/")[2][:255] or None


def _form_metadata(values: list[Any], files: int) -> list[Metadata]:
    if not values:
        return [{}] * files
    if len(values) > 1 or not isinstance(values[0], str):
        raise BadInput(
            f"{METADATA} is one form field: a JSON object for all files, or a list of one each",
            param=METADATA,
        )
    try:
        given = _FormMetadata.model_validate_json(values[0]).root
    except ValidationError as error:
        fault = refusal(error.errors(include_url=False))
        raise type(fault)(f"{METADATA}: {fault.message}", param=METADATA) from error
    if not isinstance(given, list):
        return [given] * files
    if len(given) != files:
        raise BadInput(
            f"{METADATA} lists {len(given)} objects for {files} files; send one for each, or a "
            "single object for all",
            param=METADATA,
        )
    return list(given)


def takes_uploads() -> dict[str, Any]:
    """What OpenAPI says of a route that reads its body through `arrived`."""
    extra = takes(ItemsBody)
    extra["parameters"] = [
        {
            "name": ONCE,
            "in": "header",
            "description": "A word of your own: the same request with it again adds nothing twice.",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
        }
    ]
    extra["requestBody"]["content"]["multipart/form-data"] = {
        "schema": {
            "type": "object",
            "required": [FILES],
            "properties": {
                FILES: {"type": "array", "items": {"type": "string", "format": "binary"}},
                METADATA: {
                    "type": "string",
                    "description": "JSON: an object for all files, or a list of one each.",
                },
            },
        }
    }
    return extra

"""What goes wrong with a Qdrant server, its client or its local mode, as our errors.

The one place that maps them. A message names the server, never its key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from sqlite3 import Error as SqliteError

import grpc
import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from embed.errors import (
    BackendFailed,
    Conflict,
    CrossbindError,
    Forbidden,
    NotAvailable,
    Overloaded,
    StorageFull,
    Unauthorized,
)
from index.qdrant.address import QdrantAddress
from index.qdrant.points import LostPoints

_TOLD = 200  # characters of what a server says
_STATUS = {
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNAVAILABLE: None,
    grpc.StatusCode.DEADLINE_EXCEEDED: None,
}


@contextmanager
def explained(where: QdrantAddress) -> Iterator[None]:
    """Raises NotAvailable (LostPoints, Overloaded, StorageFull, BackendFailed among them),
    Unauthorized, Forbidden, Conflict."""
    try:
        yield
    except UnexpectedResponse as error:
        raise _of_status(where, error.status_code or 0, _reason(error)) from error
    except ResourceExhaustedResponse as error:
        raise _of_status(where, HTTPStatus.TOO_MANY_REQUESTS, error.message) from error
    except ResponseHandlingException as error:
        if isinstance(error.source, httpx.TransportError):
            raise _unreachable(where, type(error.source).__name__) from error
        raise BackendFailed(f"{where} does not answer as a Qdrant server: is it one?") from error
    except grpc.RpcError as error:
        status = _STATUS.get(error.code(), HTTPStatus.INTERNAL_SERVER_ERROR)
        if status is None:
            raise _unreachable(where, error.code().name) from error
        raise _of_status(where, status, error.details() or "") from error
    except (SqliteError, OSError, RuntimeError, ValueError, KeyError) as error:
        if where.url is not None:
            raise
        raise _of_local_mode(where, error) from error


def _of_status(where: QdrantAddress, status: int, reason: str) -> CrossbindError:
    says = f"the Qdrant server {where} says {reason[:_TOLD]!r}"
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return Unauthorized(
                f"the Qdrant server {where} wants another API key: set CROSSBIND_QDRANT_API_KEY, "
                f"and CROSSBIND_QDRANT_URL to {where}, the server that it is for"
            )
        case HTTPStatus.FORBIDDEN:
            return Forbidden(
                f"the API key may not do this on the Qdrant server {where}: crossbind makes, "
                "writes and deletes collections named crossbind_…, so give it a key that may"
            )
        case HTTPStatus.NOT_FOUND:
            return LostPoints(
                f"the Qdrant server {where} no longer has this collection's points: search again, "
                "and they are put back from the catalog"
            )
        case HTTPStatus.CONFLICT:
            return Conflict(f"{says}: search again", param="index")
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Overloaded(f"{says}: try again in a while")
        case HTTPStatus.INSUFFICIENT_STORAGE:
            return StorageFull(f"{says}: give it room; all that was acknowledged is in the catalog")
        case HTTPStatus.BAD_GATEWAY | HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.GATEWAY_TIMEOUT:
            return NotAvailable(f"{says}: wait until it is up, then search again")
    if "imension" in reason:
        return Conflict(
            f"{says}: its collection was made for other vectors; delete it there, and it is made "
            "anew from the catalog",
            param="index",
        )
    return BackendFailed(f"{says} (status {status}): its log tells more")


def _unreachable(where: QdrantAddress, cause: str) -> NotAvailable:
    return NotAvailable(
        f"the Qdrant server {where} cannot be reached ({cause}): start it, or correct the address; "
        "what was written is safe in the catalog, and the next search catches up"
    )


def _of_local_mode(where: QdrantAddress, error: Exception) -> CrossbindError:
    if "already accessed" in str(error):
        return NotAvailable(
            f"the Qdrant folder {where} is open in another process: local mode admits one; close "
            "it there, or run a Qdrant server"
        )
    if "not found" in str(error):
        return LostPoints(f"the points under {where} are gone: search again to put them back")
    return BackendFailed(f"Qdrant's local mode in {where} failed: {str(error)[:_TOLD]}")


def _reason(error: UnexpectedResponse) -> str:
    """Qdrant answers `{"status": {"error": "…"}}`; a proxy before it may say anything."""
    try:
        told = json.loads(error.content)["status"]["error"]
    except (ValueError, KeyError, TypeError):
        told = error.reason_phrase
    return str(told)

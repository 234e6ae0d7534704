"""Exceptions to HTTP statuses, exit codes and wire shapes: the only place that does so.

Two tables keyed by class, walked along the exception's MRO, so that a new class inherits the
answer of its parent until it earns a row of its own. Nothing here imports a web framework: the
command line reads the same tables, and starts fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from embed.errors import (
    BadInput,
    CatalogError,
    Conflict,
    CrossbindError,
    Forbidden,
    NotAvailable,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
    UnsupportedModality,
)

T = TypeVar("T")


class InvalidJson(BadInput):
    """A request body that is not JSON at all."""

    code = "invalid_json"


class InvalidRequest(BadInput):
    """JSON, but not of the shape that this route takes."""

    code = "invalid_request"


class MethodNotAllowed(BadInput):
    """The path exists and does not answer this HTTP method."""

    code = "method_not_allowed"


OK, SOME_FAILED, USAGE = 0, 1, 2  # exit codes that no exception stands for

_STATUS: dict[type[BaseException], int] = {
    BaseException: 500,
    CrossbindError: 500,
    BadInput: 400,
    UnsupportedMedia: 415,
    UnsupportedModality: 415,
    TooLarge: 413,
    InvalidRequest: 422,
    MethodNotAllowed: 405,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    NotAvailable: 503,
    Overloaded: 429,
    StorageFull: 507,
    CatalogError: 500,
}

_EXIT: dict[type[BaseException], int] = {
    BaseException: 70,
    KeyboardInterrupt: 130,
    CrossbindError: 70,
    BadInput: 4,
    Unauthorized: 4,
    Forbidden: 4,
    Conflict: 4,
    NotFound: 3,
    NotAvailable: 5,
    CatalogError: 70,
}

_HEADERS: dict[type[BaseException], Mapping[str, str]] = {
    BaseException: {},
    Unauthorized: {"WWW-Authenticate": 'Bearer realm="crossbind"'},
    Overloaded: {"Retry-After": "1"},
}

# Categories in the words of OpenAI's API, whose clients show them.
_TYPES: dict[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "unavailable_error",
    507: "unavailable_error",
}


def status_of(error: BaseException) -> int:
    """The HTTP status, 500 for anything that was not raised on purpose."""
    return _nearest(_STATUS, error)


def exit_code_of(error: BaseException) -> int:
    """The exit code of the command line, 70 for anything that was not raised on purpose."""
    return _nearest(_EXIT, error)


def headers_of(error: BaseException) -> dict[str, str]:
    """Response headers that the status calls for (Retry-After, WWW-Authenticate)."""
    return dict(_nearest(_HEADERS, error))


def describe(error: BaseException) -> dict[str, Any]:
    """`{"type", "code", "message", "param"}`. An unexpected error tells nothing of itself."""
    status = status_of(error)
    category = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    if isinstance(error, CrossbindError):
        code, message, param = error.code, error.message, error.param
    else:
        code, param = CrossbindError.code, None
        message = "something broke inside Crossbind; its log has the details under this request id"
    return {"type": category, "code": code, "message": message, "param": param}


def to_json(error: BaseException, request_id: str | None = None) -> dict[str, Any]:
    """The error document of both doors."""
    return {"error": {**describe(error), "request_id": request_id}}


def _nearest(table: Mapping[type[BaseException], T], error: BaseException) -> T:
    return next(table[cls] for cls in type(error).__mro__ if cls in table)

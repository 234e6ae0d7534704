"""What pydantic found wrong with a request, in our words: the fields, their values, the choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.errors import InvalidJson, InvalidRequest
from api.wire import brief
from embed.errors import BadInput


def refusal(errors: Sequence[Mapping[str, Any]]) -> BadInput:
    """One exception for all that pydantic found: the fields, their values and the choices."""
    first = errors[0]
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "it cannot be parsed")
        return InvalidJson(f"the body is not valid JSON: {reason}")
    told = "; ".join(_tell(error) for error in errors[:3])
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return InvalidRequest(told + more, param=_path(first) or None)


def _tell(error: Mapping[str, Any]) -> str:
    path, message = _path(error), error["msg"].removeprefix("Value error, ")
    if error["type"] == "unknown_field":
        return f"{message} (in {path})" if path else message
    if error["type"] == "missing":
        return f"{path} is required"
    if error["type"] == "value_error":
        return f"{path}: {message}" if path else message
    return f"{path or 'the body'} is {brief(error['input'])}: {message}"


def _path(error: Mapping[str, Any]) -> str:
    return ".".join(str(step) for step in error["loc"])

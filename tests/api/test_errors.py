"""Every exception has a status, an exit code and a code of its own, and keeps secrets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api import errors
from embed.errors import (
    BadInput,
    CatalogError,
    CrossbindError,
    MissingDependency,
    NotFound,
    Overloaded,
    SpaceMismatch,
    StorageFull,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
)


def tree(cls: type[CrossbindError]) -> Iterator[type[CrossbindError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from tree(child)


ALL = sorted(set(tree(CrossbindError)), key=lambda cls: cls.__name__)


def test_the_tree_is_the_one_we_know() -> None:
    assert len(ALL) >= 22
    assert {errors.InvalidJson, errors.InvalidRequest, errors.MethodNotAllowed} < set(ALL)


@pytest.mark.parametrize("cls", ALL)
def test_every_class_is_mapped(cls: type[CrossbindError]) -> None:
    error = cls("a message", param="k")
    status, exit_code = errors.status_of(error), errors.exit_code_of(error)
    assert exit_code in (3, 4, 5, 70)
    assert (status >= 500) == (exit_code in (5, 70)) or isinstance(error, Overloaded)
    if cls not in (CrossbindError, CatalogError):
        assert status != 500, "only what is broken may answer 500"
    shown = errors.to_json(error, "r1")["error"]
    assert shown == {
        "type": shown["type"],
        "code": cls.code,
        "message": "a message",
        "param": "k",
        "request_id": "r1",
    }


def test_codes_are_unique_and_stable_in_shape() -> None:
    codes = [cls.code for cls in ALL if "code" in vars(cls)]  # others are within a room
    assert len(codes) == len(set(codes))
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


@pytest.mark.parametrize(
    ("cls", "status", "exit_code"),
    [
        (BadInput, 400, 4),
        (UnsupportedMedia, 415, 4),
        (TooLarge, 413, 4),
        (errors.InvalidRequest, 422, 4),
        (Unauthorized, 401, 4),
        (NotFound, 404, 3),
        (SpaceMismatch, 409, 4),
        (MissingDependency, 503, 5),
        (Overloaded, 429, 5),
        (StorageFull, 507, 5),
        (CatalogError, 500, 70),
    ],
)
def test_statuses_and_exit_codes(cls: type[CrossbindError], status: int, exit_code: int) -> None:
    assert errors.status_of(cls("m")) == status
    assert errors.exit_code_of(cls("m")) == exit_code


def test_a_new_class_answers_like_its_parent() -> None:
    newcomer = type("Newcomer", (NotFound,), {})("m")
    assert errors.status_of(newcomer) == 404
    assert errors.exit_code_of(newcomer) == 3


def test_headers_that_a_status_calls_for() -> None:
    assert errors.headers_of(Overloaded("m")) == {"Retry-After": "1"}
    assert errors.headers_of(Unauthorized("m"))["WWW-Authenticate"].startswith("Bearer")
    assert errors.headers_of(NotFound("m")) == {}


def test_the_unexpected_is_internal_and_keeps_its_secrets() -> None:
    error = ValueError("password=hunter2")
    assert (errors.status_of(error), errors.exit_code_of(error)) == (500, 70)
    shown = errors.to_json(error, "r1")["error"]
    assert (shown["code"], shown["type"]) == ("internal", "server_error")
    assert "hunter2" not in str(shown)


def test_an_interrupt_exits_130() -> None:
    assert errors.exit_code_of(KeyboardInterrupt()) == 130

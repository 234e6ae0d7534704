"""Every exception that Crossbind raises on purpose.

    CrossbindError
    ├── BadInput                 the caller sent something we cannot take
    │   ├── CorruptMedia         the bytes claim to be a medium and are not a whole one
    │   ├── UnsupportedMedia     the bytes are no medium we know
    │   ├── UnsupportedModality  a medium, but not one that this space embeds
    │   ├── TooLarge             over a byte, pixel, length or count limit
    │   ├── InvalidQuery         a query that asks for nothing, or for the impossible
    │   └── InvalidVector        NaN, infinity, zero, wrong shape
    ├── Forbidden                a door that stays shut (Host, Origin, a file we may not read)
    ├── Unauthorized             no API key, or a wrong one
    ├── NotFound                 no such name, id or path
    ├── Conflict                 at odds with what is stored
    │   └── SpaceMismatch        vectors of two spaces were about to meet
    ├── NotAvailable             would work elsewhere, later or with more installed
    │   ├── MissingDependency    an optional package is not installed
    │   ├── MissingWeights       weights are absent or are not the ones we know
    │   ├── BackendFailed        a model broke while it worked
    │   ├── Overloaded           the queue is full: try again
    │   └── StorageFull          the disk is full: nothing acknowledged is lost
    └── CatalogError             the catalog is damaged, locked, or from another time

A library raises; only `api/errors.py` turns these into an HTTP status and an exit code.
A message names the value, the choices and the way out.
"""

from __future__ import annotations

from typing import ClassVar


class CrossbindError(Exception):
    """The root. `code` is stable and meant for machines; `param` names the argument at fault."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class BadInput(CrossbindError):
    code = "bad_input"


class CorruptMedia(BadInput):
    code = "corrupt_media"


class UnsupportedMedia(BadInput):
    code = "unsupported_media"


class UnsupportedModality(BadInput):
    code = "unsupported_modality"


class TooLarge(BadInput):
    code = "too_large"


class InvalidQuery(BadInput):
    code = "invalid_query"


class InvalidVector(BadInput):
    code = "invalid_vector"


class Forbidden(CrossbindError):
    code = "forbidden"


class Unauthorized(CrossbindError):
    code = "unauthorized"


class NotFound(CrossbindError):
    code = "not_found"


class Conflict(CrossbindError):
    code = "conflict"


class SpaceMismatch(Conflict):
    code = "space_mismatch"


class NotAvailable(CrossbindError):
    code = "not_available"


class MissingDependency(NotAvailable):
    code = "missing_dependency"


class MissingWeights(NotAvailable):
    code = "missing_weights"


class BackendFailed(NotAvailable):
    code = "backend_failed"


class Overloaded(NotAvailable):
    code = "overloaded"


class StorageFull(NotAvailable):
    code = "storage_full"


class CatalogError(CrossbindError):
    code = "catalog_error"

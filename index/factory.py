"""Engines by address: `exact`, `faiss:flat`."""

from __future__ import annotations

from importlib import import_module

from embed.errors import NotFound
from index.types import VectorIndex

# Module and class, so that an engine's library is only imported by those who ask for it.
_ENGINES = {
    "exact": ("index.exact", "ExactIndex"),
    "faiss:flat": ("index.faiss_backend", "FaissFlatIndex"),
}


def open_index(address: str, dim: int) -> VectorIndex:
    """An empty engine for `(N, dim)` vectors. Raises NotFound naming the choices, MissingDependency
    with the command that installs what is missing."""
    if address not in _ENGINES:
        raise NotFound(
            f"no index is called {address!r}; the choices are: {', '.join(sorted(_ENGINES))}",
            param="index",
        )
    module, name = _ENGINES[address]
    engine: VectorIndex = getattr(import_module(module), name)(dim)
    return engine

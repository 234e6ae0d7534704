"""Engines by address: `exact`, `faiss:flat`, `faiss:hnsw?recall=0.99`, `auto?memory=2GiB`, Qdrant.

An address is kept with its collection. Of those of Qdrant its own module knows how they are read.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from urllib.parse import parse_qsl

from embed.errors import BadInput, NotFound
from index.types import Place, VectorIndex
from index.vectors.plan import Plan

# Module and class, so that an engine's library is only imported by those who ask for it.
_EXACT = {
    "exact": ("index.vectors.exact", "ExactIndex"),
    "faiss:flat": ("index.vectors.faiss_flat", "FaissFlatIndex"),
}
# What a plan is to choose, or leaves to be chosen by size, memory and recall.
_PLANNED = {
    "auto": "auto",
    "faiss": "auto",
    "faiss:hnsw": "hnsw",
    "faiss:ivf": "ivf",
    "faiss:ivf-sq8": "ivf-sq8",
    "faiss:ivf-pq": "ivf-pq",
    "faiss:rabitq": "rabitq",
    "faiss:gpu-flat": "gpu-flat",
    "faiss:gpu-ivf": "gpu-ivf",
    "faiss:gpu-cagra": "gpu-cagra",
}
_QDRANT = ("qdrant-edge", "qdrant:…")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(KiB|MiB|GiB|TiB)")
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def open_index(address: str, dim: int, place: Place | None = None) -> VectorIndex:
    """An engine for `(N, dim)` vectors, as it was left in `place`, or empty.

    Raises NotFound naming the choices, BadInput for an option that is none, MissingDependency with
    the command that installs what is missing.
    """
    if address == "qdrant-edge":
        edge: VectorIndex = import_module("index.qdrant.edge").open_edge(dim, place)
        return edge
    if address.startswith("qdrant:"):
        points: VectorIndex = import_module("index.qdrant.server").open_qdrant(address, dim, place)
        return points
    name, _, options = address.partition("?")
    if name in _PLANNED:
        return _planned(address, name, options, dim, place)
    if name not in _EXACT:
        raise _unknown(name)
    if options:
        raise BadInput(f"{address!r}: {name} takes no options: leave out ?{options}", param="index")
    return _exact(name, dim)


def _exact(name: str, dim: int) -> VectorIndex:
    module, cls = _EXACT[name]
    engine: VectorIndex = getattr(import_module(module), cls)(dim)
    return engine


def _planned(address: str, name: str, options: str, dim: int, place: Place | None) -> VectorIndex:
    plan = _plan(address, _PLANNED[name], options)
    if name == "auto" and find_spec("faiss") is None:
        return _exact("exact", dim)
    if name != "auto":
        import_module("index.vectors.faiss_kinds").check(
            plan.kind
        )  # says how to install what is missing
    engine: VectorIndex = import_module("index.vectors.faiss_engine").FaissIndex(dim, plan, place)
    return engine


def _plan(address: str, kind: str, options: str) -> Plan:
    given = dict(parse_qsl(options, keep_blank_values=True))
    unknown = given.keys() - {"recall", "memory"}
    if unknown:
        raise BadInput(
            f"{address!r}: {', '.join(sorted(unknown))} is no option; the choices are recall=0.95 "
            "and memory=2GiB",
            param="index",
        )
    recall, memory = Plan().recall, None
    if "recall" in given:
        recall = _recall(address, given["recall"])
    if "memory" in given:
        memory = _bytes(address, given["memory"])
    return Plan(kind=kind, recall=recall, memory=memory)


def _recall(address: str, text: str) -> float:
    try:
        recall = float(text)
    except ValueError:
        recall = 0.0
    if not 0.5 <= recall < 1:
        raise BadInput(
            f"{address!r}: recall is {text!r}; at least 0.5 and below 1 is wanted; 'exact' finds "
            "all",
            param="index",
        )
    return recall


def _bytes(address: str, text: str) -> int:
    size = _SIZE.fullmatch(text)
    if size is None:
        raise BadInput(
            f"{address!r}: memory is {text!r}; a size as 512MiB or 2GiB is wanted", param="index"
        )
    return int(float(size[1]) * _UNITS[size[2]])


def _unknown(name: str) -> NotFound:
    names = [*_EXACT, *_PLANNED, *_QDRANT]
    near = get_close_matches(name, names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return NotFound(
        f"no index is called {name!r}{hint}; the choices are: {', '.join(sorted(names))}",
        param="index",
    )

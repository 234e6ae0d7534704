"""Spaces by name: what they can do is readable before anything heavy is imported.

A name is `family` or `family:detail`, for example `builtin` or `open_clip:ViT-B-32/openai`.
A family is three import paths, written as `module:attribute` and resolved on first use:
`describe(detail, options) -> Capabilities` and `check(detail, options) -> None` load no network;
the latter raises what `load(detail, options) -> Embedder`, which is heavy, would raise for want of
weights or packages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from embed.families import Families, resolve
from embed.types import Embedder, Modality, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a space can do, known without loading it. fetches: loading it downloads its weights."""

    space: Space
    summary: str
    modalities: frozenset[Modality]
    native_dims: dict[Modality, int]
    preprocessing: str
    licence: str
    source: str
    fetches: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What a loader may need to know of the machine.

    cache: folder for files derived from weights. threads: cores this process may use.
    offline: never ask a hub, use only what is here.
    """

    cache: Path
    threads: int
    offline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of space. `form` shows how its names are written, for messages and lists.

    listed: names of this family that everybody has, or may have.
    """

    form: str
    describe: str | Callable[[str, LoadOptions], Capabilities]
    check: str | Callable[[str, LoadOptions], None]
    load: str | Callable[[str, LoadOptions], Embedder]
    listed: tuple[str, ...] = ()


def _in(package: str, form: str, *listed: str) -> Family:
    """A family whose three functions are in its package's `space.py`."""
    path = f"embed.backends.{package}.space"
    return Family(
        form=form,
        describe=f"{path}:describe",
        check=f"{path}:check",
        load=f"{path}:load",
        listed=listed,
    )


_FAMILIES = Families[Family](
    "space",
    {
        "builtin": _in("builtin", "builtin", "builtin"),
        "open_clip": _in("openclip", "open_clip:ARCHITECTURE/PRETRAINED"),
        "hf": _in("huggingface", "hf:FOLDER or hf:OWNER/NAME"),
        "imagebind": _in("imagebind", "imagebind:huge", "imagebind:huge"),
        "onnx": _in("onnx_runtime", "onnx:FOLDER"),
        "bind": _in("bind", "bind:MANIFEST.json"),
        "trained": _in("trained", "trained:FOLDER"),
        "vectors": Family(
            form="vectors:DIM",
            describe="embed.backends.vectors:describe",
            check="embed.backends.vectors:check",
            load="embed.backends.vectors:load",
        ),
    },
)


def register(name: str, family: Family) -> None:
    """Adds a family, or replaces it."""
    _FAMILIES[name] = family


def names() -> list[str]:
    """The forms of all names, sorted."""
    return _FAMILIES.forms()


def listed() -> list[str]:
    """The names that can be asked for without having weights of one's own."""
    return _FAMILIES.listed()


def describe(name: str, options: LoadOptions) -> Capabilities:
    """What the space called `name` can do. Raises NotFound, naming the choices."""
    family, detail = _FAMILIES.of(name)
    capabilities: Capabilities = resolve(family.describe)(detail, options)
    return capabilities


def check(name: str, options: LoadOptions) -> None:
    """Raises MissingWeights or MissingDependency when `load` is bound to."""
    family, detail = _FAMILIES.of(name)
    resolve(family.check)(detail, options)


def load(name: str, options: LoadOptions) -> Embedder:
    """The embedder called `name`. Raises NotFound, MissingWeights, MissingDependency."""
    family, detail = _FAMILIES.of(name)
    embedder: Embedder = resolve(family.load)(detail, options)
    return embedder

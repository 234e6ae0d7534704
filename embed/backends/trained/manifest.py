"""The form of a trained folder: what `embed.training.student.save` writes and `space` reads.

    {"format": 1, "name": "birds", "dim": 256, "licence": "CC0-1.0", "parts": {
      "image": {"network": {"kind": "convnet", …}, "recipe": {…}, "weights": "image-….safetensors"},
      "text":  {"base": {"space": "hf:…", "revision": "…", …}, "weights": "text-….safetensors"},
      "audio": {"base": {"space": "builtin", …}, "reads": "joint", "native": null,
                "head": "audio-….safetensors", "residual": false}},
     "files": {"image-….safetensors": {"size": …, "sha256": "…"}, …}, "made": {…}}

A part is one of our own networks, a tower with some of its tensors changed, or a tower as it was
with a head on its vectors ("identity" for none). `manifest.json` is written last and names every
file, so a folder that has it is whole, and one that changed since is found out. `made` is how it
came about; people read it, the space does not. It imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from embed.backends import recipes
from embed.backends.bounds import SIDE, within
from embed.backends.onnx_runtime.folder import FileFacts
from embed.backends.recipes import Recipe, TextRecipe
from embed.backends.trained import shapes
from embed.backends.trained.shapes import Shape
from embed.errors import BadInput, MissingWeights
from embed.types import Modality, Space
from embed.weights.folder import digest_of, read_document

MANIFEST = "manifest.json"
FORMAT = 1
IDENTITY = "identity"
VERSION = "1"  # raise it when what happens before or after a network changes
_NAME = re.compile(r"\w[\w.-]{0,199}", re.ASCII)  # of a file that `embed.training` writes
_AGAIN = "copy the folder again, or train it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A tower that a part is made on: its name, and what it was when that was done."""

    space: str
    revision: str
    licence: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """One of our own networks. weights: name of its file."""

    shape: Shape
    recipe: Recipe
    weights: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A tower of which the tensors in `weights` were changed; those of "head." are put after it."""

    base: Base
    weights: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A tower as it is. native: dimensions of its own features. head: a file; None for identity."""

    base: Base
    reads: Literal["joint", "native"]
    native: int | None
    head: str | None
    residual: bool


Part = Own | Tuned | Locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    folder: Path
    name: str
    dim: int
    licence: str
    parts: Mapping[Modality, Part]
    files: Mapping[str, FileFacts]
    made: Mapping[str, Any]

    @property
    def space(self) -> Space:
        """Named by its folder, as that is how it is found again; its revision is its content."""
        digests = {name: facts.sha256 for name, facts in self.files.items()}
        said = json.dumps([self.dim, _plain(self.parts), digests], sort_keys=True)
        return Space(
            name=f"trained:{self.folder}",
            revision=hashlib.sha256(said.encode()).hexdigest()[:12],
            preprocessing="; ".join([*map(_read_by, self.parts.values()), f"trained {VERSION}"]),
            precision="fp32",
            dim=self.dim,
        )

    @property
    def bases(self) -> dict[str, Base]:
        """By name, the towers that parts are made on."""
        based = [part for part in self.parts.values() if not isinstance(part, Own)]
        return {part.base.space: part.base for part in based}

    def check_sizes(self) -> None:
        """Raises MissingWeights when a file is gone, or of another length."""
        for name, facts in self.files.items():
            path = self.folder / name
            size = path.stat().st_size if path.is_file() else None
            if size != facts.size:
                state = "is missing" if size is None else f"has {size} bytes, not {facts.size}"
                raise MissingWeights(f"{path} {state}: {_AGAIN}")

    def check_digests(self, cache: Path) -> None:
        """Raises MissingWeights when a file is gone or was changed. Digests are remembered."""
        self.check_sizes()
        for name, facts in self.files.items():
            if (digest := digest_of(self.folder / name, cache)) != facts.sha256:
                raise MissingWeights(
                    f"{self.folder / name} was changed: its SHA-256 is {digest} where "
                    f"{facts.sha256} is expected: {_AGAIN}"
                )


def write(manifest: Manifest) -> None:
    """Puts `manifest.json` into its folder, in place of an older one at once."""
    document = {
        "format": FORMAT,
        "name": manifest.name,
        "dim": manifest.dim,
        "licence": manifest.licence,
        "parts": _plain(manifest.parts),
        "files": {name: facts._asdict() for name, facts in manifest.files.items()},
        "made": dict(manifest.made),
    }
    aside = manifest.folder / f".{MANIFEST}"
    text = json.dumps(document, indent=1, ensure_ascii=False, default=str)
    with aside.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(manifest.folder / MANIFEST)


def read(folder: Path) -> Manifest:
    """What `folder` says of itself. Raises MissingWeights, BadInput."""
    return read_document(
        folder / MANIFEST,
        lambda document: _manifest(document, folder),
        command="crossbind train",
        again=_AGAIN,
    )


def _manifest(document: dict[str, Any], folder: Path) -> Manifest:
    if document["format"] != FORMAT:
        raise BadInput(
            f"{folder / MANIFEST} has format {document['format']!r} and this version reads {FORMAT}"
        )
    within("dim", document["dim"], SIDE)
    files = {name: FileFacts(**facts) for name, facts in document["files"].items()}
    parts = {Modality(name): _part(entry) for name, entry in document["parts"].items()}
    if not parts:
        raise ValueError("it has no parts")
    for modality, part in parts.items():
        if isinstance(part, Own) and part.shape.modality is not modality:
            raise ValueError(f"a network {part.shape.kind} is not for {modality}")
    outside = [name for name in files if not _NAME.fullmatch(name)]
    unlisted = [name for part in parts.values() for name in _used(part) if name not in files]
    for name in (*outside, *unlisted):
        raise BadInput(
            f"{folder / MANIFEST} uses {name[:80]!r}, which is not in its folder or not in its "
            f"list: {_AGAIN}"
        )
    return Manifest(
        folder=folder,
        name=str(document["name"]),
        dim=document["dim"],
        licence=str(document["licence"]),
        parts=parts,
        files=files,
        made=dict(document["made"]),
    )


def _part(entry: Mapping[str, Any]) -> Part:
    if "network" in entry:
        shape, recipe = shapes.from_json(entry["network"]), recipes.from_json(entry["recipe"])
        if not isinstance(recipe, shape.recipe):
            raise ValueError(f"a network {shape.kind} does not read {entry['recipe']['recipe']}")
        return Own(shape=shape, recipe=recipe, weights=str(entry["weights"]))
    base = Base(**{key: str(value) for key, value in entry["base"].items()})
    if "weights" in entry:
        return Tuned(base=base, weights=str(entry["weights"]))
    native, reads, head = entry["native"], entry["reads"], str(entry["head"])
    if reads not in ("joint", "native") or not isinstance(entry["residual"], bool):
        raise ValueError(f"reads is {reads!r} and residual {entry['residual']!r}")
    if native is not None:
        within("the native dimension", native, SIDE)
    return Locked(
        base=base,
        reads=reads,
        native=native,
        head=None if head == IDENTITY else head,
        residual=entry["residual"],
    )


def _plain(parts: Mapping[Modality, Part]) -> dict[str, dict[str, Any]]:
    """The parts as JSON has them."""
    return {modality.value: _entry(part) for modality, part in parts.items()}


def _entry(part: Part) -> dict[str, Any]:
    if isinstance(part, Own):
        network, recipe = shapes.to_json(part.shape), recipes.to_json(part.recipe)
        return {"network": network, "recipe": recipe, "weights": part.weights}
    entry: dict[str, Any] = asdict(part)
    return entry if isinstance(part, Tuned) else {**entry, "head": part.head or IDENTITY}


def _used(part: Part) -> list[str]:
    """The files that a part is read from."""
    match part:
        case Own(recipe=TextRecipe() as recipe):
            return [part.weights, recipe.tokenizer]
        case Own() | Tuned():
            return [part.weights]
        case Locked():
            return [part.head] if part.head else []


def _read_by(part: Part) -> str:
    return recipes.summary(part.recipe) if isinstance(part, Own) else f"as {part.base.space}"

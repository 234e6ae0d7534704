"""Composite spaces, `bind:MANIFEST.json`: several towers and trained heads, one space.

A head is a small network from one tower's joint vectors to the common space, trained while the
tower is locked (LiT: Zhai et al., 2022); so audio of CLAP and pictures of SigLIP can meet. The
manifest, whose relative paths begin at its own folder:

    {"format": 1, "dim": 384, "licence": "of the heads", "parts": [
      {"space": "builtin", "modalities": ["text"], "head": "identity"},
      {"space": "hf:./clap", "modalities": ["audio"],
       "head": {"file": "audio.safetensors", "sha256": "…"}}]}

A modality comes from one part. It knows nothing of how heads are trained (`head` has their
form), nor of what the towers compute.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embed import registry
from embed.backends.bind.head import Head, HeadFile, load_head
from embed.backends.bounds import SIDE, within
from embed.backends.tower import blamed
from embed.errors import BadInput, MissingWeights, UnsupportedModality
from embed.registry import Capabilities, LoadOptions
from embed.types import Batching, Embedder, Media, Modality, Space, Span, Vectors, normalise
from embed.weights.folder import absolute

FORMAT = 1
IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Part:
    """A tower, what it is asked for, and the head on it; no head where dimensions agree."""

    space: str
    modalities: tuple[Modality, ...]
    head: HeadFile | None

    @property
    def key(self) -> str:
        """What of it, besides its tower, changes a vector."""
        return f"{','.join(self.modalities)}:{self.head.sha256 if self.head else IDENTITY}"


@dataclass(frozen=True, slots=True)
class Manifest:
    path: Path
    dim: int
    licence: str | None
    parts: tuple[Part, ...]


def describe(detail: str, options: LoadOptions) -> Capabilities:
    """What the manifest at `detail` says, over what its towers say of themselves.

    Raises MissingWeights when it is not there, BadInput when it makes no sense, and what
    describing a tower raises.
    """
    manifest = read_manifest(detail)
    towers = [(part, _describe_part(part, manifest, options)) for part in manifest.parts]
    return Capabilities(
        space=_space(manifest, towers),
        summary=f"{len(towers)} towers bound into one space",
        modalities=frozenset(modality for part, _ in towers for modality in part.modalities),
        native_dims={
            modality: dim
            for part, tower in towers
            for modality, dim in tower.native_dims.items()
            if modality in part.modalities
        },
        preprocessing=_preprocessing(towers),
        licence="; ".join(
            [*dict.fromkeys(tower.licence for _, tower in towers), *_heads_licence(manifest)]
        ),
        source="; ".join(dict.fromkeys(tower.source for _, tower in towers)),
    )


def check(detail: str, options: LoadOptions) -> None:
    """Raises what `describe` does, and MissingWeights or MissingDependency for want of a part."""
    describe(detail, options)
    for part in read_manifest(detail).parts:
        registry.check(part.space, options)
        if part.head:
            part.head.locate()


def load(detail: str, options: LoadOptions) -> Bound:
    """The bound towers. Raises what `check` does, BadInput for a head that does not fit."""
    manifest = read_manifest(detail)
    space = describe(detail, options).space
    towers: dict[str, Embedder] = {}
    limbs: dict[Modality, Limb] = {}
    for part in manifest.parts:
        if part.space not in towers:
            towers[part.space] = registry.load(part.space, options)
        tower = towers[part.space]
        head = load_head(part.head, tower.space.dim, manifest.dim) if part.head else None
        limbs |= dict.fromkeys(part.modalities, Limb(tower, head))
    return Bound(space, limbs)


@dataclass(frozen=True, slots=True, eq=False)
class Limb:
    """A tower and the head on it."""

    tower: Embedder
    head: Head | None


class Bound:
    """Implements `embed.types.Embedder`: each modality by its tower, then its head."""

    def __init__(self, space: Space, limbs: dict[Modality, Limb]) -> None:
        self._space = space
        self._limbs = limbs
        self._towers = list({id(limb.tower): limb.tower for limb in limbs.values()}.values())

    @property
    def space(self) -> Space:
        return self._space

    @property
    def modalities(self) -> frozenset[Modality]:
        return frozenset(self._limbs)

    @property
    def batching(self) -> Batching:
        """As many at once as any tower takes, in batches that each of them can hold."""
        likes = [tower.batching for tower in self._towers]
        return Batching(max(like.workers for like in likes), min(like.max_batch for like in likes))

    @property
    def chunker(self) -> str:
        return " | ".join(tower.chunker for tower in self._towers)

    @property
    def image_side(self) -> int:
        return max(tower.image_side for tower in self._towers)

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        return self._limb(media.modality).tower.fragment(media)

    def count_tokens(self, text: str) -> int:
        limb = self._limbs.get(Modality.TEXT)
        return limb.tower.count_tokens(text) if limb else 0

    def warm(self) -> None:
        for tower in self._towers:
            tower.warm()

    def prepare(self, piece: Media) -> Any:
        return self._limb(piece.modality).tower.prepare(piece)

    def run(self, modality: Modality, batch: Sequence[Any]) -> Vectors:
        limb = self._limb(modality)
        vectors = limb.tower.run(modality, batch)
        with blamed(self._space, modality):
            joint = normalise(limb.head(vectors.joint)) if limb.head else vectors.joint
            return Vectors(self._space, joint, vectors.native)

    def embed(self, batch: Sequence[Media]) -> Vectors:
        found = sorted({piece.modality for piece in batch})
        if len(found) != 1:
            raise BadInput(f"a batch holds media of one modality, not {', '.join(found) or 'none'}")
        return self.run(found[0], [self.prepare(piece) for piece in batch])

    def _limb(self, modality: Modality) -> Limb:
        if modality not in self._limbs:
            raise UnsupportedModality(
                f"the space {self._space.name!r} embeds {' and '.join(sorted(self._limbs))}, "
                f"not {modality}"
            )
        return self._limbs[modality]


def read_manifest(detail: str) -> Manifest:
    """The manifest at path `detail`. Raises MissingWeights, BadInput."""
    if not detail:
        raise BadInput("bind: wants a manifest, as in bind:spaces/mine.json", param="space")
    path = absolute(detail)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingWeights(
            f"the manifest {path} cannot be read ({error.strerror}): name one that is there"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not a JSON manifest: {error}") from error
    try:
        return _manifest(document, path)
    except KeyError as error:
        raise BadInput(f"the manifest {path} lacks {error}: README.md has a whole one") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise BadInput(
            f"the manifest {path} has a wrong value: {error}; README.md has a whole one"
        ) from error


def _manifest(document: dict[str, Any], path: Path) -> Manifest:
    if document["format"] != FORMAT:
        raise BadInput(f"{path} has format {document['format']!r}; this version reads {FORMAT}")
    parts = tuple(_part(entry, path.parent) for entry in document["parts"])
    modalities = [modality for part in parts for modality in part.modalities]
    if not modalities or len(set(modalities)) < len(modalities):
        raise BadInput(
            f"{path} names the modalities {', '.join(modalities) or 'none'}: at least one is "
            "wanted, and each from one part only"
        )
    licence, dim = document.get("licence"), document["dim"]
    within("dim", dim, SIDE)
    return Manifest(path, dim, str(licence) if licence else None, parts)


def _part(entry: dict[str, Any], folder: Path) -> Part:
    family, _, detail = str(entry["space"]).partition(":")
    if family == "bind":
        raise BadInput(f"a bind holds towers, not another bind: {entry['space']!r}")
    if detail.startswith(("./", "../")) or (family == "onnx" and detail[:1] not in ("/", "~")):
        detail = str(absolute(folder / detail))
    return Part(
        space=f"{family}:{detail}" if detail else family,
        modalities=tuple(Modality(name) for name in entry["modalities"]),
        head=None if entry["head"] == IDENTITY else _head(entry["head"], folder),
    )


def _head(entry: dict[str, Any], folder: Path) -> HeadFile:
    """Raises BadInput for a file that is not beside the manifest, or below."""
    path = absolute(folder / str(entry["file"]))
    if not path.is_relative_to(folder):
        raise BadInput(f"the head {entry['file']!r} leads out of {folder}: put it beside it")
    return HeadFile(path, str(entry["sha256"]))


def _describe_part(part: Part, manifest: Manifest, options: LoadOptions) -> Capabilities:
    """Raises BadInput when the tower lacks a modality, or a head where dimensions differ."""
    tower = registry.describe(part.space, options)
    lacking = sorted(set(part.modalities) - tower.modalities)
    if lacking:
        raise BadInput(
            f"{manifest.path} wants {', '.join(lacking)} of {part.space}, which embeds "
            f"{', '.join(sorted(tower.modalities))}"
        )
    if part.head is None and tower.space.dim != manifest.dim:
        raise BadInput(
            f"{part.space} has {tower.space.dim} dimensions and {manifest.path} wants "
            f"{manifest.dim}: the identity does not fit, train a head"
        )
    return tower


def _space(manifest: Manifest, towers: Sequence[tuple[Part, Capabilities]]) -> Space:
    """One id over everything in it that changes a vector."""
    keys = "\x1f".join(f"{tower.space.id} {part.key}" for part, tower in towers)
    precisions = sorted({tower.space.precision for _, tower in towers})
    return Space(
        name=f"bind:{manifest.path}",
        revision=hashlib.sha256(keys.encode()).hexdigest()[:12],
        preprocessing=_preprocessing(towers),
        precision="+".join(precisions),
        dim=manifest.dim,
    )


def _preprocessing(towers: Sequence[tuple[Part, Capabilities]]) -> str:
    return " | ".join(
        f"{', '.join(part.modalities)}: {tower.preprocessing}" for part, tower in towers
    )


def _heads_licence(manifest: Manifest) -> list[str]:
    if not any(part.head for part in manifest.parts):
        return []
    return [f"heads: {manifest.licence or 'not stated'}"]

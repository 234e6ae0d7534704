"""The form of an exported folder: what `export` writes and `space` reads.

`crossbind.json` is written last and names every file with its size and SHA-256, so a folder that
has it is whole, and one that changed since is found out. It imports no runtime.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from embed.backends.bounds import SIDE, within
from embed.errors import BadInput, MissingWeights
from embed.types import Modality, Space
from embed.weights.folder import digest_of, read_document

MANIFEST = "crossbind.json"
FORMAT = 1


class FileFacts(NamedTuple):
    """Bytes, and SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `crossbind.json` says.

    folder: where it lies. origin: id of the space that was exported. encoders: by modality, the
    graph and what goes before it, as `space` reads them. pairs: graphs that read the media of
    several encoders together. checked: what the export measured; people read it, the tower does
    not.
    """

    folder: Path
    origin: str
    precision: str
    dim: int
    native_dims: Mapping[Modality, int]
    preprocessing: str
    chunker: str
    image_side: int
    licence: str
    source: str
    encoders: Mapping[Modality, Mapping[str, Any]]
    pairs: Sequence[Mapping[str, Any]]
    files: Mapping[str, FileFacts]
    checked: Mapping[str, Any]

    @property
    def space(self) -> Space:
        """A space of its own: its numbers are those of `origin` to some digits, not to the last.

        The folder is part of its name, as that is how it is found again.
        """
        parts = {name: facts.sha256 for name, facts in self.files.items()}
        pairs = [self.pairs] if self.pairs else []
        said = json.dumps([parts, self.encoders, *pairs], sort_keys=True)
        return Space(
            name=f"onnx:{self.folder}",
            revision=hashlib.sha256(said.encode()).hexdigest()[:12],
            preprocessing=self.preprocessing,
            precision=self.precision,
            dim=self.dim,
        )

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(facts.size for facts in self.files.values())

    def check_sizes(self) -> None:
        """Raises MissingWeights when a file is gone, or of another length."""
        for name, facts in self.files.items():
            path = self.folder / name
            if not path.is_file():
                raise MissingWeights(f"{path} is missing: {_AGAIN}")
            if path.stat().st_size != facts.size:
                raise MissingWeights(
                    f"{path} has {path.stat().st_size} bytes where {facts.size} are expected: "
                    f"{_AGAIN}"
                )

    def check_digests(self, cache: Path) -> None:
        """Raises MissingWeights when a file is gone or was changed. Digests are remembered."""
        self.check_sizes()
        for name, facts in self.files.items():
            digest = digest_of(self.folder / name, cache)
            if digest != facts.sha256:
                raise MissingWeights(
                    f"{self.folder / name} was changed: its SHA-256 is {digest} where "
                    f"{facts.sha256} is expected: {_AGAIN}"
                )


_AGAIN = "copy the folder again, or export it again"


def facts_of(folder: Path) -> dict[str, FileFacts]:
    """Every file of `folder`, sorted."""
    facts = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        facts[path.name] = FileFacts(path.stat().st_size, digest)
    return facts


def write(manifest: Manifest, folder: Path) -> None:
    """Writes `crossbind.json` into `folder`."""
    document = {
        "format": FORMAT,
        "origin": manifest.origin,
        "precision": manifest.precision,
        "dim": manifest.dim,
        "native_dims": dict(manifest.native_dims),
        "preprocessing": manifest.preprocessing,
        "chunker": manifest.chunker,
        "image_side": manifest.image_side,
        "licence": manifest.licence,
        "source": manifest.source,
        "encoders": dict(manifest.encoders),
        "pairs": list(manifest.pairs),
        "files": {name: facts._asdict() for name, facts in manifest.files.items()},
        "checked": dict(manifest.checked),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """What `folder` says of itself. Raises MissingWeights, BadInput."""
    return read_document(
        folder / MANIFEST,
        lambda document: _manifest(document, folder),
        command="crossbind export",
        again=_AGAIN,
    )


def _manifest(document: dict[str, Any], folder: Path) -> Manifest:
    if document["format"] != FORMAT:
        raise BadInput(
            f"{folder / MANIFEST} has format {document['format']!r} and this version reads "
            f"{FORMAT}: export it again"
        )
    files = {name: FileFacts(**facts) for name, facts in document["files"].items()}
    encoders = {Modality(name): dict(entry) for name, entry in document["encoders"].items()}
    pairs = [dict(entry) for entry in document.get("pairs", ())]  # early folders had none
    foreign = {Modality(part) for pair in pairs for part in pair["parts"]} - encoders.keys()
    outside = [name for name in files if Path(name).name != name]
    used = [name for entry in (*encoders.values(), *pairs) for name in _used(entry)]
    unlisted = [name for name in used if name not in files]
    for name in (*outside, *unlisted):
        raise BadInput(
            f"{folder / MANIFEST} uses {name!r}, which is not in its folder or not in its list: "
            f"{_AGAIN}"
        )
    if foreign:
        raise BadInput(
            f"{folder / MANIFEST} reads {' and '.join(sorted(foreign))} together with others, and "
            f"has no encoder for it: {_AGAIN}"
        )
    native_dims = {Modality(name): dim for name, dim in document["native_dims"].items()}
    apart = [pair["dim"] for pair in pairs if "apart" in pair]
    for dim in (document["dim"], document["image_side"], *native_dims.values(), *apart):
        within("a dimension", dim, SIDE)
    return Manifest(
        folder=folder,
        origin=str(document["origin"]),
        precision=str(document["precision"]),
        dim=document["dim"],
        native_dims=native_dims,
        preprocessing=str(document["preprocessing"]),
        chunker=str(document["chunker"]),
        image_side=document["image_side"],
        licence=str(document["licence"]),
        source=str(document["source"]),
        encoders=encoders,
        pairs=pairs,
        files=files,
        checked=dict(document["checked"]),
    )


def _used(encoder: Mapping[str, Any]) -> list[str]:
    """The files that an encoder is read from."""
    entries = (encoder, encoder.get("recipe") or {})
    own = [
        str(entry[key])
        for entry in entries
        for key in ("graph", "tokenizer", "prototypes", "clothes", "motions", "head")
        if key in entry
    ]
    return [*own, *(_used(encoder["like"]) if "like" in encoder else ())]

"""Training from the service's side: a collection as what is learnt from, and as who knows what is
easily confused.

The one serving module that knows `embed.training`; it is imported only to train. Items of one
record in several modalities belong together, and that is all that a training record is. Originals
are opened anew by whichever process reads them; only captions are held.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from api.blobs import Blobs
from api.originals import bytes_of
from api.progress import JsonLines
from embed.errors import BadInput, NotFound
from embed.media.source import shown
from embed.registry import LoadOptions
from embed.training import run
from embed.training.config import Config, read
from embed.training.data.files import Files, Piece
from embed.training.journal import Told
from embed.training.limbs import image_side
from embed.training.options import fill, refuse_unknown
from embed.training.parts import part_specs
from embed.training.ticker import ticker
from embed.training.types import Record
from embed.types import Floats, Item, Modality, normalise
from index.collection import Collection
from index.search.query import Query
from index.types import Results

__all__ = ["Told", "json_lines", "ticker", "train"]

KIND = "collection"
AT_ONCE = 64  # questions of the miner

_NO_PAIRS = (
    "collection {name!r} has no record with several modalities to learn from: put captions beside "
    "media (photo.txt beside photo.jpg) and ingest them, or upload items under one record"
)


class _Found(NamedTuple):
    """A record: the files of its media, with what is wanted of each, and its captions."""

    id: str
    files: Mapping[Path, tuple[str, frozenset[Modality]]]
    captions: tuple[str, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class CollectionSource(Files):
    """The records of a collection that have several modalities; of long texts the beginning.

    Listed when it is made, so what is written later is not in it. Raises BadInput when there is
    none.
    """

    collection: Collection
    blobs: Blobs
    failures: list[str] = field(default_factory=list, init=False)
    _records: list[_Found] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        Files.__post_init__(self)
        for record in self.collection.paired_records():
            items, _ = self.collection.items(record=record, limit=1000)
            found = self._found(record, items)
            wanted = {m for _, holds in found.files.values() for m in holds}
            if len(wanted) + bool(found.captions) > 1:
                self._records.append(found)
        if not self._records:
            raise BadInput(_NO_PAIRS.format(name=self.collection.name), param="collection")

    def __getstate__(self) -> dict[str, Any]:
        """A worker reads originals, and needs no catalog for it."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)} | {
            "collection": None,
            "blobs": None,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return len(self._records)

    def id(self, i: int) -> str:
        return self._records[i].id

    def __getitem__(self, i: int) -> Record:
        found = self._records[i]
        pieces = [Piece(path, called, holds) for path, (called, holds) in found.files.items()]
        return self.record(found.id, pieces, found.captions)

    def _found(self, record: str, items: Sequence[Item]) -> _Found:
        files: dict[Path, tuple[str, frozenset[Modality]]] = {}
        captions: list[str] = []
        for item in items:
            if item.modality not in self.modalities:
                continue
            if item.modality is Modality.TEXT:
                captions.append(item.text or "")
                continue
            try:
                path = bytes_of(item, self.blobs)
            except NotFound as error:
                self.failures.append(error.message)
                continue
            called = item.title or shown(path) if item.uri is None else shown(path)
            _, before = files.get(path, (called, frozenset()))
            files[path] = (called, before | {item.modality})
        return _Found(record, files, tuple(filter(str.strip, captions)))


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """A `Miner`: near in the collection's space, and neither of one record nor with equal media."""

    collection: Collection

    def neighbours(self, ids: Sequence[str], k: int) -> list[list[str]]:
        found: list[list[str]] = []
        for start in range(0, len(ids), AT_ONCE):
            some = [self._items(record) for record in ids[start : start + AT_ONCE]]
            # A record answers with each of its items, and its own come first.
            queries = [Query(joint=self._middle(items), k=4 * (k + 1)) for items in some]
            answers = self.collection.search_batch(queries)
            found += [_near(*both, k) for both in zip(some, answers, strict=True)]
        return found

    def _items(self, record: str) -> list[Item]:
        return self.collection.items(record=record, limit=1000)[0]

    def _middle(self, items: Sequence[Item]) -> Floats:
        """`(D,)`: between all that a record holds; nowhere in particular when it is gone."""
        start = np.eye(1, self.collection.info.space.dim, dtype=np.float32)
        vectors = [self.collection.vectors_of(item.id) for item in items]
        held = [some for some in vectors if len(some)]
        middle: Floats = normalise(np.concatenate(held or [start]).mean(axis=0, keepdims=True))[0]
        return middle


def _near(items: Sequence[Item], answer: Results, k: int) -> list[str]:
    """The records that were found, best first, but its own and those with one of its media."""
    own = {item.digest for item in items}
    passed_over = {item.record for item in items}
    passed_over |= {hit.item.record for hit in answer.hits if hit.item.digest in own}
    others = dict.fromkeys(hit.item.record for hit in answer.hits)
    return [record for record in others if record not in passed_over][:k]


def train(
    path: Path,
    tell: Callable[[Told], None],
    *,
    options: LoadOptions,
    resume: bool,
    collection: str | None,
    open_collection: Callable[[str], Collection],
    blobs: Blobs,
) -> dict[str, Any]:
    """Trains what the config at `path` asks for. Returns a summary; its `space` can be opened.

    collection: in place of [data], which may also name one: kind = "collection", name = "photos".
    Raises what `embed.training.run.train` raises; NotFound for an unknown collection.
    """
    config = read(path)
    if collection is not None:
        config = dataclasses.replace(config, data={"kind": KIND, "name": collection})
    source = miner = None
    if config.data.get("kind") == KIND:
        target = open_collection(_name(config))
        keys = {key: value for key, value in config.data.items() if key not in {"kind", "name"}}
        keys = {"image_side": image_side(part_specs(config.model), options), **keys}
        source = fill(CollectionSource, {**keys, "collection": target, "blobs": blobs}, "data")
        miner = Neighbours(target)
    summary = run.train(config, tell, options=options, resume=resume, source=source, miner=miner)
    space = f"trained:{(config.run.out / 'space').absolute()}"
    return {**dataclasses.asdict(summary), "space": space}


def json_lines(lines: JsonLines) -> Callable[[Told], None]:
    """Where a run stands, for programs; what it warns of, as a line of its own."""

    def tell(told: Told) -> None:
        about = dataclasses.asdict(told)
        if note := about.pop("note"):
            lines.stream.write(f"warning: {note}\n")
        lines.tell("training", about.pop("step"), about.pop("steps"), **about)

    return tell


def _name(config: Config) -> str:
    own = [field.name for field in dataclasses.fields(Files)]
    refuse_unknown(config.data, ["kind", "name", *own], "data")
    name = config.data.get("name")
    if not isinstance(name, str):
        raise BadInput(f"[data] name is {name!r}; the name of a collection is wanted", param="name")
    return name

"""Where records come from: a source is records by number, and the table [data] says which.

A source lists what there is when it is opened and decodes nothing before it is asked: records are
read anew each time, by any process it was sent to. It knows no student and no loop.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from embed.errors import BadInput
from embed.training.data.folders import ClassFolders, Folder
from embed.training.data.pairs import Pairs
from embed.training.data.tars import Tars
from embed.training.options import fill, refuse_unknown
from embed.training.scenes.world import Scenes
from embed.training.types import Record


@runtime_checkable
class Source(Protocol):
    """N records by number; picklable, so that spawned workers read them."""

    @property
    def failures(self) -> Sequence[str]:
        """What was left out when the source was opened, a message each."""
        ...

    def __len__(self) -> int: ...

    def id(self, i: int) -> str:
        """`self[i].id`, without reading anything."""
        ...

    def __getitem__(self, i: int) -> Record:
        """Raises a CrossbindError that names what is corrupt; IndexError from N on."""
        ...


_KINDS: dict[str, type[Any]] = {
    "classes": ClassFolders,
    "folder": Folder,
    "pairs": Pairs,
    "scenes": Scenes,
    "tars": Tars,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which part of a source is used.

    A record's part depends on its id alone, so that it stays where it is when others come or go.
    validation_share: of records that are for validation, in (0, 1). together: a regular expression;
    records whose ids agree in what it finds (its first group, if it has one) are never parted: the
    recordings of a speaker, say. An id that it does not find stands alone.
    """

    split: Literal["all", "train", "validation"] = "all"
    validation_share: float = 0.1
    together: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise BadInput(
                f"[data] validation_share is {self.validation_share}; more than 0 and less than 1 "
                "is wanted",
                param="validation_share",
            )
        try:
            re.compile(self.together)
        except re.error as error:
            raise BadInput(
                f"[data] together is {self.together!r}, which is no regular expression ({error})",
                param="together",
            ) from error

    def of(self, source: Source) -> Source:
        """The part of `source`. Raises BadInput when there is nothing in it."""
        if self.split == "all":
            return source
        rows = [i for i in range(len(source)) if self._part(source.id(i)) == self.split]
        if not rows:
            raise BadInput(
                f"no record of {len(source):,} is in the split {self.split!r} with "
                f"validation_share = {self.validation_share}"
            )
        return Part(source, np.array(rows, np.int64))

    def _part(self, id: str) -> str:  # noqa: A002
        found = re.search(self.together, id) if self.together else None
        key = found[min(1, found.re.groups)] if found else id
        digest = hashlib.sha256((key or "").encode("utf-8", "surrogatepass")).digest()
        draw = int.from_bytes(digest[:8]) / 2**64
        return "validation" if draw < self.validation_share else "train"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some rows of a source, a source itself."""

    source: Source
    rows: NDArray[np.int64]

    @property
    def failures(self) -> Sequence[str]:
        return self.source.failures

    def __len__(self) -> int:
        return len(self.rows)

    def id(self, i: int) -> str:
        return self.source.id(int(self.rows[i]))

    def __getitem__(self, i: int) -> Record:
        return self.source[int(self.rows[i])]


def open_source(table: Mapping[str, object], defaults: Mapping[str, object] = {}) -> Source:
    """The source that the table [data] describes: its kind, the keys of that kind, and of `Split`.

    defaults: of the keys that this kind has, where the table has none.
    Raises BadInput, and what opening a source of that kind raises.
    """
    kind = table.get("kind")
    source = _KINDS.get(kind) if isinstance(kind, str) else None
    if source is None:
        raise BadInput(f"[data] kind is {kind!r}; the kinds are: {', '.join(_KINDS)}", param="kind")
    split = {field.name for field in fields(Split)}
    own = [field.name for field in fields(source) if field.init]
    refuse_unknown(table, ["kind", *own, *sorted(split)], "data")
    part = fill(Split, {key: table[key] for key in table if key in split}, "data")
    rest = {key: defaults[key] for key in defaults if key in own}
    rest |= {key: table[key] for key in table if key != "kind" and key not in split}
    return part.of(fill(source, rest, "data"))

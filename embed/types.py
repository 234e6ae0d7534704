"""The shared nouns: what a medium is, what a vector is, what a tower promises.

This file knows nothing of files, models or databases; everything else in the house imports it.
Vectors are always `(N, D)` float32, rows of unit length, in a named `Space`; a higher score is
always nearer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from embed.errors import InvalidVector

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


class Modality(StrEnum):
    """What kind of medium something is. The last three are arrays, for towers that know them."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    DEPTH = "depth"
    THERMAL = "thermal"
    IMU = "imu"


class Origin(StrEnum):
    """Where an item comes from. Only observed items are evidence."""

    OBSERVED = "observed"
    GENERATED = "generated"


class GeoPoint(NamedTuple):
    """A place on Earth, degrees WGS 84."""

    lat: float
    lon: float


Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar | list[Scalar] | GeoPoint]


class CharSpan(NamedTuple):
    """Characters `[start, end)` of a text, and the page they stand on where there are pages."""

    start: int
    end: int
    page: int | None = None


class TimeSpan(NamedTuple):
    """Seconds `[start, end)` of a sound or a film."""

    start: float
    end: float


class PageSpan(NamedTuple):
    """Page of a document, counted from 1."""

    page: int


class BoxSpan(NamedTuple):
    """A rectangle of a picture, fractions of its width and height in [0, 1], upright."""

    left: float
    top: float
    right: float
    bottom: float


Span = CharSpan | TimeSpan | PageSpan | BoxSpan

_SPAN_KINDS: dict[str, type[Any]] = {
    "chars": CharSpan,
    "seconds": TimeSpan,
    "page": PageSpan,
    "box": BoxSpan,
}


def span_to_json(span: Span) -> dict[str, Any]:
    """The wire form: `{"kind": "chars", "start": 0, "end": 9}` and its siblings."""
    kind = next(kind for kind, cls in _SPAN_KINDS.items() if type(span) is cls)
    return {"kind": kind, **{k: v for k, v in span._asdict().items() if v is not None}}


def span_from_json(value: Mapping[str, Any]) -> Span:
    """The inverse of `span_to_json`."""
    fields = dict(value)
    span: Span = _SPAN_KINDS[fields.pop("kind")](**fields)
    return span


class Downmix(StrEnum):
    """How several channels become one."""

    MEAN = "mean"
    FIRST = "first"


@runtime_checkable
class Sound(Protocol):
    """A sound that is read piece by piece, never held whole. Not for several threads at once."""

    @property
    def duration(self) -> float:
        """Seconds."""
        ...

    @property
    def rate(self) -> int:
        """Samples per second as stored."""
        ...

    def windows(
        self, spans: Sequence[TimeSpan], *, rate: int, downmix: Downmix = Downmix.MEAN
    ) -> Iterator[Floats]:
        """For each of the ascending spans its samples, `(N,)` float32 in [-1, 1], at `rate`.

        N is `round((end - start) * rate)` but at the end of the sound, where it may be less; never
        0. Raises CorruptMedia.
        """
        ...


@runtime_checkable
class Film(Protocol):
    """A film that is decoded as a stream, never held whole. Not for several threads at once."""

    @property
    def duration(self) -> float:
        """Seconds."""
        ...

    def shots(
        self, *, seconds: float, per_second: float, min_side: int
    ) -> Iterator[tuple[TimeSpan, Pixels]]:
        """Frames `(T, H, W, 3)`, upright, taken `per_second` times a second, cut into windows.

        A window ends where the picture changes all at once, or after `seconds`; together they
        cover the film. T is at least 1. Raises CorruptMedia when nothing can be decoded; a broken
        tail ends the film.
        """
        ...

    def frames(self, times: Sequence[float], *, min_side: int) -> Pixels:
        """`(T, H, W, 3)`: for each of the ascending times the frame shown then. As `shots`."""
        ...


@runtime_checkable
class Pages(Protocol):
    """The pages of a document as pictures, drawn one by one."""

    def pictures(self, *, first: int = 1) -> Iterator[tuple[PageSpan, Pixels]]:
        """Each page from `first` on, `(H, W, 3)`. Raises CorruptMedia."""
        ...


class Section(NamedTuple):
    """Characters `[start, end)` of a text that pieces never reach across: a page, a row."""

    start: int
    end: int
    page: int | None = None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Media:
    """One decoded medium, ready for a tower.

    data: by modality, whole or as a reader of what may be long:
        text    `str`
        image   `(H, W, 3)` uint8 sRGB, upright, no alpha; or `Pages`
        audio   `(N,)` float32 in [-1, 1] at `rate`; or `Sound`
        video   `(T, H, W, 3)` uint8, frames as an image's, `rate` of them a second; or `Film`
        depth, thermal, imu   an array as its tower wants it
    rate: samples or frames per second where that has a meaning.
    source: what people call it (a path, a URL), for messages only.
    sections: of a text; none means that it is one.
    """

    modality: Modality
    data: str | NDArray[Any] | Sound | Film | Pages
    rate: float | None = None
    source: str | None = None
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One medium of a library: a picture, a text, a sound. Several share a `record`.

    created: when the catalog first had it, ISO 8601; that makes no item another one.
    """

    id: str
    record: str
    modality: Modality
    uri: str | None
    digest: str
    title: str | None = None
    text: str | None = None
    origin: Origin = Origin.OBSERVED
    metadata: Metadata = field(default_factory=dict)
    created: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Fragment:
    """The piece of an item that carries one vector: a whole picture, a clip, a page, a passage."""

    id: int
    item: Item
    span: Span | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The name of a vector space. Vectors of two spaces are never compared.

    revision: of the weights; preprocessing: version of what happens before the network.
    """

    name: str
    revision: str
    preprocessing: str
    precision: str
    dim: int

    @property
    def id(self) -> str:
        """`name@` and twelve hex digits over everything that changes a vector."""
        parts = (self.name, self.revision, self.preprocessing, self.precision, str(self.dim))
        digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
        return f"{self.name}@{digest[:12]}"


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """What a tower returns for a batch of one modality.

    joint: `(N, D)` float32, unit rows, comparable across modalities.
    native: `(N, M)` float32, unit rows, the tower's own features, comparable within the modality
        (more like this, near-duplicates); None where the tower has nothing finer than `joint`.
    Raises InvalidVector when a row is not finite or not of unit length.
    """

    space: Space
    joint: Floats
    native: Floats | None = None

    def __post_init__(self) -> None:
        check_unit(self.joint, self.space.dim)
        if self.native is not None:
            check_unit(self.native, self.native.shape[-1])
            if len(self.native) != len(self.joint):
                raise InvalidVector(
                    f"{len(self.native)} native vectors beside {len(self.joint)} joint ones"
                )

    def __len__(self) -> int:
        return len(self.joint)


def check_unit(vectors: NDArray[Any], dim: int) -> None:
    """Raises InvalidVector unless `vectors` is `(N, dim)` float32, finite, with unit rows."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise InvalidVector(f"vectors have shape {vectors.shape}; this space wants (N, {dim})")
    if vectors.dtype != np.float32:
        raise InvalidVector(f"vectors are {vectors.dtype}; float32 is wanted")
    norms = np.einsum("nd,nd->n", vectors, vectors)
    bad = np.flatnonzero(~(np.abs(norms - 1.0) < 1e-3))  # NaN fails the comparison too
    if bad.size:
        norm = float(norms[bad[0]]) ** 0.5
        raise InvalidVector(f"vector {bad[0]} has length {norm:.4g}; unit length is wanted")


def normalise(vectors: NDArray[Any]) -> Floats:
    """Rows divided by their L2 norm, float32. Raises InvalidVector on NaN, infinity or zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 1e-12)))
    if bad.size:
        raise InvalidVector(
            f"vector {bad[0]} has length {float(norms.flat[bad[0]])!r} and so no direction: "
            "every number must be finite and one must differ from 0"
        )
    unit: Floats = rows / norms
    return unit


class Batching(NamedTuple):
    """How a tower likes its work: batches at once, and prepared media a batch at most."""

    workers: int = 1
    max_batch: int = 16


@runtime_checkable
class Embedder(Protocol):
    """A tower, or several, into one space.

    `embed` is the one thing it does; `prepare` and `run` are its two halves, apart so that one
    medium is made ready while another is in the network. All methods may be called from several
    threads at once.
    """

    @property
    def space(self) -> Space: ...

    @property
    def modalities(self) -> frozenset[Modality]: ...

    @property
    def batching(self) -> Batching: ...

    @property
    def chunker(self) -> str:
        """Names how `fragment` cuts; vectors are reused only under the same name."""
        ...

    @property
    def image_side(self) -> int:
        """Pixels of the shorter side below which a decoder must not shrink a picture."""
        ...

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        """Cuts a medium into the pieces that get one vector each; a short one is one piece.

        Readers are read as the iterator goes; a piece holds a `str` or an array.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """How many tokens the tower reads in `text`; 0 for a tower without words."""
        ...

    def warm(self) -> None:
        """Loads what is loaded lazily, so that the first caller does not wait."""
        ...

    def prepare(self, piece: Media) -> Any:
        """What `run` takes for this piece: resized pixels, tokens, a spectrogram. Small.

        Raises UnsupportedModality, BadInput for a medium the tower cannot take.
        """
        ...

    def run(self, modality: Modality, batch: Sequence[Any]) -> Vectors:
        """N prepared media of one modality to N vectors. Raises BackendFailed."""
        ...

    def embed(self, batch: Sequence[Media]) -> Vectors:
        """N pieces of one modality to N vectors; a piece's vector is the same in every batch.

        Raises what `prepare` and `run` raise.
        """
        ...

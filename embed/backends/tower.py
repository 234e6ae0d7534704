"""What every tower is made of: one encoder a modality, and the house's contract on top of them.

An encoder makes one medium ready (`prepare`, no network, in the caller's thread) and runs a batch
of what is ready (`run`). `Tower` joins encoders into an `Embedder`: it cuts media into pieces,
refuses what no encoder takes, and brings every vector to unit length.

It knows no model.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from embed.errors import (
    BackendFailed,
    BadInput,
    CrossbindError,
    InvalidVector,
    UnsupportedModality,
)
from embed.media import pieces
from embed.types import (
    Batching,
    CharSpan,
    Downmix,
    Floats,
    Media,
    Modality,
    Pixels,
    Space,
    Span,
    Vectors,
    normalise,
)

P = TypeVar("P")
T = TypeVar("T")


class Rows(NamedTuple):
    """What an encoder returns for N media: joint `(N, D)`, native `(N, M)` or None; any length."""

    joint: Floats
    native: Floats | None = None


class Encoder(ABC, Generic[P]):
    """One modality of a space. `P` is what it makes of a piece. Safe to call from threads."""

    @abstractmethod
    def prepare(self, piece: Media) -> P:
        """Raises BadInput for a piece of the wrong type, shape or length."""

    @abstractmethod
    def run(self, batch: Sequence[P]) -> Rows:
        """A row is the same in every batch, to 1e-6 in fp32."""

    @abstractmethod
    def pieces(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        """Cuts a medium into what `prepare` takes."""


class TextEncoder(Encoder[P]):
    """Words. A subclass says where a long text is cut, and how many tokens it has."""

    @abstractmethod
    def spans(self, text: str) -> Iterator[CharSpan | None]:
        """The passages of `text`; None alone where it fits as it is."""

    @abstractmethod
    def count_tokens(self, text: str) -> int:
        """Special tokens included."""

    def pieces(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        return pieces.of_text(media, self.spans)


class ImageEncoder(Encoder[P]):
    """Pictures, `(H, W, 3)` uint8."""

    def pieces(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        return pieces.of_image(media)


class AudioEncoder(Encoder[P]):
    """Sounds, `(N,)` float32 at `rate`, at most `seconds` long."""

    rate: int
    seconds: float
    downmix: Downmix = Downmix.MEAN

    def pieces(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        return pieces.of_sound(media, seconds=self.seconds, rate=self.rate, downmix=self.downmix)


class VideoEncoder(Encoder[P]):
    """Frames, `(T, H, W, 3)` uint8, of at most `seconds`, some `per_second`."""

    seconds: float = 10.0
    per_second: float = 1.0
    min_side: int

    def pieces(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        return pieces.of_film(
            media, seconds=self.seconds, per_second=self.per_second, min_side=self.min_side
        )


class FramesEncoder(VideoEncoder[list[P]], Generic[P]):
    """A film through a tower for pictures: the mean of its frames' unit vectors.

    What CLIP4Clip (Luo et al., 2021) calls parameter-free mean pooling.
    """

    def __init__(self, frames: ImageEncoder[P], *, min_side: int) -> None:
        self._frames = frames
        self.min_side = min_side

    def prepare(self, piece: Media) -> list[P]:
        pictures = pixels_of(piece, frames=True)
        return [self._frames.prepare(Media(Modality.IMAGE, picture)) for picture in pictures]

    def run(self, batch: Sequence[list[P]]) -> Rows:
        rows = self._frames.run([frame for film in batch for frame in film])
        counts = [len(film) for film in batch]
        native = None if rows.native is None else _mean_rows(rows.native, counts)
        return Rows(_mean_rows(rows.joint, counts), native)


class Tower:
    """Implements `embed.types.Embedder` over encoders, each made when it is first needed."""

    def __init__(
        self,
        space: Space,
        encoders: Mapping[Modality, Callable[[], Encoder[Any]]],
        *,
        chunker: str,
        image_side: int,
        batching: Batching = Batching(),  # noqa: B008  immutable
    ) -> None:
        """chunker: names how all encoders cut, their numbers included."""
        self._space = space
        self._encoders = {modality: Once(make) for modality, make in encoders.items()}
        self._chunker = chunker
        self._image_side = image_side
        self._batching = batching

    @property
    def space(self) -> Space:
        return self._space

    @property
    def modalities(self) -> frozenset[Modality]:
        return frozenset(self._encoders)

    @property
    def batching(self) -> Batching:
        return self._batching

    @property
    def chunker(self) -> str:
        return self._chunker

    @property
    def image_side(self) -> int:
        return self._image_side

    def encoder(self, modality: Modality) -> Encoder[Any]:
        """Raises UnsupportedModality."""
        if modality not in self._encoders:
            raise UnsupportedModality(
                f"the space {self._space.name!r} embeds {' and '.join(sorted(self._encoders))}, "
                f"not {modality}"
            )
        return self._encoders[modality]()

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        return self.encoder(media.modality).pieces(media)

    def count_tokens(self, text: str) -> int:
        if Modality.TEXT not in self._encoders:
            return 0
        encoder = self.encoder(Modality.TEXT)
        assert isinstance(encoder, TextEncoder)
        return encoder.count_tokens(text)

    def warm(self) -> None:
        for make in self._encoders.values():
            make()

    def prepare(self, piece: Media) -> Any:
        return self.encoder(piece.modality).prepare(piece)

    def run(self, modality: Modality, batch: Sequence[Any]) -> Vectors:
        encoder = self.encoder(modality)
        with blamed(self._space, modality):
            return vectors_of(encoder.run(batch), self._space)

    def embed(self, batch: Sequence[Media]) -> Vectors:
        found = sorted({piece.modality for piece in batch})
        if len(found) != 1:
            raise BadInput(f"a batch holds media of one modality, not {', '.join(found) or 'none'}")
        return self.run(found[0], [self.prepare(piece) for piece in batch])


class Once(Generic[T]):
    """Calls `make` on first use, once even among threads; a failure is tried again next time."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: T | None = None

    def __call__(self) -> T:
        if self._value is None:
            with self._lock:
                if self._value is None:
                    self._value = self._make()
        return self._value


def vectors_of(rows: Rows, space: Space) -> Vectors:
    """Rows brought to unit length. Raises InvalidVector where one has no direction."""
    native = None if rows.native is None else normalise(rows.native)
    return Vectors(space, normalise(rows.joint), native)


@contextmanager
def blamed(space: Space, what: str) -> Iterator[None]:
    """What a network raises, or numbers that are no vector, become BackendFailed of its space."""
    try:
        yield
    except CrossbindError as error:
        if not isinstance(error, InvalidVector):
            raise
        raise BackendFailed(f"{space.name} made no vector of {what}: {error.message}") from error
    except Exception as error:  # each runtime has its own, out of memory among them
        reason = str(error).strip().partition("\n")[0][:300]
        raise BackendFailed(
            f"{space.name} failed on {what}: {type(error).__name__}: {reason}"
        ) from error


def text_of(piece: Media) -> str:
    """Raises BadInput unless the piece holds a `str`."""
    if not isinstance(piece.data, str):
        raise BadInput(f"a text medium holds a str, not {type(piece.data).__name__}")
    return piece.data


def pixels_of(piece: Media, *, frames: bool = False) -> Pixels:
    """`(H, W, 3)`, or `(T, H, W, 3)` of a film. Raises BadInput for anything else."""
    data, rank = piece.data, 4 if frames else 3
    wanted = "(T, H, W, 3)" if frames else "(H, W, 3)"
    if not isinstance(data, np.ndarray):
        raise BadInput(f"{piece.modality} is {wanted} uint8 pixels, not {type(data).__name__}")
    if data.ndim != rank or data.shape[-1] != 3 or data.dtype != np.uint8 or not data.size:
        raise BadInput(
            f"{piece.modality} is {wanted} uint8 with at least one pixel, not {data.shape} "
            f"{data.dtype}"
        )
    return data


def samples_of(piece: Media, rate: int) -> Floats:
    """`(N,)` float32 at `rate`, resampled if need be. Raises BadInput for anything else."""
    return pieces.samples(piece, rate)


def _mean_rows(rows: Floats, counts: Sequence[int]) -> Floats:
    """The mean of the unit vectors of each run of `counts` rows."""
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(normalise(rows), starts, axis=0)
    return np.asarray(sums / np.array(counts, np.float32)[:, None], np.float32)

"""Encoders of a trained space, one for each kind of part: our own networks, tuned towers, heads.

It imports no torch, and knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any, Literal, TypeVar

from embed.backends.bind.head import Head
from embed.backends.recipe_encoders import (
    Core,
    FilmEncoder,
    Made,
    PixelsEncoder,
    SoundEncoder,
    WordsEncoder,
    by_shape,
)
from embed.backends.recipes import (
    AudioRecipe,
    ImageRecipe,
    Network,
    PatchRecipe,
    Recipe,
    TextRecipe,
)
from embed.backends.tower import Encoder, Rows, TextEncoder, Tower
from embed.backends.trained import shapes
from embed.backends.words import Words
from embed.errors import BadInput, NotAvailable
from embed.types import CharSpan, Embedder, Floats, Media, Modality, Span, Vectors

E = TypeVar("E", bound=Encoder[Any])


def own(
    shape: shapes.Shape,
    recipe: Recipe,
    words: Words | None,
    core: Core,
    module: Made | None = None,
) -> Encoder[Any]:
    """The encoder of one of our own networks. words: of texts, with this recipe.

    Raises TypeError where shape and recipe do not fit.
    """
    match shape, recipe:
        case shapes.Convnet(), ImageRecipe():
            return PixelsEncoder(recipe, core, module)
        case shapes.Spectrum(), AudioRecipe():
            return SoundEncoder(recipe, core, module)
        case shapes.Frames(), ImageRecipe():
            films = FilmEncoder(recipe, core, shape.frames, module)
            films.seconds = shape.seconds
            films.per_second = shape.frames / shape.seconds
            return films
        case shapes.Words(), TextRecipe() if words:
            return WordsEncoder(words, core, module)
    raise TypeError(f"a network {shape.kind} does not read what {type(recipe).__name__} prepares")


def light(encoder: E) -> E:
    """The half of an encoder that prepares: what runs stays behind, so that it can be pickled."""
    half = copy(encoder)
    for name, value in vars(encoder).items():
        if callable(value) or isinstance(value, Made):
            delattr(half, name)
    return half


def tuned(
    like: Encoder[Any], recipe: Recipe | None, core: Core, fresh: Callable[[], Network]
) -> Encoder[Any]:
    """An encoder that prepares as `like` does, before a network of its own.

    recipe: of that network. fresh: makes the network anew, for export.
    """
    if isinstance(like, WordsEncoder):
        return WordsEncoder(like.words, core, Made(lambda: fresh().module))
    return Retuned(like, recipe, core, fresh)


def offered(tower: Embedder, modality: Modality) -> tuple[Encoder[Any], Network]:
    """A tower's encoder and the network that it gives away. Raises BadInput where it keeps it."""
    encoder = tower.encoder(modality) if isinstance(tower, Tower) else None
    offer: Callable[[], Network] | None = getattr(encoder, "network", None)
    try:
        if encoder is None or offer is None:
            raise NotAvailable("it is made of other towers or encoders")
        return encoder, offer()
    except NotAvailable as error:
        raise BadInput(
            f"the {modality} network of {tower.space.name} cannot be trained on ({error.message}): "
            "lock = true puts a head on its vectors; films are often read through pictures"
        ) from error


def read_of(vectors: Vectors, reads: Literal["joint", "native"]) -> Floats:
    """Raises BadInput for native vectors where there are none."""
    found = vectors.joint if reads == "joint" else vectors.native
    if found is None:
        raise BadInput(f"{vectors.space.name} has no native vectors of this: read its joint ones")
    return found


class Retuned(Encoder[Any]):
    """See `tuned`."""

    def __init__(
        self,
        like: Encoder[Any],
        recipe: Recipe | None,
        core: Core,
        fresh: Callable[[], Network],
    ) -> None:
        self._like = light(like)
        self._recipe = recipe
        self._core = core
        self._fresh = fresh

    def prepare(self, piece: Media) -> Any:
        return self._like.prepare(piece)

    def pieces(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        return self._like.pieces(media)

    def run(self, batch: Sequence[Any]) -> Rows:
        if isinstance(self._recipe, PatchRecipe):
            return Rows(*self._core(*self._recipe.stack(batch)))
        return by_shape(batch, self._core)

    def network(self) -> Network:
        return self._fresh()


class Headed(Encoder[Any]):
    """A locked tower, and a head on its unit vectors, or none."""

    def __init__(
        self,
        tower: Embedder,
        modality: Modality,
        reads: Literal["joint", "native"],
        head: Head | None,
        *,
        residual: bool = False,
    ) -> None:
        """residual: the head is added to what it reads."""
        self.tower = tower
        self.reads = reads
        self.head = head
        self.residual = residual
        self._modality = modality

    def prepare(self, piece: Media) -> Any:
        return self.tower.prepare(piece)

    def pieces(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        return self.tower.fragment(media)

    def run(self, batch: Sequence[Any]) -> Rows:
        vectors = self.tower.run(self._modality, batch)
        read = read_of(vectors, self.reads)
        joint = self.head(read) if self.head else read
        return Rows(read + joint if self.residual else joint, vectors.native)


class HeadedText(Headed, TextEncoder[Any]):
    """Its tower cuts long texts."""

    def spans(self, text: str) -> Iterator[CharSpan | None]:
        for span, _ in self.pieces(Media(Modality.TEXT, text)):
            assert span is None or isinstance(span, CharSpan)
            yield span

    def count_tokens(self, text: str) -> int:
        return self.tower.count_tokens(text)

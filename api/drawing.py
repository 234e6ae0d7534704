"""What a preview shows of an item: the medium itself, a film's frame, a document's first page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from api.requests import MediaFile
from embed.errors import NotFound, UnsupportedModality
from embed.media.av_open import open_sound_or_film
from embed.media.preview import preview
from embed.media.read import open_media
from embed.media.source import shown
from embed.types import Film, Modality, Pages, PageSpan, Pixels


def draw(
    file: MediaFile, modality: Modality, *, side: int, at: float | None, page: int | None
) -> bytes:
    """A JPEG of at most `side` pixels on its longer side; `at` seconds into a film.

    A document stands for its words and for its pictures alike: `page` is drawn, or the first.
    Raises UnsupportedModality for what cannot be seen, CorruptMedia, TooLarge, NotFound.
    """
    if modality is Modality.VIDEO and at is not None:
        return preview(_Still(_frame(file, at, side)), Modality.IMAGE, side=side)
    if file.media_type != "application/pdf":
        return preview(file.path, modality, side=side)
    document = open_media(file.path, accepts=frozenset({Modality.IMAGE}))
    pages = document.decode(Modality.IMAGE, image_side=side).data
    assert isinstance(pages, Pages)
    return preview(pages if page is None else _page(pages, page), Modality.IMAGE, side=side)


@dataclass(frozen=True, slots=True)
class _Still:
    """A page of a document, or a frame of a film, as the only one."""

    pixels: Pixels

    def pictures(self, *, first: int = 1) -> Iterator[tuple[PageSpan, Pixels]]:
        yield PageSpan(first), self.pixels


def _page(pages: Pages, number: int) -> _Still:
    found = next(pages.pictures(first=number), None)
    if found is None:
        raise NotFound(f"the document has no page {number}: it has fewer", param="page")
    return _Still(found[1])


def _frame(file: MediaFile, at: float, side: int) -> Pixels:
    called = shown(file.path)
    openers = open_sound_or_film(file.path, media_type=file.media_type, called=called)
    if Modality.VIDEO not in openers:
        raise UnsupportedModality(f"{called} holds no film, but {' and '.join(openers)}")
    film = openers[Modality.VIDEO](side).data
    assert isinstance(film, Film)
    frame: Pixels = film.frames([at], min_side=side)[0]
    return frame

"""What is said about a passage, and by whom: its words, captions, title, notes, what is borrowed.

All of it comes out harmless (`fence.py`). It knows no prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from embed.types import CharSpan, GeoPoint, Item, Modality, PageSpan, Span, TimeSpan
from generation.sentences import pieces
from generation.types import Saying, Statement
from index.types import Completion
from rag.grounding.fence import harmless
from rag.types import Passage

_LONG = 4_000  # characters of what stands beside the passage
_NOTES = 12
_NAME = 200
_TELLS_NOTHING = re.compile(
    r"(?:images?|photos?|pictures?|img|data(?:sets?)?|files?|docs?|documents?|downloads?|audio|"
    r"sounds?|videos?|films?|media|te?mp|train|test|val|uploads?|library|desktop|home|root|"
    r"[\W\d_]*|[0-9a-f]{8,})",
    re.IGNORECASE,
)


def statements_of(passage: Passage, numbers: Mapping[str, int]) -> tuple[Statement, ...]:
    """numbers: of evidence that is handed over, by item; what rests on none of it is left out."""
    said = [*_own(passage), *_noted(passage.hit.item), *_borrowed(passage.completions, numbers)]
    return tuple({(one.text, one.by): one for one in said if one.text}.values())


def place_of(span: Span | None) -> str | None:
    """A place in an item, for people: `page 3`, `0:12 to 0:15`."""
    if isinstance(span, TimeSpan):
        return f"{_clock(span.start)} to {_clock(span.end)}"
    page = span.page if isinstance(span, PageSpan | CharSpan) else None
    return None if page is None else f"page {page}"


def shortened(text: str, characters: int) -> str:
    """Whole sentences of it, as many as fit; of a longer first one what fits."""
    if len(text) <= characters:
        return text
    ends = [piece.end for piece in pieces(text) if piece.end <= characters]
    return text[: ends[-1]] if ends else text[: max(characters - 2, 0)].rpartition(" ")[0] + " …"


def _own(passage: Passage) -> Iterator[Statement]:
    item = passage.hit.item
    text = passage.text or (passage.hit.text if item.modality is Modality.TEXT else None)
    if text:
        is_text = item.modality is Modality.TEXT
        yield Statement(text=harmless(text), by=Saying.TEXT if is_text else Saying.CAPTION)
    for sibling in passage.siblings:
        if sibling.modality is Modality.TEXT and sibling.text and sibling.text != text:
            words = shortened(harmless(sibling.text), _LONG)
            yield Statement(text=words, by=Saying.CAPTION)
    if item.title and not (text or "").startswith(item.title.rstrip("…")):
        yield Statement(text=harmless(item.title)[:_NAME], by=Saying.TITLE)


def _noted(item: Item) -> Iterator[Statement]:
    for name, value in [*item.metadata.items()][:_NOTES]:
        words = f"{harmless(name)[:_NAME]}: {harmless(_value(value))[:_NAME]}"
        yield Statement(text=" ".join(words.split()), by=Saying.METADATA)
    if folder := _folder(item):
        yield Statement(text=f"folder: {harmless(folder)[:_NAME]}", by=Saying.METADATA)


def _folder(item: Item) -> str | None:
    """The name of the folder that a picture, sound or film lies in, where it may tell its kind."""
    if item.modality is Modality.TEXT or not item.uri or not item.uri.startswith("file:"):
        return None
    name = PurePosixPath(unquote(urlsplit(item.uri).path)).parent.name
    return None if _TELLS_NOTHING.fullmatch(name) else name.replace("_", " ")


def _value(value: object) -> str:
    if isinstance(value, GeoPoint):
        return f"{value.lat:.5f}, {value.lon:.5f}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _borrowed(
    completions: tuple[Completion, ...], numbers: Mapping[str, int]
) -> Iterator[Statement]:
    for one in completions:
        sources = tuple(dict.fromkeys(numbers[s.item] for s in one.sources if s.item in numbers))
        if one.modality is Modality.TEXT and one.value and sources and not one.stale:
            yield Statement(
                text=shortened(harmless(one.value), _LONG),
                by=Saying.BORROWED,
                sources=sources,
                probability=one.p,
            )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

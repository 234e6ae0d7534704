"""Files, or bytes out of an archive, to the media of a record: what all sources of files share.

Media are opened as everywhere in the house, by content and within its limits. It knows nothing of
where files lie and which belong together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from embed.errors import BadInput, CorruptMedia, UnsupportedMedia, UnsupportedModality
from embed.media.read import open_media
from embed.media.source import read_source
from embed.media.text import characters
from embed.training.types import Record
from embed.types import Media, Modality

READ = (Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)

_CAPTIONS = frozenset({".caption", ".json", ".txt"})
_MAX_BYTES = 2**20
_JSON_KEYS = ("caption", "captions", "text")


class Piece(NamedTuple):
    """One file of a record. called: for messages. holds: what is looked for in it."""

    content: Path | bytes
    called: str
    holds: frozenset[Modality]


@dataclass(slots=True, kw_only=True, eq=False)
class Files:
    """What every source of files may be told.

    modalities: what is read, where a file holds more. image_side: pixels that a picture's shorter
    side is never shrunk below; a run reads them as the space it leads to will.
    """

    modalities: tuple[Modality, ...] = READ
    image_side: int = 256

    def __post_init__(self) -> None:
        if len(set(self.modalities) & set(READ)) < 2 or not set(self.modalities) <= set(READ):
            raise BadInput(
                f"[data] modalities are {', '.join(self.modalities) or 'none'}; at least two of "
                f"{', '.join(READ)} are wanted",
                param="modalities",
            )

    def piece(self, content: Path | bytes, called: str) -> Piece:
        return Piece(content, called, frozenset(self.modalities))

    def together(self, id: str, files: Iterable[tuple[Path | bytes, str]]) -> Record:  # noqa: A002
        """A record from files, and what they are called, some of which hold its captions."""
        pieces, captions = list[Piece](), list[str]()
        for content, called in files:
            if is_captions(called):
                captions += captions_in(content, called)
            else:
                pieces.append(self.piece(content, called))
        return self.record(id, pieces, captions)

    def record(self, id: str, pieces: Iterable[Piece], captions: Sequence[str]) -> Record:  # noqa: A002
        """Everything decoded, or ready to be read piece by piece.

        Captions outdo a file's own words. A file that holds nothing we know is passed over, if
        another is read. Raises what `open_media` and `Raw.decode` raise.
        """
        media: dict[Modality, list[Media]] = {}
        strange: UnsupportedMedia | UnsupportedModality | None = None
        for piece in pieces:
            try:
                self._add(piece, media)
            except (UnsupportedMedia, UnsupportedModality) as error:
                strange = strange or error
        if strange and not media:
            raise strange
        if captions and Modality.TEXT in self.modalities:
            media[Modality.TEXT] = [Media(Modality.TEXT, words, source=id) for words in captions]
        return Record(id, media)

    def _add(self, piece: Piece, media: dict[Modality, list[Media]]) -> None:
        raw = open_media(piece.content, accepts=piece.holds, name=piece.called)
        if raw.modality is Modality.TEXT:
            raise UnsupportedModality(
                f"{piece.called} is a text; captions are in {', '.join(sorted(_CAPTIONS))}"
            )
        for modality in raw.accepted:
            medium = raw.decode(modality, image_side=self.image_side)
            media.setdefault(modality, []).append(medium)


def is_captions(name: str) -> bool:
    """Whether a file of that name holds captions of what shares it."""
    return PurePath(name).suffix.lower() in _CAPTIONS


def captions_in(content: Path | bytes, called: str) -> list[str]:
    """The captions of a file, by its name: JSON, or one a line.

    Raises CorruptMedia, TooLarge, and what `read_source` raises.
    """
    text = characters(read_source(content, called, lambda _: _MAX_BYTES), called)
    if PurePath(called).suffix.lower() == ".json":
        return _captions_of(text, called)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _captions_of(text: str, called: str) -> list[str]:
    """Texts, or under the keys of an object, all other keys left alone."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptMedia(f"{called} is broken JSON ({error}): mend it") from error
    values = [value.get(key) for key in _JSON_KEYS] if isinstance(value, dict) else [value]
    return list(dict.fromkeys(text for value in values for text in texts_of(value)))


def texts_of(value: object) -> list[str]:
    """A text, or a list of texts, without those that say nothing; of anything else nothing."""
    given = value if isinstance(value, list) else [value]
    return [text.strip() for text in given if isinstance(text, str) and text.strip()]

"""What a generator made besides words, as files that everybody opens: PNG and WAV.

They are written here, from pixels and samples: a file is what its type says, whatever a generator
called it, and no byte of its own goes on. What is none, or more than is taken, is left out and
told. Films have no form yet. It knows neither HTTP nor terminals.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from embed.errors import BadInput, CrossbindError, UnsupportedModality
from embed.media.source import shown as called
from embed.types import Media, Modality
from generation.showing import shown, wav
from generation.types import Taste
from index.disk import explained

MOST = 4  # of one answer; the limits bound it at some 50 MB
SIDE = 2048  # pixels: larger pictures are made smaller
SECONDS = 120.0  # of a sound: longer ones end there
RATES = (1_000, 48_000)  # samples a second

_TASTE = Taste(context=0, images=MOST, image_side=SIDE, seconds=SECONDS)
_TYPES = {Modality.IMAGE: ("image/png", ".png"), Modality.AUDIO: ("audio/wav", ".wav")}


class Written(NamedTuple):
    """Where a medium is now."""

    modality: Modality
    path: Path

    def to_json(self) -> dict[str, str]:
        return {"modality": self.modality.value, "path": str(self.path)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One file. type: its media type. ending: of its name."""

    modality: Modality
    type: str
    ending: str
    data: bytes = field(repr=False)

    @property
    def uri(self) -> str:
        """All of it as a `data:` URI."""
        return f"data:{self.type};base64,{base64.b64encode(self.data).decode()}"

    def to_json(self) -> dict[str, str]:
        return {"modality": self.modality.value, "type": self.type, "url": self.uri}


def bounded(made: Sequence[Media]) -> tuple[tuple[Media, ...], list[str]]:
    """Media as arrays, as many and as large as are handed out; and what is told of the others."""
    media: list[Media] = []
    notes = []
    for medium in made[:MOST]:
        try:
            media += _whole(medium)
        except CrossbindError as error:
            notes.append(f"the {medium.modality} that was made is left out: {error.message}")
    if len(made) > MOST:
        notes.append(f"{len(made)} media were made, and the first {MOST} are handed out")
    return tuple(media[:MOST]), notes


def encoded(media: Sequence[Media]) -> list[Made]:
    """Files of media that are `bounded`."""
    made = []
    for medium in media:
        kind, ending = _TYPES[medium.modality]
        data = wav(medium) if medium.modality is Modality.AUDIO else _png(medium)
        made.append(Made(modality=medium.modality, type=kind, ending=ending, data=data))
    return made


def written(media: Sequence[Media], folder: Path) -> list[Written]:
    """Writes them into a folder, made where it is not there, each under a name that was free.

    Raises StorageFull, Forbidden, CatalogError for a folder that is none.
    """
    try:
        if media:
            folder.mkdir(parents=True, exist_ok=True)
        return [_written(one, folder) for one in encoded(media)]
    except OSError as error:
        raise explained(error, f"the folder {called(folder)}") from error


def _whole(medium: Media) -> Iterator[Media]:
    """Raises UnsupportedModality, BadInput, CorruptMedia."""
    if medium.modality not in _TYPES:
        raise UnsupportedModality(f"{medium.modality} is no picture and no sound")
    least, most = RATES
    if medium.modality is Modality.AUDIO and not least <= (medium.rate or least) <= most:
        raise BadInput(f"a sound has {least} to {most} samples a second, not {medium.rate:g}")
    return shown(medium, takes=frozenset(_TYPES), taste=_TASTE)


def _png(medium: Media) -> bytes:
    assert isinstance(medium.data, np.ndarray)
    file = BytesIO()
    Image.fromarray(medium.data).save(file, "PNG")
    return file.getvalue()


def _written(one: Made, folder: Path) -> Written:
    for number in count(1):
        path = folder / f"{one.modality}-{number}{one.ending}"
        try:
            with path.open("xb") as file:
                file.write(one.data)
        except FileExistsError:
            continue
        return Written(one.modality, path)
    raise AssertionError("numbers do not end")

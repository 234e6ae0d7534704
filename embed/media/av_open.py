"""The opener of sounds and films: which media a file holds, told by its tracks.

A film is its moving pictures, its sound track and its tags; a sound is itself and its tags. Cover
pictures make no film.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from embed.errors import CorruptMedia
from embed.media.container import File, films_of, sounds_of
from embed.media.film import FilmFile
from embed.media.sound import SoundFile
from embed.types import Media, Modality

MAX_TAG = 65_536
"""Characters of one tag that are kept."""

_PLAIN = ("title", "description", "synopsis", "comment", "lyrics")
_LABELLED = ("artist", "album", "show", "genre", "date", "keywords", "location")
_ALIASES = {
    "tit2": "title",
    "tpe1": "artist",
    "talb": "album",
    "year": "date",
    "subtitle": "comment",
}
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffd]")


def open_sound_or_film(
    source: Path | bytes, *, media_type: str, called: str
) -> Mapping[Modality, Callable[[int], Media]]:
    """What the file holds, the main medium first; each is made by calling it.

    media_type: as sniffed. called: what messages call the file.
    A sound or film that is made knows its duration; samples and frames are decoded as they are
    read. Tags are lines of text: the title, "Artist: …" and the like, comments, lyrics.
    Raises CorruptMedia, UnsupportedMedia, TooLarge, Forbidden, NotFound, NotAvailable; and the
    same when a medium is made.
    """
    file = File(source, media_type, called)
    with file.opened() as container:
        films, sounds = films_of(container), sounds_of(container)
        tags = "\n".join(_lines(_tags(container)))
        found: dict[Modality, Callable[[int], Media]] = {}
        if films:
            found[Modality.VIDEO] = _film(file, films[0])
        if sounds:
            found[Modality.AUDIO] = _sound(file, sounds[0])
    if not found:
        raise CorruptMedia(
            f"{called} holds neither a sound nor a picture track that can be decoded"
        )
    if tags:
        found[Modality.TEXT] = lambda _: Media(Modality.TEXT, tags, source=called)
    return found


def _film(file: File, stream: VideoStream) -> Callable[[int], Media]:
    index, width, height = stream.index, stream.width, stream.height
    return lambda _: Media(Modality.VIDEO, FilmFile(file, index, width, height), source=file.called)


def _sound(file: File, stream: AudioStream) -> Callable[[int], Media]:
    index, rate, channels = stream.index, stream.rate, stream.channels

    def made(_: int) -> Media:
        sound = SoundFile(file, index, rate, channels)
        return Media(Modality.AUDIO, sound, rate=float(rate), source=file.called)

    return made


def _tags(container: InputContainer) -> dict[str, str]:
    """All tags by lower-case name: of the file, else of its tracks (where Ogg has them)."""
    tags: dict[str, str] = {}
    tracks = [*sounds_of(container), *films_of(container)]
    for level in (container.metadata, *(track.metadata for track in tracks)):
        for key, value in level.items():
            name = key.lower().split("-")[0]  # FFmpeg adds a language: lyrics-eng
            tags.setdefault(_ALIASES.get(name, name), _UNPRINTABLE.sub("", value).strip()[:MAX_TAG])
    return tags


def _lines(tags: Mapping[str, str]) -> Iterator[str]:
    """The title, who and what it is, and then what is said at length; nothing twice."""
    title, *at_length = _PLAIN
    said = {""}
    for name in (title, *_LABELLED, *at_length):
        value = tags.get(name, "")
        if value not in said:
            said.add(value)
            yield f"{name.capitalize()}: {value}" if name in _LABELLED else value

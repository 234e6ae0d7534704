"""Which text files of a folder are about which media: `photo.txt` beside `photo.jpg`.

Told from names alone. A text belongs to a medium when it carries the medium's whole name
(`photo.jpg.txt`), or its name without the ending when nothing else there could be meant
(`photo.txt`). A document needs no other text: `report.txt` beside `report.pdf` is itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath


def _endings(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TEXTS = _endings(".caption .json .srt .txt .vtt")
_DOCUMENTS = _endings(".csv .docx .htm .html .md .pdf .tsv .xhtml")
_MEDIA = _endings(
    ".aac .aif .aifc .aiff .avi .avif .bmp .flac .gif .heic .heif .j2k .jfif .jp2 .jpe .jpeg .jpg "
    ".m4a .m4b .m4v .mka .mkv .mov .mp3 .mp4 .mpeg .mpg .oga .ogg .ogv .opus .png .tif .tiff .ts "
    ".wav .weba .webm .webp"
)


def owners(names: Iterable[str]) -> dict[str, str]:
    """For each text file that is about a medium, that medium. All names are of one folder."""
    given = sorted(set(names))
    media = {name for name in given if _ending(name) in _MEDIA}
    by_stem: dict[str, list[str]] = {}
    for name in given:
        if _ending(name) in _MEDIA | _DOCUMENTS:
            by_stem.setdefault(PurePath(name).stem, []).append(name)
    found = {}
    for name in given:
        if _ending(name) not in _TEXTS:
            continue
        stem = PurePath(name).stem
        candidates = [stem] if stem in media else by_stem.get(stem, [])
        if len(candidates) == 1 and candidates[0] in media:
            found[name] = candidates[0]
    return found


def _ending(name: str) -> str:
    return PurePath(name).suffix.lower()

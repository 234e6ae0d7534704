"""Folders as sources: files sorted into a folder a class, or files beside their captions.

Files are listed once, in the order of their names; hidden ones are left out. It opens none before
its record is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from embed.errors import BadInput, NotFound
from embed.media.source import shown
from embed.training.data.files import Files, is_captions
from embed.training.types import Record


@dataclass(slots=True, kw_only=True, eq=False)
class ClassFolders(Files):
    """A folder a class: what lies in `path/DOG`, at any depth, is a dog.

    names: words for folders whose names are none (`n02085936 = "maltese dog"`); of others _ and -
    become spaces. templates: sentences around the words, each a caption.
    Raises NotFound, BadInput.
    """

    path: Path
    names: Mapping[str, str] = field(default_factory=dict)
    templates: tuple[str, ...] = ("{}",)
    failures: list[str] = field(default_factory=list, init=False)
    _files: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        Files.__post_init__(self)
        for template in self.templates:
            if template.count("{}") != 1:
                raise BadInput(
                    f"[data] templates hold {template!r}; a sentence with one {{}} for the name of "
                    "the class is wanted",
                    param="templates",
                )
        self._files = [name for name in _walk(self.path, self.failures) if "/" in name]
        if not self._files:
            raise BadInput(
                f"{shown(self.path)} has no class folders with files in them: a folder a class is "
                'wanted; kind = "folder" reads files beside their captions'
            )

    def __len__(self) -> int:
        return len(self._files)

    def id(self, i: int) -> str:
        return self._files[i]

    def label(self, i: int) -> str:
        """The words for the class of record i."""
        folder = PurePosixPath(self._files[i]).parts[0]
        return self.names.get(folder) or folder.replace("_", " ").replace("-", " ")

    def __getitem__(self, i: int) -> Record:
        file = self._files[i]
        captions = [template.format(self.label(i)) for template in self.templates]
        path = self.path / file
        return self.record(file, [self.piece(path, shown(path))], captions)


@dataclass(slots=True, kw_only=True, eq=False)
class Folder(Files):
    """Files that share a name but for the ending are one record: `a.jpg`, `a.wav`, `a.txt`.

    Captions are in `.txt` or `.caption`, one a line, or in `.json`: a list, or an object's
    `caption`, `captions` or `text`. `a.jpg.txt` belongs to `a.jpg` as well.
    Raises NotFound, BadInput.
    """

    path: Path
    failures: list[str] = field(default_factory=list, init=False)
    _records: list[tuple[str, list[str]]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        Files.__post_init__(self)
        by_stem: dict[str, list[str]] = {}
        files = list(_walk(self.path, self.failures))
        known = frozenset(files)
        for file in files:
            by_stem.setdefault(_stem(file, known), []).append(file)
        for stem, members in by_stem.items():
            if all(map(is_captions, members)):
                self.failures.append(f"{shown(members[0])} is about no file beside it")
            else:
                self._records.append((stem, members))
        if not self._records:
            raise BadInput(
                f"{shown(self.path)} holds no media: pictures, sounds or films are wanted, and "
                "their captions beside them (a.jpg, a.txt)"
            )

    def __len__(self) -> int:
        return len(self._records)

    def id(self, i: int) -> str:
        return self._records[i][0]

    def __getitem__(self, i: int) -> Record:
        stem, members = self._records[i]
        paths = [self.path / file for file in members]
        return self.together(stem, [(path, shown(path)) for path in paths])


def _walk(path: Path, failures: list[str]) -> Iterator[str]:
    """Names of files below `path`, from there, with slashes; folders that refuse are failures."""
    if not path.is_dir():
        raise NotFound(f"{shown(path)} is no folder: [data] path names the folder with the files")

    def refused(error: OSError) -> None:
        failures.append(f"{shown(str(error.filename))} cannot be listed: {error.strerror}")

    for folder, folders, names in os.walk(path, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield (Path(folder) / name).relative_to(path).as_posix()


def _stem(file: str, known: frozenset[str]) -> str:
    """What files of one record share: `a` of `a.jpg`, and of `a.jpg.txt` where `a.jpg` is there."""
    stem = str(PurePosixPath(file).with_suffix(""))
    return str(PurePosixPath(stem).with_suffix("")) if stem in known else stem

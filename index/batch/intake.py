"""One file on its way into a collection: what is known of it, and what it becomes.

A file gives one item for each kind of medium it holds (a film its pictures, its sound track and its
tags), all of one record. A caption in a file of its own joins the record of the picture beside it.
It knows no threads and writes nothing: `ingest.py` does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from embed.batcher import Batcher
from embed.errors import CrossbindError
from embed.media.read import Raw, open_media
from embed.media.sidecars import owners
from embed.media.source import shown
from embed.types import Modality
from index.batch.pieces import Pieces, cut_all
from index.batch.walk import FoundFile, path_of
from index.collection import Collection
from index.types import FATAL, Entry, Failure, FileStamp, FileState, part_uri

# A file changed this close to the moment it was read may change again under the same mtime.
RACY_NS = 2_000_000_000


@dataclass(slots=True, eq=False)
class Prepared:
    """A file that was opened. Without `parts` its content is indexed already, here or elsewhere.

    left_out: what it holds and the space does not embed. stale: items that it no longer gives.
    """

    file: FoundFile
    stamp: FileStamp
    record: str
    digest: str
    is_new: bool
    parts: dict[Modality, Pieces | CrossbindError] = field(default_factory=dict)
    main: Modality | None = None
    left_out: list[Modality] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    moved_from: str | None = None

    def results(self) -> tuple[list[Entry], list[Failure]]:
        """Waits for the vectors. A part that fails does so alone, but the main one fails them all.

        Raises what the tower raised for the main part.
        """
        entries, failures = [], []
        for modality, pieces in self.parts.items():
            try:
                entries.append(self._entry(modality, pieces))
            except FATAL:
                raise
            except CrossbindError as error:
                if modality is self.main:
                    raise
                uri = self._uri(modality)
                failures.append(Failure(uri=uri, code=error.code, message=error.message))
        return entries, failures

    def _entry(self, modality: Modality, pieces: Pieces | CrossbindError) -> Entry:
        if isinstance(pieces, CrossbindError):
            raise pieces
        return Entry(
            modality=modality,
            digest=self.digest,
            fragments=pieces.fragments(),
            record=self.record,
            uri=self._uri(modality),
            title=shown(self.file.path.name),
            text=pieces.text,
            metadata=pieces.facts if self.is_new else None,
            stamp=self.stamp,
        )

    def _uri(self, modality: Modality) -> str:
        return self.file.uri if modality is self.main else part_uri(self.file.uri, modality)


class Intake:
    """What `collection` knows of files, as it was when this was made."""

    def __init__(self, collection: Collection, batcher: Batcher) -> None:
        self._collection = collection
        self._batcher = batcher
        self._states = collection.file_states()
        self._homes: dict[str, list[str]] = {}
        for uri, state in self._states.items():
            self._homes.setdefault(state.digest, []).append(uri)
        self._owners: dict[str, str] = {}
        self._records: dict[str, str] = {}
        self._lock = threading.Lock()

    def introduce(self, files: Iterable[FoundFile]) -> None:
        """Tells which files there are, so that captions find their pictures."""
        folders: dict[Path, dict[str, FoundFile]] = {}
        for file in files:
            folders.setdefault(file.path.parent, {})[file.path.name] = file
        for beside in folders.values():
            for text, medium in owners(beside).items():
                self._owners[beside[text].uri] = beside[medium].uri
        for uri, state in self._states.items():
            self._records.setdefault(self._owners.get(uri, uri), state.record)
        # What is indexed stays where it is; a caption follows.
        self._records |= {uri: state.record for uri, state in self._states.items()}

    def is_unchanged(self, file: FoundFile) -> bool:
        """Whether its content is that which is indexed, as far as its size and times tell."""
        state = self._states.get(file.uri)
        if state is None or state.stamp is None:
            return False
        same = (file.size, file.mtime_ns) == (state.stamp.size, state.stamp.mtime_ns)
        return same and file.mtime_ns < state.stamp.checked_ns - RACY_NS

    def prepare(self, file: FoundFile) -> Prepared:
        """Reads, decodes, and hands to the tower. Raises what `open_media` and `cut` raise."""
        checked = time.time_ns()
        state = self._states.get(file.uri)
        raw = open_media(file.path, accepts=self._batcher.embedder.modalities)
        prepared = Prepared(
            file=file,
            stamp=FileStamp(file.size, file.mtime_ns, checked),
            record=self._record(file.uri),
            digest=raw.digest,
            is_new=state is None,
        )
        if state is None:
            prepared.moved_from = self._left_home(raw.digest, file.path.suffix)
        if prepared.moved_from is None and (state is None or state.digest != raw.digest):
            self._fill(prepared, raw, state)
        return prepared

    def prepare_anew(self, prepared: Prepared) -> None:
        """For a file that had moved, when another ingest was faster: what it left is replaced."""
        raw = open_media(prepared.file.path, accepts=self._batcher.embedder.modalities)
        self._fill(prepared, raw, None)

    def _fill(self, prepared: Prepared, raw: Raw, state: FileState | None) -> None:
        prepared.main = raw.modalities[0]
        prepared.left_out = [m for m in raw.modalities if m not in raw.accepted]
        known: Mapping[Modality, str] = state.items if state else {}
        prepared.stale = [item for m, item in known.items() if m not in raw.accepted]
        prepared.parts = cut_all(raw, self._collection, self._batcher)

    def _record(self, uri: str) -> str:
        """That of the medium it belongs to, or its own, or a new one."""
        with self._lock:
            return self._records.setdefault(self._owners.get(uri, uri), uuid4().hex)

    def _left_home(self, digest: str, suffix: str) -> str | None:
        """The URI of an indexed file with these bytes that is no longer there, claimed once.

        Under another ending a text may be read in another way.
        """
        with self._lock:
            for uri in self._homes.get(digest, []):
                path = path_of(uri)
                if path and path.suffix == suffix and not os.path.lexists(path):
                    self._homes[digest].remove(uri)
                    return uri
        return None

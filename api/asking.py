"""Questions to answers, and records to what they lack: requests in, the journeys of `rag` behind.

It joins a collection with its tower, its calibration and its media, opens generators and
re-rankers once, and remembers conversations. It knows neither HTTP nor terminals, nor how anything
is found, completed or said.
"""

from __future__ import annotations

import threading
from collections.abc import Generator as Generated
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import NamedTuple, cast

from api.blobs import Blobs
from api.config import Settings
from api.glimpses import SIDE
from api.libraries import Libraries, Opened
from api.made import bounded
from api.query import medium_of
from api.requests import Term
from api.requests_ask import AskRequest, CompleteRequest, Method, Turn
from api.sessions import Sessions
from api.shelves import Shelves
from api.towers import Towers
from api.voices import Voices
from embed.batcher import Batcher
from embed.calibration import Calibrations
from embed.errors import Forbidden, InvalidQuery, NotFound
from embed.types import Media, Modality
from generation.types import Generator, Message
from index.collection import Collection
from rag import pipeline
from rag.complete import BatchReport, Completer, Progress, Report
from rag.confidence import Confidence, Confidences
from rag.finish import supported
from rag.library import Library
from rag.rerank import Reranker
from rag.types import Answer, Ask, Delta, ItemPart

Pieces = Generated[Delta | Answer, None, None]
"""Words as they come, and the answer at the end."""
MAX_ITEMS = 1000  # of a record that are looked at


class _Journey(NamedTuple):
    """All that `rag.pipeline` takes."""

    ask: Ask
    library: Library
    generator: Generator
    reranker: Reranker
    completer: Completer


class Asking:
    """Answers questions about open collections. Safe to use from several threads."""

    def __init__(
        self,
        settings: Settings,
        shelves: Shelves,
        towers: Towers,
        calibrations: Calibrations,
        blobs: Blobs,
    ) -> None:
        self.voices = Voices(settings, towers.options)
        self._settings = settings
        self._shelves = shelves
        self._libraries = Libraries(towers, calibrations, blobs)
        self.confidences = Confidences(settings.home / "calibrations" / "answers")
        self._sessions: Sessions | None = None
        self._lock = threading.Lock()

    @property
    def sessions(self) -> Sessions:
        """Conversations that are remembered. Raises Forbidden."""
        if self._settings.read_only:
            raise Forbidden(
                "this library is open to be read only: no session is kept; leave session out, and "
                "send what was said before with the question",
                param="session",
            )
        with self._lock:
            self._sessions = self._sessions or Sessions(self._settings.home)
            return self._sessions

    def answer(self, request: AskRequest) -> Answer:
        """All at once, without what nothing supports. Raises what `stream` raises."""
        *_, last = self.stream(request, checked=True)
        assert isinstance(last, Answer)
        return last

    def stream(self, request: AskRequest, *, checked: bool = False) -> Pieces:
        """Words as they come, and the answer as a whole at the end. Closing it ends the work.

        checked: what nothing supports is left out of that answer, as nobody has read it.
        Raises NotFound, InvalidQuery for a question that asks nothing, BadInput for a medium that
        is none, and what the tower, the index and the generator raise; most of it before the first
        words.
        """
        asked = self._recalled(request)
        first, rest = self._shelves.use(asked.collection, partial(self._begun, asked))
        with closing(rest):
            for piece in chain([first], rest):
                yield self._finished(asked, piece, checked) if isinstance(piece, Answer) else piece

    def complete(self, request: CompleteRequest) -> Report:
        """What a record lacks, supposed. Raises NotFound, InvalidQuery, BadInput."""
        report = self._shelves.use(request.collection, partial(self._complete, request))
        shown = [medium for medium in report.media if medium.modality is not Modality.TEXT]
        media, notes = bounded(shown)
        reasons = [report.reason, *notes] if report.reason else notes
        return replace(report, media=media, reason="; ".join(reasons) or None)

    def complete_all(
        self,
        collection: str,
        missing: Sequence[Modality] | None = None,
        *,
        method: Method = "best",
        generator: str | None = None,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> BatchReport:
        """All records that lack something, kept with the collection. Goes on where it ended."""
        work = partial(self._complete_all, missing, method, generator, progress, stop)
        return self._shelves.use(collection, work)

    def close(self) -> None:
        """Lets go of generators and re-rankers, and of the sessions' file."""
        self.voices.close()
        with self._lock:
            if self._sessions is not None:
                self._sessions.close()

    # What a journey takes

    def _begun(self, request: AskRequest, collection: Collection) -> tuple[Delta | Answer, Pieces]:
        """Up to the first words, which come when all evidence is there."""
        pieces = pipeline.stream(*self._journey(request, collection))
        return next(pieces), cast("Pieces", pieces)  # closing it ends the work

    def _journey(self, request: AskRequest, collection: Collection) -> _Journey:
        opened = self._libraries.of(collection)
        generator = self.voices.generator(request.generator)
        return _Journey(
            replace(
                _ask(request, opened.library),
                sureness=self._sureness(request, collection, generator),
            ),
            opened.library,
            generator,
            self.voices.reranker(request.reranker, opened),
            opened.completer,
        )

    def _sureness(
        self, request: AskRequest, collection: Collection, generator: Generator
    ) -> Confidence | None:
        """None for whoever wants every answer: the curve itself is learnt from those."""
        if request.retrieval.min_probability == 0:
            return None
        info = collection.info
        return self.confidences.of(info.name, info.space.id, generator.name)

    def _completer(self, opened: Opened, method: Method, generator: str | None) -> Completer:
        """Only a synthesis takes a generator."""
        if method != "synthesis":
            return opened.completer
        return Completer(opened.library, self.voices.generator(generator))

    def _complete(self, request: CompleteRequest, collection: Collection) -> Report:
        opened = self._libraries.of(collection)
        media = [_medium(term, opened.library.batcher) for term in request.terms]
        missing = _missing(request, media, opened.library)
        if not missing:
            why = f"it has all that collection {collection.name!r} holds"
            return Report(completions=(), abstained=False, reason=why)
        completer = self._completer(opened, request.method, request.generator)
        if request.item is not None:
            return completer.complete_item(request.item, missing, request.method, request.k)
        return completer.complete_media(media, missing, request.method, request.k)

    def _complete_all(
        self,
        missing: Sequence[Modality] | None,
        method: Method,
        generator: str | None,
        progress: Progress | None,
        stop: threading.Event | None,
        collection: Collection,
    ) -> BatchReport:
        completer = self._completer(self._libraries.of(collection), method, generator)
        return completer.complete_all(missing, method=method, progress=progress, stop=stop)

    # What was said before

    def _recalled(self, request: AskRequest) -> AskRequest:
        if request.session is None:
            return request
        return replace(request, history=self.sessions.history(request.session, request.collection))

    def _finished(self, request: AskRequest, made: Answer, checked: bool) -> Answer:
        made = supported(made) if checked else made
        media, notes = bounded(made.media)
        made = replace(made, media=media, notes=(*made.notes, *notes))
        if request.session is not None:
            self.sessions.note(request, made)
        return made


def _ask(request: AskRequest, library: Library) -> Ask:
    return Ask(
        parts=tuple(_part(term, library.batcher) for term in request.terms),
        history=tuple(_message(turn, library) for turn in request.history),
        instructions=request.instructions,
        retrieval=request.retrieval,
        sampling=request.sampling,
        tools=request.tools,
        tool_choice=request.tool_choice,
    )


def _part(term: Term, batcher: Batcher) -> Media | ItemPart:
    return ItemPart(str(term.value)) if term.kind == "item" else _medium(term, batcher)


def _medium(term: Term, batcher: Batcher) -> Media:
    if term.kind in ("item", "vector") or term.weight != 1:
        raise InvalidQuery(
            f"{term.kind} with weight {term.weight:g} is no medium to ask with: give words, a "
            "picture, a sound or a film, without weights",
            param=term.kind,
        )
    return medium_of(term, batcher)


def _message(turn: Turn, library: Library) -> Message:
    """What was said before, as far as it is still there."""
    found = (_said(term, library) for term in turn.terms)
    parts = tuple(medium for medium in found if medium is not None)
    return Message(role=turn.role, parts=parts, calls=turn.calls, answers=turn.answers)


def _said(term: Term, library: Library) -> Media | None:
    if term.kind == "text":
        return Media(Modality.TEXT, str(term.value))  # answers may be longer than questions
    if term.kind != "item":
        return _medium(term, library.batcher)
    try:
        item = library.collection.item(str(term.value))
    except NotFound:
        return None
    return library.media_of(item, None, SIDE)


def _missing(
    request: CompleteRequest, media: Sequence[Media], library: Library
) -> tuple[Modality, ...]:
    """What was named, or all that it lacks of what the collection holds. Raises NotFound."""
    if request.missing is not None:
        return request.missing
    has = {medium.modality for medium in media}
    if request.item is not None:
        record = library.collection.item(request.item).record
        items, _ = library.collection.items(record=record, limit=MAX_ITEMS)
        has = {item.modality for item in items}
    return tuple(sorted(library.modalities - has))

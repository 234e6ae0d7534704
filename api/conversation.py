"""`crossbind chat`: a question a line, answers with their sources; commands begin with "/".

From a terminal lines are typed and edited, and Ctrl-C stops an answer; from a pipe they are read to
its end. It knows the service and what people read, and nothing of how an answer is made.
"""

from __future__ import annotations

import sys
import uuid
import webbrowser
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.text import Text

from api import aloud, told_answers
from api.arguments_ask import passages
from api.commands import print_json
from api.errors import OK, exit_code_of, to_json
from api.line_editing import typed
from api.made import written
from api.requests import Term
from api.requests_ask import AskRequest, Turn
from api.service import Service
from api.shapes import many, printable, short
from api.shapes_ask import answer_to_json, grounds_to_json
from embed.errors import BadInput, CrossbindError, NotFound
from embed.media.source import shown
from generation.types import Role
from index.metadata.filter_text import parse_filter
from rag.types import Answer

if TYPE_CHECKING:
    from api.terminal import Terminal

COMMANDS = {
    "image PATH": "the next question is about this picture",
    "audio PATH": "… about this sound",
    "video PATH": "… about this film",
    "item ID": "… about this item of the collection",
    "sources": "all that was looked at for the last answer",
    "open N": "open source [N] of the last answer",
    "filter EXPR": "what must be true of evidence; without EXPR, nothing",
    "k N": "passages at most",
    "collection NAME": "ask another collection, in a new conversation",
    "generator NAME": "who writes",
    "new": "begin a new conversation",
    "sessions": "earlier conversations",
    "help": "this list",
    "quit": "leave, as Ctrl-D does",
}
_DIGITS = 12  # of a session's id
_EXCERPT = 80  # characters of its first question


def run(request: AskRequest, service: Service, people: Terminal | None, out: Path) -> int:
    """Talks until there are no more lines. Returns OK, or what the last error stands for."""
    talk = Conversation(request, service, people, out)
    by_hand = people is not None and sys.stdin.isatty()
    talk.greet()
    for line in typed(talk.prompt, talk.choices) if by_hand else sys.stdin:
        if people and not by_hand:
            people.note(f"> {printable(line)}")
        try:
            if not talk.hear(line):
                break
        except CrossbindError as error:
            talk.failed(error)
        except KeyboardInterrupt:
            if not by_hand:
                raise
            talk.note("stopped")
    talk.part()
    return OK if by_hand else talk.code


class Conversation:
    """What is asked next, and what was answered last. code: of the last error. out: the folder
    for media that answers hold."""

    def __init__(
        self, request: AskRequest, service: Service, people: Terminal | None, out: Path
    ) -> None:
        self.code = OK
        self._out = out
        self._service = service
        self._people = people
        self._request = request
        self._attached: tuple[Term, ...] = ()
        self._last: Answer | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            **{kind: partial(self._attach, kind) for kind in ("image", "audio", "video", "item")},
            "sources": self._sources,
            "open": self._open,
            "filter": self._filter,
            "k": self._k,
            "collection": self._collection,
            "generator": self._generator,
            "new": self._new,
            "sessions": self._sessions,
            "help": self._help,
        }
        if request.session is None:
            self._begin(request.collection)

    def greet(self) -> None:
        """Who is asked. Raises NotFound for an unknown collection."""
        summary = self._service.collection(self._request.collection)
        counts = ", ".join(f"{n} {modality}" for modality, n in summary.counts.items())
        self.note(f"{summary.info.name}: {counts or 'empty'}; /help has commands, Ctrl-D leaves")
        if self._request.session:
            with suppress(NotFound):  # it begins now
                kept, _ = self._service.asking.sessions.get(self._request.session)
                began = short(printable(kept.question or ""), _EXCERPT)
                self.note(f"going on after {many(kept.turns, 'turn')}; it began with: {began}")

    def part(self) -> None:
        """How to go on another time."""
        if self._last and self._request.session:
            named = f"--collection {self._request.collection} --session {self._request.session}"
            self.note(f"to go on with this: crossbind chat {named}")

    @property
    def choices(self) -> list[str]:
        """Commands."""
        return [f"/{name}" for name in (*self._commands, "quit")]

    def prompt(self) -> str:
        """With what the next question is about."""
        return " ".join([*map(_name, self._attached), "> "])

    def hear(self, line: str) -> bool:
        """Does what a line says; False when that is to leave."""
        line = line.strip()
        if line.startswith("/"):
            name, _, rest = line[1:].partition(" ")
            if name == "quit":
                return False
            self._command(name)(rest.strip())
        elif line:
            self._ask(line)
        return True

    def failed(self, error: CrossbindError) -> None:
        """Tells it; the conversation goes on."""
        self.code = exit_code_of(error)
        if self._people:
            self._people.err.print(Text(f"crossbind: {error.message}"), soft_wrap=True)
        else:
            print_json(to_json(error))

    def note(self, text: str) -> None:
        """For people."""
        if self._people:
            self._people.note(text)

    def _ask(self, words: str) -> None:
        terms = (*self._attached, Term(kind="text", value=words))
        request = replace(self._request, terms=terms)
        if self._people:
            answer = aloud.answer(request, self._service, self._people, self._out)
        else:
            answer = self._service.asking.answer(request)
            files = written(answer.media, self._out)
            print_json(answer_to_json(answer, [file.to_json() for file in files]))
        self._attached, self._last = (), answer
        if request.session is None:
            asked = Turn(role=Role.USER, terms=terms)
            answered = Turn(role=Role.ASSISTANT, terms=(Term(kind="text", value=answer.text),))
            self._request = replace(self._request, history=(*request.history, asked, answered))

    # Commands

    def _command(self, name: str) -> Callable[[str], None]:
        try:
            return self._commands[name]
        except KeyError:
            choices = ", ".join(self.choices)
            raise BadInput(f"there is no /{name}; the choices are: {choices}") from None

    def _attach(self, kind: Literal["image", "audio", "video", "item"], rest: str) -> None:
        value: str | Path = rest
        if kind == "item":
            self._service.item(self._request.collection, rest)
        else:
            value = Path(rest.strip("'\"")).expanduser()
            if not value.is_file():
                raise NotFound(f"{rest!r} is no file; /{kind} wants the path of one")
        self._attached = (*self._attached, Term(kind=kind, value=value))
        self.note(f"the next question is about {_name(self._attached[-1])}")

    def _sources(self, _: str) -> None:
        answer = self._answered()
        if self._people:
            told_answers.sources(self._people, answer, aloud.look_of(self._service), every=True)
        else:
            print_json({"evidence": grounds_to_json(answer)["evidence"]})

    def _open(self, rest: str) -> None:
        evidence = self._answered().evidence
        hit = next((one.hit for one in evidence if str(one.number) == rest), None)
        if hit is None:
            raise NotFound(f"there is no source {rest!r}; the last answer has 1 to {len(evidence)}")
        path = self._service.media(hit.collection, hit.item.id).path
        self.note(shown(path))
        if self._people:
            webbrowser.open(path.as_uri())

    def _filter(self, rest: str) -> None:
        self._look(filter=parse_filter(rest) if rest else None)
        self.note(f"evidence: only what is {rest}" if rest else "evidence: all")

    def _k(self, rest: str) -> None:
        try:
            self._look(k=passages(rest))
        except ArgumentTypeError as error:
            raise BadInput(f"/k: {error}") from None
        self.note(f"{rest} passages at most")

    def _look(self, **about: Any) -> None:
        retrieval = replace(self._request.retrieval, **about)
        self._request = replace(self._request, retrieval=retrieval)

    def _collection(self, rest: str) -> None:
        name = self._service.collection(rest).info.name
        self._begin(name)
        self.greet()

    def _generator(self, rest: str) -> None:
        name = self._service.asking.voices.generator(rest or None).name
        self._request = replace(self._request, generator=rest or None)
        self.note(f"{name} writes")

    def _new(self, _: str) -> None:
        self._begin(self._request.collection)
        self.note("what was said before is forgotten")

    def _begin(self, collection: str) -> None:
        """A library that is only read keeps no sessions: what was said stays here."""
        kept = not self._service.settings.read_only
        session = uuid.uuid4().hex[:_DIGITS] if kept else None
        self._request = replace(self._request, collection=collection, session=session, history=())
        self._attached, self._last = (), None

    def _sessions(self, _: str) -> None:
        found = self._service.asking.sessions.all()
        if self._people:
            told_answers.sessions(self._people, found)
        else:
            print_json({"sessions": [session.to_json() for session in found]})

    def _help(self, _: str) -> None:
        if self._people:
            told_answers.commands(self._people, COMMANDS)
        else:
            print_json({"commands": COMMANDS})

    def _answered(self) -> Answer:
        if self._last is None:
            raise NotFound("nothing was answered yet in this conversation")
        return self._last


def _name(term: Term) -> str:
    called = shown(term.value.name) if isinstance(term.value, Path) else str(term.value)
    return f"[{called}]"

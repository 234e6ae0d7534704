"""`crossbind chat`: lines in, answers out; what a line changes for the next; how it ends."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.cli import main
from api.line_editing import completion, typed
from api.requests_ask import AskRequest
from api.sessions import Session
from embed.errors import NotFound
from embed.types import Item, Modality
from index.types import Hit
from rag.types import Answer, Delta, Passage, Plan

PIECES = ("One word ", "after ", "another.")


def cat() -> Passage:
    item = Item(
        id="cat.png",
        record="r",
        modality=Modality.IMAGE,
        uri=None,
        digest="0" * 64,
        title="cat.png",
    )
    hit = Hit(
        item=item,
        fragment=1,
        span=None,
        score=None,
        probability=None,
        rank_score=1.0,
        collection="shelf",
        text=None,
    )
    return Passage(number=1, hit=hit, probability=0.9, text=None)


class Asking:
    """Answers all questions alike, and keeps them."""

    def __init__(self) -> None:
        self.asked: list[AskRequest] = []
        self.closed = 0
        self.interrupt = False
        self.voices = SimpleNamespace(generator=self._generator)
        kept = Session(
            id="s1", collection="shelf", created="2026", used="2026", turns=2, question="where?"
        )
        self.sessions = SimpleNamespace(all=lambda: [kept], get=partial(_only, kept))

    def _generator(self, name: str | None) -> Any:
        if name == "nobody":
            raise NotFound("no generator is called 'nobody'; the choices are: extractive")
        return SimpleNamespace(name=name or "extractive")

    def answer(self, request: AskRequest) -> Answer:
        self.asked.append(request)
        if any(term.value == "broken" for term in request.terms):
            raise NotFound("it is not there")
        return Answer(
            text="".join(PIECES),
            sentences=(),
            citations=(),
            evidence=(cat(),),
            completions=(),
            abstained=False,
            reason=None,
            confidence=0.9,
            plan=Plan(question="", queries=()),
            route=frozenset(),
            generator="extractive",
            timings_ms={},
        )

    def stream(self, request: AskRequest) -> Iterator[Delta | Answer]:
        made = self.answer(request)
        try:
            for piece in PIECES:
                yield Delta(text=piece)
                if self.interrupt:
                    raise KeyboardInterrupt
            yield made
        finally:
            self.closed += 1


def _only(kept: Session, session_id: str) -> tuple[Session, list[Any]]:
    if session_id != kept.id:
        raise NotFound(f"there is no session {session_id!r}")
    return kept, []


class Keyboard(io.StringIO):
    """A standard input that somebody types at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def asking() -> Asking:
    return Asking()


@pytest.fixture
def chat(
    service: Any, asking: Asking, red: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Talks through a pipe; without lines, by hand."""
    service.asking, service.close = asking, lambda: None
    service.create_collection("shelf")
    service.create_collection("other")
    service.shelves["shelf"] = {"cat.png": cat().hit.item}
    service.data["cat.png"] = red

    def run(*lines: str, flags: tuple[str, ...] = ()) -> int:
        piped = io.StringIO("".join(f"{line}\n" for line in lines))
        monkeypatch.setattr(sys, "stdin", piped if lines else Keyboard())
        words = ["--home", str(tmp_path), "chat", "--collection", "shelf", *flags]
        return main(words, make_service=lambda settings: service)

    return run


Printed = pytest.CaptureFixture[str]


def test_a_question_a_line_and_all_of_one_session(
    chat: Callable[..., int], asking: Asking, capsys: Printed
) -> None:
    assert chat("where is the cat?", "", "  and now?  ") == 0
    first, second = asking.asked
    assert [first.terms[0].value, second.terms[0].value] == ["where is the cat?", "and now?"]
    assert first.session
    assert first.session == second.session
    out = capsys.readouterr().out
    assert out.startswith("shelf: 1 image; /help has commands")
    assert out.count("One word after another.") == 2
    assert f"crossbind chat --collection shelf --session {first.session}" in out


def test_json_is_a_document_a_line_errors_included(
    chat: Callable[..., int], capsys: Printed
) -> None:
    assert chat("one", "broken", "/nonsense", "two", flags=("--json",)) == 4
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["answer" in one for one in said] == [True, False, False, True]
    assert said[1]["error"]["code"] == "not_found"
    assert "/image, /audio" in said[2]["error"]["message"]


def test_what_a_command_changes_holds_for_the_next_questions(
    chat: Callable[..., int], asking: Asking
) -> None:
    lines = ["/filter year >= 2020", "/k 3", "/generator g", "one", "/filter", "/new", "two"]
    assert chat(*lines, "/collection other", "three") == 0
    one, two, three = asking.asked
    assert (one.retrieval.k, one.retrieval.filter is None, one.generator) == (3, False, "g")
    assert (two.retrieval.k, two.retrieval.filter) == (3, None)
    assert [one.collection, two.collection, three.collection] == ["shelf", "shelf", "other"]
    assert len({one.session, two.session, three.session}) == 3


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/filter year >", "year >"),
        ("/k many", "'many' is not a whole number between 1 and 100"),
        ("/collection gone", "'gone'"),
        ("/generator nobody", "the choices are: extractive"),
        ("/image gone.png", "'gone.png' is no file"),
        ("/item gone", "'gone'"),
        ("/sources", "nothing was answered yet"),
        ("/open 1", "nothing was answered yet"),
        ("/qiut", "the choices are: /image,"),
    ],
)
def test_a_wrong_command_is_told_and_changes_nothing(
    line: str, told: str, chat: Callable[..., int], asking: Asking, capsys: Printed
) -> None:
    assert chat(line, "one") in (3, 4)
    assert told in capsys.readouterr().err
    assert asking.asked[0].generator is None
    assert asking.asked[0].retrieval.k == 8
    assert [term.value for term in asking.asked[0].terms] == ["one"]


def test_a_picture_belongs_to_the_next_question_alone(
    chat: Callable[..., int], asking: Asking, tmp_path: Path, red: bytes
) -> None:
    picture = tmp_path / "a red one.png"
    picture.write_bytes(red)
    assert chat(f"/image '{picture}'", "/item cat.png", "what is it?", "and now?") == 0
    first, second = ([(t.kind, t.value) for t in one.terms] for one in asking.asked)
    assert first == [("image", picture), ("item", "cat.png"), ("text", "what is it?")]
    assert second == [("text", "and now?")]


def test_sources_are_listed_and_opened(
    chat: Callable[..., int], capsys: Printed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert chat("where?", "/sources", "/open 1", "/sessions", "/help", "/quit", "never") == 0
    out = capsys.readouterr().out
    assert "90.0%" in out
    assert opened == [(tmp_path / ("0" * 64)).as_uri()]
    assert "where?" in out[out.index("began with") :]
    assert "/filter EXPR" in out
    assert "never" not in out
    assert chat("where?", "/open 2") == 3
    assert "there is no source '2'" in capsys.readouterr().err


def test_an_earlier_conversation_goes_on(
    chat: Callable[..., int], asking: Asking, capsys: Printed
) -> None:
    assert chat("one", "/new", "two", flags=("--session", "s1")) == 0
    assert "going on after 2 turns; it began with: where?" in capsys.readouterr().out
    assert asking.asked[0].session == "s1" != asking.asked[1].session


def test_a_library_that_is_only_read_keeps_no_session(
    chat: Callable[..., int], asking: Asking, service: Any
) -> None:
    service.settings = replace(service.settings, read_only=True)
    assert chat("one", "two", "/new", "three") == 0
    one, two, three = asking.asked
    assert (one.session, one.history, three.history) == (None, (), ())
    assert [(t.role.value, t.terms[0].value) for t in two.history] == [
        ("user", "one"),
        ("assistant", "".join(PIECES)),
    ]


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lines as from a keyboard; an exception among them is raised there."""

    def type_(*lines: str | type[BaseException]) -> None:
        waiting = iter([*lines, EOFError])

        def read(_: str) -> str:
            line = next(waiting)
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr("builtins.input", read)

    return type_


def test_lines_are_typed_until_the_end(by_hand: Callable[..., None], capsys: Printed) -> None:
    by_hand("one", KeyboardInterrupt, "two")
    assert list(typed(lambda: "> ", [])) == ["one", "two"]
    assert "Ctrl-D leaves" in capsys.readouterr().out


def test_ctrl_c_stops_an_answer_and_not_the_conversation(
    chat: Callable[..., int],
    by_hand: Callable[..., None],
    asking: Asking,
    capsys: Printed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    asking.interrupt = True
    by_hand("one", "two", "/nonsense")
    assert chat() == 0
    out = capsys.readouterr().out
    assert out.count("stopped") == 2
    assert asking.closed == 2
    assert "another." not in out


def test_tab_completes_commands_and_files(tmp_path: Path) -> None:
    (tmp_path / "a red one.png").touch()
    (tmp_path / "a reel").mkdir()
    commands = ["/image", "/item", "/k"]

    def choices(line: str) -> list[str]:
        found = (completion(commands, line, number) for number in range(9))
        return [one for one in found if one is not None]

    assert choices("/i") == ["/image", "/item"]
    assert choices("what") == []
    assert choices(f"/image {tmp_path}/a re") == [
        f"/image {tmp_path}/a red one.png",
        f"/image {tmp_path}/a reel/",
    ]
    assert choices(f"/image {tmp_path}/gone/") == []

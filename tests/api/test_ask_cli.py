"""`ask` and `complete` on the command line: what is asked of the service, and what people read."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len

from api import arguments_ask, requests_ask, told_answers
from api.cli import main
from api.requests_ask import AskRequest, CompleteRequest
from api.terminal import Terminal
from api.thumbnails import thumbnail
from embed.types import CharSpan, Item, Modality, TimeSpan
from index.types import Completion, Hit, Source
from rag.complete import BatchReport, Report
from rag.types import Answer, Citation, Delta, Passage, Plan, Sentence, SubQuery

ESCAPE = "\x1b[31m"
SILL = "Our cat has one rule. The window sill is hers until noon."


def item(name: str, modality: Modality, **about: Any) -> Item:
    return Item(
        id=name,
        record=f"r-{name}",
        modality=modality,
        uri=None,
        digest="0" * 64,
        title=name,
        **about,
    )


def passage(number: int, found: Item, **about: Any) -> Passage:
    hit = Hit(
        item=found,
        fragment=number,
        span=about.pop("span", None),
        score=0.5,
        probability=0.5,
        rank_score=0.5,
        collection="shelf",
        text=found.text,
    )
    return Passage(number=number, hit=hit, probability=0.83, text=found.text, **about)


SOURCES = (
    passage(1, item("sill.txt", Modality.TEXT, text=SILL)),
    passage(2, item("cat.png", Modality.IMAGE)),
    passage(3, item(f"purr{ESCAPE}.wav", Modality.AUDIO), span=TimeSpan(2, 9)),
)
LENT = Completion(
    record="r-cat.png",
    modality=Modality.TEXT,
    value="a cat that sleeps",
    vector=None,
    origin="retrieved",
    sources=(Source("sill.txt", "r-sill.txt", 0.9),),
    p=0.71,
    method="best",
)
PLAN = Plan(
    question="where does the cat sleep?",
    queries=(SubQuery(words="cat sleep", why="as asked", modalities=frozenset({Modality.TEXT})),),
    notes=("names no modality",),
)


def answer(text: str = "The window sill is hers until noon [1]. ", **about: Any) -> Answer:
    sentence = Sentence(text=text, start=0, end=len(text), cites=(1,), supported=True)
    span = CharSpan(SILL.index("The"), len(SILL))
    known: dict[str, Any] = {
        "sentences": (sentence,),
        "citations": (Citation(0, 1, "sill.txt", "r-sill.txt", span),),
        "evidence": SOURCES,
        "completions": (LENT,),
        "abstained": False,
        "reason": None,
        "confidence": 0.9,
        "plan": PLAN,
        "route": frozenset({Modality.TEXT}),
        "generator": "extractive",
        "timings_ms": {"retrieve": 3.0, "total": 4.5},
    }
    return Answer(text=text, **{**known, **about})


def abstained() -> Answer:
    reason = "nothing here is about tigers"
    return answer(reason, sentences=(), citations=(), completions=(), abstained=True, reason=reason)


class Asking:
    """Answers all questions alike, and keeps them."""

    def __init__(self, made: Answer, pieces: Sequence[str] = ()) -> None:
        self.made = made
        self.pieces = pieces or re.split(r"(?<= )", made.text)
        self.asked: list[Any] = []
        self.closed = 0
        self.between: Callable[[], None] = lambda: None

    def answer(self, request: AskRequest) -> Answer:
        self.asked.append(request)
        return self.made

    def stream(self, request: AskRequest) -> Iterator[Delta | Answer]:
        self.asked.append(request)
        try:
            for piece in self.pieces:
                yield Delta(text=piece)
                self.between()
            yield self.made
        finally:
            self.closed += 1

    def complete_all(
        self, collection: str, missing: Any, *, progress: Callable[[int, int], None], **about: Any
    ) -> BatchReport:
        self.asked.append((collection, missing, about))
        for done in range(0, 51, 25):
            progress(done, 50)
        return BatchReport(records=50, completed=40, abstained=8, fresh=3, nothing=2)

    def complete(self, request: CompleteRequest) -> Report:
        self.asked.append(request)
        return Report(completions=(LENT,), abstained=False, reason=None, fitted=False)


@pytest.fixture
def asking() -> Asking:
    return Asking(answer())


@pytest.fixture
def crossbind(
    service: Any, asking: Asking, red: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    service.asking, service.close = asking, lambda: None
    service.create_collection("shelf")
    service.shelves["shelf"] = {one.hit.item.id: one.hit.item for one in SOURCES}
    service.data["cat.png"] = red
    monkeypatch.setenv("COLUMNS", "100")
    words = ["--home", str(tmp_path)]
    return lambda *more: main([*words, *more], make_service=lambda settings: service)


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


Printed = pytest.CaptureFixture[str]


def test_every_flag_reaches_the_question(
    crossbind: Callable[..., int], asking: Asking, capsys: Printed
) -> None:
    flags = "--image a.png --item x --audio b.wav --collection shelf -k 3 --modality image,text"
    more = [
        "--min-probability",
        "0.4",
        "--no-complete",
        "--generator",
        "g",
        "--seed",
        "7",
        "--session",
        "s",
    ]
    words = ["ask", "what", "is this?", *flags.split(), *more, "--filter", "year >= 2020", "--json"]
    assert crossbind(*words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["answer"] == asking.made.text
    assert [hit["number"] for hit in document["evidence"]] == [1, 2, 3]
    [request] = asking.asked
    terms = [(term.kind, str(term.value)) for term in request.terms]
    assert terms == [
        *[("text", "what is this?"), ("image", "a.png"), ("item", "x"), ("audio", "b.wav")]
    ]
    looked = request.retrieval
    assert (looked.k, looked.modalities) == (3, {Modality.IMAGE, Modality.TEXT})
    assert (looked.min_probability, looked.complete, looked.filter is None) == (0.4, False, False)
    assert (request.generator, request.sampling.seed, request.session) == ("g", 7, "s")


def test_an_answer_comes_with_what_it_rests_on(
    crossbind: Callable[..., int], capsys: Printed
) -> None:
    assert crossbind("ask", "where does the cat sleep?") == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "The window sill is hers until noon [1]."
    [source] = [line for line in lines[1:] if line.startswith("[1]")]
    assert "83.0%" in source
    assert "¶ text" in source
    assert "sill.txt" in source
    assert "“The window sill is hers until noon.”" in out  # the sentence, not all of the passage
    assert "one rule" not in out
    assert "[2] lacks the words; supposed: “a cat that sleeps”, borrowed from [1], p 0.71" in out
    assert "2 others looked at, not cited" in out
    assert "purr" not in out
    assert "cat sleep" not in out


def test_verbose_tells_all_that_was_looked_at_and_how(
    crossbind: Callable[..., int], capsys: Printed
) -> None:
    assert crossbind("ask", "where?", "--verbose") == 0
    out = capsys.readouterr().out
    assert "0:02-0:09" in out
    assert "understood as: where does the cat sleep?" in out
    assert "looked for “cat sleep” among text: as asked" in out
    assert "names no modality" in out
    assert "4.5 ms (retrieve 3.0; extractive, confidence 0.90)" in out
    assert ESCAPE not in out  # of a title


def test_no_answer_is_an_answer_too(
    crossbind: Callable[..., int], asking: Asking, capsys: Printed
) -> None:
    asking.made = abstained()
    assert crossbind("ask", "is there a tiger?") == 0
    out = capsys.readouterr().out
    assert out.count("nothing here is about tigers") == 1
    assert out.index("nearest") < out.index("[1]") < out.index("[3]")


def test_what_nothing_supports_is_said_to_be_so(
    crossbind: Callable[..., int], asking: Asking, capsys: Printed
) -> None:
    doubtful = Sentence(
        text="It is a tiger.", start=0, end=14, supported=False, reason="cites none"
    )
    asking.made = answer("It is a tiger.", sentences=(doubtful,), citations=())
    assert crossbind("ask", "what is it?") == 0
    assert "not supported: It is a tiger. (cites none)" in capsys.readouterr().out


@pytest.mark.usefixtures("on_a_terminal")
def test_words_come_as_they_are_made_and_pictures_with_them(
    crossbind: Callable[..., int], asking: Asking, capsys: Printed
) -> None:
    seen = []
    asking.between = lambda: seen.append(capsys.readouterr().out)
    asking.made = answer(citations=(Citation(0, 2, "cat.png", "r-cat.png", None),))
    assert crossbind("ask", "where?") == 0
    assert "The" in "".join(seen[:3])
    assert "sill" in "".join(seen[:5])
    assert re.search(r"38;2;20\d;30;30;48;2;20\d;30;30m▀", capsys.readouterr().out)


@pytest.mark.usefixtures("on_a_terminal")
def test_ctrl_c_ends_the_work(crossbind: Callable[..., int], asking: Asking) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    asking.between = stop
    assert crossbind("ask", "where?") == 130
    assert asking.closed == 1


@drawn(
    st.lists(st.text("ab [1],界\n\x1b", max_size=30), max_size=12),
    st.integers(min_value=20, max_value=60),
)
def test_words_are_never_broken_and_nothing_is_lost(pieces: list[str], width: int) -> None:
    people = Terminal()
    written = io.StringIO()
    people.out.file, people.out.width = written, width
    words = told_answers.Words(people)
    for piece in pieces:
        words(piece)
    words.end()
    out = written.getvalue()
    said = "".join(pieces)
    assert out.split() == said.replace("\x1b", "�").split()
    assert out.count("\n") >= said.strip().count("\n")
    for line in out.splitlines():
        assert len(line.split()) <= 1 or cell_len(line) <= width


@pytest.mark.parametrize(
    "words",
    [
        ["ask"],
        ["ask", " "],
        ["ask", "x", "--modality", "smell"],
        ["ask", "x", "-k", "0"],
        ["ask", "x", "--min-probability", "2"],
        ["complete"],
        ["complete", "x", "--all"],
        ["complete", "--all", "-k", "5"],
        ["complete", "x", "--text", "words"],
        ["complete", "x", "--missing", "smell"],
        ["complete", "x", "--method", "worst"],
    ],
    ids=" ".join,
)
def test_usage_errors(words: list[str], crossbind: Callable[..., int], capsys: Printed) -> None:
    assert crossbind(*words) == 2
    assert capsys.readouterr().out == ""


def test_completions_of_an_item_and_of_media(
    crossbind: Callable[..., int], asking: Asking, capsys: Printed
) -> None:
    assert crossbind("complete", "cat.png", "--missing", "audio,text", "--collection", "shelf") == 0
    out = capsys.readouterr().out
    assert "71.0%" in out
    assert "“a cat that sleeps”" in out
    assert "best of sill.txt (90%)" in out
    assert "too few pairs" in out
    words = ["--text", "a cat", "--audio", "purr.wav", "--method", "mean", "-k", "5", "--json"]
    assert crossbind("complete", *words) == 0
    [lent] = json.loads(capsys.readouterr().out)["completions"]
    assert (lent["record"], lent["p"], lent["sources"][0]["item"]) == (
        "r-cat.png",
        0.71,
        "sill.txt",
    )
    first, second = asking.asked
    assert (first.item, first.missing) == ("cat.png", (Modality.TEXT, Modality.AUDIO))
    assert [(t.kind, str(t.value)) for t in second.terms] == [
        ("text", "a cat"),
        ("audio", "purr.wav"),
    ]
    assert (second.missing, second.method, second.k) == (None, "mean", 5)


def test_a_whole_collection_is_completed(
    crossbind: Callable[..., int], asking: Asking, capsys: Printed
) -> None:
    words = ["complete", "--all", "--collection", "shelf", "--method", "mean"]
    assert crossbind(*words) == 0
    out = capsys.readouterr().out
    assert "50 records lacked something: 40 completed, 8 too uncertain, 2 without anything" in out
    assert "3 looked at before" in out
    assert crossbind(*words, "--missing", "text", "--json", "--json-progress") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["fresh"] == 3
    steps = [json.loads(line)["progress"]["done"] for line in printed.err.splitlines()]
    assert (steps[0], steps[-1]) == (0, 50)
    how = {"method": "mean", "generator": None}
    assert asking.asked == [("shelf", None, how), ("shelf", (Modality.TEXT,), how)]


def test_the_limits_of_flags_are_those_of_requests() -> None:
    assert arguments_ask.MOST_PASSAGES == requests_ask.MAX_PASSAGES
    assert arguments_ask.MOST_SOURCES == requests_ask.MAX_SOURCES
    assert set(arguments_ask.METHODS) == set(get_args(requests_ask.Method))
    assert CompleteRequest().k == arguments_ask.NEIGHBOURS


def test_a_thumbnail_is_the_picture() -> None:
    picture = Image.new("RGB", (90, 70), (200, 0, 0))
    picture.paste((0, 0, 200), (0, 35, 90, 70))
    data = io.BytesIO()
    picture.save(data, "PNG")
    rows = thumbnail(data.getvalue(), 9, 4).split("\n")
    assert [row.plain for row in rows] == ["▀" * 9] * 4  # 7 rows of pixels: the last stands twice
    first, last = rows[0].spans[0].style, rows[-1].spans[0].style
    assert first.color.triplet == first.bgcolor.triplet == (200, 0, 0)  # type: ignore[union-attr]
    assert last.color.triplet == last.bgcolor.triplet == (0, 0, 200)  # type: ignore[union-attr]


def test_from_a_question_to_evidence_that_can_be_opened(
    tinted: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole house, with the generator that needs no model."""
    flags = ["--home", str(tinted), "--json"]

    def documents(*words: str) -> list[Any]:
        capsys.readouterr()
        assert main([*flags, *words]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    [made] = documents("ask", "which tint is of 120 degrees?")
    assert not made["abstained"]
    assert "120 degrees" in made["answer"]
    cited = {hit["number"]: hit for hit in made["evidence"]}[made["citations"][0]["number"]]
    assert cited["id"] == made["citations"][0]["item"]
    assert "tints/120." in cited["uri"]

    picture = tinted.parent / "tints" / "240.png"
    [lent] = documents("complete", "--image", str(picture), "--missing", "text")
    assert lent["completions"][0]["value"] == "a tint of 240 degrees"
    [done] = documents("complete", "--all")
    assert done["records"] == 0  # each picture has its words beside it

    monkeypatch.setattr("sys.stdin", io.StringIO("which tint is of 60 degrees?\n/sessions\n"))
    first, kept = documents("chat", "--session", "s1")
    assert "60 degrees" in first["answer"]
    assert [(one["id"], one["turns"]) for one in kept["sessions"]] == [("s1", 2)]

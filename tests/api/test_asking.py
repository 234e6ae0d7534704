"""What is put together for a question: once for all, anew where it must be, closed at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api import voices
from api.asking import Asking
from api.config import Settings, load_settings
from api.requests import Term
from api.requests_ask import AskRequest, Turn
from api.service import Service
from embed.batcher import Batcher, Embedded
from embed.calibration import Calibration, Curve, Fit
from embed.errors import BadInput, InvalidQuery, NotFound
from embed.types import Media, Modality
from generation.types import Chunk, Prompt, Role, Taste
from rag import pipeline
from rag.confidence import Confidence
from rag.library import Asked, Library
from rag.types import Answer, Ask, Delta, Retrieval

WORDS = (Term(kind="text", value="a tint of 120 degrees"),)


class Parrot:
    """Says three words, and notes what it was told."""

    name = "parrot"
    inputs = frozenset({Modality.TEXT})
    outputs = frozenset({Modality.TEXT})
    taste = Taste(context=4096)

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.left = self.closed = False

    def count_tokens(self, text: str) -> int:
        return len(text)

    def generate(self, prompt: Prompt) -> Iterator[Chunk]:
        self.prompts.append(prompt)
        try:
            yield from (Chunk(text=word) for word in ("one ", "two ", "three. "))
            yield Chunk(finish="stop")
        finally:
            self.left = True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def parrots(monkeypatch: pytest.MonkeyPatch) -> list[Parrot]:
    """All that were opened."""
    opened: list[Parrot] = []

    def open_parrot(name: str, options: Any) -> Parrot:
        time.sleep(0.02)  # so that others come while it is made
        opened.append(Parrot())
        return opened[-1]

    monkeypatch.setattr(voices, "open_generator", open_parrot)
    return opened


@pytest.fixture
def service(tinted: Path, tmp_path: Path, parrots: list[Parrot]) -> Iterator[Service]:
    settings = Settings(home=tinted, cache=tmp_path / "cache", threads=1, generator="parrot")
    service = Service(settings)
    yield service
    service.close()


@pytest.fixture
def asking(service: Service) -> Asking:
    return service.asking


def test_a_generator_is_opened_once_and_closed_with_the_service(
    service: Service, asking: Asking, parrots: list[Parrot]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: asking.answer(AskRequest(terms=WORDS)), range(8)))
    [parrot] = parrots
    assert {answer.generator for answer in made} == {"parrot"}
    assert len(parrot.prompts) == 8
    service.close()
    assert parrot.closed


def test_a_curve_of_answers_is_heeded_but_by_whoever_wants_every_answer(
    service: Service, asking: Asking
) -> None:
    request = AskRequest(terms=WORDS)
    raw = asking.answer(request).confidence
    learnt = Confidence(
        space_id=service.collection("default").info.space.id,
        generator="parrot",
        fit=Fit(curve=Curve(1.0, -1.0), count=60, positives=30),
    )
    kept = asking.confidences.keep("default", learnt)
    try:
        assert 0 < asking.answer(request).confidence == learnt(raw) < raw
        every = replace(request, retrieval=Retrieval(min_probability=0.0))
        assert asking.answer(every).confidence == raw
    finally:
        kept.unlink()


def test_words_come_before_the_answer_and_who_leaves_is_not_remembered(
    asking: Asking, parrots: list[Parrot]
) -> None:
    request = AskRequest(terms=WORDS, session="s1")
    pieces = asking.stream(request)
    assert isinstance(next(pieces), Delta)
    assert asking.sessions.history("s1", "default") == ()
    pieces.close()
    assert parrots[0].left
    assert asking.sessions.all() == []
    *_, answer = asking.stream(request)
    assert isinstance(answer, Answer)
    assert answer.text.strip() == "one two three."
    assert [turn.role for turn in asking.sessions.history("s1", "default")] == [
        *(Role.USER, Role.ASSISTANT)
    ]


def test_whoever_waits_for_the_whole_reads_nothing_unsupported(asking: Asking) -> None:
    whole = asking.answer(AskRequest(terms=WORDS))
    *_, streamed = asking.stream(AskRequest(terms=WORDS))
    assert isinstance(streamed, Answer)
    assert "three" in streamed.text
    assert "three" not in whole.text


def test_what_was_said_before_goes_along_as_far_as_it_is_there(
    service: Service, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    (picture,) = service.items("default", limit=1, modality=Modality.IMAGE)[0]
    seen: list[Ask] = []
    plain = pipeline.stream

    def stream(ask: Ask, *others: Any) -> Iterator[Delta | Answer]:
        seen.append(ask)
        return plain(ask, *others)

    monkeypatch.setattr(pipeline, "stream", stream)
    terms = (
        Term(kind="text", value="look"),
        Term(kind="item", value=picture.id),
        Term(kind="item", value="gone"),
    )
    asking.answer(AskRequest(terms=WORDS, history=(Turn(role=Role.USER, terms=terms),)))
    [message] = seen[0].history
    assert [part.modality for part in message.parts] == [Modality.TEXT, Modality.IMAGE]


def test_a_library_is_put_together_once_until_a_part_of_it_changes(
    service: Service, asking: Asking
) -> None:
    libraries, shelves = asking._libraries, asking._shelves
    first = libraries.of(shelves.open("default"))
    assert libraries.of(shelves.open("default")) is first
    space = first.library.collection.info.space
    libraries._calibrations.keep(Calibration(space.id, {}, {"of": "a test"}), space)
    calibrated = libraries.of(shelves.open("default"))
    assert calibrated is not first
    service.set_index("default", "auto")
    assert libraries.of(shelves.open("default")) is not calibrated


def test_a_collection_that_is_replaced_under_its_hands_is_asked_again(
    service: Service, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = pipeline.stream, threading.Semaphore(0)

    def stream(*journey: Any) -> Iterator[Delta | Answer]:
        calls.release()
        if service.collection("default").info.index != "auto":
            service.set_index("default", "auto")
            raise NotFound("it is gone")
        return plain(*journey)

    monkeypatch.setattr(pipeline, "stream", stream)
    assert asking.answer(AskRequest(terms=WORDS)).evidence
    assert calls.acquire(blocking=False)
    assert calls.acquire(blocking=False)


def test_what_is_shown_is_embedded_once_though_two_stages_ask(
    service: Service, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = next(service.settings.home.parent.glob("tints/*.png")).read_bytes()
    plain, embedded, stages = Batcher.submit, [], []

    def submit(batcher: Batcher, media: Media, *, block: bool = True) -> Future[Embedded]:
        embedded.append(media.modality)
        return plain(batcher, media, block=block)

    def embed(library: Library, media: Sequence[Media]) -> list[Asked]:
        stages.append([medium.modality for medium in media])
        return by_library(library, media)

    by_library = Library.embed
    monkeypatch.setattr(Batcher, "submit", submit)
    monkeypatch.setattr(Library, "embed", embed)
    request = AskRequest(terms=(Term(kind="image", value=picture),))
    for asked in (1, 2):
        assert asking.answer(request).evidence
        assert stages == [[Modality.IMAGE]] * 2 * asked  # the voices, and what it may be
        assert embedded == [Modality.IMAGE] * asked  # nothing is kept from question to question


def test_what_asks_nothing_is_refused(asking: Asking) -> None:
    weighted = replace(WORDS[0], weight=-1.0)
    for terms in ((), (weighted,), (Term(kind="text", value=" "),)):
        with pytest.raises(InvalidQuery):
            asking.answer(AskRequest(terms=terms))
    with pytest.raises(NotFound, match="no collection"):
        asking.answer(AskRequest(terms=WORDS, collection="nowhere"))


def test_settings_of_generators() -> None:
    plain = load_settings(Path("a"), {})
    assert (plain.generator, plain.generators, plain.reranker) == ("extractive", (), "builtin")
    environ = {
        "CROSSBIND_GENERATOR": "openai:small",
        "CROSSBIND_GENERATORS": "extractive, hf:a/b",
        "CROSSBIND_GENERATOR_URL": "http://127.0.0.1:9/v1",
        "CROSSBIND_GENERATOR_API_KEY": "secret",
        "CROSSBIND_RERANKER": "hf:c",
    }
    told = load_settings(Path("a"), environ)
    assert (told.generator, told.generators) == ("openai:small", ("extractive", "hf:a/b"))
    assert (told.generator_url, told.reranker) == ("http://127.0.0.1:9/v1", "hf:c")
    assert told.generator_api_key == "secret"
    assert "secret" not in repr(told)
    del environ["CROSSBIND_GENERATOR_URL"]
    with pytest.raises(BadInput, match="CROSSBIND_GENERATOR_URL"):
        load_settings(Path("a"), environ)

"""The journey as a whole: its order, what streams when, and what the answer tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.batcher import Batcher
from embed.registry import LoadOptions
from embed.types import Batching, Floats, Media, Modality, Space, Vectors, normalise
from generation.extractive import Extractive
from generation.types import Chunk, Message, Role, Sampling, Usage
from index.catalog import Catalog
from index.collection import Collection
from index.types import Entry, NewFragment
from rag import pipeline
from rag.complete import Completer
from rag.library import Library
from rag.pipeline import answer, stream
from rag.rerank import open_reranker
from rag.stages import Stages
from rag.types import Answer, Ask, Delta, ItemPart, Passage

RED = "a red disc at the top"
SAID = "The disc is red [1]. It is blue [1]. It is at the top [1]."


def asking(question: str, **fields: Any) -> Ask:
    return Ask(parts=(Media(Modality.TEXT, question),), **fields)


@pytest.fixture
def journey(
    monkeypatch: pytest.MonkeyPatch, plan_of: Any, shelf: Any
) -> Callable[..., Iterator[Delta | Answer]]:
    """The pipeline over these passages; `steps` notes what was called."""

    def begun(
        ask: Ask,
        passages: list[Passage],
        generator: Any,
        steps: list[str] | None = None,
        whole: bool = False,
        **plan: Any,
    ) -> Any:
        steps = [] if steps is None else steps

        class Completing:
            def recognise(self, ask: object, plan: object, found: list[Passage]) -> list[Passage]:
                return found

            def fill(self, found: list[Passage], takes: object) -> list[Passage]:
                steps.append("complete")
                return found

        def understand(ask: Ask, library: object) -> Any:
            steps.append("understand")
            return plan_of(ask.words, **plan)

        def retrieve(*_: object) -> list[Passage]:
            steps.append("retrieve")
            return passages

        monkeypatch.setattr(pipeline, "understand", understand)
        monkeypatch.setattr(pipeline, "retrieve", retrieve)
        run: Any = answer if whole else stream
        return run(ask, shelf(), generator, None, Completing())

    return begun


def test_words_pass_at_once_and_verdicts_come_last(
    journey: Any, passage_of: Any, scripted: Any
) -> None:
    steps: list[str] = []
    given = journey(asking("What colour is the disc?"), [passage_of(1, RED)], scripted(SAID), steps)
    first = next(given)
    assert first.text == "T"  # before its sentence has ended
    assert steps == ["understand", "retrieve", "complete"]
    *deltas, last = given
    assert first.text + "".join(delta.text for delta in deltas) == SAID == last.text
    assert [s.supported for s in last.sentences] == [True, False, True]
    assert [(c.sentence, c.number, c.item) for c in last.citations] == [
        (0, 1, "i1"),
        (1, 1, "i1"),
        (2, 1, "i1"),
    ]
    assert (last.abstained, last.reason, last.generator) == (False, None, "scripted")
    stages = ["understand", "retrieve", "complete", "context", "decide", "generate", "check"]
    assert set(last.timings_ms) == {*stages, "first_generate", "total"}


def test_all_at_once_what_nothing_supports_is_left_out(
    journey: Any, passage_of: Any, scripted: Any
) -> None:
    given = journey(asking("?"), [passage_of(1, RED)], scripted(SAID), whole=True)
    assert given.text == "The disc is red [1]. It is at the top [1]."
    assert [given.text[s.start : s.end] for s in given.sentences] == [
        "The disc is red [1].",
        "It is at the top [1].",
    ]
    assert [c.sentence for c in given.citations] == [0, 1]
    assert not given.abstained
    lists = "I found:\n- a blue disc [1].\n- a red disc [1]."
    given = journey(asking("?"), [passage_of(1, RED)], scripted(lists), whole=True)
    assert given.text == "I found:\n- a red disc [1]."


@pytest.mark.parametrize("said", ["It is blue [1].", "I found: It is blue [7]."])
def test_where_nothing_is_left_it_abstains(
    said: str, journey: Any, passage_of: Any, scripted: Any
) -> None:
    given = journey(asking("?"), [passage_of(1, RED)], scripted(said), whole=True)
    assert given.abstained
    assert given.text == given.reason
    assert given.citations == ()
    assert given.evidence


def test_it_abstains_before_anything_is_generated(
    journey: Any, passage_of: Any, scripted: Any
) -> None:
    generator = scripted(SAID)
    delta, last = journey(asking("A disc"), [passage_of(1, RED, p=0.1)], generator)
    assert generator.prompts == []
    assert delta.text == last.text == last.reason
    assert last.abstained
    assert last.confidence == pytest.approx(0.1)
    assert [p.number for p in last.evidence] == [1]
    assert all(s.supported and not s.claim for s in last.sentences)


def test_small_talk_is_answered_without_evidence(journey: Any, scripted: Any) -> None:
    given = journey(
        asking("hi"), [], scripted("Hello there. It is red."), small_talk=True, whole=True
    )
    assert given.text == "Hello there. It is red."
    assert not given.abstained


def test_it_goes_through_what_a_generator_adds(
    journey: Any, passage_of: Any, scripted: Any
) -> None:
    picture = Media(Modality.IMAGE, np.zeros((1, 1, 3), np.uint8))
    chunks = [
        Chunk(text="A red disc [1]."),
        Chunk(media=picture),
        Chunk(finish="length", usage=Usage(5, 6)),
    ]
    given = journey(asking("?"), [passage_of(1, RED)], scripted(chunks), whole=True)
    assert given.media == (picture,)
    assert (given.finish, given.usage) == ("length", (5, 6))


def test_closing_the_stream_ends_the_generator(
    journey: Any, passage_of: Any, scripted: Any
) -> None:
    generator = scripted(SAID)
    given = journey(asking("?"), [passage_of(1, RED)], generator)
    next(given)
    assert generator.closed == 0
    given.close()
    assert generator.closed == 1


def test_what_is_borrowed_is_told_with_the_answer(
    journey: Any, passage_of: Any, scripted: Any
) -> None:
    lent = passage_of(1, borrowed="a red disc", sources=[2])
    passages = [lent, passage_of(2, "a red disc", role="source", p=0.7)]
    ask = asking("What colour is the disc?")
    given = journey(ask, passages, Extractive(), whole=True)
    assert given.completions == lent.completions
    assert given.sentences[0].hedged
    assert given.sentences[0].cites == (1, 2)
    unhedged = journey(ask, passages, scripted("The disc is red [1][2]."), whole=True)
    assert unhedged.abstained


def test_stages_add_up() -> None:
    stages = Stages()
    with stages("a"), stages("b"):
        pass
    assert list(stages.each("c", iter("xy"))) == ["x", "y"]
    told = stages.timings_ms()
    assert list(told) == ["b", "a", "c", "first_c", "total"]


# Over the real rooms: a collection, searched by the tower below


SPACE = Space(name="words", revision="1", preprocessing="1", precision="fp32", dim=64)


class Words:
    """Texts by their words: each word is a direction, so those that share some are near."""

    space = SPACE
    modalities = frozenset({Modality.TEXT})
    batching = Batching()
    chunker = "whole"
    image_side = 1

    def fragment(self, media: Media) -> Iterator[tuple[None, Media]]:
        yield None, media

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def warm(self) -> None:
        pass

    def prepare(self, piece: Media) -> Floats:
        assert isinstance(piece.data, str)
        return vector(piece.data)

    def run(self, modality: Modality, batch: list[Floats]) -> Vectors:
        return Vectors(SPACE, np.stack(batch))

    def embed(self, batch: list[Media]) -> Vectors:
        return self.run(Modality.TEXT, [self.prepare(piece) for piece in batch])


def vector(text: str) -> Floats:
    rows = [
        np.random.default_rng(list(word.encode())).standard_normal(SPACE.dim)
        for word in text.lower().replace("?", "").split()
    ]
    return normalise(np.mean(rows, axis=0, keepdims=True))[0]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    catalog = Catalog(tmp_path / "catalog.db")
    info = catalog.create_collection("c", space=SPACE, chunker="whole")
    batcher = Batcher(Words())  # type: ignore[arg-type]
    collection = Collection(catalog, info)
    texts = {"disc": "a red disc at the top", "ring": "a blue ring on the right", "cat": "a cat"}
    collection.write(
        [
            Entry(
                modality=Modality.TEXT,
                digest=name,
                id=name,
                text=text,
                fragments=[NewFragment(None, vector(text))],
            )
            for name, text in texts.items()
        ]
    )
    yield Library(collection, batcher, None, lambda *_: None)
    batcher.close()
    collection.close()
    catalog.close()


@pytest.fixture
def ask(library: Library, tmp_path: Path) -> Callable[..., Answer]:
    options = LoadOptions(cache=tmp_path, threads=1, offline=True)
    reranker = open_reranker("builtin", options, library)
    return lambda *args, **kw: answer(
        asking(*args, **kw), library, Extractive(), reranker, Completer(library)
    )


def test_the_rooms_answer_together(ask: Callable[..., Answer]) -> None:
    given = ask("What colour is the disc at the top?")
    assert given.text == "Red: “a red disc at the top” [1]."
    assert [c.item for c in given.citations] == ["disc"]
    assert given.route == {Modality.TEXT}
    again = ask("What colour is the disc at the top?", sampling=Sampling(seed=1))
    assert (again.text, again.confidence) == (given.text, given.confidence)
    assert ask("What colour is the disc at the bottom?").abstained
    assert not ask("Hello!").abstained


def test_an_item_that_is_asked_with_is_evidence_of_itself(library: Library, tmp_path: Path) -> None:
    caption, picture = "a green cross on the left", vector("something else")
    library.collection.write(
        [
            Entry(
                modality=modality,
                digest=modality,
                id=f"cross-{modality}",
                record="cross",
                text=caption if modality is Modality.TEXT else None,
                fragments=[NewFragment(None, picture)],
            )
            for modality in (Modality.IMAGE, Modality.TEXT)
        ]
    )
    options = LoadOptions(cache=tmp_path, threads=1, offline=True)
    reranker = open_reranker("builtin", options, library)
    parts = (Media(Modality.TEXT, "What colour is this?"), ItemPart("cross-image"))
    given = answer(Ask(parts=parts), library, Extractive(), reranker, Completer(library))
    assert given.text == "Green: “a green cross on the left” [1]."
    assert given.citations[0].item == "cross-image"
    assert [p.number for p in given.evidence] == list(range(1, len(given.evidence) + 1))
    assert given.evidence[0].probability == given.confidence == 1
    assert [p.hit.item.record for p in given.evidence].count("cross") == 1


def test_a_later_question_takes_over_what_was_said(ask: Callable[..., Answer]) -> None:
    turns = (
        Message(role=Role.USER, parts=(Media(Modality.TEXT, "Where is the blue ring?"),)),
        Message(role=Role.ASSISTANT, parts=(Media(Modality.TEXT, "On the right [1]."),)),
    )
    given = ask("And what colour is it?", history=turns)
    assert given.text.startswith("Blue:")

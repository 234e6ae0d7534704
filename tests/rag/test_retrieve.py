"""From a plan to passages: everything sought at once, judged, and the best kept."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from embed.batcher import Batcher
from embed.calibration import Calibration, Curve, Fit, Pair
from embed.errors import InvalidQuery
from embed.training.scenes.tell import caption
from embed.training.scenes.world import Scenes
from embed.types import (
    Batching,
    CharSpan,
    Floats,
    Media,
    Modality,
    Origin,
    Space,
    Vectors,
    normalise,
)
from index.catalog import Catalog
from index.collection import Collection
from index.metadata.filters import Op, Predicate
from index.types import Entry, NewFragment
from rag.evaluate.world import questions, truth
from rag.library import Library
from rag.rerank import Builtin
from rag.retrieve import retrieve
from rag.seeking.expand import BUDGET, widened
from rag.stages import Stages
from rag.types import Ask, ItemPart, Passage, Retrieval
from rag.understand import understand

TEXT, IMAGE, AUDIO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO
SPACE = Space(name="bags", revision="1", preprocessing="1", precision="fp32", dim=256)


class Bags:
    """Texts by their words; pictures are arrays of text, seen by their words in both spaces."""

    space = SPACE
    modalities = frozenset({TEXT, IMAGE, AUDIO})
    batching = Batching()
    chunker = "whole"
    image_side = 1

    def fragment(self, media: Media) -> Iterator[tuple[None, Media]]:
        yield None, media

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def warm(self) -> None: ...

    def prepare(self, piece: Media) -> str:
        return str(piece.data)

    def run(self, modality: Modality, batch: Sequence[str]) -> Vectors:
        joint = np.stack([bag(text) for text in batch])
        return Vectors(SPACE, joint, joint[:, ::-1].copy() if modality is IMAGE else None)

    def embed(self, batch: Sequence[Media]) -> Vectors:
        return self.run(batch[0].modality, [self.prepare(piece) for piece in batch])


def bag(text: str) -> Floats:
    rows = [
        np.random.default_rng(zlib.crc32(word.encode())).standard_normal(SPACE.dim)
        for word in text.lower().replace(",", " ").replace(".", " ").split()
    ]
    return normalise(np.sum(rows, axis=0)[None])[0]


def picture(text: str) -> Media:
    return Media(IMAGE, np.array(text))


class House:
    """A library to be filled, and questions put to it."""

    def __init__(self, folder: Path, *, calibrated: bool = True) -> None:
        self.catalog = Catalog(folder / "catalog.db")
        info = self.catalog.create_collection("c", space=SPACE, chunker="whole")
        self.collection = Collection(self.catalog, info)
        fits = {
            Pair(one, other, native): Fit(curve=Curve(12.0, -5.0), count=100, positives=50)
            for one in Bags.modalities
            for other in Bags.modalities
            for native in (False, True)
        }
        self.batcher = Batcher(Bags())
        calibration = Calibration(SPACE.id, fits) if calibrated else None
        self.library = Library(self.collection, self.batcher, calibration, lambda *_: None)

    def put(self, record: str, said: dict[Modality, str], **fields: object) -> None:
        self.collection.write(
            [
                Entry(
                    modality=modality,
                    digest=text,
                    fragments=[
                        NewFragment(
                            CharSpan(0, len(text)) if modality is TEXT else None,
                            bag(text),
                            bag(text)[::-1].copy() if modality is IMAGE else None,
                        )
                    ],
                    id=f"{record}.{modality}",
                    record=record,
                    text=text if modality is TEXT else None,
                    **fields,  # type: ignore[arg-type]
                )
                for modality, text in said.items()
            ]
        )

    def ask(self, words: str, *more: Media | ItemPart, **retrieval: object) -> list[Passage]:
        said = (Media(TEXT, words),) if words else ()
        ask = Ask(parts=(*said, *more), retrieval=Retrieval(**retrieval))  # type: ignore[arg-type]
        plan = understand(ask, self.library)
        return retrieve(ask, plan, self.library, Builtin(self.library), Stages())

    def close(self) -> None:
        self.batcher.close()
        self.collection.close()
        self.catalog.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def records(passages: Sequence[Passage]) -> list[str]:
    return [passage.hit.item.record for passage in passages]


def test_passages_are_numbered_and_sorted_by_probability(house: House) -> None:
    for n, text in enumerate(["a red ring rising", "a red ring falling", "a blue bar", "tea"]):
        house.put(f"r{n}", {TEXT: text})
    found = house.ask("What is the red ring doing that is falling?", k=3)
    assert records(found)[0] == "r1"
    assert [passage.number for passage in found] == [1, 2, 3]
    likely = [passage.probability for passage in found]
    assert likely == sorted(likely, reverse=True)
    assert likely[0] > 0.75 > 0.35 > likely[1]
    again = house.ask("What is the red ring doing that is falling?", k=3)
    assert [one.probability for one in again] == likely


def test_a_record_comes_once_with_what_stands_beside_it(house: House) -> None:
    house.put("both", {TEXT: "a brown dog in snow", IMAGE: "brown dog snow"})
    house.put("alone", {TEXT: "a brown dog in the rain"})
    found = house.ask("where is the brown dog?")
    assert sorted(records(found)) == ["alone", "both"]
    shown = house.ask("show me a photo of the brown dog")
    (both,) = [passage for passage in shown if passage.hit.item.record == "both"]
    assert both.hit.item.modality is IMAGE  # what was asked for carries the evidence
    assert both.text is None
    assert [item.text for item in both.siblings] == ["a brown dog in snow"]
    assert both.probability > 0.75


def test_nothing_generated_is_evidence_however_much_there_is(house: House) -> None:
    house.put("seen", {TEXT: "a brown dog near the sea"})
    for n in range(60):
        house.put(f"made{n}", {TEXT: f"a brown dog {n}"}, origin=Origin.GENERATED)
    house.put("mixed", {IMAGE: "a brown dog asleep"})
    house.put("mixed", {AUDIO: "brown dog"}, origin=Origin.GENERATED)
    found = house.ask("a brown dog", k=2)
    assert sorted(records(found)) == ["mixed", "seen"]
    assert all(item.origin is Origin.OBSERVED for one in found for item in one.siblings)
    assert all(one.hit.item.origin is Origin.OBSERVED for one in found)


def test_one_picture_twice_is_one_and_equal_texts_are(house: House) -> None:
    for n in range(3):
        house.put(f"p{n}", {IMAGE: "red ring snow"})
        house.put(f"t{n}", {TEXT: "A red ring."})
    house.put("other", {TEXT: "a red ring, and more"})
    assert sorted(records(house.ask("red ring", k=4))) == ["other", "p0", "t0"]


def test_each_thing_that_is_asked_for_keeps_a_place(house: House) -> None:
    for n in range(12):
        house.put(f"dog{n}", {TEXT: f"the brown dog, number {n}"})
    house.put("cat", {TEXT: "a cat asleep on the sofa"})
    found = house.ask("Where is the brown dog? And where is the white cat?", k=4)
    assert "cat" in records(found)
    assert len(found) == 4


def test_what_is_named_keeps_a_place_among_texts_that_tell_more(house: House) -> None:
    for n in range(12):
        house.put(f"text{n}", {TEXT: f"the brown dog in the snow, note {n}"})
    house.put("photo", {IMAGE: "brown dog"})
    assert "photo" in records(house.ask("a picture of the brown dog in the snow", k=4))
    assert "photo" not in records(house.ask("the brown dog in the snow", k=4))


def test_what_must_not_be_there_falls_behind(house: House) -> None:
    house.put("no", {TEXT: "a beach with many people"})
    house.put("yes", {TEXT: "a beach in winter"})
    found = house.ask("a beach without people")
    assert records(found) == ["yes", "no"]
    assert found[0].probability > 0.75
    assert found[1].probability < 0.1


def test_equal_texts_come_once_but_where_they_are_counted(house: House) -> None:
    for record in ("a", "b", "c"):
        house.put(record, {TEXT: "red ring"})
    assert len(house.ask("where is the red ring?")) == 1
    assert sorted(records(house.ask("how many red rings are there?"))) == ["a", "b", "c"]
    assert sorted(records(house.ask("show me red rings"))) == ["a", "b", "c"]


def test_a_picture_asks_in_its_own_space_and_across(house: House) -> None:
    house.put("same", {IMAGE: "red ring"})
    house.put("said", {TEXT: "red ring"})
    house.put("else", {IMAGE: "green bar"})
    found = house.ask("what is in this picture?", picture("red ring"))
    assert records(found)[:2] == ["same", "said"]


def test_a_picture_finds_itself_and_its_like_where_nothing_is_calibrated(tmp_path: Path) -> None:
    house = House(tmp_path, calibrated=False)
    for record, seen in (("else", "green bar"), ("like", "red ring small"), ("same", "red ring")):
        house.put(record, {IMAGE: seen})
    found = house.ask("what is this?", picture("red ring"))
    house.close()
    assert records(found) == ["same", "like", "else"]
    assert found[0].probability > 0.98 > found[1].probability > 0.1 > found[2].probability


def test_an_item_is_evidence_of_itself_but_not_of_what_is_like_it(house: House) -> None:
    house.put("same", {IMAGE: "red ring"})
    house.put("said", {TEXT: "red ring"})
    (first, *_) = house.ask("what colour is this?", ItemPart("same.image"))
    assert (first.hit.item.id, first.probability) == ("same.image", 1.0)
    others = house.ask("is there anything like it?", ItemPart("same.image"))
    assert records(others) == ["said"]


def test_the_filter_the_modalities_and_the_least_probability_hold(house: House) -> None:
    house.put("old", {TEXT: "a red ring, old"}, metadata={"year": 1990})
    house.put("new", {TEXT: "a red ring, new", IMAGE: "red ring"}, metadata={"year": 2020})
    late = Predicate("year", Op.GT, 2000)
    assert records(house.ask("a red ring", filter=late)) == ["new"]
    (only,) = house.ask("a red ring", modalities=frozenset({IMAGE}))
    assert only.hit.item.modality is IMAGE
    assert house.ask("a red ring", min_probability=0.5)
    assert not house.ask("the age of a kettle", min_probability=0.5)


def test_small_talk_looks_for_nothing(house: House) -> None:
    assert house.ask("a red ring") == []  # there is nothing yet
    house.put("r", {TEXT: "hello and thanks"})
    assert house.ask("Hello, thank you!") == []
    assert len(house.ask("hello and thanks", k=10_000)) == 1
    with pytest.raises(InvalidQuery, match="k is 0"):
        house.ask("a red ring", k=0)


def test_an_uncalibrated_space_is_ranked_all_the_same(tmp_path: Path) -> None:
    house = House(tmp_path, calibrated=False)
    for n in range(30):
        house.put(f"x{n}", {TEXT: f"something else about number {n}", IMAGE: f"thing {n}"})
    house.put("ring", {TEXT: "the red ring is rising", IMAGE: "red ring"})
    found = house.ask("what does the red ring do that is rising?")
    assert records(found)[0] == "ring"
    assert found[0].hit.probability is None
    assert found[0].probability > 0.75
    house.close()


def test_time_is_told_by_stage(house: House) -> None:
    house.put("r", {TEXT: "a red ring"})
    stages = Stages()
    ask = Ask(parts=(Media(TEXT, "a red ring"),))
    plan = understand(ask, house.library)
    retrieve(ask, plan, house.library, Builtin(house.library), stages)
    assert {"embed", "search", "rerank"} <= set(stages.timings_ms())


def test_a_passage_is_widened_to_whole_sentences(house: House) -> None:
    filler = "Nothing of note was said about it. " * 60
    text = f"{filler}The bell of Lund was cast in 1512. It weighs four tons. {filler}"
    start = text.index("was cast")
    span = CharSpan(start, start + 20)
    house.collection.write(
        [
            Entry(
                modality=TEXT,
                digest="d",
                fragments=[NewFragment(span, bag("bell lund cast"))],
                text=text,
            )
        ]
    )
    (found,) = house.ask("when was the bell of Lund cast?")
    assert found.text is not None
    assert len(found.text) <= BUDGET
    assert "The bell of Lund was cast in 1512. It weighs four tons." in found.text
    assert found.text.startswith("Nothing of note")
    assert found.text.endswith(".")


def test_a_long_text_tells_from_several_places(house: House) -> None:
    filler = "Nothing of note was said about it. " * 60
    facts = ["The bell of Lund was cast in 1512.", "The bell of Lund weighs four tons."]
    text = filler.join(["", *facts, "A market is held on Fridays.", ""])
    fragments = [
        NewFragment(CharSpan(at, at + 40), bag(text[at : at + 40]))
        for at in range(0, len(text), 35)
    ]
    house.collection.write([Entry(modality=TEXT, digest="d", fragments=fragments, text=text)])
    found = house.ask("what is told of the bell of Lund?", k=4)
    told = [one.text or "" for one in found[:2]]
    assert all(any(fact in text for text in told) for fact in facts)
    assert len({one.hit.fragment for one in found}) == len(found) == 4
    assert found[1].probability > 0.75 > 0.35 > found[2].probability
    (span, *_) = [one.hit.span for one in found if facts[1] in (one.text or "")]
    assert isinstance(span, CharSpan)
    assert (
        text[span.start : span.end]
        == found[told.index(next(t for t in told if facts[1] in t))].hit.text
    )


@pytest.mark.parametrize("budget", [10, 60, 300])
def test_widening_never_loses_the_span(budget: int) -> None:
    text = "One. Two two two! Three? " * 8 + "x" * 200
    for start in range(0, len(text) - 20, 7):
        low, high = widened(text, CharSpan(start, start + 20), budget)
        assert 0 <= low <= start < start + 20 <= high <= len(text)
        assert high - low <= max(budget, 20)


def test_generated_captions_are_told_apart_word_by_word(tmp_path: Path) -> None:
    """The right one of 200 comes first, and near misses are known, though no vector helps much."""
    house = House(tmp_path)
    scenes, rng = Scenes(200, seed=4), np.random.default_rng(4)
    truths = [scenes.truth(n) for n in range(200)]
    for n, scene in enumerate(truths):
        house.put(str(n), {TEXT: caption(scene, rng)})
    asked = questions(truths, 24, 24, seed=4)
    first = [(house.ask(one.text, k=3) or [None])[0] for one in asked]
    sure = [passage is not None and passage.probability > 0.5 for passage in first]
    right = [
        passage is not None
        and told
        and truth(one.scene) <= truth(truths[int(passage.hit.item.record)])
        for one, passage, told in zip(asked, first, sure, strict=True)
        if one.scene is not None
    ]
    assert np.mean(right) >= 0.95
    silent = [not told for one, told in zip(asked, sure, strict=True) if one.scene is None]
    assert np.mean(silent) >= 0.95
    house.close()

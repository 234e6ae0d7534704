"""The prompt: what is in it, in what order, and what is left out when there is no room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from embed.errors import NotFound, TooLarge
from embed.types import (
    CharSpan,
    Floats,
    GeoPoint,
    Media,
    Modality,
    Pixels,
    Sound,
    TimeSpan,
)
from generation.types import Message, Role, Sampling, Saying, Taste
from rag.context import build
from rag.types import Ask, ItemPart, Retrieval

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
SEES = frozenset({TEXT, IMAGE})


def words(text: str) -> Media:
    return Media(TEXT, text)


def asking(*parts: Any, **fields: Any) -> Ask:
    return Ask(parts=tuple(words(p) if isinstance(p, str) else p for p in parts), **fields)


def test_it_reads_instructions_history_evidence_question(
    passage_of: Any, plan_of: Any, shelf: Any, scripted: Any
) -> None:
    earlier = (
        Message(role=Role.USER, parts=(words("And before?"),)),
        Message(role=Role.ASSISTANT, parts=(words("It was blue [4]."),)),
    )
    ask = asking("What colour is it?", history=earlier, instructions="Be brief.")
    passages = [passage_of(1, "a red disc", title="disc.png"), passage_of(2, "a ring")]
    prompt, kept = build(ask, plan_of("What colour is the disc?"), passages, shelf(), scripted())
    roles = [message.role for message in prompt.messages]
    assert roles == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER]
    assert prompt.messages[0].text.endswith("Be brief.")
    assert prompt.messages[2].text == "It was blue (4)."  # a number of then means nothing now
    last = prompt.messages[-1].text
    assert last.index('[1] image "disc.png"') < last.index("[2] image") < last.index("What colour")
    assert "| caption: a red disc" in last
    assert last.endswith("What colour is it?")
    assert prompt.question == "What colour is the disc?"
    assert [one.number for one in prompt.evidence] == [1, 2]
    assert kept == passages


def test_statements_name_who_says_them(
    passage_of: Any, plan_of: Any, shelf: Any, scripted: Any
) -> None:
    metadata = {"camera": "X100", "place": GeoPoint(1, 2), "tags": ["sea", "boat"]}
    passages = [
        passage_of(1, "a red disc", title="A title", metadata=metadata),
        passage_of(2, borrowed="a blue ring", sources=[3, 9], span=TimeSpan(72, 75)),
        passage_of(3, "a blue ring", p=0.1, role="source"),
        passage_of(4, "Of a page.", modality=TEXT, span=CharSpan(0, 9, page=3)),
    ]
    prompt, _ = build(asking("?"), plan_of("?"), passages, shelf(), scripted())
    said = {(s.by, s.text) for s in prompt.evidence[0].statements}
    assert said == {
        (Saying.CAPTION, "a red disc"),
        (Saying.TITLE, "A title"),
        (Saying.METADATA, "camera: X100"),
        (Saying.METADATA, "place: 1.00000, 2.00000"),
        (Saying.METADATA, "tags: sea, boat"),
    }
    (borrowed,) = prompt.evidence[1].statements
    assert (borrowed.by, borrowed.sources, borrowed.probability) == (Saying.BORROWED, (3,), 0.8)
    where = {one.number: one.where for one in prompt.evidence}  # what others rest on comes last
    assert list(where.items()) == [(1, None), (2, "1:12 to 1:15"), (4, "page 3"), (3, None)]
    assert prompt.evidence[2].statements[0].by is Saying.TEXT
    assert "borrowed from [3], probability 0.80: a blue ring" in prompt.messages[-1].text


def test_media_come_at_the_size_of_the_taste_and_others_in_words(
    passage_of: Any, plan_of: Any, shelf: Any, scripted: Any, picture: Media
) -> None:
    library = shelf(media={"i1": picture, "i2": picture})
    passages = [passage_of(1, "a"), passage_of(2, "b"), passage_of(3, "c")]
    seeing = scripted(inputs=SEES, taste=Taste(context=4_000, images=1, image_side=32))
    prompt, _ = build(asking("?"), plan_of("?"), passages, library, seeing)
    shown = [one.media for one in prompt.evidence]
    assert shown[0] is not None
    assert shown[0].data.shape == (16, 32, 3)
    assert shown[1:] == [None, None]
    assert library.opened == ["i1"]  # no more is opened than is shown
    parts = prompt.messages[-1].parts
    assert parts[1] is shown[0]
    assert "[2] image, it is not shown" in prompt.messages[-1].text
    blind, _ = build(asking("?"), plan_of("?"), passages, library, scripted())
    assert all(one.media is None for one in blind.evidence)
    assert "you cannot take it: what is written about it" in blind.messages[-1].text
    assert library.opened == ["i1"]


def test_a_film_is_frames_and_for_who_takes_pictures_alone_one(
    passage_of: Any, plan_of: Any, shelf: Any, scripted: Any
) -> None:
    frames: Pixels = np.arange(20, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    library = shelf(media={"i1": Media(Modality.VIDEO, frames, rate=1)})
    passages = [passage_of(1, modality=Modality.VIDEO)]
    taste = Taste(context=4_000, images=4, image_side=32)

    def handed(*inputs: Modality) -> Media:
        generator = scripted(inputs=frozenset(inputs), taste=taste)
        prompt, _ = build(asking("?"), plan_of("?"), passages, library, generator)
        assert prompt.evidence[0].media is not None
        return prompt.evidence[0].media

    film = handed(TEXT, IMAGE, Modality.VIDEO)
    assert film.modality is Modality.VIDEO
    assert np.asarray(film.data)[:, 0, 0, 0].tolist() == [2, 7, 12, 17]
    still = handed(TEXT, IMAGE)
    assert (still.modality, np.asarray(still.data)[0, 0, 0]) == (IMAGE, 10)


def test_sounds_are_heard_as_long_as_the_taste_lasts(
    passage_of: Any, plan_of: Any, shelf: Any, scripted: Any
) -> None:
    class Long:
        duration, rate = 60.0, 8_000

        def windows(self, spans: Any, *, rate: int, downmix: Any = None) -> Iterator[Floats]:
            for span in spans:
                yield np.zeros(round((span.end - span.start) * rate), np.float32)

    assert isinstance(Long(), Sound)
    short = Media(Modality.AUDIO, np.zeros(16_000, np.float32), rate=16_000)
    library = shelf(media={"i1": short, "i2": Media(Modality.AUDIO, Long()), "i3": short})
    passages = [passage_of(n, modality=Modality.AUDIO) for n in (1, 2, 3)]
    hearing = scripted(inputs=frozenset({TEXT, Modality.AUDIO}))
    prompt, _ = build(asking("?"), plan_of("?"), passages, library, hearing)
    heard = [one.media and len(np.asarray(one.media.data)) for one in prompt.evidence]
    assert heard == [16_000, 64_000, None]  # five seconds in all


def test_the_question_shows_its_own_media_first(
    passage_of: Any, plan_of: Any, shelf: Any, scripted: Any, picture: Media, item_of: Any
) -> None:
    items = [item_of("x", title="X"), item_of("t", TEXT, text="long ago")]
    library = shelf(items, media={"x": picture, "i1": picture})
    ask = asking(picture, ItemPart("x"), ItemPart("t"), "What is it?")
    seeing = scripted(inputs=SEES, taste=Taste(context=4_000, images=2, image_side=32))
    prompt, _ = build(ask, plan_of("What is it?"), [passage_of(1, "a")], library, seeing)
    assert prompt.asked_with == {TEXT, IMAGE}
    assert sum(not isinstance(p.data, str) for p in prompt.messages[-1].parts) == 2
    assert prompt.evidence[0].media is None
    assert "(The question shows this text: long ago)" in prompt.messages[-1].text
    blind, _ = build(ask, plan_of("What is it?"), [passage_of(1, "a")], library, scripted())
    assert "an image that you cannot take" in blind.messages[-1].text
    assert "(The question shows this image: X)" in blind.messages[-1].text
    alone, _ = build(asking(picture), plan_of("image"), [], library, scripted())
    assert alone.question == ""
    with pytest.raises(NotFound):
        build(asking(ItemPart("gone")), plan_of("?"), [], library, scripted())


def test_evidence_below_the_threshold_is_left_out_but_the_best(
    passage_of: Any, plan_of: Any, shelf: Any, scripted: Any
) -> None:
    def kept(*ps: float, least: float | None = None) -> list[int]:
        passages = [passage_of(n, "x", p=p) for n, p in enumerate(ps, 1)]
        ask = asking("?", retrieval=Retrieval(min_probability=least))
        return [p.number for p in build(ask, plan_of("?"), passages, shelf(), scripted())[1]]

    assert kept(0.9, 0.5, 0.1) == [1, 2]
    assert kept(0.2, 0.1) == [1]
    assert kept(0.9, 0.5, 0.1, least=0.0) == [1, 2, 3]


def test_what_has_no_room_is_cut_or_left_out_best_first(
    passage_of: Any, plan_of: Any, shelf: Any, scripted: Any
) -> None:
    long = " ".join(f"Sentence number {n} is here." for n in range(60))
    passages = [
        passage_of(1, long, modality=TEXT),
        passage_of(2, "short", modality=TEXT),
        passage_of(3, borrowed="far", sources=[4]),
        passage_of(4, long, modality=TEXT, role="source"),
    ]
    small = scripted(taste=Taste(context=500))
    ask = asking("?", sampling=Sampling(max_tokens=50))
    prompt, kept = build(ask, plan_of("?"), passages, shelf(), small)
    assert [one.number for one in kept] == [1, 2, 3]
    cut = prompt.evidence[0].statements[0].text
    assert long.startswith(cut)
    assert cut.endswith(".")
    assert prompt.evidence[2].statements == ()  # its source found no room
    assert sum(small.count_tokens(m.text) for m in prompt.messages) <= 450 + 60  # and the fences


def test_history_is_cut_from_its_beginning(
    passage_of: Any, plan_of: Any, shelf: Any, scripted: Any
) -> None:
    turns = [
        Message(role=role, parts=(words(f"{n} " + "word " * 250),))
        for n, role in enumerate([Role.USER, Role.ASSISTANT] * 3)
    ]
    generator = scripted(taste=Taste(context=900))
    ask = asking("?", history=tuple(turns), sampling=Sampling(max_tokens=50))
    prompt, _ = build(ask, plan_of("?"), [passage_of(1, "x")], shelf(), generator)
    told = [message.text.split()[0] for message in prompt.messages[1:-1]]
    assert told == ["0", "1", "2", "3", "4", "5"][-len(told) :]
    assert 0 < len(told) < 6


def test_a_question_that_leaves_no_room_is_too_large(
    plan_of: Any, shelf: Any, scripted: Any
) -> None:
    with pytest.raises(TooLarge, match="room for"):
        build(asking("word " * 500), plan_of("?"), [], shelf(), scripted(taste=Taste(context=400)))

"""The generated world as an examination: its questions have the answers that they claim to have."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from embed.training.scenes.law import SCENES, Scene
from embed.training.scenes.tell import caption
from embed.types import Modality
from rag.evaluate.world import (
    ASKED,
    Claim,
    WorldQuestion,
    about,
    agreement,
    blocks,
    claims,
    entails,
    masked,
    questions,
    right,
    truth,
)

FOUR = (Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)
RING = Scene("red", "ring", "large", "left", "top", "up")


def _some(count: int, seed: int = 0) -> list[Scene]:
    rows = np.random.default_rng(seed).choice(len(SCENES), count, replace=False)
    return [SCENES[row] for row in rows]


def _fitting(said: Iterable[Claim], scenes: list[Scene]) -> list[Scene]:
    return [scene for scene in scenes if set(said) <= truth(scene)]


def test_what_a_caption_claims_is_the_whole_truth() -> None:
    rng = np.random.default_rng(0)
    for scene in _some(1_000):
        text = caption(scene, rng)
        assert claims(text) == claims(text.upper()) == truth(scene), text


def test_words_within_words_claim_nothing() -> None:
    assert claims("Bored, I redraw the postcards at the topmost bar") == {Claim("shape", "bar")}
    assert claims("at the top left") == {Claim("across", "left"), Claim("up", "top")}
    assert claims("at the top, left alone") == {Claim("across", "centre"), Claim("up", "top")}


def test_one_scene_has_the_answer_and_it_is_not_in_the_question() -> None:
    scenes = _some(200)
    for question in questions(scenes, 300, 0, seed=1):
        said = claims(question.text)
        assert question.scene is not None
        assert _fitting(said, scenes) == [question.scene], question.text
        assert said | question.truth == truth(question.scene)
        assert not {claim.attribute for claim in said} & {c.attribute for c in question.truth}
        assert right(question, caption(question.scene, np.random.default_rng(1)))


def test_near_misses_fit_all_but_one_word_and_far_ones_nothing() -> None:
    scenes = _some(200)
    asked = questions(scenes, 0, 101, seed=2)
    near = [claims(question.text) for question in asked if question.kind == "near"]
    assert len(near) == 50
    for said in near:
        assert not _fitting(said, scenes)
        assert any(_fitting(said - {claim}, scenes) for claim in said)
    far = [question for question in asked if question.kind == "far"]
    assert len(far) == 51
    assert not any(claims(question.text) for question in far)


def test_each_attribute_is_asked_for_in_several_ways() -> None:
    asked = questions(_some(200), 400, 100, seed=3)
    assert asked == questions(_some(200), 400, 100, seed=3)
    assert {question.asked for question in asked} == set(ASKED)
    openings = {question.text.split()[0] for question in asked if question.asked == "colour"}
    assert len(openings) > 3
    assert len({question.text for question in asked}) > 400


def test_an_answer_that_also_says_something_else_is_not_right() -> None:
    question = WorldQuestion("?", "answerable", "colour", truth(RING, "colour"), RING)
    assert right(question, "It is red [1].")
    assert not right(question, "It is red [1], or pink [2].")
    assert not right(question, "A large ring.")
    place = about(RING, "place")
    assert right(place, "in the upper left corner")
    assert not right(place, "at the top")
    assert place.truth == {Claim("across", "left"), Claim("up", "top")}


def test_two_scenes_do_not_add_up_to_a_third() -> None:
    bar = Scene("blue", "bar", "small", "right", "bottom", "down")
    said = claims("a red bar")
    assert not entails(said, [RING, bar])
    assert entails(said, [RING, bar, RING._replace(shape="bar")])
    assert not entails(said, [])
    assert agreement(RING, RING._replace(shape="bar")).tolist() == [True, False, *[True] * 4]


def test_masks_hide_exactly_so_much_and_blocks_whole_albums() -> None:
    records = [FOUR] * 300
    for share in (0.2, 0.5, 0.8):
        kept = masked(records, share, seed=4)
        assert sum(map(len, kept)) == round(1200 * (1 - share))
        assert kept == masked(records, share, seed=4)
        assert kept != masked(records, share, seed=5)
    photos, sounds = frozenset({Modality.IMAGE}), frozenset({Modality.AUDIO})
    kept = blocks(records, [photos, sounds], seed=4)
    assert {held: kept.count(held) for held in kept} == {
        photos: 100,
        sounds: 100,
        frozenset(FOUR): 100,
    }

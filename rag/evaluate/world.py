"""Questions about the generated world, whose answers are known, and an exact judge of them.

The world names everything by a closed list of words (`embed.training.scenes`), so what a sentence
claims can be read off it, and whether evidence says so too needs no model. Masks are of SPECS §6:
random, and in blocks (albums that lack whole modalities).
It knows no tower, no collection and no answerer; records of a library are numbered from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embed.training.scenes.law import ACROSS, COLOURS, MOTIONS, RHYTHMS, SIZES, UP, Scene
from embed.training.scenes.tell import PLACES, SAID_MOTIONS, SYNONYMS
from embed.types import Modality

Kind = Literal["answerable", "near", "far"]

_NAMES: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": tuple(RHYTHMS),
    "size": SIZES,
    "across": ACROSS,
    "up": UP,
    "motion": tuple(MOTIONS),
}
_PARTS = {"place": ("across", "up")}
"""A question asks for the whole place; a claim names its two halves."""

ASKED = ("colour", "shape", "size", "place", "motion")

_FORMS: dict[str, tuple[str, ...]] = {
    "colour": (
        "What colour is the {size} {shape} {place} that is {motion}?",
        "Which colour does the {shape} {place} have, {size} and {motion}?",
        "{place} there is a {size} {shape}, {motion}: what is its colour?",
    ),
    "shape": (
        "What shape is the {size} {colour} thing {place} that is {motion}?",
        "{place} something {colour} is {motion}; it is {size}. Which shape does it have?",
        "Which shape has the {colour} thing {place}, {size} and {motion}?",
    ),
    "size": (
        "How big is the {colour} {shape} {place} that is {motion}?",
        "What size is the {colour} {shape} {place}, {motion}?",
        "{place} there is a {colour} {shape}, {motion}: what is its size?",
    ),
    "place": (
        "Where is the {size} {colour} {shape} that is {motion}?",
        "In which place is a {size} {colour} {shape} {motion}?",
        "A {size} {colour} {shape} is {motion}: where is it?",
    ),
    "motion": (
        "How does the {size} {colour} {shape} {place} move?",
        "What is the {size} {colour} {shape} {place} doing?",
        "{place} there is a {size} {colour} {shape}: which way does it go?",
    ),
}
_ABOUT: dict[str, tuple[str, ...]] = {
    "colour": ("What colour is this?", "Which colour does it have?"),
    "shape": ("What shape is this?", "Which shape does it have?"),
    "size": ("How big is this?", "What size is it?"),
    "place": ("Where is it?", "In which place is this?"),
    "motion": ("How does it move?", "What is it doing?"),
}
_FAR_FORMS = (
    "Who wrote the {} about the {}?",
    "When was the {} of the {} founded?",
    "How much does a {} from the {} cost?",
    "Which {} won the {} last year?",
    "Why did the {} leave the {}?",
)
_FAR_THINGS = ("novel", "museum", "kettle", "orchestra", "lawyer", "bakery", "treaty", "marathon")
_FAR_PLACES = ("republic", "harbour", "parliament", "vineyard", "university", "desert", "railway")


class Claim(NamedTuple):
    """That a thing has this value of this attribute of `Scene`."""

    attribute: str
    value: str


@dataclass(frozen=True, slots=True)
class WorldQuestion:
    """What is asked, and what is right.

    asked: one of `ASKED`. truth: what a right answer claims; none where nothing in the library fits
    (`near`: something fits all but one word; `far`: of another world). scene: the one that fits.
    """

    text: str
    kind: Kind
    asked: str
    truth: frozenset[Claim] = frozenset()
    scene: Scene | None = None


# What is said


def claims(text: str) -> frozenset[Claim]:
    """What a sentence says about things of this world; other words claim nothing."""
    return frozenset(claim for said in _SAYING.findall(text.lower()) for claim in _MEANS[said])


def truth(scene: Scene, asked: str | None = None) -> frozenset[Claim]:
    """All that is true of a scene, or what answers the question for one attribute."""
    wanted = Scene._fields if asked is None else _PARTS.get(asked, (asked,))
    return frozenset(Claim(name, getattr(scene, name)) for name in wanted)


def right(question: WorldQuestion, answer: str) -> bool:
    """Exact match: of what was asked it claims the truth, and nothing else."""
    wanted = _PARTS.get(question.asked, (question.asked,))
    return {claim for claim in claims(answer) if claim.attribute in wanted} == question.truth


def entails(said: frozenset[Claim], shown: Iterable[Scene]) -> bool:
    """Whether one of these scenes shows all that is said.

    A sentence is about one thing, so two scenes may not be read together as if they were one. Every
    medium of a scene shows all of it, so what an item shows is what its scene is.
    """
    return any(said <= truth(scene) for scene in shown)


def agreement(scene: Scene, other: Scene) -> NDArray[np.bool_]:
    """`(6,)`: which attributes of `Scene` two scenes share."""
    return np.array([mine == theirs for mine, theirs in zip(scene, other, strict=True)])


# What is asked


def questions(
    scenes: Sequence[Scene], answerable: int, unanswerable: int, *, seed: int = 0
) -> list[WorldQuestion]:
    """Questions about a library of these scenes; half of the unanswerable ones are near misses.

    Each leaves out what it asks for, and says the rest in words of its own; what it describes is in
    the library once at most.
    """
    rng = np.random.default_rng((seed, 0))
    known = list(dict.fromkeys(scenes))
    asked = [_asks(known, rng) for _ in range(answerable)]
    near = [_near(known, rng) for _ in range(unanswerable // 2)]
    far = [_far(rng) for _ in range(unanswerable - len(near))]
    return [*asked, *near, *far]


def about(scene: Scene, asked: str, *, seed: int = 0) -> WorldQuestion:
    """What is asked together with an item that shows the scene."""
    text = _one_of(_ABOUT[asked], np.random.default_rng((seed, 1)))
    return WorldQuestion(text, "answerable", asked, truth(scene, asked), scene)


def _asks(known: Sequence[Scene], rng: Generator) -> WorldQuestion:
    while True:
        scene, asked = known[int(rng.integers(len(known)))], _one_of(ASKED, rng)
        if sum(_fits(other, scene, asked) for other in known) == 1:
            text = _worded(scene, asked, rng)
            return WorldQuestion(text, "answerable", asked, truth(scene, asked), scene)


def _near(known: Sequence[Scene], rng: Generator) -> WorldQuestion:
    """One word of a description that would fit is exchanged, and then nothing fits."""
    while True:
        scene, asked = known[int(rng.integers(len(known)))], _one_of(ASKED, rng)
        told = [name for name in Scene._fields if name not in _PARTS.get(asked, (asked,))]
        changed = _one_of(told, rng)
        other = scene._replace(**{changed: _one_of(_NAMES[changed], rng)})
        if not any(_fits(one, other, asked) for one in known):
            return WorldQuestion(_worded(other, asked, rng), "near", asked)


def _far(rng: Generator) -> WorldQuestion:
    said = _one_of(_FAR_FORMS, rng).format(_one_of(_FAR_THINGS, rng), _one_of(_FAR_PLACES, rng))
    return WorldQuestion(said, "far", _one_of(ASKED, rng))


def _fits(scene: Scene, described: Scene, asked: str) -> bool:
    left_open = _PARTS.get(asked, (asked,))
    return all(
        theirs == mine or name in left_open
        for name, theirs, mine in zip(Scene._fields, described, scene, strict=True)
    )


def _worded(scene: Scene, asked: str, rng: Generator) -> str:
    said = _one_of(_FORMS[asked], rng).format(
        size=_said(scene.size, rng),
        colour=_said(scene.colour, rng),
        shape=_said(scene.shape, rng),
        place=_one_of(PLACES[scene.across, scene.up], rng),
        motion=_one_of(SAID_MOTIONS[scene.motion], rng),
    )
    return said[0].upper() + said[1:]


def _said(name: str, rng: Generator) -> str:
    return _one_of(SYNONYMS.get(name, (name,)), rng)


def _one_of(choices: Sequence[str], rng: Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


# What is masked


def masked(
    records: Sequence[Sequence[Modality]], share: float, *, seed: int = 0
) -> list[frozenset[Modality]]:
    """What stays of each record when `share` of all media are masked at random: of some nothing."""
    media = [(n, Modality(m)) for n, held in enumerate(records) for m in held]
    order = np.random.default_rng((seed, 2)).permutation(len(media))
    observed: list[set[Modality]] = [set() for _ in records]
    for at in order[round(share * len(media)) :]:
        number, modality = media[at]
        observed[number].add(modality)
    return [frozenset(one) for one in observed]


def blocks(
    records: Sequence[Sequence[Modality]],
    albums: Sequence[frozenset[Modality]],
    *,
    seed: int = 0,
) -> list[frozenset[Modality]]:
    """As `masked`, in blocks: each record is whole or in one of the albums, in equal parts."""
    where = np.random.default_rng((seed, 3)).permutation(len(records)) % (len(albums) + 1)
    return [
        frozenset(held) if album == len(albums) else frozenset(held) & albums[album]
        for held, album in zip(records, where, strict=True)
    ]


def _meanings() -> Mapping[str, frozenset[Claim]]:
    means = {
        said: frozenset({Claim(attribute, name)})
        for attribute in ("colour", "shape", "size")
        for name in _NAMES[attribute]
        for said in SYNONYMS.get(name, (name,))
    }
    for motion, ways in SAID_MOTIONS.items():
        means |= {said: frozenset({Claim("motion", motion)}) for said in ways}
    for (across, up), ways in PLACES.items():
        means |= {said: frozenset({Claim("across", across), Claim("up", up)}) for said in ways}
    return means


_MEANS = _meanings()
_SAYING = re.compile(  # the longest first: "at the top left" is not "at the top"; not "how big"
    r"(?<!how )\b(" + "|".join(sorted(map(re.escape, _MEANS), key=len, reverse=True)) + r")\b"
)

"""What is done in a generated world so that it can be measured: complete, look for, ask.

Three libraries are compared: what is observed after masking (`alone`), the same with what is
supposed of its records (`completed`), and the whole that nothing was masked of (`oracle`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from embed.training.metrics import Numbers
from embed.training.scenes.law import Scene
from embed.types import Floats, Media, Modality
from generation.types import Generator
from index.completions import Method
from index.metadata.filters import Op, Predicate
from index.search.query import Query
from index.types import Completion, Partition, VectorKind
from rag.complete import Completer
from rag.evaluate.world import ASKED, WorldQuestion, about
from rag.evaluate.world_library import World, item_id
from rag.pipeline import answer
from rag.rerank import Reranker
from rag.types import Answer, Ask, ItemPart, Retrieval


class House(NamedTuple):
    """All that an answer takes besides a question and a library."""

    generator: Generator
    reranker: Reranker
    completer: Completer


class Asking(NamedTuple):
    """A fresh view of a scene, as a vector of the joint space, that looks for its records."""

    scene: Scene
    modality: Modality
    joint: Floats


def complete(
    world: World, completer: Completer, modalities: Sequence[Modality], method: Method
) -> list[Completion]:
    """Completes all that lacks any of these, and returns what is supposed likely enough."""
    completer.complete_all(modalities, method=method)
    kept = world.library.collection.completions
    return [
        one
        for modality in modalities
        for some in kept.of_records(
            world.lacking(modality), modality=modality, method=method
        ).values()
        for one in some
    ]


def recall(
    world: World, asking: Sequence[Asking], wanted: Modality, completer: Completer | None = None
) -> Numbers:
    """`(Q,)`: of the records of each scene, the share among as many that were found by what they
    have of the wanted modality and, with a completer, by what they are supposed to have of it."""
    found = []
    for one in asking:
        right = {record for record in world.records if world.scene(record) == one.scene}
        ranked = _ranked(world, one, wanted, len(right), completer)
        found.append(len(set(ranked[: len(right)]) & right) / len(right))
    return np.array(found)


def _ranked(
    world: World, one: Asking, wanted: Modality, k: int, completer: Completer | None
) -> list[str]:
    """Records, the likeliest first: a supposed vector counts with its own probability besides."""
    curve = world.library.curves(one.modality)[Partition(wanted, VectorKind.JOINT)]
    query = Query(joint=one.joint, modalities=frozenset({wanted}), k=k)
    [results] = world.library.search([query])
    likely = {hit.item.record: curve(hit.score) for hit in results.hits if hit.score is not None}
    for record, cosine, completion in completer.widened(one.joint, wanted, k) if completer else ():
        likely[record] = curve(cosine) * completion.p
    return sorted(likely, key=lambda record: -likely[record])


def about_records(
    world: World, lacking: Iterable[str], shown: Sequence[Modality], *, seed: int = 0
) -> list[tuple[WorldQuestion, str]]:
    """For each of these records a question about an item of it, and that item: the first of `shown`
    that it has."""
    return [
        (about(world.scene(record), ASKED[n % len(ASKED)], seed=seed + n), item_id(record, seen[0]))
        for n, record in enumerate(lacking)
        if (seen := [m for m in shown if m in world.observed[record]])
    ]


def ask(
    world: World,
    house: House,
    question: str,
    *,
    item: str | None = None,
    alone: bool = False,
    complete: bool = True,
    min_probability: float | None = None,
) -> Answer:
    """alone: only the record of the item may answer, as when one album is asked."""
    words = Media(Modality.TEXT, question)
    record = item.partition(".")[0] if item else ""
    retrieval = Retrieval(
        complete=complete,
        min_probability=min_probability,
        filter=Predicate("@record", Op.EQ, record) if alone else None,
    )
    parts = (words,) if item is None else (words, ItemPart(item))
    return answer(Ask(parts=parts, retrieval=retrieval), world.library, *house)

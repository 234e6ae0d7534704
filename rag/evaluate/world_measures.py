"""What was done in a generated world, against its truth: completions, rankings, answers.

Citation recall and precision are ALCE's (Gao et al. 2023, SPECS §6), with an exact judge instead of
a model: an item entails a sentence when its scene shows all that the sentence claims. Sentences
that claim nothing of the world are not judged. Every figure comes with its percentile bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.training.metrics import Flags, Numbers, auroc, ece
from embed.training.scenes.law import Scene
from embed.types import Modality
from index.types import Completion
from rag.evaluate.world import WorldQuestion, agreement, claims, entails, right, truth
from rag.evaluate.world_library import World
from rag.types import Answer, Passage, Sentence

ROUNDS = 1000
LEAST_GAP = 0.05
AT_MOST = 3  # citations of a sentence that count


class Figure(NamedTuple):
    """A figure, its 95 % interval, and of how many."""

    value: float
    low: float
    high: float
    among: int

    def to_json(self) -> list[float | None]:
        """JSON has no NaN."""
        told = [None if np.isnan(one) else round(one, 4) for one in self[:3]]
        return [*told, self.among]


class Judged(NamedTuple):
    """One answer. right: it claims what is true of what was asked, and nothing else of it.

    claims: of all sentences, whether an item that the sentence cites shows it. recall: of each
    sentence; precision: of each citation.
    """

    right: bool
    abstained: bool
    confidence: float
    claims: tuple[bool, ...]
    recall: tuple[bool, ...]
    precision: tuple[bool, ...]


# Completions


def completed_attributes(world: World, completions: Iterable[Completion]) -> NDArray[np.bool_]:
    """`(C, 6)`: which attributes of the record's scene each completion has right."""
    rows = []
    for completion in completions:
        assert completion.record is not None
        rows.append(_attributes(world, completion, world.scene(completion.record)))
    return np.array(rows, np.bool_).reshape(-1, len(Scene._fields))


def possible(world: World, modality: Modality) -> list[str]:
    """Records that lack it while another record of their scene has it: what could be completed."""
    there = {world.scene(record) for record, held in world.observed.items() if modality in held}
    return [record for record in world.lacking(modality) if world.scene(record) in there]


def reachable(world: World, scenes: Iterable[Scene], modality: Modality) -> Numbers:
    """`(Q,)`: of the records of each scene, the share that has the modality or could be completed
    with it: what no completion can surpass."""
    lost = set(world.lacking(modality)) - set(possible(world, modality))
    own: dict[Scene, list[bool]] = {}
    for record in world.records:
        own.setdefault(world.scene(record), []).append(record not in lost)
    return np.array([np.mean(own[scene]) for scene in scenes])


def _attributes(world: World, completion: Completion, scene: Scene) -> NDArray[np.bool_]:
    if completion.modality is not Modality.TEXT and completion.value is not None:
        return agreement(scene, world.scene_of_item(completion.value))
    said = claims(completion.value or "")
    return np.array([claim in said for claim in _in_order(scene)])


def _in_order(scene: Scene) -> list[Any]:
    return [next(iter(truth(scene, name))) for name in Scene._fields]


# Answers


def judged(question: WorldQuestion, answer: Answer, world: World) -> Judged:
    """An answer to something that the library does not hold is never right."""
    passages = {passage.number: passage for passage in answer.evidence}
    kept: list[bool] = []
    recall: list[bool] = []
    precision: list[bool] = []
    for sentence in () if answer.abstained else answer.sentences:
        said = claims(sentence.text)
        if not said:
            continue
        cited = [passages[n] for n in sentence.cites[:AT_MOST] if n in passages]
        scenes = [world.scene(passage.hit.item.record) for passage in cited]
        whole = entails(said, scenes) and not _unhedged(sentence, cited)
        kept += [any(claim in truth(scene) for scene in scenes) for claim in sorted(said)]
        recall.append(whole)
        precision += [whole and entails(said, [scene]) for scene in scenes]
        precision += [False] * (len(sentence.cites) - len(scenes))
    return Judged(
        right=question.kind == "answerable"
        and not answer.abstained
        and right(question, answer.text),
        abstained=answer.abstained,
        confidence=answer.confidence,
        claims=tuple(kept),
        recall=tuple(recall),
        precision=tuple(precision),
    )


def _unhedged(sentence: Sentence, cited: Sequence[Passage]) -> bool:
    """It rests on a completion and does not say so."""
    return not sentence.hedged and any(passage.role == "source" for passage in cited)


def answering(found: Sequence[tuple[WorldQuestion, Judged]]) -> dict[str, Figure]:
    """Exact match over what has an answer; what was cited over all that was answered; abstention as
    a search for what has none."""
    asked = np.array([question.kind == "answerable" for question, _ in found])
    silent = np.array([each.abstained for _, each in found])
    exact = [each.right for question, each in found if question.kind == "answerable"]
    return {
        "exact match": share(exact),
        "faithfulness": share(flag for _, each in found for flag in each.claims),
        "citation recall": share(flag for _, each in found for flag in each.recall),
        "citation precision": share(flag for _, each in found for flag in each.precision),
        "abstention F1": resampled(lambda rows: _f1(silent[rows], ~asked[rows]), len(found)),
    }


def confidence(found: Sequence[Judged]) -> dict[str, Figure]:
    """How well confidences tell right answers from others, where nothing abstains for its own."""
    told = np.array([each.confidence for each in found])
    true = np.array([each.right for each in found])
    return {
        "ECE": resampled(lambda rows: ece(told[rows], true[rows]), len(found)),
        "AUROC": resampled(lambda rows: auroc(told[rows], true[rows]), len(found)),
    }


def gap_closed(alone: Numbers, completed: Numbers, oracle: Numbers) -> Figure:
    """The share of what is lost by masking that completions bring back, over the same queries; NaN
    where nothing to speak of is lost."""
    if oracle.mean() - alone.mean() < LEAST_GAP:
        return Figure(np.nan, np.nan, np.nan, len(alone))
    return resampled(
        lambda rows: float(
            (completed[rows].mean() - alone[rows].mean())
            / max(oracle[rows].mean() - alone[rows].mean(), LEAST_GAP)
        ),
        len(alone),
    )


# Figures


def share(flags: Iterable[bool]) -> Figure:
    """A mean; NaN of nothing."""
    values = np.array(list(flags), np.float64)
    if not len(values):
        return Figure(np.nan, np.nan, np.nan, 0)
    return resampled(lambda rows: float(values[rows].mean()), len(values))


def resampled(statistic: Callable[[NDArray[np.int64]], float], count: int) -> Figure:
    """A statistic of `count` rows, with the percentile bootstrap over them (Efron 1979)."""
    rng = np.random.default_rng(0)
    draws = [statistic(rng.integers(0, count, count)) for _ in range(ROUNDS)]
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return Figure(statistic(np.arange(count)), float(low), float(high), count)


def to_json(figures: Mapping[str, Figure]) -> dict[str, list[float | None]]:
    return {name: figure.to_json() for name, figure in figures.items()}


def _f1(said: Flags, true: Flags) -> float:
    both = int((said & true).sum())
    return 2 * both / max(int(said.sum() + true.sum()), 1)

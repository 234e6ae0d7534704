"""How good answers are: a data set asked of one configuration, or of two, and judged.

It joins the door that answers (`asking.py`) with `rag.evaluate`, which keeps, judges and compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from api.asking import Asking
from api.evaluation import Progress, no_progress
from api.requests import Term
from api.requests_ask import AskRequest, Turn
from embed.errors import BadInput, Forbidden
from embed.media.source import shown
from generation.types import Generator, Role, Sampling
from index.collection import Collection
from rag.confidence import Confidence
from rag.evaluate import scores
from rag.evaluate.formats import FORMATS, read
from rag.evaluate.judges import Builtin, Judge, YesNo
from rag.evaluate.outcomes import Outcome
from rag.evaluate.questions import Question
from rag.evaluate.report import Compared, Report, report
from rag.evaluate.run import Setting, answer_all
from rag.evaluate.summary import Figure, differences
from rag.evaluate.sureness import learn
from rag.types import Retrieval

__all__ = ["FORMATS", "Compared", "Evaluated", "RagEvaluation", "Report", "Setting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What was found, and the curve that was learnt, where one was wanted, and where it is kept;
    one that is refused is not."""

    compared: Compared
    confidence: Confidence | None = None
    path: Path | None = None

    def to_json(self) -> dict[str, Any]:
        told = self.compared.to_json()
        if self.confidence is not None:
            path = None if self.path is None else str(self.path)
            told["confidence"] = {**self.confidence.to_json(), "path": path}
        return told


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of a data set under one configuration."""

    report: Report
    columns: scores.Columns


class RagEvaluation:
    """opened: collections by name; raises NotFound."""

    def __init__(self, asking: Asking, opened: Callable[[str], Collection]) -> None:
        self._asking = asking
        self._opened = opened

    def evaluate(
        self,
        data: Path,
        settings: Sequence[Setting],
        *,
        form: str = "questions",
        judge: str | None = None,
        limit: int | None = None,
        calibrate: bool = False,
        out: Path | None = None,
        progress: Progress = no_progress,
    ) -> Evaluated:
        """Asks every question of each setting, one or two of them, and judges what came.

        judge: the generator that says what entails what; None is the built-in check. calibrate:
        what confidence is worth is learnt from the first setting and kept. out: a folder for
        answers and the report; a run that was broken off goes on there.
        Raises NotFound, BadInput, Conflict, and what answering raises.
        """
        questions = read(data, form)[:limit]
        judged_by: Judge = Builtin() if judge is None else YesNo(self._voice(judge))
        called = [self._named(setting) for setting in settings]  # a bad name fails before the work
        done = []
        for number, setting in enumerate(called):
            keep = None if out is None else out / f"answers-{number + 1}.jsonl"
            outcomes = self._answers(questions, setting, keep, progress)
            done.append(_judged(setting, questions, outcomes, judged_by, progress))
        compared = Compared(
            data=shown(data),
            judge=judged_by.name,
            seed=settings[0].seed,
            reports=tuple(one.report for one in done),
            differences=_apart(done, settings[0].seed),
        )
        found = self._learnt(compared, done[0]) if calibrate else Evaluated(compared=compared)
        if out is not None:
            _write(out / "report.json", found.to_json())
        return found

    def _named(self, setting: Setting) -> Setting:
        """With the name of what answers by default. Raises NotFound."""
        self._opened(setting.collection)
        return replace(setting, generator=self._voice(setting.generator).name)

    def _answers(
        self, questions: Sequence[Question], setting: Setting, keep: Path | None, progress: Progress
    ) -> list[Outcome]:
        space = self._opened(setting.collection).info.space.id
        return answer_all(
            questions,
            lambda question: self._asking.answer(request(question, setting)),
            keep=keep,
            about={**setting.to_json(), "space": space},
            progress=progress,
        )

    def _learnt(self, compared: Compared, first: _Done) -> Evaluated:
        setting = first.report.setting
        collection = self._opened(setting.collection).info  # under its own name, not an alias
        found = learn(
            first.columns,
            space_id=collection.space.id,
            generator=self._voice(setting.generator).name,
            made={"data": compared.data, "judge": compared.judge, **setting.to_json()},
            seed=setting.seed,
        )
        good = found.fit.refused is None
        path = self._asking.confidences.keep(collection.name, found) if good else None
        return Evaluated(compared=compared, confidence=found, path=path)

    def _voice(self, name: str | None) -> Generator:
        return self._asking.voices.generator(name)


def request(question: Question, setting: Setting) -> AskRequest:
    """A question as the door that answers takes it. Choices are told to generators that follow
    instructions, and not looked for."""
    words = (Term(kind="text", value=question.words),) if question.words else ()
    media = tuple(Term(kind=shown.kind, value=shown.value) for shown in question.media)
    letters = (f"{chr(ord('A') + n)}. {choice}" for n, choice in enumerate(question.choices))
    choices = "\n".join(("Answer with one of these:", *letters)) if question.choices else None
    return AskRequest(
        terms=(*words, *media),
        collection=setting.collection,
        history=tuple(
            Turn(role=Role(turn.role), terms=(Term(kind="text", value=turn.words),))
            for turn in question.history
        ),
        instructions=choices,
        generator=setting.generator,
        reranker=setting.reranker,
        retrieval=Retrieval(
            k=setting.k, complete=setting.complete, min_probability=setting.min_probability
        ),
        sampling=Sampling(seed=setting.seed),
    )


def _judged(
    setting: Setting,
    questions: Sequence[Question],
    outcomes: Sequence[Outcome],
    judge: Judge,
    progress: Progress,
) -> _Done:
    if all(one.failed is not None for one in outcomes):
        raise BadInput(f"no question could be asked; the first: {outcomes[0].failed}")
    found = scores.columns(questions, outcomes, judge, progress)
    if setting.min_probability == 0:  # nothing was held back, so there is no abstention to judge
        found.pop("unanswerable", None)
    return _Done(report(setting, outcomes, found, seed=setting.seed), found)


def _apart(done: Sequence[_Done], seed: int) -> dict[str, Figure]:
    if len(done) != 2:
        return {}
    return differences(done[0].columns, done[1].columns, seed=seed)


def _write(path: Path, told: Any) -> None:
    try:
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise Forbidden(f"{shown(path)} cannot be written: {error.strerror or error}") from error

"""From a question to an answer whose every sentence points at evidence. Read this file first.

route -> retrieve -> complete -> build the context -> answer or abstain -> generate -> check

Whether to answer is decided before anything is generated. Words go out as they come; sentences are
checked behind them, and what the check found comes last (Answer). Nothing that was found is ever
obeyed: it is fenced as data (fence.py), and no tool is called because of it (tool_calls.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from generation.types import Generator
from rag.citations import Checker
from rag.complete import Completer
from rag.context import build
from rag.decide import decide
from rag.finish import abstained, answered, supported
from rag.grounding.shown import with_shown
from rag.grounding.tool_calls import Permitted
from rag.library import Library
from rag.rerank import Reranker
from rag.retrieve import retrieve
from rag.stages import Stages
from rag.types import Answer, Ask, Delta
from rag.understand import understand


def stream(
    ask: Ask, library: Library, generator: Generator, reranker: Reranker, completer: Completer
) -> Iterator[Delta | Answer]:
    """The words of an answer as they come, and the answer as a whole at the end.

    Raises InvalidQuery for a question that asks nothing, NotFound for an item that is not there,
    and what the tower, the index and the generator raise. Closing the iterator ends the work.
    """
    stages = Stages()
    with stages("understand"):
        plan = understand(ask, library)
    with stages("retrieve"):
        passages = with_shown(ask, retrieve(ask, plan, library, reranker, stages), library)
    with stages("complete"):
        if ask.retrieval.complete:
            passages = completer.recognise(ask, plan, passages)
            passages = completer.fill(passages, generator.inputs)
    with stages("context"):
        prompt, passages = build(ask, plan, passages, library, generator)
    with stages("decide"):
        decision = decide(ask, plan, passages, prompt, library)
    if decision.reason is not None:
        answer = abstained(plan, decision, passages, generator, stages)
        yield Delta(text=answer.text)
        yield answer
        return
    permitted, checker = Permitted(prompt), Checker(prompt.evidence, alone=not ask.tools)
    for chunk in permitted(stages.each("generate", generator.generate(prompt))):
        if chunk.text or chunk.call:
            yield Delta(text=chunk.text, call=chunk.call)
        with stages("check"):
            checker.read(chunk)
    with stages("check"):
        checker.finish()
    yield answered(plan, decision, passages, generator, checker, stages, permitted.refused)


def answer(
    ask: Ask, library: Library, generator: Generator, reranker: Reranker, completer: Completer
) -> Answer:
    """As `stream`, all at once; sentences that nothing supports are left out."""
    *_, last = stream(ask, library, generator, reranker, completer)
    assert isinstance(last, Answer)
    return supported(last)

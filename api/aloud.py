"""A question asked for people: words as they come, then what they rest on, with pictures."""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from api import told_answers
from api.made import written
from api.requests_ask import AskRequest
from api.service import Service
from embed.errors import CrossbindError
from embed.types import Modality, TimeSpan
from rag.types import Answer, Passage

if TYPE_CHECKING:
    from api.terminal import Terminal

SEEN = {Modality.IMAGE, Modality.VIDEO}
SIDE = 160  # pixels of a picture that becomes a thumbnail


def answer(request: AskRequest, service: Service, people: Terminal, out: Path) -> Answer:
    """The answer, told; media that it holds are written into the folder `out`.

    Raises what `Asking.stream` and `made.written` do.
    """
    made = _said(request, service, people)
    told_answers.written(people, written(made.media, out))
    told_answers.told(people, made, look_of(service))
    return made


def look_of(service: Service) -> told_answers.Look:
    """Pictures of passages, for terminals that can show them."""

    def look(passage: Passage) -> bytes | None:
        hit, span = passage.hit, passage.hit.span
        if hit.item.modality not in SEEN:
            return None
        at = (span.start + span.end) / 2 if isinstance(span, TimeSpan) else None
        try:
            return service.preview(hit.collection, hit.item.id, side=SIDE, at=at)
        except CrossbindError:  # gone or broken: its name is told all the same
            return None

    return look


def _said(request: AskRequest, service: Service, people: Terminal) -> Answer:
    """Words as they come; on what is no terminal, once they were checked."""
    words = told_answers.Words(people)
    if not people.out.is_terminal:
        made = service.asking.answer(request)
        words(made.text)
        words.end()
        return made
    with closing(service.asking.stream(request)) as parts:
        with people.waiting("looking"):
            first = next(parts)
        try:
            for part in chain([first], parts):
                if isinstance(part, Answer):
                    made = part
                else:
                    words(part.text)
        finally:
            words.end()
    return made

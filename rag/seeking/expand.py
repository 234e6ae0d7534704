"""A passage widened to where its neighbours end, so that it can be read by itself.

A text fragment is cut by a count of tokens, often within a sentence. It is widened to whole
sentences, then by whole sentences before and after, as far as a budget of characters goes. It knows
the text alone: no model, no catalog.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from embed.types import CharSpan
from index.types import Hit

BUDGET = 1_200  # characters of a widened passage

# Where sentences end: at a mark and white space, at a blank line, at the end of a page.
_END = re.compile(r"(?:[.!?…][\"')\]”’]*(?=\s)|\n[ \t]*\n|\f|[。！？])\s*")  # noqa: RUF001


class Passages(NamedTuple):
    """Characters `[start, end)` of a text."""

    start: int
    end: int


def text_of(hit: Hit, budget: int = BUDGET) -> str | None:
    """What a hit says: its text, widened; None for what has no words of its own."""
    text = hit.item.text
    if text is None:
        return None
    if len(text) <= budget:
        return text.strip() or None
    if not isinstance(hit.span, CharSpan):
        return text[:budget].strip() or None
    start, end = widened(text, hit.span, budget)
    return text[start:end].strip() or None


def widened(text: str, span: CharSpan, budget: int = BUDGET) -> Passages:
    """The span with the rest of its first and last sentence, and neighbours as far as `budget`.

    Never less than the span. A sentence too long for the budget is cut.
    """
    low, high = max(0, span.start - budget), min(len(text), span.end + budget)
    ends = [low, *(found.end() for found in _END.finditer(text, low, high)), high]
    start, end = span.start, span.end
    before = [at for at in ends if at <= start]
    after = [at for at in ends if at >= end]
    while True:
        room = budget - (end - start)
        left = start - before[-1] if before else room + 1
        right = after[0] - end if after else room + 1
        if min(left, right) > room:
            return Passages(start, end)
        if left <= right:
            start = before.pop()
        else:
            end = after.pop(0)

"""Filters that a question states plainly, where the collection knows the field and the value.

`camera: X100`, `year = 2021`, and "photos from 2021" where items have a year. A value that no item
has narrows nothing: it is looked for by its words. Whatever is read here stays in the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from index.collection import Collection
from index.metadata.filters import And, Filter, Op, Predicate
from rag.seeking.wording import is_content, media_named

_STATED = re.compile(r"(?<![\w@])([^\W\d]\w{0,40})\s*[:=]\s*(?:\"([^\"]{1,80})\"|([\w.+-]{1,80}))")
_YEAR = re.compile(r"\b(?:from|of|in|taken\s+in|made\s+in)\s+((?:1[5-9]|20)\d\d)\b", re.I)
_YEARS = ("year",)


def filter_of(question: str, collection: Collection) -> Filter | None:
    """All that is stated plainly, together; None where nothing is."""
    found = [
        predicate
        for candidates in _stated(question)
        for predicate in candidates
        if collection.count(predicate)
    ]
    if not found:
        return None
    return found[0] if len(found) == 1 else And(tuple(found))


def _stated(question: str) -> Iterator[list[Predicate]]:
    for field, quoted, plain in _STATED.findall(question):
        if quoted or is_content(plain):  # "…is moving left: where is it" states nothing
            yield _equal(field, quoted or plain)
    if media_named(question):  # else a year is what the text tells, not what is noted about it
        for year in _YEAR.findall(question):
            for field in _YEARS:
                yield _equal(field, year)


def _equal(field: str, value: str) -> list[Predicate]:
    """As text and, where it reads as one, as a number; 2020 equals 2020.0."""
    texts = [Predicate(field, Op.EQ, value)]
    if re.fullmatch(r"[+-]?\d{1,15}(?:\.\d{1,15})?", value):
        texts.append(Predicate(field, Op.EQ, float(value)))
    return texts

"""Sentences around what evidence says: quoted, cited, led to by the answer, and called likely where
it was borrowed.

It chooses nothing.
"""

from __future__ import annotations

from generation.readings import Reading, Said
from generation.sentences import pieces
from generation.types import Saying

CITED = 3
"""Citations of a sentence at most."""

_QUOTED = 240  # characters of a quotation


def quoting(lead: str, said: Said) -> str:
    """`Red: “a small red disc” [1].`, or the sentence alone where nothing leads to it."""
    text = _short(said.text)
    quoted = _noting(text) if said.by is Saying.METADATA else in_quotes(text.rstrip(".!? "))
    if said.sources:
        words = (
            f"{lead}: one much like it is {quoted}"
            if lead
            else f"Likely {quoted}, as a similar one is"
        )
        return f"{words} {cite(said)}."
    if lead:
        return f"{lead}: {quoted} {cite(said)}."
    if text[:1].isupper() and text[-1:] in ".!?" and len(pieces(text)) == 1:
        return f"{text[:-1].rstrip()} {cite(said)}{text[-1]}"
    return f"{quoted} {cite(said)}."


def line(one: Reading) -> str:
    """A thing that was found, by what is said of it, else by its name and what is noted."""
    told = [said for said in one.said if said.by not in (Saying.TITLE, Saying.METADATA)]
    if told:
        said = max(told, key=lambda said: said.covers)
        return quoting("", said)
    noted = max(
        (said for said in one.said if said.by is Saying.METADATA),
        key=lambda said: said.covers,
        default=None,
    )
    more = f", {_noting(noted.text)}" if noted is not None else ""
    return f"{named(one)}{more} [{one.evidence.number}]."


def named(one: Reading) -> str:
    """Modality, title and place, as far as there are any."""
    evidence = one.evidence
    title = f" {in_quotes(evidence.title)}" if evidence.title else ""
    where = f" ({evidence.where})" if evidence.where else ""
    return f"the {evidence.modality}{title}{where}"


def leading(said: Said, words: str) -> str:
    return f"Likely {words}" if said.sources else capital(words)


def cite(said: Said) -> str:
    numbers = dict.fromkeys((said.number, *said.sources[: CITED - 1]))
    return "".join(f"[{n}]" for n in numbers)


def _noting(text: str) -> str:
    name, _, value = text.partition(": ")
    return f"its {name} is {in_quotes(value)}"


def in_quotes(text: str) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{text}\N{RIGHT DOUBLE QUOTATION MARK}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTED else text[:_QUOTED].rpartition(" ")[0] + " …"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]

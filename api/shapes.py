"""Values as people read them: one line each, counted nouns, moments as m:ss. Pure functions."""

from __future__ import annotations

from embed.types import CharSpan, Modality, PageSpan, Span, TimeSpan

MARKS = {Modality.TEXT: "¶", Modality.IMAGE: "▣", Modality.AUDIO: "♪", Modality.VIDEO: "▶"}
PARTS = {
    Modality.TEXT: "the words",
    Modality.IMAGE: "the pictures",
    Modality.AUDIO: "the sound",
    Modality.VIDEO: "the film",
}


def printable(text: str) -> str:
    """One line that is safe to print: white space becomes a space, what cannot be seen a �."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))


def short(text: str, length: int) -> str:
    """At most `length` characters, cut between words."""
    return text if len(text) <= length else text[: length - 1].rsplit(" ", 1)[0] + "…"


def many(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def pace(per_second: float) -> str:
    """`3.5 per second`; for what takes long, `1.3 per minute`."""
    slow = per_second < 1
    return f"{60 * per_second:.1f} per minute" if slow else f"{per_second:.1f} per second"


def marked(modality: Modality) -> str:
    """A modality and the sign it is known by."""
    return f"{MARKS.get(modality, '·')} {modality.value}"


def moment(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`; the second that is running."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def place_in(span: Span | None) -> str:
    """Where in its item a piece is: `0:12-0:22`, `page 3`; nothing where that says nothing."""
    if isinstance(span, TimeSpan):
        return f"{moment(span.start)}-{moment(span.end)}"
    page = span.page if isinstance(span, PageSpan | CharSpan) else None
    return "" if page is None else f"page {page}"

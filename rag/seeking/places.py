"""Other places of long texts that were found: one passage of a book seldom tells all of it.

A search finds each item once, by its best fragment. Of the best long texts the other fragments are
looked at too, by cosine and by the question's words, and those that stand out come as passages of
their own. Short texts are whole already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from embed.types import CharSpan, Modality
from index.search.fusion import RRF_K
from index.search.stored import StoredPieces
from index.types import Partition, VectorKind
from rag.library import Library
from rag.seeking.coverage import Glance
from rag.seeking.expand import BUDGET, widened
from rag.seeking.seek import Lead, Sighting, Voices
from rag.seeking.wording import terms_of

_TEXTS = 4  # long ones that are looked through
_PLACES = 3  # more of each


def with_places(leads: Sequence[Lead], asked: Voices, library: Library) -> list[Lead]:
    """The leads, each long text followed by its other places."""
    long = [lead for lead in leads if is_long(lead)][:_TEXTS]
    if asked.said is None or not long:
        return list(leads)
    pieces = library.collection.pieces_of(lead.item.id for lead in long)
    curve = library.curves(Modality.TEXT).get(Partition(Modality.TEXT, VectorKind.JOINT))
    found: list[Lead] = []
    for lead in leads:
        found.append(lead)
        if lead in long and lead.item.id in pieces:
            for fragment, span, cosine in _others(lead, asked, pieces[lead.item.id]):
                text = lead.item.text or ""
                hit = replace(
                    lead.found.hit,
                    fragment=fragment,
                    span=span,
                    text=text[span.start : span.end],
                )
                likely = None if curve is None else curve(cosine)
                found.append(
                    lead._replace(found=Sighting(hit, cosine, places=[1]), probability=likely)
                )
    return found


def is_long(lead: Lead) -> bool:
    """Whether its passage is a part of it alone."""
    return len(lead.item.text or "") > BUDGET and isinstance(lead.found.hit.span, CharSpan)


def _others(lead: Lead, asked: Voices, pieces: StoredPieces) -> list[tuple[int, CharSpan, float]]:
    """Fragments beside the one that was found, none within the passage of another."""
    assert asked.said is not None
    text = lead.item.text or ""
    glance = Glance(terms_of(asked.query.words or ""))
    spans = [span if isinstance(span, CharSpan) else CharSpan(0, 0) for span in pieces.spans]
    cosines = pieces.vectors @ asked.said.joint
    covers = np.array([glance(text[span.start : span.end]) for span in spans])
    worth = sum(
        1.0 / (RRF_K + np.argsort(np.argsort(-s, kind="stable"))) for s in (cosines, covers)
    )
    first = lead.found.hit.span
    taken = [widened(text, first)] if isinstance(first, CharSpan) else []
    chosen: list[tuple[int, CharSpan, float]] = []
    for at in np.argsort(-np.asarray(worth), kind="stable").tolist():
        if len(chosen) == _PLACES:
            break
        span = spans[at]
        if all(span.end <= low or span.start >= high for low, high in taken):
            taken.append(widened(text, span))
            chosen.append((int(pieces.ids[at]), span, float(cosines[at])))
    return chosen

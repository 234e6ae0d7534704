"""Items that a question shows, as evidence: what is said of a thing itself goes before what is said
of things like it.

Such a passage is certainly about the question, so its probability is 1, which no calibrated one is;
and it is completed like any other that lacks words. It seeks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from embed.types import Item, Modality, Origin
from index.types import Hit
from rag.library import Library
from rag.types import Ask, Passage

CERTAIN = 1.0


def with_shown(ask: Ask, found: Sequence[Passage], library: Library) -> list[Passage]:
    """The items asked with, in their order, then all else that was found, numbered anew.

    Raises NotFound for an item that is gone.
    """
    if not ask.items:
        return list(found)
    items = [library.collection.item(item_id) for item_id in dict.fromkeys(ask.items)]
    beside = library.collection.items_of_records({item.record for item in items})
    pieces = library.collection.pieces_of([item.id for item in items])
    shown = [
        _passage(item, int(pieces[item.id].ids[0]), beside.get(item.record, []), library)
        for item in items
        if item.id in pieces
    ]
    records = {passage.hit.item.record for passage in shown}
    others = [passage for passage in found if passage.hit.item.record not in records]
    return [replace(one, number=n) for n, one in enumerate([*shown, *others], 1)]


def _passage(item: Item, fragment: int, record: Sequence[Item], library: Library) -> Passage:
    hit = Hit(
        item=item,
        fragment=fragment,
        span=None,
        score=None,
        probability=CERTAIN,
        rank_score=CERTAIN,
        collection=library.collection.name,
        found_by=("question",),
    )
    others = (one for one in record if one.id != item.id and one.origin is Origin.OBSERVED)
    text = item.text if item.modality is Modality.TEXT else None
    return Passage(number=1, hit=hit, probability=CERTAIN, text=text, siblings=tuple(others))

"""What the tests of answering share: passages, a library of media alone, generators to order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from embed.errors import NotFound
from embed.types import Item, Media, Metadata, Modality, Span
from generation.types import Chunk, Prompt, Taste
from index.types import Completion, Hit, Source
from rag.types import Passage, Plan


def item_of(
    name: str,
    modality: Modality = Modality.IMAGE,
    *,
    text: str | None = None,
    title: str | None = None,
    metadata: Metadata | None = None,
    record: str | None = None,
) -> Item:
    return Item(
        id=name,
        record=record or f"record-{name}",
        modality=modality,
        uri=None,
        digest=name,
        title=title,
        text=text,
        metadata=metadata or {},
    )


def passage_of(
    number: int,
    caption: str | None = None,
    *,
    p: float = 0.9,
    modality: Modality = Modality.IMAGE,
    title: str | None = None,
    metadata: Metadata | None = None,
    borrowed: str | None = None,
    sources: Sequence[int] = (),
    span: Span | None = None,
    role: str = "found",
) -> Passage:
    """A picture with a caption beside it, or a text of its own; item `i3` for number 3."""
    is_text = modality is Modality.TEXT
    item = item_of(
        f"i{number}", modality, text=caption if is_text else None, title=title, metadata=metadata
    )
    beside = () if is_text or caption is None else (_caption(item, caption),)
    lent = () if borrowed is None else (_lent(item, borrowed, sources),)
    hit = Hit(
        item=item,
        fragment=number,
        span=span,
        score=0.5,
        probability=p,
        rank_score=p,
        collection="c",
    )
    return Passage(
        number=number,
        hit=hit,
        probability=p,
        text=caption if is_text else None,
        siblings=beside,
        completions=lent,
        role="source" if role == "source" else "found",
    )


def _caption(item: Item, text: str) -> Item:
    return item_of(f"{item.id}~text", Modality.TEXT, text=text, record=item.record)


def _lent(item: Item, text: str, sources: Sequence[int]) -> Completion:
    share = 1 / max(len(sources), 1)
    return Completion(
        record=item.record,
        modality=Modality.TEXT,
        value=text,
        vector=None,
        origin="retrieved",
        sources=tuple(Source(f"i{n}", f"record-i{n}", share) for n in sources),
        p=0.8,
        method="best",
    )


class Shelf:
    """Stands for a library where nothing is searched: items and media by id."""

    def __init__(
        self, items: Sequence[Item] = (), media: Mapping[str, Media] | None = None
    ) -> None:
        self.collection = self
        self.modalities = frozenset({Modality.IMAGE, Modality.TEXT})
        self.opened: list[str] = []
        self._items = {item.id: item for item in items}
        self._media = media or {}

    def item(self, item_id: str) -> Item:
        if item_id not in self._items:
            raise NotFound(f"no item {item_id!r}")
        return self._items[item_id]

    def media_of(self, item: Item, span: Span | None, side: int) -> Media | None:
        self.opened.append(item.id)
        return self._media.get(item.id)


class Scripted:
    """Says what it is told to say, in chunks; keeps the prompts that it was given."""

    name = "scripted"
    outputs = frozenset({Modality.TEXT})

    def __init__(
        self,
        say: str | Sequence[Chunk] | Callable[[Prompt], Sequence[Chunk]] = "",
        *,
        inputs: frozenset[Modality] = frozenset({Modality.TEXT}),
        taste: Taste | None = None,
    ) -> None:
        self.inputs = inputs
        self.taste = taste or Taste(context=4_000, images=4, image_side=32, seconds=5.0)
        self.prompts: list[Prompt] = []
        self.closed = 0
        self._say = say

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def generate(self, prompt: Prompt) -> Iterator[Chunk]:
        self.prompts.append(prompt)
        try:
            yield from self._chunks(prompt)
        finally:
            self.closed += 1

    def _chunks(self, prompt: Prompt) -> Iterator[Chunk]:
        if isinstance(self._say, str):
            yield from (Chunk(text=letter) for letter in self._say)
            yield Chunk(finish="stop")
        else:
            yield from self._say(prompt) if callable(self._say) else self._say

    def close(self) -> None:
        pass


def plan_of(question: str, **fields: Any) -> Plan:
    return Plan(question=question, queries=(), **fields)


@pytest.fixture(name="passage_of")
def passage_of_fixture() -> Callable[..., Passage]:
    return passage_of


@pytest.fixture(name="item_of")
def item_of_fixture() -> Callable[..., Item]:
    return item_of


@pytest.fixture(name="plan_of")
def plan_of_fixture() -> Callable[..., Plan]:
    return plan_of


@pytest.fixture(name="shelf")
def shelf_fixture() -> type[Shelf]:
    return Shelf


@pytest.fixture(name="scripted")
def scripted_fixture() -> type[Scripted]:
    return Scripted


@pytest.fixture
def picture() -> Media:
    """Twice as wide as high, larger than `Scripted` has any use for."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 128, 3), np.uint8)
    return Media(Modality.IMAGE, pixels)

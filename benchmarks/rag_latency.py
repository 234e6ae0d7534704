"""What answering costs around the generator and the tower, on 100,000 items, by stage.

    python benchmarks/rag_latency.py

Pictures and captions are made up: words as frequent as Zipf's law says, a vector the sum of its
words', a picture's that of its caption with noise; a third of the records have no words. The tower
and the generator take no time of their own to speak of, and theirs is taken off. Besides: when the
first words of an answer come, with a checker of citations that is slow and evidence that is long.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_up import Bag, caption, curves, fill, unknown
from setting import finish, say

from embed.batcher import Batcher
from embed.registry import LoadOptions
from embed.types import Media, Modality
from generation.extractive import Extractive
from generation.types import Chunk, Evidence, Prompt, Saying, Statement, Taste
from index.catalog import Catalog
from index.collection import Collection
from rag import pipeline
from rag.citations import Checker
from rag.complete import Completer
from rag.library import Library
from rag.rerank import open_reranker
from rag.types import Answer, Ask, Delta, ItemPart, Retrieval

GOAL = 30.0  # milliseconds, median over questions of all kinds
WAIT = 0.02  # seconds that the slow checker takes for each chunk


class Chatty:
    """A generator that talks, and notes when. Its words cite the first passage."""

    name = "chatty"
    inputs = frozenset({Modality.TEXT})
    outputs = frozenset({Modality.TEXT})
    taste = Taste(context=32_000)

    def __init__(self) -> None:
        self.said_first = 0.0

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def generate(self, prompt: Prompt) -> Iterator[Chunk]:
        words = (prompt.evidence[0].statements[0].text.split() or ["so"])[:40]
        self.said_first = time.perf_counter()
        for word in words:
            yield Chunk(text=word + " ")
        yield Chunk(text="[1].", finish="stop")

    def close(self) -> None:
        """Nothing is held."""


class SlowChecker(Checker):
    """Takes its time over every chunk."""

    def read(self, chunk: Chunk) -> None:
        time.sleep(WAIT)
        super().read(chunk)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=60, help="questions of each kind")
    parser.add_argument("--index", default="exact")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        catalog = Catalog(Path(scratch) / "catalog.db")
        collection = fill(catalog, args.items, args.index)
        library = Library(collection, Batcher(Bag()), curves(), lambda *_: None)
        options = LoadOptions(cache=Path(scratch), threads=2, offline=True)
        house = (open_reranker("builtin", options, library), Completer(library))
        assert house[1].fit(Modality.TEXT)  # as `crossbind complete` has done before
        told = {
            kind: overhead(kind, asks, library, house)
            for kind, asks in questions(collection, args.times).items()
        }
        median = round(statistics.median(x for one in told.values() for x in one.pop("each")), 2)
        result = {
            "items": args.items,
            "index": args.index,
            "goal": {"value": median, "goal": GOAL, "met": median < GOAL},
            "overhead_ms": told,
            "first_words": first_words(library, house, args.times),
        }
        library.batcher.close()
        collection.close()
        catalog.close()
    finish("rag_latency", result, args.out)
    return 0


def questions(collection: Collection, times: int) -> dict[str, list[Ask]]:
    """In words; for two things at once; about a picture that has none; of nothing that is there."""
    told = [item.text or "" for item in collection.sample(count=12 * times, seed=1) if item.text]
    said = [text.split() for text in told]
    bare = [n * 3 for n in range(times)]
    return {
        "words": [asked(f"Where is the {' '.join(one[1:7])}?") for one in said[:times]],
        "two things": [
            asked(f"Where are the {' '.join(one[1:3])} and the {' '.join(other[1:3])}?")
            for one, other in zip(said[:times], said[times:], strict=False)
        ],
        "a picture without words": [asked("What is this?", f"r{n}.image") for n in bare],
        "nothing": [
            asked(f"Who has sold the {unknown(n)} of {unknown(n + 7)}?") for n in range(times)
        ],
    }


def asked(words: str, item: str | None = None) -> Ask:
    parts: list[Any] = [Media(Modality.TEXT, words)]
    return Ask(parts=(*parts, ItemPart(item)) if item else tuple(parts))


def overhead(kind: str, asks: Sequence[Ask], library: Library, house: Any) -> dict[str, Any]:
    """Milliseconds in all but the models, and by stage: medians, and the 95th of a hundred.

    busy: of the processor, in the thread that answers, for machines that others use too.
    """
    generator, told, busy, answered = Extractive(), [], [], 0
    for ask in asks[: len(asks) // 6]:  # warms up
        pipeline.answer(ask, library, generator, *house)
    for ask in asks:
        began = time.thread_time()
        answer = pipeline.answer(ask, library, generator, *house)
        busy.append((time.thread_time() - began) * 1e3)
        answered += not answer.abstained
        told.append(dict(answer.timings_ms))
    around = [
        times["total"] - times.get("embed", 0.0) - times.get("generate", 0.0) for times in told
    ]
    stages = {name for times in told for name in times}
    result = {
        "median": round(statistics.median(around), 2),
        "p95": round(float(np.quantile(around, 0.95)), 2),
        "busy": round(statistics.median(busy), 2),
        "answered": answered / len(asks),
        "stages": {
            name: round(statistics.median(times.get(name, 0.0) for times in told), 2)
            for name in sorted(stages)
        },
    }
    say(f"{kind}: {result}")
    return {**result, "each": around}


def first_words(library: Library, house: Any, times: int) -> dict[str, Any]:
    """Milliseconds from the generator's first chunk to the caller's, and from there to the end."""
    asks = questions(library.collection, times)["words"]
    ordinary = pipeline.Checker
    table = {}
    for name, checker in (("checked", ordinary), ("checked slowly", SlowChecker)):
        pipeline.Checker = checker  # type: ignore[misc]
        waits, rests = [], []
        for ask in asks[:10]:
            wait, rest = _first(ask, library, house)
            waits.append(wait)
            rests.append(rest)
        table[name] = {
            "to the first words": round(statistics.median(waits), 3),
            "from there to the end": round(statistics.median(rests), 1),
        }
    pipeline.Checker = ordinary  # type: ignore[misc]
    table["ready to check long evidence"] = _ready()
    say(f"first words: {table}")
    return table


def _first(ask: Ask, library: Library, house: Any) -> tuple[float, float]:
    generator = Chatty()
    ask = Ask(parts=ask.parts, retrieval=Retrieval(min_probability=0.0))
    coming = pipeline.stream(ask, library, generator, *house)
    first = next(coming)
    at = time.perf_counter()
    assert isinstance(first, Delta)
    *_, last = coming
    assert isinstance(last, Answer)
    assert not last.abstained, last.reason
    return (at - generator.said_first) * 1e3, (time.perf_counter() - at) * 1e3


def _ready() -> float:
    """Milliseconds until a checker of eight passages of 2,000 words can be told of a first chunk:
    all that checking puts before the generator."""
    rng = np.random.default_rng(0)
    evidence = tuple(
        Evidence(
            number=n,
            modality=Modality.TEXT,
            title=None,
            where=None,
            probability=0.9,
            statements=(
                Statement(text=". ".join(caption(rng) for _ in range(200)), by=Saying.TEXT),
            ),
        )
        for n in range(1, 9)
    )
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        Checker(evidence)
        spent.append((time.perf_counter() - began) * 1e3)
    return round(statistics.median(spent), 3)


if __name__ == "__main__":
    sys.exit(main())

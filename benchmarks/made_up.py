"""Made-up pictures and captions, as many as one likes, and a tower that takes no time.

Words are as frequent as Zipf's law says; a vector is the sum of its words', a picture's that of its
caption with noise.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from setting import say

from embed.calibration import Calibration, Curve, Fit, Pair
from embed.types import Batching, CharSpan, Floats, Media, Modality, Space, Vectors, normalise
from index.catalog import Catalog
from index.collection import Collection
from index.types import Entry, NewFragment

DIM = 384
VOCABULARY = 20_000
BATCH = 2_000
ALIKE = 10  # items of each caption: six records, two of which have no words
SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=DIM)


class Bag:
    """A tower of nothing but words: a text is the sum of its words' vectors."""

    space = SPACE
    modalities = frozenset({Modality.TEXT, Modality.IMAGE})
    batching = Batching()
    chunker = "whole"
    image_side = 1

    def fragment(self, media: Media) -> Iterator[tuple[None, Media]]:
        yield None, media

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def warm(self) -> None:
        """Nothing is loaded."""

    def prepare(self, piece: Media) -> str:
        assert isinstance(piece.data, str)
        return piece.data

    def run(self, _modality: Modality, batch: Sequence[str]) -> Vectors:
        return Vectors(SPACE, np.stack([vector(text) for text in batch]))

    def embed(self, batch: Sequence[Media]) -> Vectors:
        return self.run(batch[0].modality, [self.prepare(piece) for piece in batch])


def fill(catalog: Catalog, items: int, index: str) -> Collection:
    """Of five items two are a picture and its caption, twice, and one a picture alone; several
    records show and say the same."""
    info = catalog.create_collection("c", space=SPACE, chunker="whole", index=index)
    collection = Collection(catalog, info)
    began, rng = time.perf_counter(), np.random.default_rng(0)
    told = [caption(rng) for _ in range(items // ALIKE)]
    entries: list[Entry] = []
    for record in range(items * 3 // 5):
        text = told[record % len(told)]
        seen = normalise((vector(text) + 0.05 * rng.standard_normal(DIM))[None])[0]
        entries.append(entry(f"r{record}", Modality.IMAGE, seen, None))
        if record % 3:
            entries.append(entry(f"r{record}", Modality.TEXT, vector(text), text))
        if len(entries) >= BATCH:
            collection.write(entries)
            entries = []
    collection.write(entries)
    collection.settle()
    say(f"{collection.counts()} in {time.perf_counter() - began:.0f} s")
    return collection


def entry(record: str, modality: Modality, joint: Floats, text: str | None) -> Entry:
    key = f"{record}.{modality.value}"
    span = None if text is None else CharSpan(0, len(text))
    return Entry(
        modality=modality,
        digest=hashlib.sha256(key.encode()).hexdigest(),
        fragments=[NewFragment(span, joint)],
        id=key,
        record=record,
        text=text,
        title=None if text else f"{record}.jpg",
    )


def caption(rng: np.random.Generator) -> str:
    named = [word(n) for n in rng.choice(VOCABULARY, 5, p=_shares())]
    return "a {} {} with a {} {} near the {}".format(*named)


@lru_cache
def _shares() -> Floats:
    shares = 1 / np.arange(10, VOCABULARY + 10)
    return shares / shares.sum()


@lru_cache(VOCABULARY)
def word(number: int) -> str:
    """Pronounceable, and no word of any language."""
    starts, middles = (
        ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"),
        "aeiou",
    )
    said = ""
    while number or len(said) < 4:
        number, start = divmod(number, len(starts))
        number, middle = divmod(number, len(middles))
        said += starts[start] + middles[middle]
    return said + "k"


def unknown(number: int) -> str:
    """A word that no caption has."""
    return word(VOCABULARY + number)


def vector(text: str) -> Floats:
    return normalise(np.sum([_of_word(one.strip("?.,")) for one in text.lower().split()], 0)[None])[
        0
    ]


@lru_cache(VOCABULARY * 2)
def _of_word(said: str) -> Floats:
    seed = int.from_bytes(hashlib.sha256(said.encode()).digest()[:8])
    weight = 1.0 if said.endswith("k") else 0.2  # what is in no vocabulary is said everywhere
    return (weight * np.random.default_rng(seed).standard_normal(DIM)).astype(np.float32)


def curves() -> Calibration:
    """Of no data: probable from a cosine of .6 on."""
    fit = Fit(curve=Curve(20.0, -11.0), count=1000, positives=500, auroc=0.95, ece=0.01, brier=0.1)
    pairs = [Pair(q, i) for q in Bag.modalities for i in Bag.modalities]
    return Calibration(SPACE.id, dict.fromkeys(pairs, fit))

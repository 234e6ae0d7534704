"""The same searches on every engine: filters, groups, pages, batches, while items come and go."""

from __future__ import annotations

from typing import Any

import numpy as np

from embed.types import Floats, GeoPoint, Modality, normalise
from index.catalog import Catalog
from index.collection import Collection
from index.metadata.filter_text import parse_filter
from index.search.query import Query
from index.types import Entry, NewFragment

IMAGE, TEXT = Modality.IMAGE, Modality.TEXT
FILTERS = (
    "n < 10",
    "n >= 3 and (colour = 'red' or flag = true) and not has(text)",
    "tag in ('sea', 'boat')",
    "not exists(colour)",
    "near(place, 48.0, 16.0, 100000)",
    "match(@title, 'harbour')",
    "n = 3.0",
    "flag = 1",
    "@id in ('07', '08') or @modality = 'text'",
)


def entries(rng: np.random.Generator) -> list[Entry]:
    vectors: Floats = normalise(rng.standard_normal((60, 8)))
    return [
        Entry(
            id=f"{n:02}",
            record=f"r{n // 2}",
            modality=TEXT if n % 6 == 5 else IMAGE,
            digest="d",
            title="a harbour" if n % 4 == 0 else "a hill",
            metadata={
                "n": n,
                "flag": n % 2 == 0,
                "tag": ["sea", "boat"][: n % 3],
                **({"colour": ("red", "blue")[n % 2]} if n % 5 else {}),
                **({"place": GeoPoint(48 + n / 10, 16)} if n % 3 == 0 else {}),
            },
            fragments=[NewFragment(None, vector)],
        )
        for n, vector in enumerate(vectors)
    ]


def asked(rng: np.random.Generator) -> list[Query]:
    """One of each filter, and what is made of hits, in one batch."""
    vectors = normalise(rng.standard_normal((len(FILTERS) + 5, 8)))
    about: list[dict[str, Any]] = [
        *({"filter": parse_filter(text), "k": 60} for text in FILTERS),
        {"group_by": "record", "k": 7},
        {"diversity": 0.5, "filter": parse_filter("flag = true")},
        {"offset": 5, "k": 5},
        {"modalities": frozenset({TEXT})},
        {"min_score": 0.3, "k": 60, "words": "harbour"},
    ]
    return [Query(joint=vector, **one) for vector, one in zip(vectors, about, strict=True)]


def test_every_engine_gives_the_same_hits(catalog: Catalog, space: Any, case: Any) -> None:
    rng = np.random.default_rng(0)
    collections = []
    for name, address in (("judge", "exact"), ("case", case.address)):
        info = catalog.create_collection(name, space=space, chunker="whole", index=address)
        collections.append(Collection(catalog, info))
    judge, collection = collections[:2]
    queries, stored = asked(rng), entries(rng)
    try:
        for some in (stored[:40], stored[40:]):
            for one in collections:
                one.write(some)
            agree(judge, collection, queries)
        for one in collections:
            one.delete(["03", "07", "20", "21"])
            one.update("08", metadata={"n": 3, "colour": "red"}, title="harbour of old")
            one.write([stored[3]])
        agree(judge, collection, queries)
        if not case.address.startswith("qdrant"):  # which one at a time may have open
            collections.append(Collection(catalog, collection.info))
            agree(judge, collections[-1], queries)
    finally:
        for one in collections:
            one.close()


def agree(judge: Collection, collection: Collection, queries: list[Query]) -> None:
    both = [one.search_batch(queries) for one in (judge, collection)]
    for number, (right, found) in enumerate(zip(*both, strict=True)):
        told = [(hit.item.id, hit.found_by, hit.group_size) for hit in found.hits]
        assert told == [(h.item.id, h.found_by, h.group_size) for h in right.hits], number
        assert found.more == right.more
        scores = [np.nan if hit.score is None else hit.score for hit in found.hits]
        true = [np.nan if hit.score is None else hit.score for hit in right.hits]
        np.testing.assert_allclose(scores, true, atol=1e-5)

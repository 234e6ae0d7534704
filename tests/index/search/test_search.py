"""What is made of a ranking, each against a plain loop over all items: pages, groups, variety."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from embed.errors import BadInput, InvalidQuery
from embed.types import Floats, Modality, TimeSpan, normalise
from index.catalog import Catalog
from index.collection import Collection
from index.contents import Contents
from index.metadata.filter_text import parse_filter
from index.metadata.filters import matches
from index.metadata.words import Words
from index.search.fusion import RRF_K
from index.search.query import Balance, Pieces, Query
from index.search.recommending import by_best_score, by_context
from index.search.selection import group_of
from index.types import Entry, Found, Hit, NewFragment
from index.vectors.exact import ExactIndex

TEXT, IMAGE, VIDEO = Modality.TEXT, Modality.IMAGE, Modality.VIDEO
COLOURS = ("red", "green", "blue")


class Library:
    """80 pictures in memory, of one to three fragments each; every fifth is nearly the one before.

    Two to a record, a colour each but every seventh, files of two parts.
    """

    def __init__(self, collection: Collection) -> None:
        rng = np.random.default_rng(7)
        self.rng = rng
        self.collection = collection
        self.vectors: dict[str, Floats] = {}
        self.records: dict[str, str] = {}
        self.colours: dict[str, str | None] = {}
        self.files: dict[str, str] = {}
        before = units(rng, 1)
        entries = []
        for number in range(80):
            vectors = units(rng, 1 + number % 3)
            if number % 5 == 4:
                vectors = normalise(before[:1] + 0.01 * units(rng, 1))
            before = vectors
            entries.append(self.entry(f"i{number:02}", vectors, number))
        collection.write(entries)

    def entry(self, name: str, vectors: Floats, number: int) -> Entry:
        colour = None if number % 7 == 0 else COLOURS[number % 3]
        part = "#text" if number % 2 else ""
        self.vectors[name] = vectors
        self.records[name] = f"r{number // 2}"
        self.colours[name] = colour
        self.files[name] = f"file:///{number // 2}"
        return Entry(
            id=name,
            record=f"r{number // 2}",
            uri=f"file:///{number // 2}{part}",
            modality=IMAGE,
            digest=name,
            metadata={} if colour is None else {"colour": colour, "odd": bool(number % 2)},
            fragments=[NewFragment(TimeSpan(n, n + 1), v) for n, v in enumerate(vectors)],
        )

    def score(self, name: str, query: Floats) -> float:
        return float((self.vectors[name] @ query).max())

    def matched(self, name: str, query: Floats) -> Floats:
        vectors = self.vectors[name]
        return vectors[int((vectors @ query).argmax())]

    def ranked(self, query: Floats) -> list[str]:
        return sorted(self.vectors, key=lambda name: -self.score(name, query))


def units(rng: np.random.Generator, count: int, dim: int = 8) -> Floats:
    return normalise(rng.standard_normal((count, dim)))


def ids(hits: list[Hit]) -> list[str]:
    return [hit.item.id for hit in hits]


@pytest.fixture
def library(collection: Collection) -> Library:
    return Library(collection)


@pytest.fixture
def query() -> Floats:
    return units(np.random.default_rng(3), 1)[0]


# Pages


def test_pages_by_offset_are_the_ranking_in_pieces(library: Library, query: Floats) -> None:
    best = library.ranked(query)
    pages = [
        library.collection.search(Query(joint=query, k=30, offset=start)) for start in (0, 30, 60)
    ]
    assert [name for page in pages for name in ids(page.hits)] == best
    assert [page.more for page in pages] == [True, True, False]
    assert library.collection.search(Query(joint=query, k=5, offset=200)).hits == []
    with pytest.raises(InvalidQuery, match="10,000"):
        library.collection.search(Query(joint=query, offset=9_999))


def walk(library: Library, about: dict[str, Any], between: Callable[[int], None]) -> list[str]:
    """All pages of 7, with something happening after each."""
    seen: frozenset[int] = frozenset()
    names: list[str] = []
    for number in range(50):
        page = library.collection.search(Query(k=7, seen=seen, **about))
        names += ids(page.hits)
        seen |= frozenset(page.passed)
        if not page.more:
            return names
        between(number)
    raise AssertionError("no end")


@pytest.mark.parametrize(
    "about",
    [{}, {"group_by": "colour"}, {"collapse": 0.99}, {"diversity": 0.5}, {"min_score": 0.2}],
    ids=str,
)
def test_pages_that_go_on_from_what_was_shown_are_one_long_page(
    library: Library, query: Floats, about: dict[str, Any]
) -> None:
    whole = library.collection.search(Query(joint=query, k=1000, **about)).hits
    assert walk(library, {"joint": query, **about}, lambda _: None)[:20] == ids(whole)[:20]
    assert len(walk(library, {"joint": query, **about}, lambda _: None)) == len(whole)


def test_pages_lose_and_double_nothing_while_items_come_and_go(
    library: Library, query: Floats
) -> None:
    order = library.ranked(query)
    come: list[str] = []

    def churn(number: int) -> None:
        if number < 5:
            library.collection.delete([order[number], order[-1 - number]])
            near = normalise(query[None] + 0.001 * units(library.rng, 1))
            come.append(f"new{number}")
            library.collection.write([library.entry(come[-1], near, 900 + 2 * number)])

    names = walk(library, {"joint": query}, churn)
    left = {item.id for item in library.collection.items(limit=1000)[0]}
    assert len(names) == len(set(names))
    assert len(left) < 80
    assert {*left, *come} <= set(names)
    assert not set(names) & {*order[-5:]}


# What is chosen


def test_range_search_ends_at_the_score(library: Library, query: Floats) -> None:
    scores = sorted((library.score(name, query) for name in library.vectors), reverse=True)
    least = (scores[20] + scores[21]) / 2
    results = library.collection.search(Query(joint=query, k=1000, min_score=least))
    assert ids(results.hits) == library.ranked(query)[:21]
    assert not results.more
    with pytest.raises(InvalidQuery, match="min_score is 2"):
        library.collection.search(Query(joint=query, min_score=2))


@pytest.mark.parametrize(
    ("field", "facts"),
    [("record", "records"), ("@record", "records"), ("uri", "files"), ("colour", "colours")],
)
def test_groups_are_told_by_their_best(
    library: Library, query: Floats, field: str, facts: str
) -> None:
    groups: dict[str, str | None] = getattr(library, facts)
    told: list[str] = []
    for name in library.ranked(query):
        known = {groups[other] for other in told} - {None}
        if groups[name] not in known:
            told.append(name)
    for k in (2, 10, 99):
        found = library.collection.search(Query(joint=query, k=k, group_by=field))
        assert ids(found.hits) == told[:k]
        assert found.more == (k < len(told))


def test_groups_reach_beyond_what_each_modality_gives(collection: Collection) -> None:
    """Thirty texts of one group before pictures of many: each ranking ends before all is told."""
    vectors = units(np.random.default_rng(6), 40)
    collection.write(
        [
            Entry(
                id=f"{n:02}",
                modality=TEXT if n < 30 else IMAGE,
                digest="d",
                metadata={"group": "texts" if n < 30 else str(n)},
                fragments=[NewFragment(None, vector)],
            )
            for n, vector in enumerate(vectors)
        ]
    )
    for k in (7, 8, 20):
        found = collection.search(Query(joint=vectors[0], k=k, group_by="group"))
        assert len(found.hits) == min(k, 11)
        assert found.more == (k < 11)


def test_true_and_one_are_two_groups(collection: Collection) -> None:
    vectors = units(np.random.default_rng(1), 4)
    collection.write(
        [
            Entry(
                modality=IMAGE,
                digest="d",
                metadata={"v": value},
                fragments=[NewFragment(None, vector)],
            )
            for value, vector in zip((True, 1, 1.0, [1]), vectors, strict=True)
        ]
    )
    assert len(collection.search(Query(joint=vectors[0], group_by="v")).hits) == 2


@pytest.mark.parametrize("native", [False, True])
def test_near_duplicates_are_told_once(collection: Collection, native: bool) -> None:
    """Natively alike, where pictures have vectors of their own; a text is no twin of a picture."""
    rng = np.random.default_rng(5)
    joint, own = units(rng, 12), units(rng, 12, 3)
    own[6:] = normalise(own[:6] + 0.01 * units(rng, 6, 3))
    if not native:
        joint[6:] = normalise(joint[:6] + 0.01 * units(rng, 6))
    collection.write(
        [
            Entry(
                id=f"{n:02}",
                modality=IMAGE,
                digest="d",
                fragments=[NewFragment(None, j, m if native else None)],
            )
            for n, (j, m) in enumerate(zip(joint, own, strict=True))
        ]
        + [Entry(id="text", modality=TEXT, digest="d", fragments=[NewFragment(None, joint[0])])]
    )
    query = Query(joint=joint[0], collapse=0.98, modalities=frozenset({IMAGE}))
    looks = own if native else joint
    told: list[int] = []
    for number in sorted(range(12), key=lambda n: -float(joint[n] @ joint[0])):
        if all(float(looks[number] @ looks[other]) < 0.98 for other in told):
            told.append(number)
    assert ids(collection.search(query).hits) == [f"{number:02}" for number in told]
    both = collection.search(Query(joint=joint[0], collapse=0.98)).hits
    assert "text" in ids(both)


@pytest.mark.parametrize("diversity", [0.3, 0.7, 1.0])
def test_diversity_is_maximal_marginal_relevance(
    library: Library, query: Floats, diversity: float
) -> None:
    """Against the definition, item by item (Carbonell and Goldstein 1998)."""
    names = library.ranked(query)
    scores = {name: library.score(name, query) for name in names}
    low, high = min(scores.values()), max(scores.values())
    told: list[str] = []
    while len(told) < 12:

        def gain(name: str) -> float:
            near = [
                float(library.matched(name, query) @ library.matched(other, query))
                for other in told
            ]
            relevance = (scores[name] - low) / (high - low)
            return (1 - diversity) * relevance - diversity * max(near, default=0.0)

        told.append(max((name for name in names if name not in told), key=gain))
    found = library.collection.search(Query(joint=query, k=12, diversity=diversity))
    assert ids(found.hits) == told
    paged = library.collection.search(
        Query(joint=query, k=6, offset=6, diversity=diversity, collapse=1.0)
    )
    assert len(paged.hits) == 6


def test_pieces_rank_anew_by_their_best_places(library: Library, query: Floats) -> None:
    """MaxSim by two loops (Khattab and Zaharia 2020); negative pieces count against."""
    pieces, weights = units(library.rng, 3), np.array([0.5, 0.5, -1.0], np.float32)

    def late(name: str) -> float:
        best = [
            weight * max(float(piece @ vector) for vector in library.vectors[name])
            for piece, weight in zip(pieces, weights, strict=True)
        ]
        return sum(best) / 2.0

    told = sorted(library.vectors, key=late, reverse=True)
    found = library.collection.search(Query(joint=query, k=9, pieces=Pieces(pieces, weights)))
    assert ids(found.hits) == told[:9]
    assert [hit.rank_score for hit in found.hits] == pytest.approx(
        [late(name) for name in told[:9]], abs=1e-6
    )
    assert [hit.score for hit in found.hits] == pytest.approx(
        [library.score(name, query) for name in told[:9]], abs=1e-6
    )


def test_moments_are_the_best_places_of_an_item(library: Library, query: Floats) -> None:
    for hit in library.collection.search(Query(joint=query, moments=2)).hits:
        scores = library.vectors[hit.item.id] @ query
        best = np.argsort(-scores)[:2]
        assert [moment.span for moment in hit.moments] == [TimeSpan(n, n + 1) for n in best]
        assert [moment.score for moment in hit.moments] == pytest.approx(scores[best], abs=1e-6)
        assert hit.moments[0].fragment == hit.fragment


@pytest.mark.parametrize("text", ["", "odd = true", "colour != 'red' and @record >= 'r2'"])
@pytest.mark.parametrize("field", ["record", "uri", "colour"])
def test_a_group_tells_how_many_answers_it_stands_for(
    library: Library, query: Floats, field: str, text: str
) -> None:
    given = parse_filter(text) if text else None
    items, _ = library.collection.items(limit=1000)
    allowed = [item for item in items if given is None or matches(given, item, frozenset())]
    found = library.collection.search(Query(joint=query, k=99, group_by=field, filter=given))
    assert sum(hit.group_size or 0 for hit in found.hits) == len(allowed)
    for hit in found.hits:
        key = group_of(hit.item, field)
        alike = [item for item in allowed if group_of(item, field) == key]
        assert hit.group_size == (1 if key is None else len(alike))


# Filters and words


@pytest.mark.parametrize(
    "text", ["colour = 'red'", "not exists(colour)", "odd = true and @id < 'i20'", "@id = 'i07'"]
)
def test_a_filter_leaves_what_it_means_in_order(library: Library, query: Floats, text: str) -> None:
    given = parse_filter(text)
    told = [
        name
        for name in library.ranked(query)
        if matches(given, library.collection.item(name), frozenset({IMAGE}))
    ]
    found = library.collection.search(Query(joint=query, k=7, filter=given))
    assert ids(found.hits) == told[:7]
    assert found.more == (len(told) > 7)
    [late] = library.collection.write([library.entry("late", query[None], 993)])
    library.collection.update(late, metadata={"colour": "red", "odd": True})
    assert (late in ids(library.collection.search(Query(joint=query, filter=given)).hits)) == (
        text == "colour = 'red'"
    )


def test_lists_are_filtered_page_by_page(library: Library) -> None:
    given = parse_filter("odd = true")
    whole = [item for item in library.collection.items(limit=1000)[0] if item.metadata.get("odd")]
    seen, cursor = library.collection.items(limit=7, f=given)
    while cursor is not None:
        some, cursor = library.collection.items(limit=7, f=given, cursor=cursor)
        seen += some
    assert seen == whole
    [one], _ = library.collection.items(f=given, modality=IMAGE, record="r0")
    assert one.record == "r0"
    assert library.collection.items(f=given, modality=TEXT) == ([], None)
    with pytest.raises(BadInput, match="limit is 0"):
        library.collection.items(f=given, limit=0)


def test_equal_numbers_of_two_kinds_are_two_filters_in_a_batch(collection: Collection) -> None:
    vectors = units(np.random.default_rng(2), 2)
    collection.write(
        [
            Entry(
                id=repr(value),
                modality=IMAGE,
                digest="d",
                metadata={"v": value},
                fragments=[NewFragment(None, vector)],
            )
            for value, vector in zip((True, 1), vectors, strict=True)
        ]
    )
    asked = [Query(joint=vectors[0], filter=parse_filter(text)) for text in ("v = true", "v = 1")]
    assert [ids(one.hits) for one in collection.search_batch(asked)] == [["True"], ["1"]]


class Shelf:
    """Texts with words of their own, and vectors that know nothing of them."""

    WORDS = ("boat", "harbour", "dog", "tax")

    def __init__(self, collection: Collection, contents: Contents) -> None:
        rng = np.random.default_rng(4)
        self.collection = collection
        self.words = Words(contents)
        self.vectors = {f"{n:02}": units(rng, 1)[0] for n in range(40)}
        said = [" ".join(rng.choice(self.WORDS, 1 + n % 4)) for n in range(40)]
        collection.write(
            [
                Entry(
                    id=name,
                    modality=TEXT,
                    digest=name,
                    text=text,
                    metadata={"odd": bool(int(name) % 2)},
                    fragments=[NewFragment(None, self.vectors[name])],
                )
                for name, text in zip(self.vectors, said, strict=True)
            ]
        )


@pytest.fixture
def shelf(catalog: Catalog, collection: Collection) -> Shelf:
    return Shelf(collection, catalog.contents(collection.info))


@pytest.mark.parametrize("balance", [Balance(), Balance(0.2, 1.0), Balance(1.0, 0.0)])
@pytest.mark.parametrize("text", [None, "odd = true"])
def test_words_and_vectors_are_fused_by_rank(
    shelf: Shelf, query: Floats, balance: Balance, text: str | None
) -> None:
    allowed = [name for name in shelf.vectors if text is None or int(name) % 2]
    dense = sorted(allowed, key=lambda name: -float(shelf.vectors[name] @ query))
    said = [
        shelf.collection.search(Query(joint=query, words="boat harbour", balance=Balance(0, 1)))
    ]
    ranked = shelf.words.search("boat harbour", 100)
    names = {hit.fragment: hit.item.id for hit in _everything(shelf, query)}
    spoken = [names[one.fragment] for one in ranked if names[one.fragment] in allowed]
    assert [hit.score for hit in said[0].hits] == [None] * 10
    share = dict.fromkeys(allowed, 0.0)
    for weight, ranking in zip(balance, (dense, spoken), strict=True):
        for rank, name in enumerate(ranking, 1):
            share[name] += weight / (RRF_K + rank)
    found = shelf.collection.search(
        Query(
            joint=query,
            words="boat harbour",
            balance=balance,
            k=12,
            filter=None if text is None else parse_filter(text),
        )
    ).hits
    assert [hit.rank_score for hit in found] == pytest.approx(
        sorted(share.values(), reverse=True)[:12]
    )
    assert [hit.rank_score for hit in found] == pytest.approx([share[h.item.id] for h in found])
    for hit in found:
        assert ("words" in hit.found_by) == (hit.item.id in spoken)
        assert hit.score == pytest.approx(float(shelf.vectors[hit.item.id] @ query), abs=1e-6)


def _everything(shelf: Shelf, query: Floats) -> list[Hit]:
    return shelf.collection.search(Query(joint=query, k=100)).hits


def test_words_alone_find_what_no_vector_is_near(shelf: Shelf, query: Floats) -> None:
    low = Query(joint=query, words="boat", min_score=0.99, k=40)
    found = shelf.collection.search(low).hits
    assert found
    assert {hit.found_by for hit in found} == {("words",)}
    assert all(hit.score is None and "boat" in str(hit.text) for hit in found)
    alone = shelf.collection.search(Query(words="boat", k=40)).hits
    assert ids(alone) == ids(found)
    assert shelf.collection.search(Query(words="zebra")).hits == []
    without = Query(words="boat", exclude=frozenset({alone[0].item.id}))
    assert ids(shelf.collection.search(without).hits) == ids(alone)[1:11]


# Examples


@pytest.mark.parametrize("negative", [0, 2])
def test_recommendations_by_best_score_are_by_the_nearest_examples(
    library: Library, negative: int
) -> None:
    good, bad = (
        units(library.rng, 3),
        units(library.rng, negative) if negative else units(library.rng, 1)[:0],
    )

    def score(name: str) -> float:
        cosines = library.vectors[name] @ good.T
        worst = float((library.vectors[name] @ bad.T).max()) if negative else -1.0
        best = float(cosines.max())
        return best if best > worst else -(worst**2)

    told = sorted(library.vectors, key=score, reverse=True)
    for k, offset in ((5, 0), (20, 10), (80, 0)):
        found = by_best_score(library.collection, good, bad, Query(k=k, offset=offset))
        assert ids(found.hits) == told[offset : offset + k]
        assert found.more == (offset + k < 80)
        assert [hit.rank_score for hit in found.hits] == pytest.approx(
            [score(name) for name in told[offset : offset + k]], abs=1e-6
        )


def test_recommendations_by_context_are_on_the_good_side_of_each_pair(library: Library) -> None:
    good, bad = units(library.rng, 3), units(library.rng, 3)

    def place(name: str) -> tuple[float, float]:
        apart = library.vectors[name] @ (good - bad).T
        return float(np.minimum(apart, 0).sum(axis=-1).max()), float(
            (library.vectors[name] @ good.T).max()
        )

    told = sorted(library.vectors, key=place, reverse=True)
    inside = sum(place(name)[0] == 0 for name in told)
    assert 2 < inside < 40
    for k, offset in ((3, 0), (inside, 2), (80, 0)):
        found = by_context(library.collection, good, bad, Query(k=k, offset=offset))
        assert ids(found.hits) == told[offset : offset + k]
        assert [hit.rank_score for hit in found.hits] == pytest.approx(
            [place(name)[0] for name in told[offset : offset + k]], abs=1e-6
        )


# Batches


def test_a_mixed_batch_answers_as_its_queries_alone_with_a_call_an_engine(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = [
        Query(joint=vector, k=3 + number, group_by="record" if number % 3 == 0 else None)
        for number, vector in enumerate(units(library.rng, 8))
    ]
    queries.append(Query(joint=queries[0].joint, modalities=frozenset({VIDEO})))
    alone = [library.collection.search(query) for query in queries]
    asked: list[int] = []
    real = ExactIndex.search

    def counting(self: ExactIndex, vectors: Floats, k: int, where: Any = None) -> Found:
        asked.append(len(vectors))
        return real(self, vectors, k, where)

    monkeypatch.setattr(ExactIndex, "search", counting)
    together = library.collection.search_batch(queries)
    assert [ids(one.hits) for one in together] == [ids(one.hits) for one in alone]
    assert asked[0] == 8
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"diversity": 1.5}, "diversity is 1.5"),
        ({"collapse": -1.0}, "collapse is -1"),
        ({"offset": -1}, "offset is -1"),
        ({"joint": None}, "nothing is asked"),
        ({"modalities": frozenset()}, "no modality"),
        ({"group_by": "@text"}, "texts make no groups"),
    ],
)
def test_queries_that_make_no_sense_say_why(
    library: Library, query: Floats, fault: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidQuery, match=told):
        library.collection.search(Query(**{"joint": query, **fault}))

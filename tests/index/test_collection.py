"""Items written, replaced, moved, paged and found again, through one collection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import (
    BadInput,
    CatalogError,
    Conflict,
    InvalidQuery,
    InvalidVector,
    NotFound,
    SpaceMismatch,
)
from embed.types import (
    BoxSpan,
    CharSpan,
    Floats,
    GeoPoint,
    Item,
    Modality,
    Origin,
    PageSpan,
    Space,
    TimeSpan,
)
from index.catalog import Catalog
from index.collection import Collection
from index.search.query import Query
from index.types import Entry, Failure, FileStamp, NewFragment, VectorKind

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
STAMP = FileStamp(size=3, mtime_ns=2**62, checked_ns=2**62 + 1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def uris(items: list[Item]) -> list[str | None]:
    return [item.uri for item in items]


def rows_in(catalog: Catalog, table: str) -> int:
    with catalog._database.reading() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


# Damage


def test_a_damaged_vector_is_the_catalogs_fault(
    collection: Collection, catalog: Catalog, units, entry, rng
) -> None:
    vectors = units(rng, 3)
    collection.write([entry(vectors[i : i + 1]) for i in range(3)])
    with catalog._database.writing() as connection:
        connection.execute(
            "UPDATE vectors SET vector = zeroblob(length(vector)) WHERE fragment = 2"
        )
    with pytest.raises(CatalogError, match="crossbind repair"):
        collection.search(Query(joint=vectors[0]))


# Writing


def test_everything_said_of_an_item_is_kept(collection: Collection, units, rng) -> None:
    spans = [CharSpan(0, 2), TimeSpan(0.5, 1.25), PageSpan(3), BoxSpan(0, 0.25, 0.5, 1), None]
    vectors, native = units(rng, 5), units(rng, 5, 3)
    metadata = {
        "year": 2020,
        "ratio": 0.1,
        "flag": False,
        "empty": "",
        "tags": ["sea", 3, True],
        "place": GeoPoint(48.2, 16.4),
    }
    [key] = collection.write(
        [
            Entry(
                id="own",
                record="r",
                modality=TEXT,
                digest="abc",
                uri="file:///%C3%A4",
                title="Ä\0title",
                text="words",
                origin=Origin.GENERATED,
                metadata=metadata,
                stamp=STAMP,
                fragments=[
                    NewFragment(span, joint, own)
                    for span, joint, own in zip(spans, vectors, native, strict=True)
                ],
            )
        ]
    )
    item = Item(
        id="own",
        record="r",
        modality=TEXT,
        uri="file:///%C3%A4",
        digest="abc",
        title="Ä\0title",
        text="words",
        origin=Origin.GENERATED,
        metadata=metadata,
    )
    assert key == "own"
    assert collection.item("own") == item
    np.testing.assert_array_equal(collection.vectors_of("own"), vectors)
    np.testing.assert_array_equal(collection.vectors_of("own", VectorKind.NATIVE), native)
    for vector, span in zip(vectors, spans, strict=True):
        [hit] = collection.search(Query(joint=vector)).hits
        assert (hit.item, hit.span, hit.collection) == (item, span, "c")
        assert hit.score == hit.rank_score == pytest.approx(1, abs=1e-6)
        assert hit.text == ("wo" if span == CharSpan(0, 2) else "words")
        [stored] = collection.vectors_of_fragments([hit.fragment, 999]).values()
        np.testing.assert_array_equal(stored, vector)


def test_an_item_without_names_gets_its_own(collection: Collection, units, entry, rng) -> None:
    keys = collection.write([entry(units(rng, 1)) for _ in range(3)])
    assert len(set(keys)) == 3
    items, _ = collection.items()
    assert [item.id for item in items] == [item.record for item in items] == keys
    assert collection.vectors_of(keys[0], VectorKind.NATIVE).shape[0] == 0


def test_the_same_uri_replaces_and_keeps_id_record_and_metadata(
    catalog: Catalog, collection: Collection, units, entry, rng
) -> None:
    old, new = units(rng, 3), units(rng, 2)
    [key] = collection.write(
        [entry(old, uri="file:///a", digest="1", record="r", metadata={"kept": 1}, title="t")]
    )
    before = {hit.fragment for vector in old for hit in collection.search(Query(joint=vector)).hits}
    assert collection.write([entry(new, uri="file:///a", digest="2", modality=TEXT)]) == [key]
    item = collection.item(key)
    assert (item.record, item.digest, item.modality, item.title) == ("r", "2", TEXT, "t")
    assert item.metadata == {"kept": 1}
    np.testing.assert_array_equal(collection.vectors_of(key), new)
    [hit] = collection.search(Query(joint=new[1])).hits
    assert hit.fragment > max(before)
    assert collection.search(Query(joint=old[0], modalities=frozenset({IMAGE}))).hits == []
    collection.write([entry(new, uri="file:///a", metadata={})])
    assert collection.item(key).metadata == {}
    assert (rows_in(catalog, "fragments"), rows_in(catalog, "vectors")) == (2, 2)


def test_an_id_replaces_and_may_change_its_uri(collection: Collection, units, entry, rng) -> None:
    collection.write([entry(units(rng, 1), id="x", uri="file:///a")])
    collection.write([entry(units(rng, 1), id="x", uri="file:///b")])
    assert uris(collection.items()[0]) == ["file:///b"]
    collection.write([entry(units(rng, 1), id="y", uri="file:///a")])
    with pytest.raises(Conflict, match="'file:///a' belongs to item 'y'"):
        collection.write([entry(units(rng, 1), id="x", uri="file:///a")])
    assert uris(collection.items()[0]) == ["file:///b", "file:///a"]


def test_records_hold_several_items_and_go_with_the_last(
    catalog: Catalog, collection: Collection, units, entry, rng
) -> None:
    photo, words = collection.write(
        [entry(units(rng, 1), record="r"), entry(units(rng, 1), record="r", modality=TEXT)]
    )
    assert {item.record for item in collection.items()[0]} == {"r"}
    collection.write([entry(units(rng, 1), id=photo, record="s")])
    assert collection.item(photo).record == "s"
    collection.write([entry(units(rng, 1), id=photo, record="t")])
    assert rows_in(catalog, "records") == 2
    assert collection.delete([photo, words, photo, "never"]) == 2
    assert rows_in(catalog, "records") == 0


def test_ids_are_never_used_twice(collection: Collection, units, entry, rng) -> None:
    vector = units(rng, 1)
    seen: list[int] = []
    for _ in range(4):
        [key] = collection.write([entry(vector)])
        [hit] = collection.search(Query(joint=vector[0])).hits
        seen.append(hit.fragment)
        collection.delete([key])
    assert seen == sorted(set(seen))


def test_removals_come_first_so_a_uri_can_change_hands(
    collection: Collection, units, entry, rng
) -> None:
    collection.write([entry(units(rng, 1), id="old", uri="file:///a")])
    collection.write([entry(units(rng, 1), id="new", uri="file:///a")], remove=["old", "never"])
    assert [item.id for item in collection.items()[0]] == ["new"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"uri": "file:///ä"}, BadInput),
        ({"uri": ""}, BadInput),
        ({"id": ""}, BadInput),
        ({"id": "x" * 257}, BadInput),
        ({"record": "\ud800"}, BadInput),
        ({"metadata": {"a": float("nan")}}, BadInput),
        ({"metadata": {"a": None}}, BadInput),
        ({"metadata": {"a": {"b": 1}}}, BadInput),
        ({"metadata": {"a": [[1]]}}, BadInput),
        ({"fragments": [NewFragment(None, np.eye(9, dtype=np.float32)[0])]}, SpaceMismatch),
        ({"fragments": [NewFragment(None, np.zeros(8, np.float32))]}, InvalidVector),
        ({"fragments": [NewFragment(None, np.full(8, np.nan, np.float32))]}, InvalidVector),
        ({"fragments": [NewFragment(None, np.eye(8)[0])]}, InvalidVector),
    ],
)
def test_a_fault_in_the_middle_leaves_nothing(
    collection: Collection, units, entry, rng, fault: dict[str, Any], error: type[Exception]
) -> None:
    good = [entry(units(rng, 1), uri=f"file:///{n}") for n in range(4)]
    fields = {"modality": IMAGE, "digest": "d", "fragments": good[0].fragments, **fault}
    failure = Failure(uri="file:///x", code="bad_input", message="m")
    collection.write(good[:1])
    with pytest.raises(error):
        collection.write([*good[1:], Entry(**fields), *good], failures=[failure], remove=["a"])
    assert uris(collection.items()[0]) == ["file:///0"]
    assert collection.failures() == []
    assert len(collection.search(Query(joint=units(rng, 1)[0])).hits) == 1


def test_native_vectors_of_another_length_are_refused(collection: Collection, units, rng) -> None:
    def with_native(dim: int) -> Entry:
        fragment = NewFragment(None, units(rng, 1)[0], units(rng, 1, dim)[0])
        return Entry(modality=IMAGE, digest="d", fragments=[fragment])

    collection.write([with_native(3)])
    with pytest.raises(SpaceMismatch, match=r"native image vector of 4 numbers.*3.*'c'"):
        collection.write([with_native(4)])
    assert collection.counts() == {IMAGE: 1}


def test_bytes_that_are_no_text_do_not_break_the_catalog(
    collection: Collection, units, entry, rng
) -> None:
    odd = "caf\udce9.txt"
    [key] = collection.write(
        [entry(units(rng, 1), title=odd, text=odd, metadata={odd: [odd]})],
        failures=[Failure(uri="file:///caf%E9", code="bad_input", message=odd)],
    )
    item = collection.item(key)
    whole = "caf\ufffd.txt"
    assert (item.title, item.text, item.metadata) == (whole, whole, {whole: [whole]})
    assert collection.failures()[0].message == whole
    with pytest.raises(BadInput, match="Unicode"):
        collection.item("\udce9")


def test_metadata_and_titles_change_and_vectors_stay(
    collection: Collection, units, entry, rng
) -> None:
    vector = units(rng, 1)
    [key] = collection.write([entry(vector, title="t", metadata={"a": 1})])
    assert collection.update(key, title="new").metadata == {"a": 1}
    item = collection.update(key, metadata={"b": GeoPoint(1, 2)})
    assert (item.title, item.metadata) == ("new", {"b": GeoPoint(1, 2)})
    assert collection.update(key, metadata={}, title="").metadata == {}
    assert collection.item(key).title == ""
    np.testing.assert_array_equal(collection.vectors_of(key), vector)
    with pytest.raises(NotFound, match="'c' has no item 'z'"):
        collection.update("z", title="t")
    with pytest.raises(BadInput, match="'a' is None"):
        collection.update(key, metadata={"a": None})  # type: ignore[dict-item]


# Files


def test_failures_are_kept_until_the_file_succeeds(
    collection: Collection, units, entry, rng
) -> None:
    def failure(uri: str, message: str = "m") -> Failure:
        return Failure(uri=uri, code="corrupt_media", message=message)

    collection.write([], failures=[failure("file:///b"), failure("file:///a", "first")])
    collection.write([], failures=[failure("file:///a", "second")])
    assert collection.failures() == [failure("file:///a", "second"), failure("file:///b")]
    [key] = collection.write([entry(units(rng, 1), uri="file:///a")])
    assert collection.failures() == [failure("file:///b")]
    collection.write([], failures=[failure("file:///a")], forgive=["file:///b"])
    assert collection.failures() == [failure("file:///a")]
    assert collection.counts() == {IMAGE: 1}
    collection.delete([key])
    assert collection.failures() == []


def test_files_are_known_by_their_stamps_and_move(
    collection: Collection, units, entry, rng
) -> None:
    a, b, _ = collection.write(
        [
            entry(units(rng, 1), uri="file:///a", digest="1", stamp=STAMP, title="a"),
            entry(units(rng, 1), uri="file:///b", digest="2"),
            entry(units(rng, 1)),
        ],
        failures=[Failure(uri="file:///new", code="corrupt_media", message="m")],
    )
    states = collection.file_states()
    assert states.keys() == {"file:///a", "file:///b"}
    assert (states["file:///a"].items, states["file:///a"].stamp) == ({IMAGE: a}, STAMP)
    assert (states["file:///b"].digest, states["file:///b"].stamp) == ("2", None)
    later = FileStamp(size=4, mtime_ns=5, checked_ns=6)
    collection.restamp({"file:///b": later, "file:///never": later})
    assert collection.file_states()["file:///b"].stamp == later
    collection.move("file:///a", "file:///new", stamp=later, renamed=("a", "new"))
    state = collection.file_states()["file:///new"]
    assert (state.items, state.stamp, collection.item(a).title) == ({IMAGE: a}, later, "new")
    assert collection.failures() == []
    with pytest.raises(Conflict, match="file:///b"):
        collection.move("file:///new", "file:///b", stamp=later)
    with pytest.raises(NotFound, match="file:///a"):
        collection.move("file:///a", "file:///c", stamp=later)
    collection.move("file:///b", "file:///b", stamp=STAMP)
    assert collection.file_states()["file:///b"].stamp == STAMP
    assert collection.item(b).title is None


def test_vectors_are_reused_only_where_they_mean_the_same(
    catalog: Catalog, collection: Collection, units, rng, space: Space
) -> None:
    joint, native = units(rng, 2), units(rng, 2, 3)
    fragments = [
        NewFragment(CharSpan(0, 4), joint[0], native[0]),
        NewFragment(CharSpan(2, 9), joint[1], native[1]),
    ]
    collection.write([Entry(modality=TEXT, digest="same", fragments=fragments)])
    collection.write(
        [Entry(modality=IMAGE, digest="bare", fragments=[NewFragment(None, joint[0])])]
    )

    def other(name: str, **changes: Any) -> Collection:
        options = {"space": space, "chunker": "whole", **changes}
        return Collection(catalog, catalog.create_collection(name, **options))

    known = other("twin").known_fragments("same", TEXT)
    assert known is not None
    assert [fragment.span for fragment in known] == [CharSpan(0, 4), CharSpan(2, 9)]
    np.testing.assert_array_equal([fragment.joint for fragment in known], joint)
    np.testing.assert_array_equal([fragment.native for fragment in known], native)
    [bare] = collection.known_fragments("bare", IMAGE) or []
    np.testing.assert_array_equal(bare.joint, joint[0])
    assert bare.native is None
    assert collection.known_fragments("same", IMAGE) is None
    assert collection.known_fragments("other", TEXT) is None
    assert other("cut", chunker="pieces").known_fragments("same", TEXT) is None
    revised = Space(name="toy", revision="2", preprocessing="1", precision="fp32", dim=8)
    assert other("revised", space=revised).known_fragments("same", TEXT) is None


# Reading


def test_pages_meet_every_item_once_while_others_come_and_go(
    collection: Collection, units, entry, rng
) -> None:
    keys = collection.write(
        [entry(units(rng, 1), modality=(IMAGE, TEXT)[n % 2]) for n in range(25)]
    )
    seen, cursor = collection.items(limit=10)
    collection.delete(keys[3:12])
    [late] = collection.write([entry(units(rng, 1))])
    while cursor is not None:
        page, cursor = collection.items(limit=10, cursor=cursor)
        seen += page
    assert [item.id for item in seen] == [*keys[:10], *keys[12:], late]
    texts, end = collection.items(limit=7, modality=TEXT)
    assert ([item.id for item in texts], end) == ([keys[1], *keys[13::2]], None)
    assert collection.counts() == {IMAGE: 10, TEXT: 7}
    whole, end = collection.items(limit=17)
    assert (len(whole), end) == (17, None)


@pytest.mark.parametrize("cursor", ["", "x", "äö", "YWZ0ZXI6eA==", "YWZ0ZXI6LTE=", "bm9uZTox"])
def test_a_cursor_that_is_none_is_refused(collection: Collection, cursor: str) -> None:
    with pytest.raises(BadInput, match="cursor"):
        collection.items(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_limits(collection: Collection, limit: int) -> None:
    with pytest.raises(BadInput, match="1 to 1000"):
        collection.items(limit=limit)


def test_unknown_items_are_not_found(collection: Collection) -> None:
    for call in (collection.item, collection.vectors_of):
        with pytest.raises(NotFound, match="'c' has no item 'x'"):
            call("x")
    assert collection.vectors_of_fragments([7]) == {}


def test_many_fragments_are_hydrated_at_once(
    catalog: Catalog, collection: Collection, units, entry, rng
) -> None:
    collection.write([entry(units(rng, 1201), uri="file:///a")])
    contents = catalog.contents(collection.info)
    found = contents.hydrate(range(1300))
    assert found.keys() == set(range(1, 1202))
    assert {fragment.item.uri for fragment in found.values()} == {"file:///a"}
    assert contents.hydrate([]) == {}
    assert len(contents.owners(range(1100, 1300))) == 102


# Searching


def test_one_hit_per_item_for_its_best_fragment(collection: Collection, units, entry, rng) -> None:
    near = units(rng, 1)[0]
    crowd = near + 0.01 * units(rng, 60)
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    others = units(rng, 4)
    collection.write(
        [entry(crowd, id="crowd"), *(entry(v[None], id=f"{n}") for n, v in enumerate(others))]
    )
    results = collection.search(Query(joint=near, k=3))
    expected = sorted(range(4), key=lambda n: -float(near @ others[n]))
    assert [hit.item.id for hit in results.hits] == ["crowd", *(str(n) for n in expected[:2])]
    assert results.hits[0].score == pytest.approx(float((crowd @ near).max()), abs=1e-6)
    assert (results.exact, results.recall_estimate) == (True, 1.0)
    assert len(collection.search(Query(joint=near, k=99)).hits) == 5
    without = collection.search(Query(joint=near, k=2, exclude=frozenset({"crowd", "nobody"})))
    assert [hit.item.id for hit in without.hits] == [str(n) for n in expected[:2]]


def test_a_batch_answers_as_each_query_alone(
    catalog: Catalog, space: Space, address: str, units, entry, rng
) -> None:
    info = catalog.create_collection("any", space=space, chunker="whole", index=address)
    collection = Collection(catalog, info)
    collection.write([entry(units(rng, n % 5), modality=(IMAGE, TEXT)[n % 2]) for n in range(40)])
    queries = units(rng, 7)
    together = collection.search_batch([Query(joint=query, k=6) for query in queries])
    for query, results in zip(queries, together, strict=True):
        alone = collection.search(Query(joint=query, k=6))
        assert [hit.fragment for hit in alone.hits] == [hit.fragment for hit in results.hits]
        scores = [hit.rank_score for hit in results.hits]
        assert scores == sorted(scores, reverse=True)
    assert collection.search_batch([]) == []


def test_modalities_are_merged_by_rank_not_by_score(
    collection: Collection, units, entry, rng
) -> None:
    query, away = np.eye(8, dtype=np.float32)[:2]

    def at(cosine: float) -> Floats:
        return np.array([cosine * query + (1 - cosine**2) ** 0.5 * away], dtype=np.float32)

    collection.write(
        [entry(at(score), id=f"t{score}", modality=TEXT) for score in (0.9, 0.8, 0.7)]
        + [entry(at(score), id=f"i{score}") for score in (0.3, 0.2)]
    )
    hits = collection.search(Query(joint=query, k=4)).hits
    assert [hit.item.id for hit in hits] == ["t0.9", "i0.3", "t0.8", "i0.2"]
    assert [hit.rank_score for hit in hits] == pytest.approx([1 / 61, 1 / 61, 1 / 62, 1 / 62])
    assert [hit.score for hit in hits] == pytest.approx([0.9, 0.3, 0.8, 0.2], abs=1e-6)
    only = collection.search(Query(joint=query, k=2, modalities=frozenset({IMAGE}))).hits
    assert [hit.rank_score for hit in only] == pytest.approx([0.3, 0.2], abs=1e-6)
    assert collection.search(Query(joint=query, modalities=frozenset({Modality.AUDIO}))).hits == []


def test_native_queries_ask_the_towers_own_vectors(collection: Collection, units, rng) -> None:
    joint, native = units(rng, 4), units(rng, 4, 3)
    collection.write(
        [
            Entry(modality=IMAGE, digest="d", id=f"{n}", fragments=[NewFragment(None, j, m)])
            for n, (j, m) in enumerate(zip(joint, native, strict=True))
        ]
        + [Entry(modality=TEXT, digest="d", id="text", fragments=[NewFragment(None, joint[0])])]
    )
    hits = collection.search(
        Query(joint=joint[0], native={IMAGE: native[2]}, modalities=frozenset({IMAGE}))
    ).hits
    assert hits[0].item.id == "2"
    assert hits[0].score == pytest.approx(1, abs=1e-6)
    both = collection.search(
        Query(joint=joint[0], k=2, native={IMAGE: native[2], TEXT: native[0]})
    ).hits
    assert [hit.item.id for hit in both] == ["text", "2"] or both[0].item.id == "2"
    with pytest.raises(SpaceMismatch, match=r"native image query.*\(3,\)"):
        collection.search(Query(joint=joint[0], native={IMAGE: joint[0]}))


def test_queries_from_elsewhere_are_refused(collection: Collection, units, entry, rng) -> None:
    with pytest.raises(SpaceMismatch, match=r"9 numbers.*'c'.*toy@.* of 8"):
        collection.search(Query(joint=units(rng, 1, 9)[0]))
    collection.write([entry(units(rng, 1))])
    with pytest.raises(InvalidVector):
        collection.search(Query(joint=np.full(8, np.nan, np.float32)))
    with pytest.raises(InvalidVector, match=r"\(1, 8\)"):
        collection.search(Query(joint=units(rng, 1)))
    with pytest.raises(InvalidQuery, match="k is 0"):
        collection.search(Query(joint=units(rng, 1)[0], k=0))
    with pytest.raises(InvalidQuery, match="no modality"):
        collection.search(Query(joint=units(rng, 1)[0], modalities=frozenset()))


def test_a_collection_opened_later_follows_every_change(
    catalog: Catalog, space: Space, address: str, units, entry, rng
) -> None:
    info = catalog.create_collection("any", space=space, chunker="whole", index=address)
    writer, reader = Collection(catalog, info), Collection(catalog, info)
    live: dict[str, Floats] = {}
    for step in range(30):
        names = {f"{n}" for n in rng.integers(0, 40, 6)}
        gone = {f"{n}" for n in rng.integers(0, 40, 4)} - names
        vectors = {name: units(rng, 1) for name in sorted(names)}
        writer.write([entry(v, id=name) for name, v in vectors.items()], remove=sorted(gone))
        live = {name: v for name, v in live.items() if name not in gone} | vectors
        if step % 3 == 0:
            query = units(rng, 1)[0]
            best = sorted(live, key=lambda name: -float(query @ live[name][0]))[:5]
            for collection in (writer, reader, Collection(catalog, info)):
                assert [
                    hit.item.id for hit in collection.search(Query(joint=query, k=5)).hits
                ] == best
                [follower] = collection._searcher._ranker._engines._followers.values()
                assert len(follower.vectors) == len(live)


def test_searches_beside_a_writer_find_whole_items(
    catalog: Catalog, collection: Collection, units, entry, rng
) -> None:
    """Half of the items are replaced again and again; the others are always there, and once."""
    vectors = units(rng, 12)
    collection.write([entry(v[None].repeat(2, axis=0), id=f"{n}") for n, v in enumerate(vectors)])
    stable = {f"{n}" for n in range(6, 12)}
    faults: list[object] = []
    stop = threading.Event()

    def read(seed: int, mine: Collection) -> None:
        order = np.random.default_rng(seed)
        try:
            while not stop.is_set():
                hits = mine.search(Query(joint=vectors[int(order.integers(12))], k=99)).hits
                ids = [hit.item.id for hit in hits]
                if len(set(ids)) != len(ids) or not stable <= set(ids):
                    faults.append(ids)
        except Exception as error:
            faults.append(error)

    other = Collection(catalog, collection.info)
    readers = [
        threading.Thread(target=read, args=(seed, mine))
        for seed, mine in enumerate([collection, collection, other])
    ]
    for reader in readers:
        reader.start()
    for step in range(60):
        number = step % 6
        collection.write([entry(vectors[number][None].repeat(2, axis=0), id=f"{number}")])
    stop.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert len(collection.search(Query(joint=vectors[0], k=99)).hits) == 12


def test_a_replacement_in_the_middle_of_a_search_is_found(
    collection: Collection, units, entry, rng, monkeypatch
) -> None:
    vectors = units(rng, 3)
    collection.write([entry(v[None], id=f"{n}") for n, v in enumerate(vectors)])
    owners = collection._contents.owners

    def owners_too_late(fragments):
        monkeypatch.undo()
        collection.write([entry(v[None], id=f"{n}") for n, v in enumerate(vectors)])
        return owners(fragments)

    monkeypatch.setattr(collection._contents, "owners", owners_too_late)
    assert [hit.item.id for hit in collection.search(Query(joint=vectors[1], k=1)).hits] == ["1"]


def test_an_engine_forgets_what_was_deleted(collection: Collection, units, entry, rng) -> None:
    keys = collection.write([entry(units(rng, 3)) for _ in range(4)])
    collection.search(Query(joint=units(rng, 1)[0]))
    collection.delete(keys[:2])
    collection.search(Query(joint=units(rng, 1)[0]))
    [follower] = collection._searcher._ranker._engines._followers.values()
    assert len(follower.vectors) == 6


def test_an_engine_loads_piece_by_piece(
    tmp_path: Path,
    collection: Collection,
    catalog: Catalog,
    units: Callable[..., Floats],
    entry,
    rng,
) -> None:
    vectors = units(rng, 9000)
    collection.write([entry(vectors[:5000]), entry(vectors[5000:])])
    contents = catalog.contents(collection.info)
    [state] = contents.partitions()
    with contents.changes_since(state, 0) as changes:
        pieces = [(ids, rows.copy()) for ids, rows in changes.added]
        assert max(len(ids) for ids, _ in pieces) <= 4096
        assert changes.seq == state.seq
        assert len(changes.removed) == 0
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in pieces]), vectors)
    ids = np.concatenate([ids for ids, _ in pieces])
    assert np.all(np.diff(ids) > 0)
    with contents.changes_since(state, state.seq) as changes:
        assert list(changes.added) == []

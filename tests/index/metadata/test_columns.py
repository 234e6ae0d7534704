"""Columns give for every filter the very items that its definition means, whoever writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embed.errors import NotFound
from embed.types import Floats, GeoPoint, Item, Modality, Space
from index.catalog import Catalog
from index.contents import Contents, PartitionState
from index.metadata import item_table
from index.metadata.columns import Columns
from index.metadata.filters import And, Circle, Filter, Has, Not, Op, Or, Predicate, matches
from index.types import Entry, FileStamp, NewFragment
from index.writing import Writing

FEW = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXTS = [
    "",
    "sea",
    "Sea",
    "la mer",
    "Ein schöner Tag am Meer",
    "schoner tag",
    "猫が好き",
    "a猫",
    "2024-05-01",
    "2024-05-01T10:00:00+02:00",
    "2024-05-01 08:00",
    "2024-02-30",
    "2023",
    "x'\"%",
]
NUMBERS = [
    0,
    -0.0,
    1,
    2020,
    2020.0,
    2020.5,
    -1.5,
    2**53,
    2**53 + 1,
    float(2**53),
    10**400,
    -(10**400),
]
PLACES = [GeoPoint(52.5, 13.4), GeoPoint(52.5, 13.5), GeoPoint(-90.0, 0.0), GeoPoint(0.0, 180.0)]
FIELDS = [
    "a",
    "b",
    "c",
    "@id",
    "@record",
    "@modality",
    "@uri",
    "@title",
    "@text",
    "@origin",
    "@created",
    "@other",
    "never",
]

KEYS = [f"i{number}" for number in range(12)]

scalars = st.one_of(st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.booleans())
metadata = st.dictionaries(
    st.sampled_from(["a", "b", "c", "@id"]),
    st.one_of(scalars, st.lists(scalars, max_size=3), st.sampled_from(PLACES)),
    max_size=3,
)
said = st.fixed_dictionaries(
    {
        "id": st.sampled_from(KEYS),
        "record": st.sampled_from([None, "r1", "r2"]),
        "modality": st.sampled_from([Modality.IMAGE, Modality.TEXT]),
        "title": st.one_of(st.none(), st.sampled_from(TEXTS)),
        "text": st.one_of(st.none(), st.sampled_from(TEXTS)),
        "metadata": metadata,
        "pieces": st.integers(0, 3),
    }
)
circles = st.builds(Circle, st.sampled_from(PLACES), st.sampled_from([0.0, 7_000.0, 2e7]))
words = st.one_of(st.sampled_from(["i1", "r1", "image", "猫", "好", "Meer Tag", "!"]), scalars)


def predicate(op: Op) -> st.SearchStrategy[Filter]:
    value: st.SearchStrategy[Any] = words
    if op is Op.EXISTS:
        value = st.none()
    elif op is Op.IN:
        value = st.lists(words, max_size=3).map(tuple)
    elif op is Op.GEO:
        value = circles
    elif op is Op.MATCH:
        value = words.filter(lambda one: isinstance(one, str))
    return st.builds(Predicate, st.sampled_from(FIELDS), st.just(op), value)


filters: st.SearchStrategy[Filter] = st.recursive(
    st.one_of(*map(predicate, Op), st.builds(Has, st.sampled_from(list(Modality)))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple).map(And),
        st.lists(inner, max_size=3).map(tuple).map(Or),
        st.builds(Not, inner),
    ),
    max_leaves=4,
)


class Shelf:
    """A collection, what is in it by its definition, and columns that follow it."""

    def __init__(self, path: Path, space: Space, entry: Callable[..., Entry]) -> None:
        self.catalog = Catalog(path)
        info = self.catalog.create_collection("c", space=space, chunker="whole")
        self.contents = Contents(self.catalog._database, info)
        self.columns = Columns(self.contents)
        self.entry = entry

    def put(self, said: dict[str, Any]) -> None:
        vectors = np.eye(8, dtype=np.float32)[: said["pieces"]]
        fields = {name: value for name, value in said.items() if name != "pieces"}
        with self.contents.writing() as writing:
            writing.put(self.entry(vectors, uri=f"file:///{said['id']}", **fields))

    def remove(self, key: str) -> None:
        with self.contents.writing() as writing:
            writing.remove(key)

    def agrees(self, f: Filter) -> None:
        items, _ = self.contents.items(limit=1000, cursor=None, modality=None, record=None)
        meant = {item.id for item in items if matches(f, item, _has(item, items))}
        with self.contents.reading() as connection:
            rows = dict(connection.execute("SELECT id, key FROM items").fetchall())
            owners = connection.execute(
                "SELECT f.id, i.key, i.modality FROM fragments f JOIN items i ON i.id = f.item"
            ).fetchall()
        assert [rows[row] for row in self.columns.items(f).tolist()] == [
            key for _, key in sorted(rows.items()) if key in meant
        ]
        for state in self.contents.partitions():
            wanted = [
                number
                for number, key, modality in owners
                if key in meant and modality == state.partition.modality
            ]
            assert self.columns.select(f, state).tolist() == sorted(wanted)


def _has(item: Item, items: list[Item]) -> frozenset[Modality]:
    return frozenset(other.modality for other in items if other.record == item.record)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    folder = tmp_path_factory.mktemp("columns")
    space = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=8)

    def entry(vectors: Floats, **fields: Any) -> Entry:
        fragments = [NewFragment(None, vector) for vector in vectors]
        return Entry(digest="d", fragments=fragments, **fields)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_table, "_DEAD", 8)
        patch.setattr(item_table, "_BATCH", 5)
        shelf = Shelf(folder / "catalog.db", space, entry)
        yield shelf
        shelf.catalog.close()


@FEW
@given(
    st.lists(said, min_size=1, max_size=6),
    st.lists(st.sampled_from(KEYS), max_size=3),
    st.lists(filters, min_size=1, max_size=6),
)
def test_columns_mean_what_the_definition_means(
    shelf: Shelf, put: list[dict[str, Any]], gone: list[str], asked: list[Filter]
) -> None:
    for key in gone:
        shelf.remove(key)
    for one in put:
        shelf.put(one)
    for f in asked:
        shelf.agrees(f)


class Small:
    """Twenty items of one record each, all with the same number; one transaction changes all."""

    def __init__(self, catalog: Catalog, space: Space) -> None:
        info = catalog.create_collection("c", space=space, chunker="whole")
        self.contents = catalog.contents(info)
        self.keys = [f"i{number}" for number in range(20)]
        with self.contents.writing() as writing:
            for key in self.keys:
                writing.put(picture(key, {"n": 0}))

    def turn(self, n: int) -> None:
        with self.contents.writing() as writing:
            for key in self.keys:
                writing.update(key, metadata={"n": n}, title=None)

    @property
    def state(self) -> PartitionState:
        return self.contents.partitions()[0]


def picture(key: str, metadata: dict[str, Any], **fields: Any) -> Entry:
    fragments = [NewFragment(None, np.eye(8, dtype=np.float32)[0])]
    fields = {"modality": Modality.IMAGE, **fields}
    return Entry(id=key, digest="d", fragments=fragments, metadata=metadata, **fields)


@pytest.fixture
def small(catalog: Catalog, space: Space) -> Small:
    return Small(catalog, space)


def test_nothing_is_read_before_the_first_filter_nor_when_nothing_changed(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    reading = small.contents._database.reading
    monkeypatch.setattr(
        small.contents._database, "reading", lambda: (reads.append(1), reading())[1]
    )
    state = small.state
    del reads[:]
    columns = Columns(small.contents)
    assert reads == []
    f = Predicate("n", Op.EQ, 0)
    assert len(columns.select(f, state)) == 20
    assert len(reads) == 1
    columns.select(And((f, Not(Predicate("m", Op.GT, 3)))), state)
    assert len(reads) == 1
    columns.select(Predicate("@title", Op.EXISTS), state)
    columns.select(Predicate("@title", Op.EQ, "x"), state)
    assert len(reads) == 2


def test_what_another_process_writes_is_seen(small: Small) -> None:
    columns = Columns(small.contents)
    assert len(columns.select(Predicate("n", Op.EQ, 0), small.state)) == 20
    other = Catalog(small.contents._database.path)
    contents = other.contents(other.collection("c"))
    with contents.writing() as writing:
        writing.put(picture("new", {"n": 0}))
        writing.remove("i3")
        writing.update("i4", metadata={"n": 1}, title=None)
    other.close()
    assert len(columns.select(Predicate("n", Op.EQ, 0), small.state)) == 19
    with small.contents.reading() as connection:
        [three] = columns.items(Predicate("n", Op.EQ, 1)).tolist()
        [key] = connection.execute("SELECT key FROM items WHERE id = ?", (three,)).fetchone()
    assert key == "i4"


def test_a_change_shows_in_one_small_read_and_a_restamp_does_not(small: Small) -> None:
    before = small.state
    stamp = FileStamp(1, 2, 3)
    with small.contents.writing() as writing:
        writing.restamp({"file:///x": stamp})
    assert small.state == before
    for write in (
        lambda writing: writing.update("i1", metadata=None, title="new"),
        lambda writing: writing.put(picture("i1", {}, uri="file:///x")),
        lambda writing: writing.move("file:///x", "file:///y", renamed=None, stamp=stamp),
        lambda writing: writing.remove("i1"),
    ):
        with small.contents.writing() as writing:
            write(writing)
        assert small.state.items > before.items
        before = small.state


def test_what_a_record_has_changes_for_all_its_items(small: Small) -> None:
    columns = Columns(small.contents)

    def heard(write: Callable[[Writing], object]) -> tuple[set[str], list[str]]:
        """Whose items a write said anything about, and which records have a sound now."""
        seq = small.state.items
        with small.contents.writing() as writing:
            write(writing)
        heard = columns.items(And((Has(Modality.AUDIO), Predicate("n", Op.EQ, 0)))).tolist()
        with small.contents.reading() as connection:
            told = connection.execute(
                "SELECT r.key FROM items i JOIN records r ON r.id = i.record WHERE i.seq > ?",
                (seq,),
            ).fetchall()
        return {key for (key,) in told}, [item.id for item in small.contents.items_of(heard)]

    sound = partial(picture, "s", {}, modality=Modality.AUDIO)
    assert heard(lambda writing: writing.put(sound(record="i1"))) == ({"i1"}, ["i1"])
    assert heard(lambda writing: writing.put(sound(record="i2"))) == ({"i1", "i2"}, ["i2"])
    assert heard(lambda writing: writing.remove("s")) == ({"i2"}, [])


def test_a_collection_that_is_gone_is_told(catalog: Catalog, small: Small) -> None:
    columns = Columns(small.contents)
    columns.items(And(()))
    catalog.delete_collection("c")
    with pytest.raises(NotFound, match="'c' was deleted"):
        columns.items(And(()))


def test_a_collection_that_came_into_another_space_is_followed_anew(
    catalog: Catalog, small: Small, space: Space
) -> None:
    columns = Columns(small.contents)
    f = Predicate("n", Op.EQ, 0)
    assert len(columns.items(f)) == 20
    other = replace(space, revision="2")
    info = small.contents.info
    shadow = catalog.shadow(info, space=other, chunker="whole")
    with catalog.contents(shadow).writing() as writing:
        for key in small.keys[1:]:
            writing.put(picture(key, {}))
    seq = small.state.items
    assert catalog.replacement(info, shadow).switch(
        settled={"i0": "d"}, left=["i0"], failures=[], keep="old"
    )
    with pytest.raises(NotFound, match="has left space"):
        columns.items(f)
    for name, count in (("c", 19), ("old", 20)):
        contents = catalog.contents(catalog.collection(name))
        [state] = contents.partitions()
        assert len(Columns(contents).select(f, state)) == count
        with contents.reading() as connection:
            told = [
                connection.execute(
                    f"SELECT count(*) FROM {table} WHERE collection = ? AND seq > ?",
                    (contents.info.id, seq),
                ).fetchone()[0]
                for table in ("items", "removals")
            ]
        assert (state.items > seq, told) == ((True, [19, 1]) if name == "c" else (False, [0, 0]))


def test_threads_see_all_of_a_transaction_or_nothing(small: Small) -> None:
    columns = Columns(small.contents)
    sizes: set[int] = set()
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                state = small.state
                f = Or((Predicate("n", Op.EQ, 1), Predicate("@id", Op.EQ, "nobody")))
                sizes.add(len(columns.select(f, state)))
                sizes.add(len(columns.items(Not(f))))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(40):
        small.turn(turn % 2)
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert sizes <= {0, 20}

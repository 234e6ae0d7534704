"""Words find what holds them, as BM25 ranks it; whatever people type is words."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embed.types import CharSpan, Modality, Space, TimeSpan
from index import database, rows
from index.catalog import Catalog
from index.collection import Collection
from index.contents import Contents
from index.metadata import words
from index.metadata.columns import Columns
from index.metadata.filters import Op, Predicate
from index.metadata.terms import items_with
from index.metadata.tokens import all_in, words_of, words_of_each
from index.metadata.words import Words
from index.types import Entry, NewFragment

VECTOR = np.eye(8, dtype=np.float32)[0]


class Shelf:
    """A collection of texts, found again by their public ids."""

    def __init__(self, catalog: Catalog, name: str, space: Space) -> None:
        info = catalog.create_collection(name, space=space, chunker="whole")
        self.contents: Contents = catalog.contents(info)
        self.words = Words(self.contents)

    def put(self, key: str, text: str | None, title: str | None = None, **fields: Any) -> None:
        spans = fields.pop("spans", [None])
        fields = {"modality": Modality.TEXT, **fields}
        fragments = [NewFragment(span, VECTOR) for span in spans]
        with self.contents.writing() as writing:
            writing.put(
                Entry(id=key, digest="d", text=text, title=title, fragments=fragments, **fields)
            )

    def find(self, text: str, k: int = 10, **asked: Any) -> list[str]:
        found = self.words.search(text, k, **asked)
        assert [said.score for said in found] == sorted((s.score for s in found), reverse=True)
        owners = self.contents.owners([said.fragment for said in found])
        return [owners[said.fragment] for said in found]

    def row(self, key: str) -> int:
        with self.contents.reading() as connection:
            found = connection.execute("SELECT id FROM items WHERE key = ?", (key,)).fetchone()
        return int(found[0])


@pytest.fixture
def shelf(catalog: Catalog, space: Space) -> Shelf:
    return Shelf(catalog, "c", space)


def bm25(query: str, texts: dict[str, tuple[str, str]], weights: tuple[float, float]) -> list[str]:
    """Robertson and Zaragoza 2009, eq. 3.15, k1 1.2 and b 0.75, over all columns as one."""
    told = {key: [words_of(column) for column in columns] for key, columns in texts.items()}
    size = {key: sum(map(len, columns)) for key, columns in told.items()}
    mean = sum(size.values()) / len(size)
    scores = dict.fromkeys(texts, 0.0)
    for word in set(words_of(query)):
        holders = [key for key, columns in told.items() if any(word in c for c in columns)]
        idf = math.log((len(texts) - len(holders) + 0.5) / (len(holders) + 0.5))
        for key in holders:
            tf = sum(w * c.count(word) for w, c in zip(weights, told[key], strict=True))
            long = 1.2 * (0.25 + 0.75 * size[key] / mean)
            scores[key] += max(idf, 1e-6) * tf * 2.2 / (tf + long)
    return sorted((key for key in texts if scores[key] > 0), key=lambda key: -scores[key])


def test_the_ranking_is_bm25_with_titles_above_texts(shelf: Shelf) -> None:
    rng = np.random.default_rng(0)
    vocabulary = [f"w{number}" for number in range(30)]
    texts: dict[str, tuple[str, str]] = {}
    for number in range(60):
        title, text = (" ".join(rng.choice(vocabulary, size)) for size in (3, 12 + number))
        texts[f"i{number}"] = (title, text)
        shelf.put(f"i{number}", text, title)
    for query in ("w1", "w2 w3", "W4, w5! w6?", "w7 unheard w8"):
        assert shelf.find(query, 60) == bm25(query, texts, (4.0, 1.0))
        assert shelf.find(query, 5) == bm25(query, texts, (4.0, 1.0))[:5]


def test_stop_words_count_only_where_nothing_else_is_said(shelf: Shelf) -> None:
    shelf.put("cat", "a cat on the mat")
    shelf.put("dog", "the dog and the bone")
    assert shelf.find("the cat") == ["cat"]
    assert sorted(shelf.find("the")) == ["cat", "dog"]
    assert shelf.find("unheard of") == shelf.find("") == shelf.find("?!") == []


@pytest.mark.parametrize(
    "text",
    ['"', '" OR "', "cat AND", "NEAR(cat mat)", "title:cat", "{title}: cat", "^cat", "ca*",
     "cat -mat", "cat + mat", "(cat", "cat' --", "\0cat", "\udcffcat", "*", "🐈 cat", "cat OR dog"],
)  # fmt: skip
def test_nothing_that_is_typed_is_a_query_language(shelf: Shelf, text: str) -> None:
    shelf.put("cat", "a cat on the mat", "Whiskers")
    shelf.put("or", "near or title")
    expected = {word for word in words_of(text.replace("\udcff", "?")) if len(word) > 2}
    assert ("cat" in shelf.find(text)) == bool(expected & {"cat", "mat"})


def test_case_and_accents_do_not_matter_and_runs_are_found_by_any_part(shelf: Shelf) -> None:
    shelf.put("de", "Ein schöner Tag am Meer", "STRAßE")
    shelf.put("ja", "私は猫が好きです", "東京タワー")
    shelf.put("mixed", "iPhone 手机壳, blue")
    assert shelf.find("SCHONER") == shelf.find("schöner") == ["de"]
    assert shelf.find("猫") == shelf.find("猫が好き") == shelf.find("東京") == ["ja"]
    assert shelf.find("手机 blue") == ["mixed"]
    assert shelf.find("犬") == []


def test_a_search_keeps_to_its_collection_modalities_and_items(
    catalog: Catalog, shelf: Shelf, space: Space
) -> None:
    other = Shelf(catalog, "other", space)
    for number in range(20):
        shelf.put(f"t{number}", f"sea {number}")
        other.put(f"o{number}", f"sea {number}")
    shelf.put("photo", None, "by the sea", modality=Modality.IMAGE)
    assert len(shelf.find("sea", 100)) == 21
    assert set(other.find("sea", 100)) == {f"o{number}" for number in range(20)}
    assert shelf.find("sea", modalities=[Modality.IMAGE]) == ["photo"]
    assert shelf.find("sea", modalities=[Modality.AUDIO]) == []
    some = np.array([shelf.row(key) for key in ("t3", "photo")])
    assert sorted(shelf.find("sea", items=some)) == ["photo", "t3"]
    assert shelf.find("sea", items=some, modalities={Modality.TEXT}) == ["t3"]
    assert shelf.find("sea", items=np.empty(0, np.int64)) == []


def test_of_words_too_common_to_rank_all_the_newest_that_hold_most_are_ranked(
    catalog: Catalog, shelf: Shelf, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_ROWS", 5)
    other = Shelf(catalog, "other", space)
    for number in range(12):
        shelf.put(f"t{number}", "red" if number % 2 else "red shirt")
    shelf.put("rare", "X100")
    for number in range(12):
        other.put(f"o{number}", "red shirt")
    assert shelf.find("x100 red shirt", 1) == ["rare"]
    assert set(shelf.find("red shirt", 5)) == {f"t{number}" for number in (2, 4, 6, 8, 10)}
    assert set(shelf.find("red", 3)) <= {f"t{number}" for number in range(12)}
    assert len(shelf.find("red shirt x100", 8)) == 8
    old = np.array([shelf.row(key) for key in ("t0", "t1")])
    assert sorted(shelf.find("red", items=old)) == ["t0", "t1"]


def test_a_long_text_is_found_by_the_passage_that_holds_the_words(shelf: Shelf) -> None:
    text = "Sea and sand. " * 3 + "\U0001f6a2 The harbour at night. " + "Sea. " * 5
    cut = text.index("\U0001f6a2"), text.index("Sea. Sea.")
    spans = [CharSpan(0, cut[0]), CharSpan(*cut), CharSpan(cut[1], len(text))]
    shelf.put("long", text, "harbour", spans=spans)
    shelf.put("film", "a harbour", spans=[TimeSpan(0, 1), TimeSpan(1, 2)], modality=Modality.VIDEO)

    def passage(query: str) -> object:
        [first, *_] = shelf.words.search(query, 10)
        return shelf.contents.hydrate([first.fragment])[first.fragment].span

    assert passage("harbour night") == spans[1]
    assert passage("SEA") == spans[2]
    assert passage("sea sand") == spans[0]
    assert shelf.find("harbour") == ["long", "film"]


def test_words_follow_what_is_said(shelf: Shelf) -> None:
    shelf.put("one", "old words", "a title")
    shelf.put("one", "new words")
    assert shelf.find("old") == []
    with shelf.contents.writing() as writing:
        writing.update("one", metadata=None, title="Kittens")
    assert shelf.find("kittens") == shelf.find("new") == ["one"]
    with shelf.contents.writing() as writing:
        writing.remove("one")
    assert shelf.find("kittens new words") == []


def test_the_words_of_a_deleted_collection_go_with_it(catalog: Catalog, shelf: Shelf) -> None:
    shelf.put("one", "harbour", "night")
    catalog.delete_collection("c")
    with catalog._database.reading() as connection:
        assert connection.execute("SELECT term FROM terms").fetchall() == []


# Tokens


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=4),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
def test_words_are_the_catalogs_own(memory: sqlite3.Connection, texts: list[str], q: str) -> None:
    memory.execute("DELETE FROM words")
    memory.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", enumerate(texts))
    wanted = words_of(q)
    told = words_of_each(texts)
    expected = [n for n, one in enumerate(told) if wanted and all_in(wanted, set(one))]
    assert items_with(memory, "text", q).tolist() == expected


@pytest.fixture(scope="module")
def memory() -> Iterator[sqlite3.Connection]:
    """The tables of words alone, as the migrations make them, but with texts of their own."""
    connection = sqlite3.connect(":memory:")
    scripts = "".join(database.migrations())
    for start in ("CREATE VIRTUAL TABLE words", "CREATE VIRTUAL TABLE terms"):
        begin = scripts.index(start)
        statement = scripts[begin : scripts.index(";", begin)]
        connection.execute(statement.replace("content='items', content_rowid='id', ", ""))
    yield connection
    connection.close()


# Older catalogs


def test_an_older_catalog_is_migrated_and_its_words_are_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    space: Space,
    entry: Callable[..., Entry],
) -> None:
    """Written by the first version: its tables, and rows as it wrote them."""
    path = tmp_path / "catalog.db"
    scripts = database.migrations()
    monkeypatch.setattr(database, "migrations", lambda: scripts[:1])
    old = database.Database(path)
    with old.writing() as connection:
        sql = connection.execute
        then = "2024-01-01T00:00:00+00:00"
        sql(
            "INSERT INTO collections VALUES (1, 'c', ?, ?, 'whole', 'exact', ?)",
            (rows.space_to_text(space), space.id, then),
        )
        sql("INSERT INTO records VALUES (1, 1, 'r')")
        sql(
            "INSERT INTO items VALUES (1, 1, 1, 'one', 'text', 'observed', 'd', NULL, NULL, NULL,"
            " NULL, ?1, ?1, 'Harbour', '{\"year\": 2020}', 'the sea at night')",
            (then,),
        )
        sql("INSERT INTO fragments VALUES (1, 1, NULL)")
        sql("INSERT INTO partitions VALUES (1, 1, 'text', 'joint', 8, 1)")
        sql("INSERT INTO vectors VALUES (1, 1, 1, ?)", (VECTOR.tobytes(),))
        sql("UPDATE clock SET seq = 1")
    old.close()
    monkeypatch.undo()
    catalog = Catalog(path)
    collection = Collection(catalog, catalog.collection("c"))
    contents = catalog.contents(collection.info)
    assert Words(contents).search("NIGHT harbour", 5)[0].fragment == 1
    assert Columns(contents).items(Predicate("year", Op.EQ, 2020)).tolist() == [1]
    collection.write([entry(VECTOR[None], id="two", text="another harbour")])
    assert {said.fragment for said in Words(contents).search("harbour", 5)} == {1, 2}
    [state, *_] = contents.partitions()
    assert state.items > 1
    catalog.close()


def test_rarity_counts_the_items_that_hold_a_word(shelf: Shelf) -> None:
    for n in range(9):
        shelf.put(
            str(n), "the red ring" if n else "a red bell 東京", title="Ring" if n < 4 else None
        )
    found = shelf.words.rarity(["RED", "bell", "ring", "nothing", "red bell", "京", "?"])
    held = {"RED": 9, "bell": 1, "ring": 9, "nothing": 0, "red bell": 1, "京": 1, "?": 0}
    assert found == {word: pytest.approx(math.log1p(9 / (1 + n))) for word, n in held.items()}

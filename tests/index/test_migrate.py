"""A collection into another space: real files, a real catalog, and two toy towers."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from embed.batcher import Batcher
from embed.errors import BadInput, Conflict, NotFound, UnsupportedModality
from embed.types import Batching, CharSpan, Media, Modality, Space, Span, Vectors, normalise
from index.batch.ingest import Progress, ingest
from index.batch.walk import path_of
from index.catalog import Catalog
from index.collection import Collection
from index.migrate import PASSES, MigrationReport, migrate
from index.search.query import Query
from index.types import Entry, NewFragment

BOTH = frozenset({Modality.TEXT, Modality.IMAGE})
COLOURS = {f"tint {n:02}": (20 * (n % 4), 60 + 15 * (n // 4), 10 * n) for n in range(20)}


@dataclass(eq=False)
class Tower:
    """Knows pictures and texts by their colour, or, when `blind`, makes something up for each."""

    name: str
    dim: int
    blind: bool = False
    modalities: frozenset[Modality] = BOTH
    chunker: str = "lines"
    image_side: int = 4
    seen: list[Any] = field(default_factory=list)

    batching: ClassVar[Batching] = Batching(workers=1, max_batch=4)

    @property
    def space(self) -> Space:
        return Space(
            name=self.name, revision="1", preprocessing="1", precision="fp32", dim=self.dim
        )

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        if not isinstance(media.data, str) or "\n" not in media.data:
            yield None, media
            return
        start = 0
        for line in media.data.split("\n"):
            yield CharSpan(start, start + len(line)), Media(Modality.TEXT, line)
            start += len(line) + 1

    def count_tokens(self, text: str) -> int:
        return 0

    def warm(self) -> None:
        pass

    def prepare(self, piece: Media) -> Any:
        if isinstance(piece.data, str):
            return piece.data
        return tuple(int(c) for c in np.asarray(piece.data).reshape(-1, 3)[0])

    def run(self, modality: Modality, batch: Sequence[Any]) -> Vectors:
        self.seen += batch
        return Vectors(self.space, np.stack([self.vector(modality, one) for one in batch]))

    def vector(self, modality: Modality, prepared: Any) -> np.ndarray:
        what = [*str(prepared).encode(), len(modality)] if self.blind else [*self._colour(prepared)]
        return normalise(np.random.default_rng(what).standard_normal((1, self.dim)))[0]

    def _colour(self, prepared: Any) -> tuple[int, ...]:
        if isinstance(prepared, str):
            return COLOURS.get(prepared, (len(prepared), 0, 0))
        return tuple(prepared)


class Home:
    """A library of 20 pictures with captions beside them, and what happens to it."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "library"
        self.folder.mkdir()
        for number, (name, rgb) in enumerate(COLOURS.items()):
            Image.new("RGB", (6, 6), rgb).save(self.folder / f"{number:02}.png")
            self.write(f"{number:02}.txt", name)
        self.write("notes.txt", "about nothing\nand more")
        (self.folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        for path in self.folder.iterdir():
            os.utime(path, (1e9, 1e9))
        self.path = root / "catalog.db"
        self.catalog = Catalog(self.path)
        self.dull, self.keen = Tower("dull", 8, blind=True), Tower("keen", 16)
        self.batchers: list[Batcher] = []
        self.catalog.create_collection("c", space=self.dull.space, chunker="lines")
        self.ingest(self.dull)
        self.uploads: dict[str, Path] = {}

    def write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name

    def batcher(self, tower: Tower) -> Batcher:
        self.batchers.append(Batcher(tower))
        return self.batchers[-1]

    def open(self, name: str = "c") -> Collection:
        return Collection(self.catalog, self.catalog.collection(name))

    def ingest(self, tower: Tower) -> Any:
        return ingest([self.folder], self.open(), self.batcher(tower), workers=1)

    def locate(self, item: Any) -> Path:
        path = path_of(item.uri) if item.uri else self.uploads.get(item.id)
        if path is None:
            raise NotFound(f"the bytes of {item.id} are gone")
        return path

    def migrate(self, tower: Tower | None = None, **options: Any) -> MigrationReport:
        batcher = self.batcher(tower or self.keen)
        return migrate(self.catalog, self.open(), batcher, self.locate, workers=1, **options)

    def at(self, name: str) -> str:
        [item] = self.open().file_states()[(self.folder / name).as_uri()].items.values()
        return item

    def count(self, table: str) -> int:
        with sqlite3.connect(self.path) as connection:
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        connection.close()
        return int(found)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    for batcher in home.batchers:
        batcher.close()
    home.catalog.close()


def _items(collection: Collection) -> dict[str, Any]:
    return {item.id: item for item in collection.items(limit=1000)[0]}


def _best(home: Home, tower: Tower, text: str, collection: str = "c") -> str:
    query = tower.vector(Modality.TEXT, text)
    [hit] = (
        home.open(collection)
        .search(Query(joint=query, k=1, modalities=frozenset({Modality.IMAGE})))
        .hits
    )
    return str(hit.item.title)


def test_everything_but_the_vectors_stays(home: Home) -> None:
    before = home.open()
    changed = home.at("03.png")
    before.update(changed, title="the third", metadata={"kept": True})
    items, states, failures = _items(before), before.file_states(), before.failures()
    page, cursor = before.items(limit=7)
    fragments, records = home.count("fragments"), home.count("records")
    report = home.migrate()
    assert report.switched
    assert (report.items, report.embedded, report.changed, report.left) == (41, 41, 0, {})
    after = home.open()
    assert after.info.space == home.keen.space
    assert (after.info.id, after.info.created) == (before.info.id, before.info.created)
    assert _items(after) == items
    assert after.item(changed).title == "the third"
    assert after.file_states() == states
    assert after.failures() == failures != []
    assert after.items(limit=7, cursor=cursor)[0][0].id not in {item.id for item in page}
    assert home.count("fragments") == home.count("vectors") == fragments
    assert (home.count("records"), home.count("collections")) == (records, 1)
    stored = after.vectors_of(home.at("05.png"))
    expected = home.keen.vector(Modality.IMAGE, tuple(COLOURS["tint 05"]))
    np.testing.assert_array_equal(stored, [expected])
    assert _best(home, home.keen, "tint 07") == "07.png"
    seen = len(home.keen.seen)
    assert home.ingest(home.keen).unchanged == 41
    assert len(home.keen.seen) == seen


def test_who_still_means_the_old_space_is_refused(home: Home) -> None:
    old = home.open()
    query = home.dull.vector(Modality.TEXT, "tint 01")
    assert old.search(Query(joint=query)).hits
    home.migrate()
    fragment = NewFragment(None, query)
    with pytest.raises(NotFound, match="has left space dull@"):
        old.search(Query(joint=query))
    with pytest.raises(NotFound, match="has left space dull@"):
        old.write([Entry(modality=Modality.TEXT, digest="d", fragments=[fragment])])


def test_the_report_compares_what_belongs_together(home: Home) -> None:
    report = home.migrate().to_json()
    kinds = {(one["asked"], one["found"]): one for one in report["recall"]}
    assert set(kinds) == {(a, b) for a in ("text", "image") for b in ("text", "image", "any")} - {
        ("text", "text"),
        ("image", "image"),
    }
    for one in kinds.values():
        assert one["questions"] == 20
        assert one["recall@1"]["before"] < 0.4
        assert one["recall@1"]["after"] == 1.0
        low, high = one["recall@1"]["difference_95"]
        assert 0 < low <= 1.0 - one["recall@1"]["before"] <= high <= 1
        assert one["recall@1"]["before"] <= one["recall@10"]["before"] <= 1
    assert report["before"].startswith("dull@")
    assert report["after"].startswith("keen@")


def test_what_is_written_meanwhile_is_not_lost(home: Home) -> None:
    writes: list[Callable[[], None]] = []
    collection = home.open()
    (new, moved, gone, renamed) = ("new.png", "08.png", "09.txt", "10.png")
    gone_id, renamed_id, moved_id = home.at(gone), home.at(renamed), home.at(moved)

    def change() -> None:
        Image.new("RGB", (6, 6), (1, 2, 3)).save(home.folder / new)
        home.write("11.txt", "tint 12")  # a caption that was wrong
        (home.folder / moved).rename(home.folder / "elsewhere.png")
        home.ingest(home.dull)
        collection.delete([gone_id])
        collection.update(renamed_id, title="the tenth", metadata={"n": 10})

    writes.append(change)

    def progress(at: Progress) -> None:
        if at.done == 20 and writes:
            writes.pop()()
            assert _best(home, home.dull, "tint 01")  # it serves as it was

    report = home.migrate(progress=progress)
    assert report.switched
    assert report.items == 41  # one more, one less
    after = home.open()
    assert (home.folder / new).as_uri() in after.file_states()
    assert home.at("elsewhere.png") == moved_id
    assert gone_id not in _items(after)
    renamed_item = after.item(renamed_id)
    assert (renamed_item.title, renamed_item.metadata) == ("the tenth", {"n": 10})
    assert after.item(home.at("11.txt")).text == "tint 12"
    stored = after.vectors_of(home.at("11.txt"))
    np.testing.assert_array_equal(stored, [home.keen.vector(Modality.TEXT, "tint 12")])
    assert all(len(after.vectors_of(item)) for item in _items(after))


def _broken_off(home: Home, tower: Tower, *, after: int) -> None:
    def stop(at: Progress) -> None:
        if at.done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        home.migrate(tower, progress=stop)


def test_broken_off_it_goes_on_where_it_was(home: Home) -> None:
    _broken_off(home, home.keen, after=12)
    assert home.open().info.space == home.dull.space
    assert [info.name for info in home.catalog.collections()] == ["c"]
    with pytest.raises(NotFound):
        home.catalog.collection("c~migrating")
    report = home.migrate()
    assert report.switched
    assert report.embedded == 41 - 12
    assert _best(home, home.keen, "tint 13") == "13.png"


def test_one_for_another_space_starts_anew(home: Home) -> None:
    _broken_off(home, home.keen, after=8)
    other = Tower("other", 8)
    assert home.migrate(other).embedded == 41
    assert home.open().info.space == other.space
    assert home.migrate().embedded == 41


def test_who_deletes_it_deletes_what_was_to_come(home: Home) -> None:
    _broken_off(home, home.keen, after=8)
    home.catalog.delete_collection("c")
    assert home.count("collections") == home.count("items") == home.count("vectors") == 0


def test_originals_that_are_gone_keep_it_where_it_is(home: Home) -> None:
    (home.folder / "04.png").unlink()
    home.write("05.png", "no picture any more")
    (home.folder / "06.txt").unlink()  # its words are in the catalog
    report = home.migrate()
    assert not report.switched
    assert [(Path(f.uri).name, f.code) for f in report.failures] == [
        ("04.png", "not_found"),
        ("05.png", "unsupported_modality"),
    ]
    assert home.open().info.space == home.dull.space
    assert len(_items(home.open())) == 41
    caption = home.at("06.txt")

    report = home.migrate(drop=True)
    assert report.switched
    assert (report.embedded, report.items, report.left) == (0, 39, {Modality.IMAGE: 2})
    after = home.open()
    assert {Path(failure.uri).name for failure in after.failures()} == {
        "04.png",
        "05.png",
        "broken.png",
    }
    assert len(after.vectors_of(caption)) == 1
    assert home.count("records") == 21


def test_a_space_that_reads_less_must_be_told_to(home: Home) -> None:
    words = Tower("words", 8, modalities=frozenset({Modality.TEXT}))
    with pytest.raises(UnsupportedModality, match=r"'words' reads text.*20 image.*--drop"):
        home.migrate(words)
    report = home.migrate(words, drop=True)
    assert report.switched
    assert report.failures == report.recall == []
    assert report.left == {Modality.IMAGE: 20}
    assert home.open().counts() == {Modality.TEXT: 21}


def test_the_old_one_can_be_kept(home: Home) -> None:
    items, states = _items(home.open()), home.open().file_states()
    first = _best(home, home.dull, "tint 02")
    with pytest.raises(BadInput, match="no name for a collection"):
        home.migrate(keep="c~d")
    with pytest.raises(Conflict, match="'c' already"):
        home.migrate(keep="c")
    assert home.migrate(keep="before").switched
    kept = home.open("before")
    assert kept.info.space == home.dull.space
    assert _items(kept) == items
    assert kept.file_states() == states
    assert kept.failures() == home.open().failures()
    assert _best(home, home.dull, "tint 02", "before") == first
    assert _best(home, home.keen, "tint 02") == "02.png"
    home.catalog.delete_collection("before")
    assert home.count("items") == 41
    assert home.count("vectors") == home.count("fragments") == 42


def test_a_file_that_changed_since_is_taken_as_it_is(home: Home) -> None:
    Image.new("RGB", (6, 6), COLOURS["tint 19"]).save(home.folder / "00.png")
    report = home.migrate()
    assert (report.switched, report.changed, report.embedded) == (True, 1, 41)
    after = home.open()
    stored = after.vectors_of(home.at("00.png"))
    np.testing.assert_array_equal(stored, [home.keen.vector(Modality.IMAGE, COLOURS["tint 19"])])
    assert after.item(home.at("00.png")).digest == after.item(home.at("19.png")).digest
    assert home.ingest(home.keen).unchanged == 41  # read again, and found to be known


def test_where_it_is_already_nothing_happens(home: Home) -> None:
    with pytest.raises(Conflict, match=r"is in space dull@.* already"):
        home.migrate(Tower("dull", 8))


def test_a_collection_that_never_stands_still_is_left_in_peace(home: Home) -> None:
    collection = home.open()

    def write(at: Progress) -> None:
        fragment = NewFragment(None, home.dull.vector(Modality.TEXT, "x"))
        text = f"tint {len(_items(collection))}"
        if at.done == at.total:
            collection.write(
                [Entry(modality=Modality.TEXT, digest=text, text=text, fragments=[fragment])]
            )

    with pytest.raises(Conflict, match="written faster"):
        home.migrate(progress=write)
    assert home.open().info.space == home.dull.space
    report = home.migrate()
    assert (report.switched, report.items, report.embedded) == (True, 41 + PASSES, 1)


@pytest.mark.parametrize(("index", "keep"), [("qdrant-edge", "before"), ("qdrant:/", None)])
def test_what_engines_kept_of_the_old_space_goes(
    home: Home, tmp_path: Path, index: str, keep: str | None
) -> None:
    pytest.importorskip("qdrant_client" if index == "qdrant:/" else "qdrant_edge")
    address = f"qdrant:{tmp_path}/points" if index == "qdrant:/" else index
    home.catalog.set_index("c", address)
    left = [home.at(f"{number:02}.{ending}") for number in range(3) for ending in ("png", "txt")]
    home.open().delete({item.id for item in home.open().items()[0]} - {*left})

    def kept() -> set[str]:
        """The partitions of which there is something: `COLLECTION-PARTITION`."""
        if index == "qdrant:/":
            stored = (tmp_path / "points").glob("*/collection/*/storage.sqlite")
            return {path.parent.name.rpartition("_")[2] for path in stored}
        return {path.name for path in (tmp_path / "indexes").glob("*-*")}

    def wanted(name: str) -> set[str]:
        contents = home.catalog.contents(home.catalog.collection(name))
        return {f"{contents.info.id}-{state.id}" for state in contents.partitions()}

    source = home.open()
    source.search(Query(joint=home.dull.vector(Modality.TEXT, "tint 01")))
    assert kept() == wanted("c")
    batcher = home.batcher(home.keen)
    assert migrate(home.catalog, source, batcher, home.locate, keep=keep).switched
    assert kept() == set()
    for name, tower in (("c", home.keen), ("before", home.dull))[: 2 if keep else 1]:
        now = home.open(name)
        hits = now.search(Query(joint=tower.vector(Modality.TEXT, "tint 01"))).hits
        assert sorted(hit.item.id for hit in hits) == sorted(left)
        now.close()
    assert kept() == wanted("c") | (wanted(keep) if keep else set())

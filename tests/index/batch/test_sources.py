"""Archives, tables and stores elsewhere through the real catalog; the tower is a toy."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embed.batcher import Batcher
from embed.errors import BadInput, NotFound, StorageFull
from embed.types import Batching, Item, Media, Modality, Space, Span, Vectors, normalise
from index.batch.committer import Committer
from index.batch.ingest import Progress, ingest
from index.batch.locations import locate
from index.batch.objects import Files
from index.batch.reading import Outcome
from index.batch.sources import open_sources
from index.batch.stream import Threads, ingest_sources
from index.batch.tables import Columns, parse_columns
from index.catalog import Catalog
from index.collection import Collection
from index.types import Entry, Failure, IngestReport, NewFragment

SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=8)


class Toy:
    """Texts and pictures by their bytes."""

    space = SPACE
    modalities = frozenset({Modality.TEXT, Modality.IMAGE})
    chunker = "whole"
    batching = Batching(workers=2, max_batch=16)
    image_side = 16

    def __init__(self) -> None:
        self.seen = 0

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        yield None, media

    def count_tokens(self, text: str) -> int:
        return 0

    def warm(self) -> None:
        pass

    def prepare(self, piece: Media) -> bytes:
        data = piece.data
        return data.encode() if isinstance(data, str) else np.asarray(data).tobytes()

    def run(self, _: Modality, batch: Sequence[bytes]) -> Vectors:
        self.seen += len(batch)
        rows = [np.random.default_rng([*data[:64], len(data)]).standard_normal(8) for data in batch]
        return Vectors(SPACE, normalise(np.stack(rows)))

    def embed(self, batch: Sequence[Media]) -> Vectors:
        return self.run(batch[0].modality, [self.prepare(one) for one in batch])


class Library:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.catalog = Catalog(root / "home" / "catalog.db")
        info = self.catalog.create_collection("c", space=SPACE, chunker="whole")
        self.collection = Collection(self.catalog, info)
        self.toy = Toy()
        self.batcher = Batcher(self.toy)
        self.told: list[Progress] = []

    def close(self) -> None:
        self.batcher.close()
        self.catalog.close()

    def ingest(self, *addresses: object, columns: Columns | None = None) -> IngestReport:
        self.toy.seen = 0
        sources = open_sources([str(one) for one in addresses], columns)
        assert sources.files == []
        work = Threads(self.collection, self.batcher, 2)
        return ingest_sources(sources.streams, self.collection, work, progress=self.told.append)

    def items(self) -> dict[str, Item]:
        return {str(item.title): item for item in self.collection.items(limit=1000)[0]}


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return grown(path)


def grown(path: Path) -> Path:
    """Old enough to be trusted by its time stamp."""
    then = path.stat().st_mtime - 60
    os.utime(path, (then, then))
    return path


def counts(report: IngestReport) -> tuple[int, int, int]:
    return report.ingested, report.unchanged, report.failed


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library(tmp_path)
    yield library
    library.close()


RECORDS = {
    "a/0.png": picture(0),
    "a/0.txt": b"a red thing",
    "a/0.json": json.dumps(
        {"year": 2020, "tags": ["x", "y"], "size": {"w": 3}, "no": None}
    ).encode(),
    "a/1.jpg": b"\xff\xd8\xff broken",
    "a/1.txt": b"its words are whole",
    "a/._2.png": b"of no account",
    "b.json": b'{"alone": "a document"}',
}


def test_a_shard_gives_records_with_their_metadata_and_names_what_is_broken(
    library: Library,
) -> None:
    path = shard(library.root / "x.tar", RECORDS)
    report = library.ingest(path)
    assert counts(report) == (4, 0, 1)
    [failure] = report.failures
    assert failure.uri == f"tar://a/1.jpg::{path.as_uri()}"
    assert failure.code == "corrupt_media"
    assert "a/1.jpg" in failure.message
    items = library.items()
    assert sorted(items) == ["0.png", "0.txt", "1.txt", "b.json"]
    assert items["0.png"].metadata == {"year": 2020, "tags": ["x", "y"]}
    assert items["0.png"].record == items["0.txt"].record != items["1.txt"].record
    assert items["0.txt"].text == "a red thing"
    done = library.told[-1]
    assert (done.phase, done.done, done.total, done.failed) == ("done", 5, 5, 1)
    assert list(done.failures) == report.failures


def test_every_item_is_read_again_from_where_it_lies(library: Library) -> None:
    path = shard(library.root / "x y#.tar", {"a/0.png": b"other", **RECORDS, "ä #1.txt": b"odd"})
    library.ingest(path)
    items = library.items()
    for name in ("a/0.png", "a/0.txt"):
        item = items[name.rpartition("/")[2]]
        assert locate(str(item.uri)).fetch() == RECORDS[name], "the last of that name counts"
    assert locate(str(items["ä #1.txt"].uri)).fetch() == b"odd"
    shard(path, {"c.txt": b"others"})
    with pytest.raises(NotFound, match="no longer in"):
        locate(str(items["0.txt"].uri))


def test_a_second_run_reads_nothing_and_a_changed_shard_only_what_changed(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {name: data for name, data in RECORDS.items() if name != "a/1.jpg"}
    path = shard(library.root / "x.tar", whole)
    assert counts(library.ingest(path)) == (4, 0, 0)
    before = library.items()
    with monkeypatch.context() as patch:
        patch.setattr("index.batch.reading.open_media", pytest.fail)
        assert counts(library.ingest(path)) == (0, 4, 0)
    library.collection.update(before["b.json"].id, metadata={"said": "by a person"})
    shard(path, {"new.txt": b"first now", **whole, "a/0.txt": b"a blue thing"})
    assert counts(library.ingest(path)) == (2, 3, 0)
    assert library.toy.seen == 2
    after = library.items()
    assert {name: item.id for name, item in after.items() if name != "new.txt"} == {
        name: item.id for name, item in before.items()
    }
    assert after["0.txt"].text == "a blue thing"
    assert after["b.json"].metadata == {"said": "by a person"}
    assert counts(library.ingest(path)) == (0, 5, 0)


def test_a_shard_that_breaks_off_gives_what_is_whole_and_is_forgiven_when_mended(
    library: Library,
) -> None:
    path = shard(library.root / "x.tar", {f"{n}.txt": b"%d" % n * 600 for n in range(4)})
    whole = path.read_bytes()
    path.write_bytes(whole[: 3 * 1536 + 700])
    report = library.ingest(path)
    assert counts(report) == (3, 0, 1)
    assert report.failures[0].uri == path.as_uri()
    assert "3.txt" in report.failures[0].message
    path.write_bytes(whole)
    assert counts(library.ingest(path)) == (1, 3, 0)
    assert library.collection.failures() == []
    (library.root / "z.tar").write_bytes(b"\x1f\x8b nothing" * 99)
    [failure] = library.ingest(library.root / "z.tar").failures
    assert "unpacked first" in failure.message


def test_an_interrupted_run_keeps_what_it_finished(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shard(library.root / "x.tar", {f"{n:03}.txt": b"%d" % n for n in range(40)})
    library.told.clear()
    monkeypatch.setattr(library, "told", Stopping(after=20))
    with pytest.raises(KeyboardInterrupt):
        library.ingest(path)
    kept = sum(library.collection.counts().values())
    assert 20 <= kept < 40
    library.told = []
    assert counts(library.ingest(path)) == (40 - kept, kept, 0)


class Stopping(list[Progress]):
    """Ctrl-C after some reports."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def append(self, progress: Progress) -> None:
        super().append(progress)
        if len(self) == self.after:
            raise KeyboardInterrupt


def test_addresses(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        shard(tmp_path / f"{number:02}.tar", {"a.txt": b"%d" % number})
    (tmp_path / "odd [x]*.txt").write_text("one")
    uris = [(tmp_path / f"{number:02}.tar").as_uri() for number in range(3)]
    monkeypatch.chdir(tmp_path)

    def found(*addresses: str) -> tuple[list[Path], list[str]]:
        files, streams = open_sources(addresses)
        return files, [source.uri for source in streams]

    assert found("{00..01}.tar", "*.tar", "02.tar") == ([], uris)
    assert found(uris[1]) == ([], [uris[1]])
    assert found("odd [x]*.txt", "odd*") == ([Path("odd [x]*.txt")] * 2, [])
    assert found("gone.txt") == ([Path("gone.txt")], []), "the walk refuses it"
    with pytest.raises(NotFound, match=r"nothing matches none\*.tar"):
        found("none*.tar")
    with pytest.raises(NotFound, match=r"nothing matches \{9..0\}.tar"):
        found("{9..0}.tar")
    with pytest.raises(BadInput, match=r"https://x/y\.tar cannot be read"):
        found("https://x/y.tar")


def test_what_is_left_is_reckoned_from_what_was_read(library: Library) -> None:
    members = {f"{number:04}.txt": b"%d" % number * 200 for number in range(450)}
    paths = [shard(library.root / f"{half}.tar", members) for half in "ab"]
    library.ingest(*paths)
    half_way = next(told for told in library.told if told.done == 350)
    assert half_way.total == pytest.approx(900, rel=0.2)
    assert (library.told[-1].done, library.told[-1].total) == (900, 900)


def test_files_as_members_are_what_the_walk_makes_of_them(library: Library) -> None:
    folder = library.root / "files"
    (folder / "sub").mkdir(parents=True)
    written = {"a.png": picture(1), "a.txt": b"beside", "sub/b.txt": b"alone", ".c.txt": b"hidden"}
    for name, data in {**written, "broken.png": b"\x89PNG"}.items():
        (folder / name).write_bytes(data)
        grown(folder / name)
    work = Threads(library.collection, library.batcher, 2)
    report = ingest_sources([Files([folder])], library.collection, work)
    assert counts(report) == (3, 0, 1)
    items = library.items()
    assert sorted(items) == ["a.png", "a.txt", "b.txt"]
    assert items["a.png"].record == items["a.txt"].record != items["b.txt"].record
    assert items["b.txt"].uri == (folder / "sub" / "b.txt").as_uri()
    walked = ingest([folder], library.collection, library.batcher)
    assert (walked.ingested, walked.unchanged, walked.failed) == (0, 3, 1), "and so they agree"


# Tables


def table(path: Path, columns: dict[str, Any], **about: Any) -> Path:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table(columns), path, **about)
    return grown(path)


def test_a_table_as_img2dataset_writes_it(library: Library) -> None:
    path = table(
        library.root / "00000.parquet",
        {
            "key": ["000", "001", "002", None],
            "caption": ["a dog", None, "a cat", None],
            "jpg": [picture(0), picture(1), None, b"\xff\xd8\xff broken"],
            "width": [30, None, 7, 7],
            "rate": [float("nan"), 0.5, 1.0, 1.0],
            "day": [date(2020, 1, 2)] * 4,
        },
        row_group_size=2,
    )
    report = library.ingest(path)
    assert counts(report) == (4, 0, 1)
    assert [failure.uri for failure in report.failures] == [f"parquet://3/jpg::{path.as_uri()}"]
    items = library.items()
    assert sorted(items) == ["000.caption.txt", "000.jpg", "001.jpg", "002.caption.txt"]
    dog, words = items["000.jpg"], items["000.caption.txt"]
    assert dog.metadata == {"width": 30, "day": "2020-01-02"}
    assert (words.text, words.record) == ("a dog", dog.record)
    assert locate(str(items["001.jpg"].uri)).fetch() == picture(1)
    assert locate(str(items["002.caption.txt"].uri)).fetch() == b"a cat"
    assert counts(library.ingest(path)) == (0, 4, 1)
    assert library.toy.seen == 0


def test_structs_paths_and_chosen_columns(library: Library, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.png").write_bytes(picture(5))
    hugging = table(
        tmp_path / "h.parquet",
        {"image": [{"bytes": picture(2), "path": "in.png"}, {"bytes": None, "path": None}]},
    )
    paths = table(
        tmp_path / "paths.parquet",
        {"path": ["p/a.png", "/etc/passwd", "../up.txt", "https://x/y"], "words": [*"abcd"]},
    )
    assert counts(library.ingest(hugging)) == (1, 0, 0)
    report = library.ingest(paths, columns=parse_columns("media=path,text=words"))
    assert counts(report) == (5, 0, 3)
    assert {failure.code for failure in report.failures} == {"forbidden"}
    items = library.items()
    assert items["in.png"].uri == f"parquet://0/image::{hugging.as_uri()}"
    assert items["a.png"].uri == (tmp_path / "p" / "a.png").as_uri(), "a file is itself"


def test_a_table_that_says_nothing_or_is_none(library: Library, tmp_path: Path) -> None:
    numbers = table(tmp_path / "n.parquet", {"n": [1, 2]})
    with pytest.raises(BadInput, match="names no media, no text; its columns are n"):
        library.ingest(numbers)
    with pytest.raises(BadInput, match="has no column 'photo'"):
        library.ingest(numbers, columns=parse_columns("media=photo"))
    with pytest.raises(BadInput, match="'colour=x' names no column"):
        parse_columns("colour=x")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no table PAR1")
    [failure] = library.ingest(tmp_path / "b.parquet").failures
    assert (failure.uri, failure.code) == ((tmp_path / "b.parquet").as_uri(), "corrupt_media")


# Elsewhere


@pytest.fixture
def store() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def test_a_store_elsewhere_is_like_a_folder(
    library: Library, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"a.png": picture(1), "a.txt": b"beside it", "sub/ä b.txt": b"deeper", ".hid": b"x"}
    for name, data in files.items():
        store.pipe(f"/bucket/{name}", data)
    assert counts(library.ingest("memory://bucket")) == (3, 0, 0)
    items = library.items()
    assert items["a.png"].uri == "memory:///bucket/a.png"
    assert items["a.png"].record == items["a.txt"].record
    assert locate(str(items["ä b.txt"].uri)).fetch() == b"deeper"
    store.pipe("/bucket/a.txt", b"other words")
    assert counts(library.ingest("memory://bucket/*.txt", "memory://bucket/a.png")) == (1, 1, 0)
    store.rm("/bucket/a.txt")
    with pytest.raises(NotFound, match="is not there"):
        locate(str(items["a.txt"].uri)).fetch()
    with pytest.raises(NotFound):
        library.ingest("memory://nothing")


def test_archives_and_tables_elsewhere(library: Library, store: Any, tmp_path: Path) -> None:
    store.pipe("/b/x.tar", shard(tmp_path / "x.tar", RECORDS).read_bytes())
    made = table(tmp_path / "t.parquet", {"image": [picture(3)]})
    store.pipe("/b/t.parquet", made.read_bytes())
    assert counts(library.ingest("memory://b/*")) == (5, 0, 1)
    items = library.items()
    assert items["0.png"].uri == "tar://a/0.png::memory:///b/x.tar"
    assert locate(str(items["0.png"].uri)).fetch() == RECORDS["a/0.png"]
    assert locate(str(items["0.image"].uri)).fetch() == picture(3)


# The one who writes


def outcome(uri: str, digest: str, seed: int = 0, **about: Any) -> Outcome:
    vector = normalise(np.random.default_rng(seed).standard_normal((1, 8)))[0]
    made = Entry(
        modality=Modality.TEXT,
        digest=digest,
        fragments=[NewFragment(None, vector)],
        uri=uri,
        record="r",
        text=digest,
    )
    kept = frozenset({Modality.TEXT})
    return Outcome(uri=uri, digest=digest, entries=[made], kept=kept, **about)


def test_what_is_answered_twice_is_written_once(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = library.collection.write

    def counting(entries: Sequence[Entry], **about: Any) -> list[str]:
        written.append(len(entries))
        return write(entries, **about)

    monkeypatch.setattr(library.collection, "write", counting)
    committer = Committer(library.collection)
    order = np.random.default_rng(1).integers(0, 20, 200).tolist()
    for number in order:
        committer.take(outcome(f"x:{number}", str(number), number))
        if number % 7 == 0:
            committer.flush()
    committer.flush()
    assert sum(written) == len(set(order)) == committer.ingested
    before = library.collection.items(limit=100)[0]
    again = Committer(library.collection)  # a driver that was killed and started anew
    for number in order:
        again.take(outcome(f"x:{number}", str(number), number))
    again.flush()
    assert again.ingested == 0
    assert library.collection.items(limit=100)[0] == before
    again.take(outcome("x:3", "other content", 99))
    again.flush()
    assert again.ingested == 1
    assert library.collection.item(next(i.id for i in before if i.uri == "x:3")).text == (
        "other content"
    )


def test_a_failure_is_forgiven_by_success_and_not_by_silence(library: Library) -> None:
    failed = Failure(uri="x:1", code="corrupt_media", message="cut short")
    first = Committer(library.collection)
    first.take(Outcome(uri="x:1", digest=None, failures=[failed]))
    first.flush()
    second = Committer(library.collection)
    second.take(outcome("x:2", "2"))
    second.flush()
    assert library.collection.failures() == [failed]
    second.take(outcome("x:1", "1"))
    second.flush()
    assert library.collection.failures() == []


def test_a_full_disk_ends_the_run(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shard(library.root / "x.tar", {f"{n}.txt": b"%d" % n for n in range(9)})

    def full(*_: object, **__: object) -> list[str]:
        raise StorageFull("no room left")

    with monkeypatch.context() as patch:
        patch.setattr(library.collection, "write", full)
        with pytest.raises(StorageFull):
            library.ingest(path)
    assert counts(library.ingest(path)) == (9, 0, 0)

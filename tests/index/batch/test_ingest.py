"""Ingest on real files through the real catalog; only the tower is a toy, and it counts."""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embed.batcher import Batcher
from embed.errors import MissingWeights, NotFound, StorageFull
from embed.types import Batching, CharSpan, Media, Modality, Space, Span, Vectors, normalise
from index.batch.ingest import Progress, ingest
from index.catalog import Catalog
from index.collection import Collection
from index.search.query import Query
from index.types import IngestReport

SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=8)


class Toy:
    """Texts and pictures by their bytes; texts over 100 characters are cut in pieces."""

    space = SPACE
    modalities = frozenset({Modality.TEXT, Modality.IMAGE})
    chunker = "hundred"
    batching = Batching(workers=2, max_batch=16)
    image_side = 16

    def __init__(self) -> None:
        self.seen: list[Media] = []

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        if not isinstance(media.data, str) or len(media.data) <= 100:
            yield None, media
            return
        for start in range(0, len(media.data), 100):
            piece = media.data[start : start + 100]
            yield CharSpan(start, start + len(piece)), Media(Modality.TEXT, piece)

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def warm(self) -> None:
        pass

    def prepare(self, piece: Media) -> Media:
        return piece

    def run(self, _: Modality, batch: Sequence[Media]) -> Vectors:
        return self.embed(batch)

    def embed(self, batch: Sequence[Media]) -> Vectors:
        self.seen += batch
        return Vectors(SPACE, np.stack([self._vector(media) for media in batch]))

    def _vector(self, media: Media) -> np.ndarray:
        data = media.data.encode() if isinstance(media.data, str) else media.data.tobytes()
        rng = np.random.default_rng([*list(data[:64]), len(data)])
        return normalise(rng.standard_normal((1, 8)))[0]


class Library:
    """A folder, a collection of it, and a tower that remembers what it was asked."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "library"
        self.folder.mkdir()
        self.home = root / "home"
        self.reopen()

    def reopen(self) -> None:
        self.catalog = Catalog(self.home / "catalog.db")
        if not self.catalog.collections():
            self.catalog.create_collection("c", space=SPACE, chunker="hundred")
        self.collection = Collection(self.catalog, self.catalog.collection("c"))
        self.toy = Toy()
        self.batcher = Batcher(self.toy)

    def close(self) -> None:
        self.batcher.close()
        self.catalog.close()

    def ingest(self, **options: object) -> IngestReport:
        self.toy.seen.clear()
        return ingest([self.folder], self.collection, self.batcher, **options)  # type: ignore[arg-type]

    def write(self, name: str, text: str, *, age: int = 60) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return grown(path, age)

    def photo(self, name: str, seed: int) -> Path:
        path = self.folder / name
        pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        return grown(path, 60)

    def item_at(self, path: Path) -> str:
        [item] = self.collection.file_states()[path.as_uri()].items.values()
        return item

    def uris(self) -> set[str]:
        return set(self.collection.file_states())

    def titles(self) -> list[str]:
        return sorted(str(item.title) for item in self.collection.items()[0])


def grown(path: Path, age: int) -> Path:
    """Makes a file old enough to be trusted by its time stamp."""
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be this large, and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(999)))


def counts(report: IngestReport) -> tuple[int, int, int, int, int]:
    return report.ingested, report.unchanged, report.moved, report.pruned, report.failed


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library(tmp_path)
    yield library
    library.close()


def test_texts_and_pictures_are_found_again(library: Library) -> None:
    library.write("a.txt", "a short text")
    library.write("long.md", "x" * 100 + "y" * 100 + "z" * 50)
    library.photo("p.png", 1)
    report = library.ingest()
    assert counts(report) == (3, 0, 0, 0, 0)
    assert library.collection.counts() == {Modality.TEXT: 2, Modality.IMAGE: 1}
    query = library.toy._vector(Media(Modality.TEXT, "y" * 100))
    [hit] = library.collection.search(
        Query(joint=query, k=1, modalities=frozenset({Modality.TEXT}))
    ).hits
    assert (hit.item.title, hit.span, hit.text) == ("long.md", CharSpan(100, 200), "y" * 100)
    assert hit.score == pytest.approx(1, abs=1e-6)


def test_a_list_of_items_shows_how_long_texts_begin(library: Library) -> None:
    library.write("long.txt", "x" * 5000)
    library.ingest()
    [item] = library.collection.items()[0]
    assert item.text == "x" * 1000
    assert library.collection.item(item.id).text == "x" * 5000


def test_a_second_run_opens_nothing(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.write("a.txt", "alpha")
    library.photo("p.png", 1)
    library.ingest()
    monkeypatch.setattr("index.batch.intake.open_media", pytest.fail)
    assert counts(library.ingest()) == (0, 2, 0, 0, 0)
    assert library.toy.seen == []


def test_a_changed_file_is_embedded_again_under_its_own_id(library: Library) -> None:
    path = library.write("a.txt", "alpha")
    library.ingest()
    before = library.item_at(path)
    library.write("a.txt", "omega!", age=30)
    assert counts(library.ingest()) == (1, 0, 0, 0, 0)
    after = library.item_at(path)
    assert after == before
    assert library.collection.item(after).text == "omega!"
    assert sum(library.collection.counts().values()) == 1
    gone = library.toy._vector(Media(Modality.TEXT, "alpha"))
    [hit] = library.collection.search(Query(joint=gone, k=5)).hits
    assert hit.score is not None
    assert hit.score < 0.99, "the old vector is gone"


def test_a_file_changed_within_the_tick_of_the_clock_is_noticed(library: Library) -> None:
    path = library.write("a.txt", "alpha", age=0)
    library.ingest()
    stat = path.stat()
    path.write_text("omega")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert counts(library.ingest()) == (1, 0, 0, 0, 0)


def test_a_touched_file_is_unchanged(library: Library) -> None:
    path = library.write("a.txt", "alpha")
    library.ingest()
    grown(path, 10)
    assert counts(library.ingest()) == (0, 1, 0, 0, 0)
    assert library.toy.seen == []


def test_a_moved_file_keeps_its_id_and_costs_no_embedding(library: Library) -> None:
    old = library.write("a.txt", "alpha")
    library.ingest()
    item = library.item_at(old)
    new = library.folder / "sub" / "b.txt"
    new.parent.mkdir()
    old.rename(new)
    assert counts(library.ingest()) == (0, 0, 1, 0, 0)
    assert library.toy.seen == []
    assert library.item_at(new) == item
    assert library.uris() == {new.as_uri()}
    assert library.titles() == ["b.txt"]


def test_a_title_that_a_person_gave_stays(library: Library) -> None:
    old = library.write("a.txt", "alpha")
    library.ingest()
    item = library.item_at(old)
    library.collection.update(item, title="My favourite")
    library.write("a.txt", "alpha and omega", age=30)
    assert counts(library.ingest()) == (1, 0, 0, 0, 0)
    assert library.titles() == ["My favourite"]
    old.rename(library.folder / "b.txt")
    assert counts(library.ingest()) == (0, 0, 1, 0, 0)
    assert library.titles() == ["My favourite"]


def test_copies_are_all_items_and_share_one_embedding(library: Library) -> None:
    library.photo("a.png", 7)
    library.ingest()
    for name in ("b.png", "c.png"):
        shutil.copy2(library.folder / "a.png", library.folder / name)
    assert counts(library.ingest()) == (2, 1, 0, 0, 0)
    assert library.toy.seen == [], "vectors are reused by digest"
    assert library.titles() == ["a.png", "b.png", "c.png"]
    rows = [
        library.collection.vectors_of(*state.items.values(), "joint")  # type: ignore[arg-type]
        for state in library.collection.file_states().values()
    ]
    assert all(np.array_equal(rows[0], row) for row in rows)


def test_deleted_files_go_only_when_pruning_is_asked_for(library: Library) -> None:
    keep = library.write("keep.txt", "keep")
    gone = library.write("gone.txt", "gone")
    library.ingest()
    gone.unlink()
    assert counts(library.ingest()) == (0, 1, 0, 0, 0)
    assert library.titles() == ["gone.txt", "keep.txt"]
    assert counts(library.ingest(prune=True)) == (0, 1, 0, 1, 0)
    assert library.uris() == {keep.as_uri()}


def test_pruning_one_folder_leaves_the_others(library: Library, tmp_path: Path) -> None:
    library.write("a/one.txt", "one")
    two = library.write("b/two.txt", "two")
    library.ingest()
    two.unlink()
    report = ingest([library.folder / "a"], library.collection, library.batcher, prune=True)
    assert report.pruned == 0
    assert library.titles() == ["one.txt", "two.txt"]


def test_pruning_spares_what_is_there_under_another_name(library: Library) -> None:
    library.write("real/x.txt", "one")
    library.write(".hidden/y.txt", "two")
    library.ingest()
    hidden = library.folder / ".hidden"
    ingest([hidden], library.collection, library.batcher)
    ids = {i for state in library.collection.file_states().values() for i in state.items.values()}
    (library.folder / "aaa").symlink_to(library.folder / "real")
    assert counts(library.ingest(prune=True)) == (0, 1, 0, 0, 0)
    assert {
        i for state in library.collection.file_states().values() for i in state.items.values()
    } == ids


def test_a_file_from_the_far_future_is_a_file(library: Library) -> None:
    path = library.write("a.txt", "later")
    os.utime(path, (1e10, 1e10))
    assert counts(library.ingest()) == (1, 0, 0, 0, 0)


def test_a_file_that_is_itself_again_is_no_failure(library: Library) -> None:
    path = library.write("a.txt", "alpha")
    library.ingest()
    path.write_bytes(b"\0\1\2")
    grown(path, 30)
    assert counts(library.ingest()) == (0, 0, 0, 0, 1)
    library.write("a.txt", "alpha", age=20)
    assert counts(library.ingest()) == (0, 1, 0, 0, 0)
    assert library.collection.failures() == []


def test_a_move_that_another_ingest_made_first(library: Library) -> None:
    old = library.write("a.txt", "alpha")
    library.ingest()
    new = library.folder / "b.txt"
    old.rename(new)
    late = library.collection.file_states()
    library.ingest()
    library.collection.file_states = lambda: late  # type: ignore[method-assign]
    assert counts(library.ingest())[4] == 0
    del library.collection.file_states
    assert library.uris() == {new.as_uri()}
    assert library.collection.failures() == []


def test_weights_that_are_missing_stop_the_run(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(batch: object) -> Vectors:
        raise MissingWeights("install them")

    library.write("a.txt", "alpha")
    monkeypatch.setattr(library.toy, "embed", missing)
    with pytest.raises(MissingWeights):
        library.ingest()
    assert library.collection.failures() == []


def test_a_corrupted_library_loses_nothing_and_tells_everything(library: Library) -> None:
    good = [library.write("good.txt", "fine"), library.photo("good.png", 3)]
    folder = library.folder
    library.photo("whole.jpg", 4)
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:200])
    (folder / "whole.jpg").unlink()
    with zipfile.ZipFile(folder / "zip.jpg", "w") as bundle:
        bundle.writestr("x.txt", "not a photo")
    (folder / "empty.png").touch()
    (folder / "bomb.png").write_bytes(png_header(30_000, 30_000))
    (folder / "loop").symlink_to(folder)
    (folder / "dangling.txt").symlink_to(folder / "nowhere")
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt"))
    odd.write_text("an odd name")
    os.mkfifo(folder / "pipe")
    report = library.ingest()
    assert counts(report)[:3] == (3, 0, 0)
    codes = {Path(failure.uri).name: failure.code for failure in report.failures}
    assert codes == {
        "cut.jpg": "corrupt_media",
        "zip.jpg": "unsupported_media",
        "empty.png": "corrupt_media",
        "bomb.png": "too_large",
        "dangling.txt": "not_found",
        "pipe": "unsupported_media",
    }
    for failure in report.failures:
        assert failure.message.isprintable()
        assert Path(failure.uri).name in failure.message
    assert {path.as_uri() for path in [*good, odd]} == library.uris()
    assert {f.uri for f in library.collection.failures()} == {f.uri for f in report.failures}


def test_a_mended_file_is_no_failure_any_more(library: Library) -> None:
    path = library.folder / "a.txt"
    path.touch()
    assert counts(library.ingest()) == (0, 0, 0, 0, 1)
    library.write("a.txt", "now it says something")
    assert counts(library.ingest()) == (1, 0, 0, 0, 0)
    assert library.collection.failures() == []


def test_the_failure_of_a_deleted_file_is_forgotten(library: Library) -> None:
    path = library.folder / "a.txt"
    path.touch()
    library.ingest()
    path.unlink()
    library.ingest(prune=True)
    assert library.collection.failures() == []


def test_a_broken_tower_fails_files_and_not_the_run(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.write("a.txt", "alpha")
    monkeypatch.setattr(library.toy, "embed", lambda batch: 1 / 0)
    report = library.ingest()
    assert [failure.code for failure in report.failures] == ["backend_failed"]
    monkeypatch.undo()
    assert counts(library.ingest()) == (1, 0, 0, 0, 0)


def test_a_file_that_takes_long_is_named_while_it_is_waited_for(library: Library) -> None:
    library.write("long.txt", "a long one")
    named = threading.Event()
    run = library.toy.run

    def slow(modality: Modality, batch: Sequence[Media]) -> Vectors:
        assert named.wait(60)
        return run(modality, batch)

    def watch(step: Progress) -> None:
        if step.current == "long.txt" and step.done == 0:
            named.set()

    library.toy.run = slow  # type: ignore[method-assign]
    assert library.ingest(progress=watch).ingested == 1


def test_a_path_that_is_not_there_stops_before_anything_happens(library: Library) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        ingest([library.folder / "nope"], library.collection, library.batcher)


def test_progress_counts_every_file_and_ends_done(library: Library) -> None:
    for n in range(5):
        library.write(f"{n}.txt", f"text {n}")
    steps: list[Progress] = []
    library.ingest(progress=steps.append)
    assert steps[-1].phase == "done"
    indexing = [step.done for step in steps if step.phase == "indexing"]
    assert sorted(set(indexing) - {0}) == [1, 2, 3, 4, 5]
    assert indexing == sorted(indexing)
    assert all(step.total == 5 for step in steps if step.phase != "walking")


def test_a_full_disk_stops_cleanly_and_can_be_resumed(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(40):
        library.write(f"{n:02}.txt", f"text number {n}")
    monkeypatch.setattr("index.batch.ingest.COMMIT_ROWS", 8)
    real = library.collection.write
    written = []

    def write(entries: Sequence[object], **rest: object) -> list[str]:
        if len(written) >= 2:
            raise StorageFull("the disk is full")
        written.append(len(entries))
        return real(entries, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(library.collection, "write", write)
    with pytest.raises(StorageFull):
        library.ingest()
    assert sum(library.collection.counts().values()) == sum(written)
    monkeypatch.undo()
    report = library.ingest()
    assert report.ingested == 40 - sum(written)
    assert sum(library.collection.counts().values()) == 40


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    sys.path.insert(0, sys.argv[1])
    from pathlib import Path
    import index.batch.ingest, index.batch.intake, index.catalog
    import test_ingest as suite

    point, after, root = sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    index.batch.ingest.COMMIT_ROWS = 4
    library = suite.Library.__new__(suite.Library)
    library.folder, library.home = root / "library", root / "home"
    library.reopen()
    left = [after]

    def fuse(real):
        def fused(*args, **rest):
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **rest)
        return fused

    if point == "read":
        index.batch.intake.open_media = fuse(index.batch.intake.open_media)
    elif point == "embed":
        library.toy.embed = fuse(library.toy.embed)
    elif point == "write":
        library.collection.write = fuse(library.collection.write)
    elif point == "sql":
        # Inside a transaction: SQLite calls back after every so many instructions.
        connection = library.catalog._database._writer
        connection.set_progress_handler(fuse(lambda: 0), 50)
    library.ingest()
    os._exit(9)  # the fuse must blow first
    """
)


@pytest.mark.parametrize("seed", range(8))
def test_kill_9_loses_nothing_and_repeats_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    point = ("read", "embed", "write", "sql")[seed % 4]
    after = {"read": 25, "embed": 3, "write": 5, "sql": 60}[point]
    library = Library(tmp_path)
    for n in range(32):
        library.write(f"{n:02}.txt", f"text number {n}")
    library.close()
    args = [str(Path(__file__).parent), point, str(rng.randint(1, after)), str(tmp_path)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *args], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    library.reopen()
    survived = set(library.uris())
    committed = len(survived)
    assert sum(library.collection.counts().values()) == committed
    report = library.ingest()
    assert (report.ingested, report.unchanged, report.failed) == (32 - committed, committed, 0)
    assert len(library.toy.seen) == 32 - committed, "what was committed is not embedded again"
    assert survived <= library.uris()
    for n in range(32):
        query = library.toy._vector(Media(Modality.TEXT, f"text number {n}"))
        [hit] = library.collection.search(Query(joint=query, k=1)).hits
        assert hit.item.title == f"{n:02}.txt"
        assert hit.score == pytest.approx(1, abs=1e-6)
    assert len(library.collection.items(limit=100)[0]) == 32
    library.close()

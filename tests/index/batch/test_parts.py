"""A file may hold several media: each is an item, all are one record, and they go as one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from embed.batcher import Batcher
from embed.errors import CorruptMedia
from embed.media import pieces
from embed.types import Batching, Downmix, Media, Modality, Space, Span, Vectors, normalise
from index.batch.ingest import ingest
from index.catalog import Catalog
from index.collection import Collection
from index.search.query import Query
from index.types import IngestReport

SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=8)
TEXT, IMAGE, AUDIO, VIDEO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO


class Toy:
    """Every medium by its first bytes; it can be deaf, and it can refuse sounds."""

    space = SPACE
    batching = Batching(workers=2, max_batch=8)
    chunker = "half-seconds"
    image_side = 16

    def __init__(self) -> None:
        self.modalities = frozenset({TEXT, IMAGE, AUDIO, VIDEO})
        self.refuses: Modality | None = None
        self.runs = 0

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        if media.modality is TEXT:
            return pieces.of_text(media, lambda _: iter([None]))
        if media.modality is IMAGE:
            return pieces.of_image(media)
        if media.modality is AUDIO:
            return pieces.of_sound(media, seconds=0.5, rate=8000, downmix=Downmix.MEAN)
        return pieces.of_film(media, seconds=0.5, per_second=4, min_side=16)

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def warm(self) -> None:
        pass

    def prepare(self, piece: Media) -> list[int]:
        if piece.modality is self.refuses:
            raise CorruptMedia(f"no {piece.modality} today")
        data = piece.data.encode() if isinstance(piece.data, str) else piece.data.tobytes()
        return [*data[:64], len(data)]

    def run(self, _: Modality, batch: Sequence[list[int]]) -> Vectors:
        self.runs += 1
        rows = [np.random.default_rng(seed).standard_normal(8) for seed in batch]
        return Vectors(SPACE, normalise(np.stack(rows)))

    def embed(self, batch: Sequence[Media]) -> Vectors:
        return self.run(batch[0].modality, [self.prepare(piece) for piece in batch])


class Library:
    """A folder and a collection of it."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "library"
        self.folder.mkdir()
        self.toy = Toy()
        self.batcher = Batcher(self.toy)
        self.catalog = Catalog(root / "catalog.db")
        info = self.catalog.create_collection("c", space=SPACE, chunker=self.toy.chunker)
        self.collection = Collection(self.catalog, info)

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        past = time.time() - 100
        os.utime(path, (past, past))
        return path

    def ingest(self, *, prune: bool = False) -> IngestReport:
        return ingest([self.folder], self.collection, self.batcher, prune=prune)

    def items(self) -> dict[str, tuple[Modality, str]]:
        """Modality and record, by the end of the uri."""
        page, _ = self.collection.items()
        return {str(i.uri).rpartition("/")[2]: (i.modality, i.record) for i in page}


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library(tmp_path)
    yield library
    library.batcher.close()
    library.catalog.close()


def test_a_film_gives_its_pictures_its_sound_and_its_words(
    library: Library, whole_files: dict[str, bytes]
) -> None:
    library.write("a.mp4", whole_files["a.mp4"])
    report = library.ingest()
    assert (report.ingested, report.failed, report.left_out) == (1, 0, {})
    items = library.items()
    assert {name: modality for name, (modality, _) in items.items()} == {
        "a.mp4": VIDEO,
        "a.mp4#audio": AUDIO,
        "a.mp4#text": TEXT,
    }
    assert len({record for _, record in items.values()}) == 1
    [state] = library.collection.file_states().values()
    shots = library.collection.vectors_of(state.items[VIDEO])
    clips = library.collection.vectors_of(state.items[AUDIO])
    assert len(shots) >= 4
    assert len(clips) >= 4
    hit = library.collection.search(Query(joint=clips[2], k=1, modalities=frozenset({AUDIO}))).hits[
        0
    ]
    assert hit.score == pytest.approx(1, abs=1e-6)
    assert hit.span is not None
    assert hit.span.start == pytest.approx(0.78, abs=0.02)  # type: ignore[union-attr]
    assert hit.item.metadata == {"duration": pytest.approx(2.05, abs=0.1)}
    text = library.collection.item(state.items[TEXT]).text
    assert text is not None
    assert "A gradient" in text


def test_what_is_unchanged_is_not_read_again(
    library: Library, whole_files: dict[str, bytes]
) -> None:
    path = library.write("a.mp4", whole_files["a.mp4"])
    library.ingest()
    runs = library.toy.runs
    assert library.ingest().unchanged == 1
    os.utime(path, (1, 1))
    assert library.ingest().unchanged == 1
    library.write("copy.mp4", whole_files["a.mp4"])
    report = library.ingest()
    assert (report.ingested, report.unchanged) == (1, 1)
    assert library.toy.runs == runs
    assert len(library.items()) == 6


def test_a_moved_file_takes_all_its_items_along(
    library: Library, whole_files: dict[str, bytes]
) -> None:
    path = library.write("a.mp4", whole_files["a.mp4"])
    library.ingest()
    before, _ = library.collection.items()
    library.collection.update(before[1].id, title="mine")
    path.rename(library.folder / "b.mp4")
    assert library.ingest().moved == 1
    after, _ = library.collection.items()
    assert [item.id for item in after] == [item.id for item in before]
    assert set(library.items()) == {"b.mp4", "b.mp4#audio", "b.mp4#text"}
    assert [item.title for item in after] == ["b.mp4", "mine", "b.mp4"]
    assert library.ingest().unchanged == 1


def test_what_a_file_no_longer_holds_goes(library: Library, whole_files: dict[str, bytes]) -> None:
    library.write("a", whole_files["a.mp4"])
    library.ingest()
    record = library.items()["a"][1]
    library.write("a", whole_files["a.png"])
    assert library.ingest().ingested == 1
    assert library.items() == {"a": (IMAGE, record)}
    library.write("a", whole_files["a.mp4"])
    library.ingest()
    assert {name: m for name, (m, _) in library.items().items()} == {
        "a": VIDEO,
        "a#audio": AUDIO,
        "a#text": TEXT,
    }


def test_a_file_that_is_gone_is_pruned_whole(
    library: Library, whole_files: dict[str, bytes]
) -> None:
    path = library.write("a.mp4", whole_files["a.mp4"])
    library.write("b.png", whole_files["a.png"])
    library.ingest()
    path.unlink()
    assert library.ingest(prune=True).pruned == 1
    assert set(library.items()) == {"b.png"}
    [state] = library.collection.file_states().values()
    assert library.collection.delete([state.items[IMAGE]]) == 1
    assert library.collection.counts() == {}


def test_deleting_the_main_item_deletes_what_else_its_file_holds(
    library: Library, whole_files: dict[str, bytes]
) -> None:
    library.write("a.mp4", whole_files["a.mp4"])
    library.ingest()
    [state] = library.collection.file_states().values()
    library.collection.delete([state.items[VIDEO]])
    assert library.items() == {}
    assert library.ingest().ingested == 1


def test_a_part_that_fails_fails_alone_until_it_is_whole(
    library: Library, whole_files: dict[str, bytes]
) -> None:
    path = library.write("a.mp4", whole_files["a.mp4"])
    library.toy.refuses = AUDIO
    report = library.ingest()
    assert (report.ingested, report.failed) == (1, 1)
    assert set(library.items()) == {"a.mp4", "a.mp4#text"}
    [failure] = library.collection.failures()
    assert failure.uri == path.as_uri() + "#audio"
    assert "no audio today" in failure.message
    library.toy.refuses = None
    library.write("a.mp4", whole_files["a.mp4"] + bytes(9))
    library.ingest()
    assert len(library.items()) == 3
    assert library.collection.failures() == []
    library.toy.refuses = VIDEO
    library.write("b.mp4", whole_files["silent.mp4"])
    assert library.ingest().failed == 1
    assert "b.mp4" not in library.items()


def test_what_the_space_does_not_embed_is_left_out_and_told(
    library: Library, whole_files: dict[str, bytes]
) -> None:
    library.toy.modalities = frozenset({TEXT, VIDEO})
    library.write("a.mp4", whole_files["a.mp4"])
    library.write("a.mp3", whole_files["a.mp3"])
    library.write("a.wav", whole_files["zero.wav"])
    report = library.ingest()
    assert report.left_out == {AUDIO: 2}
    assert report.to_json()["left_out"] == {"audio": 2}
    assert [failure.uri.rpartition("/")[2] for failure in report.failures] == ["a.wav"]
    assert set(library.items()) == {"a.mp4", "a.mp4#text", "a.mp3#text"}
    assert library.ingest().unchanged == 2


def test_a_caption_beside_a_picture_joins_its_record_whoever_comes_first(
    library: Library, whole_files: dict[str, bytes]
) -> None:
    library.write("boat.png", whole_files["a.png"])
    library.write("boat.txt", b"a boat at sea")
    library.write("late.txt", b"written before its picture came")
    library.write("other.txt", b"of nobody")
    library.ingest()
    items = library.items()
    assert items["boat.png"][1] == items["boat.txt"][1]
    assert len({record for _, record in items.values()}) == 3
    library.write("late.jpg", whole_files["progressive.jpg"])
    library.write("boat.json", b'{"place": "Kiel"}')
    library.ingest()
    again = library.items()
    assert again["late.jpg"][1] == again["late.txt"][1] == items["late.txt"][1]
    assert again["boat.json"][1] == items["boat.png"][1]


def test_the_words_inside_a_picture_are_found_and_lead_to_it(
    library: Library, whole_files: dict[str, bytes]
) -> None:
    library.write("a.jpg", whole_files["a.jpg"])
    library.ingest()
    items = library.items()
    assert {name: modality for name, (modality, _) in items.items()} == {
        "a.jpg": IMAGE,
        "a.jpg#text": TEXT,
    }
    [state] = library.collection.file_states().values()
    words = library.collection.vectors_of(state.items[TEXT])
    hit = library.collection.search(Query(joint=words[0], k=1, modalities=frozenset({TEXT}))).hits[
        0
    ]
    assert "a harbour at dusk" in str(hit.text)
    record, _ = library.collection.items(record=hit.item.record)
    assert {item.modality for item in record} == {IMAGE, TEXT}


def test_pages_and_rows_are_what_hits_point_at(
    library: Library, whole_files: dict[str, bytes]
) -> None:
    library.write("a.pdf", whole_files["a.pdf"])
    library.write("a.csv", whole_files["a.csv"])
    library.ingest()
    states = {uri[-3:]: state for uri, state in library.collection.file_states().items()}
    assert set(states["pdf"].items) == {TEXT, IMAGE}
    pages = library.collection.vectors_of(states["pdf"].items[TEXT])
    hit = library.collection.search(Query(joint=pages[1], k=1, modalities=frozenset({TEXT}))).hits[
        0
    ]
    assert hit.text is not None
    assert hit.text.strip() == "two"
    assert hit.span is not None
    assert hit.span.page == 2  # type: ignore[union-attr]
    rows = library.collection.vectors_of(states["csv"].items[TEXT])
    assert len(rows) == 2
    row = library.collection.search(Query(joint=rows[1], k=1, modalities=frozenset({TEXT}))).hits[0]
    assert "a, b" in str(row.text)
    assert "boat" not in str(row.text)

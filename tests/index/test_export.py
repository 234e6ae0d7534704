"""A collection as a file: everything is in it once, whatever the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import BadInput, NotFound
from embed.types import CharSpan, Floats, GeoPoint, Modality, normalise
from index.collection import Collection
from index.metadata.filter_text import parse_filter
from index.types import Entry, NewFragment

TEXT = Modality.TEXT


@pytest.fixture
def vectors() -> Floats:
    return normalise(np.random.default_rng(0).standard_normal((6, 8)))


@pytest.fixture
def stocked(collection: Collection, vectors: Floats) -> Collection:
    """Three items of two passages each, the last one bare."""
    entries = [
        Entry(
            id=name,
            modality=TEXT,
            digest=name,
            title="Ä" if name == "a" else None,
            text="wörds here",
            metadata={"n": n, "place": GeoPoint(1.5, 2)} if n < 2 else {},
            fragments=[
                NewFragment(CharSpan(0, 5), vectors[2 * n]),
                NewFragment(None, vectors[2 * n + 1]),
            ],
        )
        for n, name in enumerate("abc")
    ]
    collection.write(entries)
    return collection


def read(file: Path) -> tuple[list[dict[str, Any]], Floats]:
    """What any reader of the format sees, without our code."""
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        return rows, np.array([row.pop("vector") for row in rows], np.float32)
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as held:
            rows = [json.loads(line) for line in held["about"].tobytes().splitlines()]
            assert held["ids"].tolist() == [row["id"] for row in rows]
            assert held["fragments"].tolist() == [row["fragment"] for row in rows]
            return rows, held["vectors"]
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(file).to_pylist()
    for row in rows:
        row["metadata"] = json.loads(row["metadata"])
        row["span"] = json.loads(row["span"]) if row["span"] else None
    return rows, np.array([row.pop("vector") for row in rows], np.float32)


@pytest.mark.parametrize("ending", ["jsonl", "npz", "parquet"])
def test_everything_is_in_the_file_once(
    stocked: Collection, vectors: Floats, tmp_path: Path, ending: str
) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"all.{ending}"
    file.write_text("of another time")
    assert stocked.export(file) == 6
    rows, held = read(file)
    np.testing.assert_array_equal(held, vectors)
    assert [row["id"] for row in rows] == ["a", "a", "b", "b", "c", "c"]
    assert rows[0] == {
        "id": "a",
        "record": "a",
        "fragment": 1,
        "span": {"kind": "chars", "start": 0, "end": 5},
        "modality": "text",
        "origin": "observed",
        "digest": "a",
        "uri": None,
        "title": "Ä",
        "text": "wörds here",
        "metadata": {"n": 0, "place": {"lat": 1.5, "lon": 2.0}},
    }
    assert rows[5]["metadata"] == {}
    assert stocked.export(file, f=parse_filter("n >= 1")) == 2
    assert [row["id"] for row in read(file)[0]] == ["b", "b"]
    assert stocked.export(file, f=parse_filter("n > 9")) == 0
    assert read(file)[0] == []
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [file.name]


def test_files_that_cannot_be_written_say_why(stocked: Collection, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"choices are: \.jsonl, \.npz, \.parquet"):
        stocked.export(tmp_path / "all.csv")
    with pytest.raises(NotFound, match="no folder"):
        stocked.export(tmp_path / "none" / "all.npz")

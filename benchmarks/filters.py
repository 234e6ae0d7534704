"""What a filter and a search by words cost beside the vectors: the columns against plain SQL.

    python benchmarks/filters.py

Items are made up: a few numbers, words and lists each, titles and texts of words as frequent as
Zipf's law says, the first twenty of them English stop words. `sql` answers the same filter with
`json_extract` over the catalog's table, and the same fragments come of both. All times are the
processor's: everything here runs in one thread, and the machine may be busy with something else.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from setting import finish, say

from embed.types import Modality, Space, normalise
from index.catalog import Catalog
from index.contents import Contents
from index.metadata.columns import Columns
from index.metadata.facets import facets
from index.metadata.filter_text import parse_filter
from index.metadata.words import Words
from index.types import Entry, NewFragment

DIM = 16
WORDS = 50_000
STOP = "the of and a in to is was it for on with as at by he from be his that".split()  # noqa: SIM905
BATCH = 1_000

# A filter, and the same in SQL over `items i`; @ stands for json_extract(i.metadata, '$.…').
FILTERS = {
    "eq 1 %": ("group = 8", "@group = 8"),
    "eq 0.1 %": ('code = "c8"', "@code = 'c8'"),
    "range 10 %": ("score >= 0.9", "@score >= 0.9"),
    "half": ("first = true", "@first = 1"),
    "in a list": (
        'tag in ("t3", "t5")',
        "EXISTS (SELECT 1 FROM json_each(i.metadata, '$.tag') WHERE value IN ('t3', 't5'))",
    ),
    "and, or, not": (
        'score >= 0.5 and (group = 8 or tag = "t3") and not code = "c9"',
        "@score >= 0.5 AND (@group = 8 OR EXISTS (SELECT 1 FROM json_each(i.metadata, '$.tag')"  # noqa: ISC004 - one statement
        " WHERE value = 't3')) AND NOT @code = 'c9'",
    ),
    "time": ('taken >= "2024-07-01"', "@taken >= '2024-07-01'"),
    "match in texts": ('match(@text, "w300")', None),
    "has": ("has(image) and group = 8", None),
}
QUESTIONS = {
    "a rare word": "w9000",
    "a word of 1 %": "w150",
    "a word of 10 %": "w25",
    "a stop word alone": "the",
    "two words of 10 %": "w25 w30",
    "ten words of all kinds": "the of w20 w40 w80 w300 w1000 w3000 w9000 w20000",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--home", type=Path, help="where the collection stays for the next run")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        catalog = Catalog((args.home or Path(scratch)) / f"{args.items}.db")
        contents = fill(catalog, args.items)
        result = {
            "items": args.items,
            **loading(contents),
            "filters_ms": filters(contents, args.times),
            "words_ms": words(contents, args.times),
        }
        catalog.close()
    finish("filters", result, args.out)
    return 0


def fill(catalog: Catalog, count: int) -> Contents:
    if catalog.collections():
        return catalog.contents(catalog.collection("c"))
    space = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=DIM)
    contents = catalog.contents(catalog.create_collection("c", space=space, chunker="whole"))
    rng = np.random.default_rng(0)
    start = time.thread_time()
    for first in range(0, count, BATCH):
        vectors = normalise(rng.standard_normal((BATCH, DIM)))
        with contents.writing() as writing:
            for number, said in enumerate(sayings(rng, first, min(BATCH, count - first))):
                fragments = [NewFragment(None, vectors[number])]
                writing.put(Entry(digest=f"{first + number}", fragments=fragments, **said))
    say(f"{count:,} items in {time.thread_time() - start:.1f} s")
    return contents


def sayings(rng: np.random.Generator, first: int, count: int) -> Iterator[dict[str, Any]]:
    shares = 1 / np.arange(1, WORDS + 1)
    spoken = rng.choice(WORDS, (count, 40), p=shares / shares.sum())
    for number, row in enumerate(spoken, start=first):
        told = [STOP[word] if word < len(STOP) else f"w{word}" for word in row]
        yield {
            "modality": Modality.TEXT if number % 2 else Modality.IMAGE,
            "title": " ".join(told[:4]),
            "text": " ".join(told[4:]),
            "metadata": {
                "group": number % 100,
                "code": f"c{number % 1000}",
                "score": float(rng.random()),
                "first": number % 4 < 2,
                "tag": [f"t{tag}" for tag in rng.integers(0, 40, 2)],
                "taken": f"2024-{1 + number % 12:02}-{1 + number % 28:02}T10:00:00Z",
            },
        }


def loading(contents: Contents) -> dict[str, float]:
    """The first filter reads everything; one after a write takes in what changed."""
    state = contents.partitions()[0]
    f = parse_filter("group = 8")
    columns = Columns(contents)
    start = time.thread_time()
    columns.select(f, state)
    first = time.thread_time() - start
    with contents.writing() as writing:
        [[some]] = [[item.id] for item in contents.items_of([1])]
        writing.update(some, metadata={"group": 8}, title=None)
    state = contents.partitions()[0]
    start = time.thread_time()
    columns.select(f, state)
    told = {
        "load_seconds": round(first, 3),
        "after_a_write_ms": round((time.thread_time() - start) * 1e3, 2),
        "memory_mib": round(memory(contents) / 2**20, 1),
    }
    say(json.dumps(told))
    return told


def memory(contents: Contents) -> int:
    tracemalloc.start()
    columns = Columns(contents)
    columns.select(parse_filter("group = 8"), contents.partitions()[0])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held


def filters(contents: Contents, times: int) -> dict[str, dict[str, float]]:
    columns = Columns(contents)
    table: dict[str, dict[str, float]] = {}
    for name, (text, sql) in FILTERS.items():
        # A filter of its own each time: the answer to the last one is kept.
        asked = [parse_filter(text) for _ in range(times + 2)]
        state = contents.partitions()[0]
        found = columns.select(asked.pop(), state)
        table[name] = {
            "selected": len(found),
            "columns": median(lambda a=asked, s=state: columns.select(a.pop(), s), times),
        }
        if sql is not None:
            with contents.reading() as connection:
                told = by_sql(connection, state.id, sql)
                assert told == found.tolist()
                slow = median(partial(by_sql, connection, state.id, sql), 3)
            table[name] |= {"sql": slow, "ratio": round(slow / table[name]["columns"], 1)}
        say(f"{name:16} {table[name]}")
    named = median(lambda: facets(columns, ["group", "code", "tag"]), times)
    table["facets of three fields"] = {"columns": named}
    say(f"facets           {named}")
    return table


def by_sql(connection: sqlite3.Connection, partition: int, condition: str) -> list[int]:
    for name in ("group", "code", "score", "first", "taken"):
        condition = condition.replace(f"@{name}", f"json_extract(i.metadata, '$.{name}')")
    found = connection.execute(
        "SELECT v.fragment FROM items i JOIN fragments f ON f.item = i.id"
        f" JOIN vectors v ON v.fragment = f.id WHERE v.partition = ? AND {condition}",
        (partition,),
    ).fetchall()
    return sorted(fragment for (fragment,) in found)


def words(contents: Contents, times: int) -> dict[str, dict[str, float]]:
    searching = Words(contents)
    some = np.arange(1, 100_000, 100)
    table: dict[str, dict[str, float]] = {}
    for name, text in QUESTIONS.items():
        table[name] = {
            "found": len(searching.search(text, 10)),
            "all": median(partial(searching.search, text, 10), times),
            "among 1 %": median(partial(searching.search, text, 10, items=some), times),
        }
        say(f"{name:24} {table[name]}")
    return table


def median(work: Callable[[], object], times: int) -> float:
    """Milliseconds of the processor, after one call that warms up."""
    work()
    milliseconds = []
    for _ in range(times):
        start = time.thread_time()
        work()
        milliseconds.append((time.thread_time() - start) * 1e3)
    return round(statistics.median(milliseconds), 3)


if __name__ == "__main__":
    sys.exit(main())

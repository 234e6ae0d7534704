"""Real photos and sounds without words, completed and asked about: is the class right, is it cited?

    python benchmarks/rag_media.py --data ../shared/data

Of each set a part has a line of words beside each file ("a photo of a dress"), the rest has none;
file names say nothing. What lacks words is completed from its neighbours in the built-in space, and
asked about: "What is in this picture?", "What does this sound like?". The same is asked with files
that are not in the library. The shipped ear was trained on these very sounds, so their figures say
that completion works, not how well the ear hears new ones. Intervals are a percentile bootstrap
over the files.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from re import Pattern
from typing import Any, NamedTuple

import numpy as np
from retrieval_quality import PICTURES, WORDS
from setting import finish, say

from embed import registry
from embed.batcher import Batcher
from embed.calibration import Calibrations
from embed.media.read import open_media
from embed.registry import LoadOptions
from embed.training.metrics import bootstrap_interval
from embed.types import Media, Modality
from generation.extractive import Extractive
from index.batch.ingest import ingest
from index.catalog import Catalog
from index.collection import Collection
from rag.complete import Completer
from rag.library import Library
from rag.pipeline import answer
from rag.rerank import Reranker, open_reranker
from rag.types import Answer, Ask, ItemPart

OUTSIDE = 0.1  # of the files are not indexed, but asked with
SIDE = 256  # pixels of the shorter side that a picture is decoded to at least


class Set(NamedTuple):
    """Labelled media. question: what is asked of each; caption: what stands beside it."""

    archive: str
    modality: Modality
    question: str
    caption: str
    goal: float


SETS = {
    "clothing": Set(
        "clothing-train.zip", Modality.IMAGE, "What is in this picture?", "a photo of a {}", 0.80
    ),
    "cifar10": Set(
        "cifar10-train-15k.zip", Modality.IMAGE, "What is in this picture?", "a photo of a {}", 0.65
    ),
    "esc10": Set(
        "esc10-folds1-4.zip", Modality.AUDIO, "What does this sound like?", "the sound of {}", 0.85
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, help="folder for what is derived from weights")
    parser.add_argument("--limit", type=int, default=200, help="files of a class at most")
    parser.add_argument("--bare", type=float, default=0.3, help="share of files without words")
    parser.add_argument("--asked", type=int, default=150, help="bare files that are asked about")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    missing = [s.archive for s in SETS.values() if not (args.data / s.archive).is_file()]
    if missing:
        say(f"{args.data} lacks {', '.join(missing)}; point --data to the folder that has them")
        return 3
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        options = LoadOptions(cache=args.cache or Path(scratch), threads=2, offline=True)
        batcher = Batcher(registry.load("builtin", options))
        sets = {}
        for name in SETS:
            folder = Path(scratch) / name
            folder.mkdir()
            sets[name] = measure(SETS[name], folder, batcher, options, args)
            say(f"{name}: {sets[name]}")
        batcher.close()
    result = {"bare": args.bare, "sets": sets, "seconds": round(time.monotonic() - began, 1)}
    finish("rag_media", result, args.out)
    return 0


class Shelf(NamedTuple):
    """A set as it was indexed. labels: the class of each file by its stem. outside: files of the
    same kinds that were not."""

    which: Set
    library: Library
    completer: Completer
    reranker: Reranker
    labels: Mapping[str, str]
    outside: Sequence[Path]


def measure(
    which: Set, folder: Path, batcher: Batcher, options: LoadOptions, args: argparse.Namespace
) -> dict[str, Any]:
    labels = unpack(which, args.data / which.archive, folder, args.limit, args.bare)
    catalog = Catalog(folder / "catalog.db")
    space = batcher.embedder.space
    info = catalog.create_collection("c", space=space, chunker=batcher.embedder.chunker)
    collection = Collection(catalog, info)
    report = ingest([folder / "inside"], collection, batcher)
    assert not report.failed, report.failures
    library = Library(collection, batcher, Calibrations(folder).of(space), lambda *_: None)
    reranker = open_reranker("builtin", options, library)
    outside = sorted((folder / "outside").iterdir())
    shelf = Shelf(which, library, Completer(library), reranker, labels, outside)
    bare = dict(without_words(collection, which.modality))
    things = sorted((_stem(library, item), item) for item in bare.values())
    chosen = np.random.default_rng(0).permutation(len(things))[: args.asked]
    result = {
        "files": len(labels) - len(outside),
        "without words": len(bare),
        **completed(shelf, bare),
        "asked about": asked(shelf, [(things[n][0], ItemPart(things[n][1])) for n in chosen]),
        "asked with": asked(
            shelf, [(file.stem, opened(file, which)) for file in outside[: args.asked]]
        ),
    }
    collection.close()
    catalog.close()
    return result


def without_words(collection: Collection, modality: Modality) -> Iterator[tuple[str, str]]:
    """Records that lack words, each with the item that they have."""
    worded = {item.record for item in everything(collection, Modality.TEXT)}
    for item in everything(collection, modality):
        if item.record not in worded:
            yield item.record, item.id


def everything(collection: Collection, modality: Modality) -> Iterator[Any]:
    cursor = None
    while True:
        items, cursor = collection.items(limit=1000, cursor=cursor, modality=modality)
        yield from items
        if cursor is None:
            return


def completed(shelf: Shelf, bare: Mapping[str, str]) -> dict[str, Any]:
    """Of all that lacked words, the share whose borrowed words name the right class: of what was
    likely enough to be told, and whatever its probability."""
    library, began = shelf.library, time.monotonic()
    shelf.completer.complete_all([Modality.TEXT], method="best")
    seconds = time.monotonic() - began
    told = library.collection.completions.of_records(bare, modality=Modality.TEXT)
    every = library.collection.completions.of_records(bare, modality=Modality.TEXT, least=0.0)
    right = {
        record: said(shelf.which, some[0].value or "") == shelf.labels[_stem(library, bare[record])]
        for record, some in every.items()
    }
    accuracy = share([right.get(record, False) for record in bare])
    return {
        "accuracy of all": accuracy,
        "accuracy of those told": share([right[record] for record in told]),
        "told": round(len(told) / len(bare), 3),
        "goal": shelf.which.goal,
        "met": accuracy[0] >= shelf.which.goal,
        "completed a second": round(len(bare) / seconds, 1),
    }


def asked(shelf: Shelf, things: Sequence[tuple[str, ItemPart | Media]]) -> dict[str, Any]:
    """Answers about things that have no words, by their stems: the right class before any other,
    every sentence supported by what it cites."""
    names = sorted(set(shelf.labels.values()), key=len, reverse=True)  # no shirt in a t-shirt
    classes = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")  # nor a hat in that
    rows = []
    for stem, thing in things:
        ask = Ask(parts=(Media(Modality.TEXT, shelf.which.question), thing))
        given = answer(ask, shelf.library, Extractive(), shelf.reranker, shelf.completer)
        rows.append((given, _names(given, shelf.labels[stem], classes)))
    answered = [(given, right) for given, right in rows if not given.abstained]
    return {
        "answered": share([not given.abstained for given, _ in rows]),
        "right, of all": share([right for _, right in rows]),
        "right, of those answered": share([right for _, right in answered]),
        "every sentence cited": share([_cited(given) for given, _ in answered]),
        "example": rows[0][0].text,
    }


def opened(file: Path, which: Set) -> Media:
    raw = open_media(file, accepts=frozenset({which.modality}))
    return raw.decode(which.modality, image_side=SIDE)


def said(which: Set, text: str) -> str | None:
    """The class that a caption names."""
    before, after = which.caption.split("{}")
    if not (text.startswith(before) and text.endswith(after)):
        return None
    return text.removeprefix(before).removesuffix(after).strip()


def _names(given: Answer, label: str, classes: Pattern[str]) -> bool:
    """The first class that it names is the right one."""
    named = classes.search(given.text)
    return not given.abstained and named is not None and named.group() == label


def _cited(given: Answer) -> bool:
    """What claims nothing ("The most similar that I found:") needs no citation."""
    return all(s.cites and s.supported for s in given.sentences if s.claim)


def _stem(library: Library, item: str) -> str:
    return Path(library.collection.item(item).uri or "").stem


def unpack(which: Set, archive: Path, folder: Path, limit: int, bare: float) -> dict[str, str]:
    """Media as `000000.webp` and on, shuffled: most inside, some with their words beside them, and
    the rest outside; returns the class of each by its file's stem."""
    labels: dict[str, str] = {}
    for name in ("inside", "outside"):
        (folder / name).mkdir()
    with zipfile.ZipFile(archive) as bundle:
        members = list(_labelled(bundle, limit))
        rng = np.random.default_rng(0)
        rng.shuffle(members)
        inside = round((1 - OUTSIDE) * len(members))
        without = set(rng.permutation(inside)[: round(bare * inside)].tolist())
        for number, (member, label) in enumerate(members):
            where = folder / ("inside" if number < inside else "outside")
            stem = f"{number:06}"
            (where / f"{stem}{Path(member).suffix}").write_bytes(bundle.read(member))
            if number < inside and number not in without:
                (where / f"{stem}.txt").write_text(which.caption.format(label))
            labels[stem] = label
    return labels


def _labelled(bundle: zipfile.ZipFile, limit: int) -> Iterator[tuple[str, str]]:
    taken: dict[str, int] = {}
    for member, label in _members(bundle):
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= limit:
            yield member, label


def _members(bundle: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """Photos lie in folders of their class; sounds have a table."""
    tables = [name for name in bundle.namelist() if Path(name).name == "labels.csv"]
    for table in tables:
        for row in csv.DictReader(io.StringIO(bundle.read(table).decode())):
            yield str(Path(table).with_name(row["file"])), row["label"]
    for member in sorted(bundle.namelist()):
        if Path(member).suffix.lower() in PICTURES:
            label = Path(member).parent.name
            yield member, WORDS.get(label, label)


def share(flags: list[bool]) -> list[float]:
    """A mean and its interval."""
    if not flags:
        return []
    values = np.array(flags, np.float64)
    return [round(float(x), 3) for x in (values.mean(), *bootstrap_interval(values))]


if __name__ == "__main__":
    sys.exit(main())

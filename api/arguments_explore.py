"""The words of `collections` that look into one: counts, samples, reports, files, other names."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from api.arguments_search import FILTER
from api.arguments_values import hits, number, positive, share

EXAMPLES = {
    "collections count": ("crossbind collections count photos --filter 'year >= 2020'",),
    "collections facets": ("crossbind collections facets photos camera year",),
    "collections export": (
        "crossbind collections export photos photos.parquet",
        "crossbind collections export photos sea.npz --filter 'tag = \"sea\"'",
    ),
    "collections clear": ("crossbind collections clear photos --filter 'year < 2000' --yes",),
    "collections index": (
        "crossbind collections index photos 'faiss:hnsw?recall=0.99'",
        "crossbind collections index photos exact",
    ),
    "collections alias": (
        "crossbind collections alias best photos",
        "crossbind collections alias best --delete",
    ),
    "collections duplicates": ("crossbind collections duplicates photos --least 0.99",),
}

Make = Callable[[str, str], argparse.ArgumentParser]


def explore(make: Make) -> None:
    """All of them. make: of a name and a summary, a parser."""
    _filtered(_named(make("count", "how many items a filter means")))
    facets = _named(make("facets", "what items say under some names, and how many say each"))
    facets.add_argument("fields", nargs="+", metavar="FIELD", help="of the metadata, or @modality")
    facets.add_argument(
        "--limit", type=hits, default=10, metavar="N", help="values of each (default: %(default)s)"
    )
    _filtered(facets)
    sample = _filtered(_named(make("sample", "items drawn at random")))
    sample.add_argument("-k", type=hits, default=10, metavar="K", help="items")
    sample.add_argument("--seed", type=number, default=0, metavar="N", help="another draws others")
    export = _named(make("export", "write items and their vectors as one file"))
    export.add_argument(
        "file", type=Path, metavar="FILE", help="ending in .parquet, .npz or .jsonl"
    )
    _filtered(export)
    clear = _named(make("clear", "forget the items that a filter means; their files stay"))
    clear.add_argument("--filter", required=True, metavar="EXPR", help=FILTER)
    clear.add_argument("--yes", action="store_true", help="do not ask")
    index = _named(make("index", "choose what searches a collection, and build it now"))
    index.add_argument(
        "index",
        metavar="ADDRESS",
        help="exact, auto, faiss:hnsw?recall=0.99, qdrant:http://host:6333, …",
    )
    _alias(make("alias", "list other names of collections, set one, or delete it"))
    _reports(make)


def _alias(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("alias", nargs="?", metavar="ALIAS", help="the other name")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the collection it is to mean")
    parser.add_argument("--delete", action="store_true", help="forget the alias")


def _reports(make: Make) -> None:
    duplicates = _report(make("duplicates", "items that are all but the same"))
    duplicates.add_argument(
        "--least", type=share, metavar="S", help="cosine from which they are (default: 0.98)"
    )
    clusters = _report(make("clusters", "what belongs together"))
    clusters.add_argument("--count", type=positive, metavar="N", help="at most so many")
    outliers = _report(make("outliers", "items that are least like all others"))
    outliers.add_argument(
        "--count", type=hits, default=20, metavar="N", help="items (default: %(default)s)"
    )
    _report(make("map", "where items lie in a plane, the like near each other; for --json"))


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME", help="of the collection")
    return parser


def _filtered(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--filter", metavar="EXPR", help=FILTER)
    return parser


def _report(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--modality", metavar="M", help="which items (default: the kind there is most of)"
    )
    return _named(parser)

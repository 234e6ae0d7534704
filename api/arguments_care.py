"""The words of what keeps a library whole: `snapshot`, `restore`, `verify`, `repair`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

EXAMPLES = {
    "snapshot": ("crossbind snapshot /backup/library-monday.tar",),
    "restore": (
        "crossbind --home ~/again restore /backup/library-monday.tar",
        "crossbind restore /backup/library-monday.tar --yes",
    ),
    "verify": ("crossbind verify", "crossbind verify --json"),
    "repair": ("crossbind repair",),
    "collections snapshot": ("crossbind collections snapshot photos /backup/photos.tar",),
    "collections restore": (
        "crossbind collections restore /backup/photos.tar",
        "crossbind collections restore /backup/photos.tar --as photos-before",
        "crossbind collections restore /backup/library-monday.tar --collection photos",
    ),
    "collections verify": ("crossbind collections verify photos",),
    "collections repair": ("crossbind collections repair photos",),
}

CARE = frozenset({"snapshot", "restore", "verify", "repair"})

_AT = "a folder to make, or a file that ends in .tar"
_FROM = "what crossbind snapshot made"

Make = Callable[[str, str], argparse.ArgumentParser]


def of_library(make: Make) -> None:
    """make: adds a command of a name and a summary."""
    taking = make("snapshot", "copy the whole library to a folder or a .tar, while it is in use")
    taking.add_argument("path", type=Path, metavar="PATH", help=_AT)
    back = make("restore", "bring back a snapshot, in the place of all there is")
    back.add_argument("path", type=Path, metavar="PATH", help=_FROM)
    back.add_argument("--yes", action="store_true", help="replace the collections that are there")
    make("verify", "check every file, table, vector and upload; 1 when something is wrong")
    make("repair", "mend what verify finds; what can be read is kept")


def of_collection(make: Make) -> None:
    """make: adds an action of `collections`."""
    taking = make("snapshot", "copy one collection to a folder or a .tar, while it is in use")
    taking.add_argument("name", metavar="NAME", help="of the collection")
    taking.add_argument("path", type=Path, metavar="PATH", help=_AT)
    back = make("restore", "bring back one collection of a snapshot, beside the others")
    back.add_argument("path", type=Path, metavar="PATH", help=_FROM)
    back.add_argument("--collection", metavar="C", help="which, where it holds several")
    back.add_argument("--as", dest="called", metavar="NAME", help="the name that it is to have")
    for name, summary in (
        ("verify", "check one collection, or all of the library"),
        ("repair", "mend one collection, or all of the library"),
    ):
        make(name, summary).add_argument(
            "name", nargs="?", metavar="NAME", help="of the collection (default: all)"
        )

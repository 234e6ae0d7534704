"""The words of what takes long: `ingest` beyond folders, `train`, `jobs`, `collections migrate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

EXAMPLES = {
    "train": (
        "crossbind train scenes.toml",
        "crossbind train scenes.toml --resume",
        "crossbind train tune.toml --collection photos",
    ),
    "jobs": ("crossbind jobs", "crossbind jobs show 3f2c9a4e --json"),
    "collections migrate": (
        "crossbind collections migrate photos --space trained:runs/photos/space",
        "crossbind collections migrate photos --space builtin --keep photos-before",
    ),
}

Make = Callable[[str, str], argparse.ArgumentParser]


def sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--columns",
        metavar="ROLE=NAME,…",
        help="which columns of a .parquet are media, text, key and title (default: told from their "
        "names and types); all others are metadata",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="read and embed on a Ray cluster: the one at ADDRESS, or at hand, or made here",
    )
    where.add_argument(
        "--watch",
        nargs="?",
        const=5.0,
        type=_seconds,
        metavar="SECONDS",
        help="keep files and folders indexed until Ctrl-C, looking every SECONDS (5); what is gone "
        "is forgotten",
    )


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of seconds, 0.1 to 86400")
    return seconds


def train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="TOML file: docs/TRAINING.md")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint, where there is one"
    )
    parser.add_argument(
        "--collection",
        metavar="C",
        help="learn from what belongs together in this collection, instead of [data]",
    )


def jobs(make: Make) -> None:
    """make: adds an action of a name and a summary."""
    listed = make("list", "list the latest jobs (the default)")
    listed.add_argument("--state", metavar="S", help="only those that are queued, running, …")
    for name, summary in (
        ("show", "one job: how far it is, what failed, the end of its log"),
        ("cancel", "stop a job; what it finished stays"),
        ("pause", "hold a job; it goes on when it is resumed, and not before"),
        ("resume", "go on with a job that was paused, failed, was cancelled or interrupted"),
    ):
        make(name, summary).add_argument(
            "id", metavar="ID", help="of the job; its beginning is enough"
        )


def migrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection", metavar="NAME", help="of the collection")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--space", metavar="S", help="the space to bring it to")
    what.add_argument(
        "--give-up",
        action="store_true",
        help="forget what a migration that was broken off had done; the collection stays as it is",
    )
    parser.add_argument(
        "--drop",
        action="store_true",
        help="leave behind what cannot be embedded: other media, originals that are gone",
    )
    parser.add_argument(
        "--keep", metavar="NAME", help="keep the collection as it was under this name"
    )

"""The words of what takes long: `train`, `jobs`, and `collections migrate`."""

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
        ("resume", "go on with a job that failed, was cancelled or interrupted"),
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

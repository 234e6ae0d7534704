"""The words of what measures: `eval` and `calibrate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

EXAMPLES = {
    "eval retrieval": (
        "crossbind eval retrieval --collection photos",
        "crossbind eval retrieval --plot matrix.svg",
    ),
    "eval zero-shot": (
        "crossbind eval zero-shot --data ~/sorted",
        "crossbind eval zero-shot --data clips --space trained:runs/birds/space --plot taken.png",
    ),
    "eval probes": ("crossbind eval probes --space hf:openai/clip-vit-base-patch32",),
    "calibrate": (
        "crossbind calibrate",
        "crossbind calibrate --collection photos --json > calibration.json",
    ),
}

Make = Callable[[str, str], argparse.ArgumentParser]


def measure(make: Make) -> None:
    """make: adds an action of a name and a summary."""
    retrieval = make(
        "retrieval",
        "how well the modalities of a collection find each other",
    )
    _collection(retrieval)
    _plot(retrieval, "R@1 of each pair")
    zero_shot = make("zero-shot", "name the class of each file in a folder of class folders")
    _space(zero_shot)
    zero_shot.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="a folder for each class, called what it is called, of pictures, sounds or films",
    )
    zero_shot.add_argument(
        "--templates",
        type=Path,
        metavar="FILE",
        help="sentences to say a class in, one a line, with {} for its name (default: our own)",
    )
    _plot(zero_shot, "what was taken for what")
    _space(make("probes", "whether words in another order, or negated, are told apart"))


def calibrate(parser: argparse.ArgumentParser) -> None:
    _collection(parser)
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the queries whose answers are taken away (default: %(default)s)",
    )


def _collection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--collection", default="default", metavar="C", help="collection (default: %(default)s)"
    )


def _space(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--space", default="builtin", metavar="S", help="embedding space (default: %(default)s)"
    )


def _plot(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--plot", type=Path, metavar="FILE", help=f"draw {what}, as .png or .svg")

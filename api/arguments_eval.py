"""The words of what measures: `eval` and `calibrate`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from api.arguments_values import number, positive

FORMATS = ("questions", "mrag-bench", "mme", "llava-bench", "scienceqa", "webqa", "mmqa")
"""Those of rag.evaluate.formats, whose module --help need not wait for."""

EXAMPLES = {
    "eval retrieval": (
        "crossbind eval retrieval --collection photos",
        "crossbind eval retrieval --plot matrix.svg",
    ),
    "eval zero-shot": (
        "crossbind eval zero-shot --data ~/sorted",
        "crossbind eval zero-shot --data clips --space trained:runs/birds/space --plot taken.png",
    ),
    "eval rag": (
        "crossbind eval rag questions.jsonl --collection notes",
        "crossbind eval rag questions.jsonl --against complete=no --plot both.svg --out runs/notes",
        "crossbind eval rag MME --format mme --collection photos --generator openai:llava@http://localhost:8000/v1",
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
    _rag(make("rag", "how good answers are, on questions whose answers are known"))


def _rag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="questions and answers: docs/EVALUATION.md"
    )
    parser.add_argument(
        "--format",
        default="questions",
        choices=FORMATS,
        metavar="F",
        help=f"of DATA: {', '.join(FORMATS)} (default: %(default)s, JSON lines of our own)",
    )
    _collection(parser)
    parser.add_argument(
        "--generator", metavar="G", help="what answers (default: that of the settings)"
    )
    parser.add_argument("--reranker", metavar="R", help="what ranks the evidence anew")
    parser.add_argument(
        "--no-complete",
        dest="complete",
        action="store_false",
        help="suppose nothing about what records lack",
    )
    parser.add_argument(
        "-k",
        type=positive,
        default=8,
        metavar="N",
        help="pieces of evidence (default: %(default)s)",
    )
    parser.add_argument(
        "--against",
        type=against,
        metavar="WHAT",
        help="compare with another configuration: collection=B,generator=G,reranker=R,complete=no,"
        "k=4, any of them",
    )
    parser.add_argument(
        "--judge",
        metavar="G",
        help="a generator that says, yes or no, what entails what (default: the built-in check)",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="answer whatever the evidence, learn what confidence is worth, and keep it",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N questions")
    parser.add_argument(
        "--seed", type=number, default=0, metavar="N", help="of answers and intervals (default: 0)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="keep answers and the report here; the same command goes on where it was broken off",
    )
    _plot(parser, "the figures")


def against(value: str) -> dict[str, str | int | bool]:
    """What differs in the other configuration, by name."""
    told: dict[str, str | int | bool] = {}
    for part in re.split(rf",(?=(?:{'|'.join(DIFFER)})=)", value):
        name, given, word = part.partition("=")
        if name not in DIFFER or not given or not word:
            raise argparse.ArgumentTypeError(
                f"{part!r} is not NAME=VALUE; the names are {', '.join(DIFFER)}"
            )
        told[name] = DIFFER[name](word)
    return told


def _yes(value: str) -> bool:
    if value not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"complete is yes or no, not {value!r}")
    return value == "yes"


DIFFER: dict[str, Callable[[str], str | int | bool]] = {
    "collection": str,
    "generator": str,
    "reranker": str,
    "complete": _yes,
    "k": positive,
}


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

"""The words of what answers: `ask`, `chat` and `complete`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from api.arguments_search import FILTER, media
from api.arguments_values import share, within

MOST_PASSAGES = 100  # api.requests_ask.MAX_PASSAGES, whose module --help need not wait for
MOST_SOURCES = 100  # MAX_SOURCES, as above
NEIGHBOURS = 20
MADE = Path("crossbind-made")
METHODS = ("best", "mean", "synthesis")

EXAMPLES = {
    "ask": (
        'crossbind ask "when do dahlias bloom?"',
        'crossbind ask "what is this?" --image photo.jpg',
        'crossbind ask "what does this sound like?" --audio clip.wav --modality audio,text',
        "crossbind ask \"where were we in August?\" --filter 'year = 2024' --json",
        'crossbind ask "who is in it?" --image photo.jpg --generator openai:gpt-4o-mini',
    ),
    "chat": (
        "crossbind chat",
        "crossbind chat --collection photos --session 3f2c9a4e",
        "crossbind chat --json < questions.txt > answers.jsonl",
    ),
    "complete": (
        "crossbind complete 8c1d2e --missing text,audio",
        "crossbind complete --image photo.jpg --missing text",
        "crossbind complete --all --collection photos",
    ),
}


def ask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", nargs="*", metavar="QUESTION", help="in words")
    media(
        parser,
        ("image", "P", "a picture that the question is about"),
        ("audio", "P", "a sound that it is about, where the space hears"),
        ("video", "P", "a film that it is about, where the space watches"),
        ("item", "ID", "an item of the collection that it is about"),
    )
    _evidence(parser.add_argument_group("what may be evidence"))
    _answering(parser.add_argument_group("how it is answered"))
    parser.add_argument(
        "--session", metavar="ID", help="go on with a conversation: crossbind chat has them"
    )


def chat(parser: argparse.ArgumentParser) -> None:
    _evidence(parser.add_argument_group("what may be evidence"))
    _answering(parser.add_argument_group("how it is answered"))
    parser.add_argument(
        "--session", metavar="ID", help="go on with an earlier conversation (default: a new one)"
    )


def complete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("item", nargs="?", metavar="ITEM_ID", help="an item of the collection")
    media(
        parser,
        ("image", "P", "a picture from outside"),
        ("audio", "P", "a sound from outside"),
        ("video", "P", "a film from outside"),
        ("text", "WORDS", "words from outside"),
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="every record of the collection that lacks something; run it again to go on",
    )
    parser.add_argument(
        "--missing",
        metavar="M,M",
        help="what to suppose, for example text,audio (default: all that is lacking)",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="best",
        help="borrow the best, the mean of several, or let the generator make it from them "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "-k",
        type=_sources,
        metavar="K",
        help=f"neighbours asked, of one item (default: {NEIGHBOURS})",
    )
    _collection(parser)
    _generator(parser)


def _evidence(parser: Any) -> None:
    _collection(parser)
    parser.add_argument(
        "-k", type=passages, default=8, metavar="K", help="passages at most (default: %(default)s)"
    )
    parser.add_argument(
        "--modality", metavar="M,M", help="only items of these kinds, for example image,text"
    )
    parser.add_argument("--filter", metavar="EXPR", help=FILTER)
    parser.add_argument(
        "--min-probability",
        type=share,
        metavar="P",
        help="what is less probable than this, 0 to 1, answers nothing",
    )
    parser.add_argument(
        "--no-complete",
        dest="complete",
        action="store_false",
        help="suppose nothing that a record lacks",
    )


def _answering(parser: Any) -> None:
    _generator(parser)
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="equal seeds give equal answers (default: %(default)s)",
    )


def _collection(parser: Any) -> None:
    parser.add_argument(
        "--collection", default="default", metavar="C", help="collection (default: %(default)s)"
    )


def _generator(parser: Any) -> None:
    parser.add_argument(
        "--generator",
        metavar="G",
        help="what writes (default: CROSSBIND_GENERATOR, or extractive, which needs no model)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=MADE,
        metavar="FOLDER",
        help="where pictures and sounds that the generator makes are written, under new names "
        "(default: %(default)s)",
    )


def passages(value: str) -> int:
    """How many. Raises ArgumentTypeError."""
    return within(value, 1, MOST_PASSAGES)


def _sources(value: str) -> int:
    return within(value, 1, MOST_SOURCES)

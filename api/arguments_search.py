"""The words of `search`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from api.arguments_values import between, hits, number, positive, share, weights

EXAMPLES = {
    "search": (
        'crossbind search "a dog on a beach"',
        "crossbind search --image photo.jpg",
        'crossbind search "at night" --image street.jpg --without "cars" --modality image',
        "crossbind search --image dog.jpg --audio bark.wav --weights 1,0.5 --modality video",
        "crossbind search --image beach.jpg --image crowd.jpg --weights 1,-0.5",
        "crossbind search boats --filter 'year >= 2020 and camera = \"X100\"' --hybrid",
        "crossbind search harbour --group-by record --diversity 0.3 --collapse 0.98",
        "crossbind search --queries words.txt > answers.jsonl",
        'crossbind search "a harbour" --shards /shards/00 /shards/01',
    ),
}

FILTER = 'what must be true, as in year >= 2020 and (tag in ("sea", "boat") or not has(text))'


def media(parser: argparse.ArgumentParser, *flags: tuple[str, str, str]) -> None:
    """Flags that are given once or several times, by kind, sign of the value and help."""
    for kind, value, text in flags:
        parser.add_argument(
            f"--{kind}", action=_Medium, dest="media", default=[], metavar=value, help=text
        )


def search(parser: argparse.ArgumentParser) -> None:
    _what(parser)
    _among(parser.add_argument_group("among what"))
    _shown(parser.add_argument_group("what is shown"))


def _what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="WORDS", help="what to look for, in words")
    media(
        parser,
        ("image", "P", "a picture to look for; with words, both count"),
        ("audio", "P", "a sound to look for, where the space hears"),
        ("video", "P", "a film to look for, where the space watches"),
        ("item", "ID", "an item of the collection, to find the like of"),
    )
    parser.add_argument(
        "--weights",
        type=weights,
        metavar="W,W",
        help="how much each part counts: the words first, then the media in their order; "
        "below 0 is minus (default: 1 each)",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="read the media as one, in a space that can, rather than add their vectors",
    )
    parser.add_argument(
        "--without",
        nargs="+",
        action="append",
        default=[],
        metavar="WORDS",
        help="words to stay away from",
    )
    parser.add_argument(
        "--hybrid", action="store_true", help="look for the words in titles and texts too"
    )
    parser.add_argument(
        "--queries",
        metavar="FILE",
        help="one query per line (- for stdin): plain words, or a JSON search request; "
        "answers with one JSON document per line, in order",
    )


def _among(parser: Any) -> None:
    parser.add_argument(
        "--collection", default="default", metavar="C", help="collection (default: %(default)s)"
    )
    parser.add_argument(
        "--shards",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="search the collection of that name in all these libraries as if they were one",
    )
    parser.add_argument(
        "--modality", metavar="M,M", help="only items of these kinds, for example image,text"
    )
    parser.add_argument("--filter", metavar="EXPR", help=FILTER)
    parser.add_argument(
        "--min-score", type=between(-1, 1), metavar="S", help="drop cosines below this, -1 to 1"
    )
    parser.add_argument(
        "--min-probability",
        type=share,
        metavar="P",
        help="drop what is less probable than this, 0 to 1; needs crossbind calibrate",
    )


def _shown(parser: Any) -> None:
    parser.add_argument(
        "-k", type=hits, default=10, metavar="K", help="hits (default: %(default)s)"
    )
    parser.add_argument(
        "--offset", type=number, default=0, metavar="N", help="pass over so many first"
    )
    parser.add_argument(
        "--cursor", metavar="WORD", help="go on after a page: its next_cursor, from --json"
    )
    parser.add_argument(
        "--group-by", metavar="FIELD", help="the best of each record, uri or field of the metadata"
    )
    parser.add_argument(
        "--collapse",
        type=share,
        metavar="S",
        help="leave out what is this like a better hit: 0.98 for near-duplicates",
    )
    parser.add_argument(
        "--diversity", type=share, default=0.0, metavar="D", help="unlike each other: 0 to 1"
    )
    parser.add_argument(
        "--rerank", action="store_true", help="rank the best anew by all pieces of a long query"
    )
    parser.add_argument(
        "--moments", type=positive, default=1, metavar="N", help="places told of each item"
    )
    parser.add_argument(
        "--include", metavar="X,X", help="more of each hit with --json: vector, contributions"
    )


class _Medium(argparse.Action):
    """Collects `(kind, path, id or words)` over several flags, in the order of their coming."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  the signature is argparse's
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        kind = str(option_string).removeprefix("--")
        value = values if kind in {"item", "text"} else Path(values)
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), (kind, value)])

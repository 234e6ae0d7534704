"""The words of the command line: what `crossbind` takes, and nothing of what it does.

Standard library only, so that `--help` and a mistyped flag are answered at once. `docs/CLI.md` is
written from this parser (`api/cli_docs.py`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from api import arguments_eval, arguments_jobs

MAX_HITS = 1000  # api.requests.MAX_K, whose module --help need not wait for

EXIT_CODES = """\
Exit codes: 0 ok, 1 some items failed, 2 usage, 3 not found, 4 bad input, 5 not available or not
installed, 70 internal error, 130 interrupted."""

EXAMPLES = {
    "ingest": (
        "crossbind ingest ~/Pictures",
        "crossbind ingest notes/ --collection notes --prune",
        "crossbind ingest ~/Pictures --collection clip --space open_clip:ViT-B-32/openai",
    ),
    "search": (
        'crossbind search "a dog on a beach"',
        "crossbind search --image photo.jpg",
        'crossbind search "at night" --image street.jpg --without "cars" --modality image',
        "crossbind search --image dog.jpg --audio bark.wav --weights 1,0.5 --modality video",
        "crossbind search --image beach.jpg --image crowd.jpg --weights 1,-0.5",
        "crossbind search --queries words.txt > answers.jsonl",
    ),
    "serve": ("crossbind serve", "CROSSBIND_API_KEY=secret crossbind serve --host 0.0.0.0"),
    "models": (
        "crossbind models",
        "crossbind models open_clip:ViT-B-32/openai",
        "crossbind models --prepare builtin",
    ),
    "collections": ("crossbind collections", "crossbind collections delete demo --yes"),
    "export": (
        "crossbind export builtin towers/builtin",
        "crossbind export hf:openai/clip-vit-base-patch32 towers/clip --precision fp16",
        "crossbind export builtin towers/small --precision int8 --check ~/Pictures",
    ),
    "demo": ("crossbind --home .crossbind demo",),
    **arguments_jobs.EXAMPLES,
    **arguments_eval.EXAMPLES,
}


class UsageError(Exception):
    """The command line itself makes no sense: exit code 2."""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **kwargs: Any) -> None:
        style = argparse.RawDescriptionHelpFormatter
        super().__init__(**{**kwargs, "allow_abbrev": False, "formatter_class": style})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\nSee: {self.prog} --help")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments of one call. Raises UsageError; SystemExit(0) after printing help."""
    return build_parser().parse_args(words)


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar. Global flags are taken before the command and after it."""
    parser = _Parser(
        prog="crossbind",
        description="Index pictures, sounds, films and texts into one embedding space, and find "
        "them in words.",
        epilog=EXIT_CODES,
    )
    _add_globals(parser, home=None, flag=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _ingest(_command(commands, "ingest", "index files and folders; run it again to resume"))
    _search(
        _command(commands, "search", "find items by words, pictures, sounds, films, or any mix")
    )
    _serve(_command(commands, "serve", "answer REST, and a page, on this machine"))
    _models(_command(commands, "models", "list the embedding spaces, or describe one"))
    _collections(_command(commands, "collections", "list, show, delete or migrate collections"))
    _export(_command(commands, "export", "write a space as ONNX files, which need no torch"))
    arguments_jobs.train(_command(commands, "train", "train a space of your own"))
    _eval(_command(commands, "eval", "measure how good a space is, on your own media"))
    arguments_eval.calibrate(
        _command(commands, "calibrate", "learn from a collection how probable a match is")
    )
    _jobs(_command(commands, "jobs", "list, show, cancel or resume work in the background"))
    _command(commands, "demo", "index a sample library of real photos and search it")
    return parser


def _command(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    examples = "\n".join(f"  {line}" for line in EXAMPLES.get(name, ()))
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples}" if examples else None,
    )
    _add_globals(parser, home=argparse.SUPPRESS, flag=argparse.SUPPRESS)
    return parser


def _add_globals(parser: argparse.ArgumentParser, *, home: Any, flag: Any) -> None:
    group = parser.add_argument_group("global options")
    group.add_argument(
        "--home",
        type=Path,
        default=home,
        metavar="DIR",
        help="where the library lives (or CROSSBIND_HOME; default: the user's data folder)",
    )
    for name, text in (
        ("--json", "machine output: one JSON document on stdout, errors included"),
        ("--json-progress", "progress as JSON lines on stderr"),
        ("--quiet", "no progress and no summary"),
        ("--verbose", "more detail, and the traceback of an error"),
        ("--version", "print the version and stop"),
    ):
        group.add_argument(name, action="store_true", default=flag, help=text)


def _add_collection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--collection", default="default", metavar="C", help="collection (default: %(default)s)"
    )


def _ingest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="file or folder")
    _add_collection(parser)
    parser.add_argument(
        "--space",
        metavar="S",
        help="embedding space of a new collection (default: builtin); crossbind models has more",
    )
    parser.add_argument(
        "--workers", type=_positive, metavar="N", help="files read at once (default: the cores)"
    )
    parser.add_argument(
        "--prune", action="store_true", help="forget indexed files that are no longer there"
    )


def _search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="WORDS", help="what to look for, in words")
    for kind, text in (
        ("image", "a picture to look for; with words, both count"),
        ("audio", "a sound to look for, where the space hears"),
        ("video", "a film to look for, where the space watches"),
    ):
        parser.add_argument(
            f"--{kind}", action=_Medium, dest="media", default=[], metavar="P", help=text
        )
    parser.add_argument(
        "--weights",
        type=_weights,
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
        "--modality", metavar="M,M", help="only items of these kinds, for example image,text"
    )
    parser.add_argument(
        "--min-probability",
        type=_share,
        metavar="P",
        help="drop what is less probable than this, 0 to 1; needs crossbind calibrate",
    )
    parser.add_argument(
        "-k", type=_hits, default=10, metavar="K", help="hits (default: %(default)s)"
    )
    _add_collection(parser)
    parser.add_argument(
        "--queries",
        metavar="FILE",
        help="one query per line (- for stdin): plain words, or a JSON search request; "
        "answers with one JSON document per line, in order",
    )


class _Medium(argparse.Action):
    """Collects `(kind, path)` over several flags, in the order that they were given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  the signature is argparse's
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        kind = str(option_string).removeprefix("--")
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), (kind, Path(values))])


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s); beyond this machine an API key is "
        "needed: CROSSBIND_API_KEY",
    )
    parser.add_argument(
        "--port", type=_port, default=8080, help="port (default: %(default)s); 0 takes a free one"
    )
    parser.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="processes; only 1 for now"
    )
    parser.add_argument(
        "--space",
        action="append",
        default=[],
        metavar="NAME",
        help="a space that clients may name, besides the built-in one and those of collections "
        "(once for each; or CROSSBIND_SPACES)",
    )
    parser.add_argument(
        "--jobs",
        action="store_true",
        help="let clients start jobs that name paths on this machine (or CROSSBIND_JOBS)",
    )


def _models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a space to describe: what it reads, how, whose it is, what is missing",
    )
    parser.add_argument(
        "--prepare", metavar="NAME", help="make this space ready now, not at its first use"
    )


def _collections(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    _command(actions, "list", "list all collections (the default)")
    show = _command(actions, "show", "one collection and the files that failed")
    show.add_argument("name", metavar="NAME", help="of the collection")
    delete = _command(actions, "delete", "delete a collection; the files it points to stay")
    delete.add_argument("name", metavar="NAME", help="of the collection")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    migrate = "embed a collection anew in another space; until that is done it serves as it is"
    arguments_jobs.migrate(_command(actions, "migrate", migrate))


def _jobs(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    arguments_jobs.jobs(partial(_command, actions))


def _eval(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="WHAT", title="what to measure")
    arguments_eval.measure(partial(_command, actions))


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("space", metavar="SPACE", help="of which to export every tower")
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="to write; then it is the space onnx:FOLDER"
    )
    parser.add_argument(
        "--precision",
        choices=["fp32", "fp16", "int8"],
        default="fp32",
        help="of the weights (default: %(default)s); int8 needs --check",
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="DIR",
        help="your own media, to measure which neighbours are lost; below .95 nothing is written",
    )


def _hits(value: str) -> int:
    return _within(value, 1, MAX_HITS)


def _share(value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number between 0 and 1")
    return share


def _positive(value: str) -> int:
    return _within(value, 1, 1_000_000)


def _port(value: str) -> int:
    return _within(value, 0, 65535)


def _weights(value: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{value!r} is not a list of numbers with commas between, such as 1,0.5,-1"
        ) from None


def _within(value: str, low: int, high: int) -> int:
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise argparse.ArgumentTypeError(
            f"{value!r} is not a whole number between {low} and {high}"
        )
    return int(value)

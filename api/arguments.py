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

from api import (
    arguments_ask,
    arguments_care,
    arguments_eval,
    arguments_explore,
    arguments_jobs,
    arguments_search,
)
from api.arguments_values import positive, within

EXIT_CODES = """\
Exit codes: 0 ok, 1 some items failed, 2 usage, 3 not found, 4 bad input, 5 not available or not
installed, 70 internal error, 130 interrupted."""

EXAMPLES = {
    "ingest": (
        "crossbind ingest ~/Pictures",
        "crossbind ingest notes/ --collection notes --prune",
        "crossbind ingest ~/Pictures --collection clip --space open_clip:ViT-B-32/openai",
        "crossbind ingest 'shards/{00000..00099}.tar' --collection web",
        "crossbind ingest s3://bucket/tables/*.parquet --columns media=photo,text=words",
        "crossbind ingest ~/Pictures --watch",
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
    **arguments_search.EXAMPLES,
    **arguments_ask.EXAMPLES,
    **arguments_explore.EXAMPLES,
    **arguments_jobs.EXAMPLES,
    **arguments_care.EXAMPLES,
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
    _ingest(
        _command(
            commands, "ingest", "index files, folders, archives, tables; run it again to resume"
        )
    )
    arguments_search.search(
        _command(commands, "search", "find items by words, pictures, sounds, films, or any mix")
    )
    arguments_ask.ask(_command(commands, "ask", "answer a question from what is indexed, cited"))
    arguments_ask.chat(_command(commands, "chat", "ask question after question"))
    arguments_ask.complete(
        _command(commands, "complete", "suppose what items lack: their words, sound or picture")
    )
    _serve(_command(commands, "serve", "answer REST, and a page, on this machine"))
    _models(_command(commands, "models", "list the embedding spaces, or describe one"))
    _collections(
        _command(commands, "collections", "list and explore collections, and keep them in order")
    )
    _export(_command(commands, "export", "write a space as ONNX files, which need no torch"))
    arguments_jobs.train(_command(commands, "train", "train a space of your own"))
    _eval(_command(commands, "eval", "measure how good a space is, on your own media"))
    arguments_eval.calibrate(
        _command(commands, "calibrate", "learn from a collection how probable a match is")
    )
    _jobs(_command(commands, "jobs", "list, show, pause, cancel or resume work in the background"))
    arguments_care.of_library(partial(_command, commands))
    _command(commands, "demo", "index a sample library of real photos and search it")
    return parser


def _command(
    commands: Any, name: str, summary: str, under: str | None = None
) -> argparse.ArgumentParser:
    path = name if under is None else f"{under} {name}"
    examples = "\n".join(f"  {line}" for line in EXAMPLES.get(path, ()))
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
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="file, folder, pattern, .tar or .parquet; or s3://, gs://, … of any of these",
    )
    _add_collection(parser)
    parser.add_argument(
        "--space",
        metavar="S",
        help="embedding space of a new collection (default: builtin); crossbind models has more",
    )
    parser.add_argument(
        "--storage",
        choices=["float32", "float16"],
        help="how a new collection keeps its vectors (default: float32); float16 takes half the "
        "room",
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="files read at once (default: the cores)"
    )
    parser.add_argument(
        "--prune", action="store_true", help="forget indexed files that are no longer there"
    )
    arguments_jobs.sources(parser)


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
        "--workers", type=positive, default=1, metavar="N", help="processes; only 1 for now"
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
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="change nothing: the library may lie where nothing can be written (or "
        "CROSSBIND_READ_ONLY)",
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
    arguments_jobs.migrate(_command(actions, "migrate", migrate, "collections"))
    arguments_explore.explore(lambda name, summary: _command(actions, name, summary, "collections"))
    arguments_care.of_collection(partial(_command, actions, under="collections"))


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


def _port(value: str) -> int:
    return within(value, 0, 65535)

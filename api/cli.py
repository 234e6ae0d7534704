"""The command line's front desk: words in, exit code out, every error in one place.

What the words may be is in `arguments.py`, what the commands do in `commands.py`; the latter is
imported only once there is a command to run, so that `--help` and a usage error cost nothing.

With `--json` an error is the one document on stdout; otherwise it is a line on stderr.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from api.arguments import UsageError, build_parser, parse
from api.config import Settings
from api.errors import OK, USAGE, exit_code_of, to_json
from embed.errors import BadInput, CrossbindError

if TYPE_CHECKING:  # the service is what --help must not wait for
    from api.service import Service

INTERRUPTED = (
    "interrupted; what was committed stays, and running the same command again goes on from there "
    "(training: with --resume)"
)


def main(
    argv: Sequence[str] | None = None, *, make_service: Callable[[Settings], Service] | None = None
) -> int:
    """Runs one command and returns its exit code. make_service: for tests; None is the real one."""
    _print_anything()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words, make_service)
        sys.stdout.flush()
    except SystemExit as stop:  # argparse, after printing help
        return stop.code if isinstance(stop.code, int) else OK
    except BrokenPipeError:  # the reader of our output has had enough: `crossbind ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except UsageError as error:
        _report(BadInput(str(error)), words)
        return USAGE
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001  the last door: all are told
        _report(error, words)
        return exit_code_of(error)
    return code


def _run(words: Sequence[str], make_service: Callable[[Settings], Service] | None) -> int:
    arguments = parse(words)
    if arguments.version:
        return _version(as_json=arguments.json)
    if arguments.command is None:
        raise UsageError(f"no command given\n\n{build_parser().format_help()}")
    from api import commands  # noqa: PLC0415  numpy, SQLite, models: only for a real command

    return commands.run(arguments, make_service)


def _version(*, as_json: bool) -> int:
    from api.version import crossbind_version  # noqa: PLC0415  importlib.metadata is slow

    number = crossbind_version()
    print(json.dumps({"version": number}) if as_json else f"crossbind {number}")
    return OK


def _report(error: BaseException, words: Sequence[str]) -> None:
    document = to_json(error)
    message = str(error)
    if isinstance(error, KeyboardInterrupt):
        message = INTERRUPTED
        document["error"].update(type="interrupted", code="interrupted", message=message)
    elif not isinstance(error, CrossbindError):
        message = f"internal error: {type(error).__name__}: {error} (--verbose tells more)"
        document["error"]["message"] = message
    if "--verbose" in words and not isinstance(error, KeyboardInterrupt):
        traceback.print_exception(error)
    if "--json" in words:
        print(json.dumps(document), flush=True)
    else:
        print(f"crossbind: {message}", file=sys.stderr)


def _print_anything() -> None:
    """File names may hold bytes that the terminal cannot show; printing must not fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

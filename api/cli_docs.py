"""`docs/CLI.md` from the parser: `python -m api.cli_docs > docs/CLI.md`. A test keeps it current.

Written from the parser's own actions, not from `format_help`, whose layout differs between Python
versions.
"""

from __future__ import annotations

import argparse
import sys

from api.arguments import EXAMPLES, EXIT_CODES, build_parser

HEAD = f"""\
# The command line

Written by `python -m api.cli_docs` from `api/arguments.py`; do not edit by hand.

{EXIT_CODES}

With `--json` stdout holds exactly one JSON document (`search --queries`: one per line), and an
error is that document: `{{"error": {{"type", "code", "message", "param", "request_id"}}}}`.
Progress, and errors without `--json`, go to stderr. There are colours only on a terminal.
"""


def render() -> str:
    """The whole page."""
    parser = build_parser()
    parts = [
        HEAD,
        "## Global options\n\nBefore the command or after it.\n\n" + _table(parser, True),
    ]
    for name, command in _commands(parser).items():
        parts.append(_section(command, f"## `crossbind {name}`"))
        for action, nested in _commands(command).items():
            parts.append(_section(nested, f"### `crossbind {name} {action}`"))
    return "\n".join(parts)


def _section(parser: argparse.ArgumentParser, heading: str) -> str:
    name = parser.prog.removeprefix("crossbind ")
    lines = [heading, "", parser.description or "", ""]
    table = _table(parser, False)
    if table:
        lines += [table]
    if name in EXAMPLES:
        lines += ["```sh", *EXAMPLES[name], "```", ""]
    return "\n".join(lines)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _table(parser: argparse.ArgumentParser, of_globals: bool) -> str:
    everywhere = {"home", "json", "json_progress", "quiet", "verbose", "version"}
    rows = [
        f"| {_names(action)} | {_text(action)} |"
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
        and (action.dest in everywhere) is of_globals
    ]
    return "\n".join(["| argument | meaning |", "|---|---|", *rows, ""]) if rows else ""


def _names(action: argparse.Action) -> str:
    metavar = str(action.metavar or action.dest.upper())
    shown = {"?": f"[{metavar}]", "+": f"{metavar}…", "*": f"[{metavar}…]"}.get(
        str(action.nargs), metavar
    )
    if not action.option_strings:
        return f"`{shown}`"
    flags = ", ".join(action.option_strings)
    return f"`{flags}`" if action.nargs == 0 else f"`{flags} {shown}`"


def _text(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", str(action.default))


if __name__ == "__main__":
    sys.stdout.write(render())

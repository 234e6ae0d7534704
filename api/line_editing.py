"""Lines from the keyboard, edited and completed with Tab where the platform has readline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

try:
    import readline
except ImportError:  # Windows: its console edits lines by itself
    readline = None  # type: ignore[assignment]


def typed(prompt: Callable[[], str], commands: Sequence[str]) -> Iterator[str]:
    """Until Ctrl-D; Ctrl-C begins the line anew. commands: what Tab completes at its start."""
    if readline is not None:
        readline.set_completer_delims("")  # the whole line is looked at: names hold blanks
        readline.set_completer(partial(completion, commands))
        readline.parse_and_bind("tab: complete")
    while True:
        try:
            yield input(prompt())
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print("  (Ctrl-D leaves)")


def completion(commands: Sequence[str], line: str, number: int) -> str | None:
    """What a line may become: one of the commands, or a command and a file."""
    command, blank, path = line.partition(" ")
    lines = [f"{command} {file}" for file in _files(path)] if blank else commands
    fitting = [one for one in lines if one.startswith(line)]
    return fitting[number] if number < len(fitting) else None


def _files(beginning: str) -> list[str]:
    """As they were begun to be typed; folders end with a slash."""
    folder, slash, name = beginning.rpartition("/")
    where = Path(folder + slash).expanduser()
    try:
        found = sorted(path for path in where.iterdir() if path.name.startswith(name))
    except OSError:
        return []
    return [f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}" for path in found]

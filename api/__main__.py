"""Where a process starts: thread counts first, because libraries read them once, at import."""

from __future__ import annotations

import os
import sys

from api.config import own_threads
from embed.errors import BadInput


def main() -> int:
    """The `crossbind` command. Returns the exit code."""
    try:
        threads = own_threads()
    except BadInput as error:
        sys.stderr.write(f"crossbind: {error}\n")
        return 2
    for name, value in threads.items():
        os.environ.setdefault(name, value)
    from api.cli import main as run  # noqa: PLC0415  must come after the environment is set

    return run()


if __name__ == "__main__":
    sys.exit(main())

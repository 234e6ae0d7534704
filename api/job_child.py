"""A command of ours that is a job: it gives way to other work, and ends with whoever watches it.

Its standard input is a pipe that the watcher holds open and never writes to: when it ends, the
watcher is gone, and the command stops as if it had been asked to.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from api.__main__ import main

GRACE_SECONDS = 10.0
NICENESS = 10


def live_as_a_job() -> None:
    """To be called first, in the main thread."""
    os.nice(NICENESS)
    # As Ctrl-C: what was finished is kept, and the exit code says that it was interrupted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_watcher, daemon=True).start()


def _end_with_watcher() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    live_as_a_job()
    sys.exit(main())

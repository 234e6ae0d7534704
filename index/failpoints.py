"""Places where a test may pull the plug.

`CROSSBIND_FAILPOINT=blob.renamed:3` kills this process with SIGKILL when it is at `blob.renamed`
for the third time, so that nothing is tidied up. The variable is read once, when this is imported;
unset, a place costs one comparison.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "CROSSBIND_FAILPOINT"


class _Armed:
    """The place that kills, and how often it may still be passed."""

    name: str | None = None
    left = 0


def arm(spec: str | None) -> None:
    """spec: `name` or `name:n`; None disarms."""
    name, _, count = (spec or "").partition(":")
    _Armed.name, _Armed.left = name or None, int(count or 1)


def reach(name: str) -> None:
    """Says that the process is at the place `name`."""
    if _Armed.name is not None and _Armed.name == name:
        _Armed.left -= 1
        if _Armed.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get(VARIABLE))

"""Which Crossbind this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def crossbind_version() -> str:
    """The version of the installed distribution; `0` in a checkout that was never installed."""
    try:
        return version("crossbind")
    except PackageNotFoundError:
        return "0"

"""API keys of the servers that engines talk to, each for one server. It imports nothing heavy.

A key is asked for by the server's origin, so that none is sent to whatever address a collection
may name.
"""

from __future__ import annotations

from typing import Self
from urllib.parse import SplitResult, urlsplit

from embed.errors import BadInput

_PORT = 6333  # of Qdrant, the one kind of server there is


class Keys(dict[str, str]):
    """Keys by `origin`; never shown."""

    @classmethod
    def of(cls, url: str | None, key: str | None) -> Self:
        """The key of one server; none without both. Raises BadInput."""
        return cls({origin(url): key}) if url and key else cls()

    def __repr__(self) -> str:
        return f"Keys({', '.join(self)})"


NO_KEYS = Keys()


def origin(url: str) -> str:
    """Scheme, host and port: what a key belongs to. Raises BadInput."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        host = None
    if parts.scheme not in {"http", "https"} or not host:
        raise BadInput(f"{_shown(parts)!r} is no URL of a server", param="index")
    if parts.username is not None or parts.password is not None:
        raise BadInput(
            f"the address {_shown(parts)!r} holds a name or a password: the key of a Qdrant server "
            "belongs in CROSSBIND_QDRANT_API_KEY, where the catalog does not keep it",
            param="index",
        )
    return f"{parts.scheme}://[{host}]:{port}" if ":" in host else f"{parts.scheme}://{host}:{port}"


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

"""Addresses of Qdrant: `qdrant:https://host:6333?grpc=1`, `qdrant:/folder`, `qdrant:memory`.

An address is kept in the catalog and shown to people, so it never holds a key: keys come from the
settings, each for one server. It knows no Qdrant library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from embed.errors import BadInput
from index.keys import origin

SCHEME = "qdrant:"
_GRPC_PORT = 6334
QUANTIZATIONS = ("int8", "binary")


@dataclass(frozen=True, slots=True, kw_only=True)
class QdrantAddress:
    """Where the points are: a server (`url`), a folder of the client's local mode, or memory.

    shards, replicas: of a collection, when it is made; None leaves them to the server.
    quantization: of what is searched first; scores always come from the whole vectors.
    """

    url: str | None = None
    folder: Path | None = None
    grpc_port: int | None = None
    shards: int | None = None
    replicas: int | None = None
    quantization: str | None = None

    def __str__(self) -> str:
        return self.url or str(self.folder or "memory")


def parse_address(address: str) -> QdrantAddress:
    """Raises BadInput, naming what is wrong and what may stand there."""
    rest = address.removeprefix(SCHEME)
    if rest == "memory":
        return QdrantAddress()
    if rest.startswith(("http://", "https://")):
        return _server(rest)
    if Path(rest).expanduser().is_absolute():
        return QdrantAddress(folder=Path(rest).expanduser())
    raise BadInput(
        f"{address!r} is no address of Qdrant: qdrant:http://HOST:PORT, qdrant:https://HOST:PORT, "
        "qdrant:/FOLDER or qdrant:memory is wanted",
        param="index",
    )


def reaches_beyond(address: str, url: str | None) -> bool:
    """Whether an index address names a folder, or a server other than the one at `url`: what a
    stranger must not choose for this machine. Raises BadInput."""
    if not address.startswith(SCHEME):
        return False
    where = parse_address(address)
    if where.url is not None:
        return url is None or origin(where.url) != origin(url)
    return where.folder is not None


def _server(text: str) -> QdrantAddress:
    parts = urlsplit(text)
    url = origin(text) + parts.path.rstrip("/")
    options: dict[str, int | str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise BadInput(
                f"{name!r} is no option of a Qdrant address; the choices are: "
                f"{', '.join(sorted(_OPTIONS))}",
                param="index",
            )
        options[_FIELDS.get(name, name)] = _OPTIONS[name](name, value)
    return QdrantAddress(url=url, **options)  # type: ignore[arg-type]  # each made by its own reader


def _count(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 65535:
        raise BadInput(f"{name} is {value!r}; a whole number from 1 on is wanted", param="index")
    return int(value)


def _grpc_port(name: str, value: str) -> int:
    """`grpc=1` takes Qdrant's own port."""
    port = _count(name, value)
    return _GRPC_PORT if port == 1 else port


def _quantization(name: str, value: str) -> str:
    if value not in QUANTIZATIONS:
        raise BadInput(
            f"{name} is {value!r}; the choices are: {', '.join(QUANTIZATIONS)}", param="index"
        )
    return value


_FIELDS = {"grpc": "grpc_port"}
_OPTIONS: Mapping[str, Callable[[str, str], int | str]] = {
    "grpc": _grpc_port,
    "shards": _count,
    "replicas": _count,
    "quantization": _quantization,
}

"""An HTTP endpoint and the way to ask it: one request, one answer that is read as it comes.

Only the address that was named is spoken to: no redirect is followed, no proxy of the environment
is used, and the key goes nowhere but to the origin it was configured for. It is never part of a
message. What `http.client` raises becomes ours here.
It knows no protocol above HTTP.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from embed.errors import BackendFailed, BadInput, Forbidden, NotAvailable, Overloaded, TooLarge

MAX_BYTES = 64 * 2**20
"""Of one answer, a stream's framing included."""

_PIECE = 64 * 2**10
_MAX_PROBLEM = 64 * 2**10
_SAID = 300
_TOO_LONG = ("context length", "context_length", "too long", "maximum context", "context size")


class Address(NamedTuple):
    """`scheme://host:port` and the path that requests are made under."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{_bracketed(self.host)}:{self.port}"

    @property
    def is_near(self) -> bool:
        """Whether it is this machine or a private network, judged by its name alone."""
        try:
            found = ipaddress.ip_address(self.host)
        except ValueError:
            return "." not in self.host or self.host.endswith((".localhost", ".local", ".internal"))
        return found.is_loopback or (found.is_private and not found.is_link_local)


def address(url: str) -> Address:
    """The parts of `http://host:port/v1`. Raises BadInput, saying what is wrong."""
    form = "write http://HOST:PORT/v1 or https://HOST/v1"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadInput(
            f"{url!r} is no address of an endpoint ({error}): {form}", param="url"
        ) from error
    written = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or not written:
        raise BadInput(f"{url!r} is no address of an endpoint: {form}", param="url")
    if parts.username is not None or parts.query or parts.fragment:
        raise BadInput(
            f"the address of an endpoint holds no name, password, ? or #: {form}; a key is set "
            "apart from it",
            param="url",
        )
    port = port or (443 if parts.scheme == "https" else 80)
    return Address(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))


class Answer:
    """What an endpoint answers. `read` brings what has come, nothing at the end."""

    def __init__(self, response: http.client.HTTPResponse, where: str, timeout: float) -> None:
        self.status = response.status
        self.kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        self.retry_after = response.getheader("Retry-After")
        self._response = response
        self._where = where
        self._timeout = timeout
        self._read = 0

    def read(self) -> bytes:
        """Raises NotAvailable, BackendFailed, TooLarge."""
        with _reaching(self._where, self._timeout):
            piece = self._response.read1(_PIECE)
        self._read += len(piece)
        if self._read > MAX_BYTES:
            raise TooLarge(f"{self._where} sent more than {MAX_BYTES >> 20} MiB; ask for less")
        return piece

    def whole(self, limit: int = MAX_BYTES) -> bytes:
        """All that comes, or its first `limit` bytes."""
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < limit and (piece := self.read()):
            pieces.append(piece)
        return b"".join(pieces)[:limit]


class Endpoint:
    """One address, its key and its patience. Safe to use from several threads."""

    def __init__(self, where: Address, *, key: str | None, timeout: float) -> None:
        """Raises Forbidden for a key that would travel in the clear, BadInput for none at all."""
        if key and not (key.isascii() and key.isprintable()):
            raise BadInput("the key of the endpoint holds characters that no key has", param="key")
        if key and where.scheme == "http" and not where.is_near:
            raise Forbidden(
                f"the key would be sent to {where.origin} in the clear: use its https address"
            )
        self.where = where
        self._key = key
        self._timeout = timeout

    @contextmanager
    def post(self, path: str, body: Mapping[str, Any]) -> Iterator[Answer]:
        """Sends JSON; leaving ends the connection, and with it the endpoint's work.

        Raises NotAvailable when nobody answers.
        """
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        connection = self._connection()
        response = None
        try:
            with _reaching(self.where.origin, self._timeout):
                data = json.dumps(body).encode()
                connection.request("POST", f"{self.where.path}/{path}", data, headers)
                response = connection.getresponse()
            yield Answer(response, self.where.origin, self._timeout)
        finally:
            if response is not None:
                response.close()
            connection.close()

    def refusal(self, answer: Answer) -> Exception:
        """What a status other than 200 means to whoever asked."""
        where, status = self.where.origin, answer.status
        said = self._said(answer.whole(_MAX_PROBLEM))
        told = f"{where} answered {status}{': ' if said else ''}{said}"
        if 300 <= status < 400:
            return NotAvailable(f"{where} sends elsewhere ({status}): name its address in full")
        if status in (401, 403):
            return NotAvailable(f"{told}; set the key of this endpoint, or another one")
        if status == 404:
            return NotAvailable(
                f"{told}; is its address right (most end in /v1), is the model there?"
            )
        if status in (429, 503):
            return Overloaded(f"{told}; try again {_when(answer.retry_after)}")
        if status == 413 or any(sign in said.lower() for sign in _TOO_LONG):
            return TooLarge(f"{told}; ask with fewer passages (k) or pictures")
        return BackendFailed(told)

    def _said(self, body: bytes) -> str:
        """The message in an error's body, one line; a key that it repeats is left out."""
        text = body.decode("utf-8", errors="replace")
        with suppress(ValueError, RecursionError):
            text = message_of(json.loads(text)) or text
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:_SAID]

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.where.host, self.where.port
        if self.where.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)


def message_of(document: Any) -> str | None:
    """What `{"error": {"message"}}` and its relatives say; None where they say nothing."""
    found = document.get("error") if isinstance(document, dict) else None
    if isinstance(found, dict):
        found = found.get("message")
    if found is None and isinstance(document, dict):
        found = document.get("message") or document.get("detail")
    return found if isinstance(found, str) else None


@contextmanager
def _reaching(where: str, timeout: float) -> Iterator[None]:
    """The one place where what sockets and http.client raise becomes ours."""
    try:
        yield
    except TimeoutError as error:
        raise NotAvailable(
            f"{where} said nothing for {timeout:g} s: try again, or allow it more time"
        ) from error
    except ssl.SSLError as error:
        raise NotAvailable(f"no trusted connection to {where}: {error.reason or error}") from error
    except http.client.HTTPException as error:
        raise BackendFailed(f"{where} broke off: {type(error).__name__}") from error
    except ConnectionRefusedError as error:
        raise NotAvailable(f"nobody listens at {where}: start it, or name another") from error
    except OSError as error:
        raise NotAvailable(f"{where} cannot be reached: {error.strerror or error}") from error


def _when(retry_after: str | None) -> str:
    seconds = (
        retry_after if retry_after and retry_after.isdigit() and len(retry_after) < 7 else None
    )
    return f"in {seconds} s" if seconds else "in a moment"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

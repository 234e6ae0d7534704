"""The REST application behind a socket: who may reach it, and how it stops.

Uvicorn does the serving; what is served is `app.py`'s.
"""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
from collections.abc import Callable

import uvicorn

from api.app import create_app
from api.arguments import UsageError
from api.config import Settings
from api.service import Service
from embed.errors import NotAvailable

GRACE_SECONDS = 10


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, started: Callable[[], None], stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._tell = started
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()  # answers without an end are ended, or it would wait for them
        await super().shutdown(sockets)


def check(settings: Settings, *, host: str, workers: int) -> None:
    """Raises UsageError for a server that would be open to strangers, or that we cannot run."""
    if workers != 1:
        raise UsageError(
            f"--workers is {workers}; one process serves for now, and uses all cores by itself"
        )
    if not settings.api_keys and not _is_loopback(host):
        raise UsageError(
            f"--host {host} can be reached from other machines, and no API key is set; choose:\n"
            f"  CROSSBIND_API_KEY=secret crossbind serve --host {host}  (clients send it as a "
            "Bearer token)\n"
            "  crossbind serve  (this machine only)"
        )


def serve(service: Service, host: str, port: int, *, announce: Callable[[str], None]) -> None:
    """Loads the default space, answers until SIGINT or SIGTERM, then finishes what is under way.

    announce: is given the URL once requests are answered. Raises NotAvailable when the address
    cannot be taken.
    """
    listener = _listen(host, port)
    service.warm()
    if not service.settings.read_only:
        service.jobs.tend()
    app = create_app(service)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # Uvicorn raises the signal once more after it has stopped; by then it has done its work.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _Server(config, lambda: announce(url), app.state.stopping.set).run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
        # Without it each answer waits 40 ms for a client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = f"port {port} is already in use" if taken else f"{error.strerror or error}"
        raise NotAvailable(
            f"cannot listen on {host}:{port}: {why}; choose another with --host and --port "
            "(--port 0 takes a free one)",
            param="port" if taken else "host",
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

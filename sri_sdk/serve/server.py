"""The application on a socket, by uvicorn: signals, TLS, slow clients, and a shutdown that drains.

SIGTERM and SIGINT end the server: it takes no more connections, lets running requests finish, then closes its parts.
SIGHUP reads tokens and bundles again, and never ends the server, also while it starts and drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from sri_sdk.errors import ConfigError, MissingExtra
from sri_sdk.serve.build import Built, build_app
from sri_sdk.serve.exposed import exposures
from sri_sdk.serve.feature import Feature
from sri_sdk.serve.hangups import Hangups
from sri_sdk.serve.service_manager import tell_manager
from sri_sdk.serve.settings import LimitsSection, ServeSettings
from sri_sdk.serve.tls import check_tls

BACKLOG = 2048
KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than most proxies keep theirs."""
LARGEST_HEAD = 2**19
"""Bytes after which a client is cut off that has not finished the head of its request."""
LOOKS = 1.0
"""Seconds between two looks at the connections."""

log = logging.getLogger(__name__)


class Served(Protocol):
    """What a server can serve."""

    @property
    def app(self) -> Any:
        """An ASGI application, with an `asyncio.Event` named `stopping` that is set once the server ends."""

    def reload(self) -> object:
        """Reads again what may change while it runs."""


AnyServed = TypeVar("AnyServed", bound=Served)


def serve(
    settings: ServeSettings, features: Iterable[Feature] = (), *, started: Callable[[str, Built], None] | None = None
) -> None:
    """Serves until a signal ends it.

    Args:
        settings: of the server.
        features: see `build_app`.
        started: called with the address once it listens.

    Raises:
        SriError: a bundle may not be loaded, a file is wrong, or the address is taken.
        MissingExtra: uvicorn is not installed.
    """
    with Hangups() as hangups:
        for warning in exposures(settings):
            log.warning("%s", warning)
        Server(settings, build_app(settings, features), started, hangups).run()


class Server(Generic[AnyServed]):
    """One process that serves.

    Args:
        settings: of the server.
        built: the application.
        started: called with the address once it listens.
        hangups: what a SIGHUP becomes; None = it is not minded here.
        port_key: what an operator sets to have another port.
    """

    def __init__(
        self, settings: ServeSettings, built: AnyServed, started: Callable[[str, AnyServed], None] | None = None,
        hangups: Hangups | None = None, port_key: str = "port",
    ) -> None:  # fmt: skip
        try:
            import uvicorn
        except ImportError as err:
            raise MissingExtra("sri serve", extra="serve") from err
        self._settings, self._built, self._started = settings, built, started
        self._hangups, self._port_key = hangups or Hangups(), port_key
        self._claimed: socket.socket | None = None
        tls = settings.tls
        if tls is not None:
            check_tls(tls)
        self._config = uvicorn.Config(
            built.app, interface="asgi3", lifespan="on", ws="none", access_log=False, log_config=None,
            proxy_headers=False, server_header=False, timeout_keep_alive=KEEP_ALIVE, backlog=BACKLOG,
            timeout_graceful_shutdown=max(1, round(settings.limits.drain_seconds)),
            ssl_certfile=None if tls is None else tls.certificate, ssl_keyfile=None if tls is None else tls.key,
            ssl_ca_certs=None if tls is None or tls.client_ca is None else str(tls.client_ca),
            ssl_cert_reqs=2 if tls is not None and tls.client_ca is not None else 0,
        )  # fmt: skip
        self._config.load()
        self._config.http_protocol_class = _bounded(self._config.http_protocol_class)
        self._server: Any = _uvicorn_server(self._config, self._beside)

    def claim(self) -> None:
        """Takes the address, without listening on it: `run` does, which may come much later. Not for unix sockets.

        Raises:
            ConfigError: it is taken.
        """
        settings = self._settings
        if settings.uds is None and self._claimed is None:
            with _refused(settings, self._port_key):
                self._claimed = _bound(settings)

    def close(self) -> None:
        """Gives back an address that was claimed and never served; twice is fine."""
        if self._claimed is not None:
            self._claimed.close()

    def run(self) -> None:
        """Serves until a signal, or `stop`."""
        with self._listening() as sock:
            self._address = _address(self._settings, sock)
            self._server.run(sockets=[sock])

    def stop(self) -> None:
        """Ends it from another thread, as SIGTERM does."""
        self._server.should_exit = True

    def _reload(self) -> None:
        """Tokens, bundles and the certificate; what is wrong stays as it was. gRPC keeps its certificate."""
        self._built.reload()
        tls = self._settings.tls
        if tls is None or self._config.ssl is None:
            return
        try:
            # Tried apart: half of a wrong pair must not end up in use.
            check_tls(tls)
            self._config.ssl.load_cert_chain(tls.certificate, tls.key)
            log.info("tls: certificate read again, for new connections")
        except (ConfigError, OSError) as err:
            log.error("tls: not read again. %s", err)

    async def _beside(self, state: Any) -> None:
        """Runs beside the server, from its start to the beginning of its end."""
        loop = asyncio.get_running_loop()
        self._hangups.obey(lambda: loop.call_soon_threadsafe(loop.run_in_executor, None, self._reload))
        # What is loaded stays: without this, every full collection walks over all of it while requests wait.
        gc.collect()
        gc.freeze()
        if self._started is not None:
            self._started(self._address, self._built)
        tell_manager("READY=1")
        try:
            await SlowClients(self._settings.limits).look(state)
        finally:
            self._hangups.ignore()
            tell_manager("STOPPING=1")
            self._built.app.stopping.set()

    @contextlib.contextmanager
    def _listening(self) -> Any:
        settings = self._settings
        if settings.uds is not None:
            with _unix_socket(settings.uds) as sock:
                yield sock
            return
        with _refused(settings, self._port_key), self._claimed or _bound(settings) as sock:
            sock.listen(BACKLOG)
            sock.setblocking(False)
            yield sock


class SlowClients:
    """Closes connections whose client takes too long: to send the head of a request, or to read an answer.

    The body's time is a limit of the application (`limits.py`).
    """

    def __init__(self, limits: LimitsSection) -> None:
        self._heads = max(1, round(limits.head_seconds / LOOKS))
        self._reads = max(1, round(limits.seconds / LOOKS))
        self._stuck: dict[Any, tuple[object, int]] = {}
        """Connection -> what it was seen stuck in, and how often."""
        self.closed = 0

    async def look(self, state: Any) -> None:
        """Looks at all connections of a server of uvicorn, for as long as it runs."""
        while True:
            await asyncio.sleep(LOOKS)
            self.once(state.connections)

    def once(self, connections: Iterable[Any]) -> None:
        """One look."""
        stuck = {}
        for connection in list(connections):
            cycle = connection.cycle
            between = cycle is None or cycle.response_complete
            reads_slowly = not between and connection.flow.write_paused
            # Between two requests uvicorn has a timer, until the first byte of the next one comes.
            sends_slowly = between and connection.timeout_keep_alive_task is None
            if not reads_slowly and not sends_slowly:
                continue
            what, times = self._stuck.get(connection, (cycle, 0))
            times = times + 1 if what is cycle else 1
            stuck[connection] = cycle, times
            if times > (self._reads if reads_slowly else self._heads):
                connection.transport.abort()
                self.closed += 1
        self._stuck = stuck


def _bound(settings: ServeSettings) -> socket.socket:
    """A socket that has the address, and listens on nothing yet."""
    sock = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    try:
        if sock.family == socket.AF_INET6:
            # As `socket.create_server` has it: `::` leaves the addresses of IPv4 alone.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if os.name == "posix":
            # Connections of the process before that have not timed out yet are no reason to refuse.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _refused(settings: ServeSettings, port_key: str) -> Iterator[None]:
    """An address that cannot be had, in words."""
    try:
        yield
    except OSError as err:
        twice = " Or is this one running already?" if err.errno == errno.EADDRINUSE else ""
        raise ConfigError(
            f"{settings.host}:{settings.port}: cannot be listened on ({err.strerror or err}). Choose another port "
            f"({port_key}), or 0 for a free one.{twice}"
        ) from err


def _bounded(protocol: Any) -> Any:
    """uvicorn's reader of HTTP, with a limit on the head of a request. h11 has one, httptools none."""
    if protocol.__name__ != "HttpToolsProtocol":
        return protocol

    class Bounded(protocol):  # type: ignore[misc]  # uvicorn is an extra.
        head = 0

        def data_received(self, data: bytes) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.head += len(data)
                if self.head > LARGEST_HEAD:
                    self.transport.abort()
                    return
            super().data_received(data)

        def on_headers_complete(self) -> None:
            self.head = 0
            super().on_headers_complete()

    return Bounded


def _uvicorn_server(config: Any, beside: Callable[[Any], Any]) -> Any:
    import uvicorn

    class Running(uvicorn.Server):
        """With a task beside it that ends before the draining begins, so that streams end and readiness says so."""

        async def main_loop(self) -> None:
            task = asyncio.create_task(beside(self.server_state))
            try:
                await super().main_loop()
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    return Running(config)


@contextlib.contextmanager
def _unix_socket(path: Path) -> Any:
    if path.is_socket():
        # A killed process leaves its socket behind; one that lives answers.
        with socket.socket(socket.AF_UNIX) as other:
            if other.connect_ex(str(path)) == 0:
                raise ConfigError(f"{path}: another process listens there. End it, or choose another path.")
        path.unlink()
    elif path.exists():
        raise ConfigError(f"{path}: exists and is not a socket. Choose another path.")
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.bind(str(path))
        except OSError as err:
            raise ConfigError(f"{path}: cannot be listened on ({err.strerror or err}). Choose another path.") from err
        path.chmod(0o660)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        try:
            yield sock
        finally:
            path.unlink(missing_ok=True)


def _address(settings: ServeSettings, sock: socket.socket) -> str:
    if settings.uds is not None:
        return f"unix:{settings.uds}"
    host, port = sock.getsockname()[:2]
    return f"{'https' if settings.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

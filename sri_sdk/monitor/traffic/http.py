"""Requests over HTTP: `POST /v1/generate` is answered once the response is there and its verdict is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import Empty, Full, Queue

from sri_sdk.errors import ConfigError, SriError
from sri_sdk.monitor.settings import RequestsSection
from sri_sdk.monitor.traffic.answers import answer_of, was_recorded
from sri_sdk.monitor.traffic.posted import WrongRequest, read_request
from sri_sdk.monitor.traffic.traffic import Answered, Asked, Traffic
from sri_sdk.serve.app import App, everybody
from sri_sdk.serve.batching import Batching
from sri_sdk.serve.build import Built
from sri_sdk.serve.counts import Counts
from sri_sdk.serve.http import Answer, Refusal, Request, json_answer
from sri_sdk.serve.limits import Limits
from sri_sdk.serve.oip.infer import Inference
from sri_sdk.serve.routes import Route
from sri_sdk.serve.server import Server
from sri_sdk.serve.settings import ServeSettings
from sri_sdk.serve.shadow import Shadows
from sri_sdk.serve.shelf import Shelf
from sri_sdk.serve.tokens import Tokens
from sri_sdk.serve.verdicts.callers import writes_for

SIGNPOST = "POST /v1/generate takes requests, GET /health/live and /health/ready answer; docs/monitor.md has more."
LARGEST = 2**20
"""Bytes of one request."""
START_S = 30.0
DISK_S = 2.0
"""Seconds that an answer waits for its verdict to be on disk. Beyond, it says that it is not known to be."""
DRAIN_S = 5


class HttpTraffic(Traffic):
    """Requests that are posted."""

    def __init__(self, section: RequestsSection) -> None:
        """Takes where to listen.

        Raises:
            ConfigError: the tokens cannot be read.
        """
        self._section = section
        self._waiting: Queue[_Posted] = Queue(section.waiting)
        self._under_way: set[tuple[str, str]] = set()
        """(tenant, id): what one tenant asks under says nothing of another's ids."""
        self._lock = threading.Lock()
        self._kept: _Posted | None = None
        """One that is due, and whose id another tenant's request of the last batch has."""
        self._stopping = False
        tokens = None if section.tokens is None else Tokens(section.tokens)
        self._settings = ServeSettings.model_validate({
            "host": section.host, "port": section.port, "tokens": section.tokens, "no_auth": section.no_auth,
            "limits": {"drain_seconds": DRAIN_S},
        })  # fmt: skip
        routes = [
            Route("POST", "/v1/generate", self._generate, "write", waits=True, largest=LARGEST),
            Route("GET", "/health/live", self._alive, "open"),
            Route("GET", "/health/ready", self._ready, "open"),
        ]
        limits = Limits(waiting=2 * section.waiting)
        app = App(routes, who_calls=everybody if tokens is None else tokens, limits=limits, signpost=SIGNPOST)
        shelf = Shelf({})
        # A server wants to know what it serves; this one serves no bundle.
        inference = Inference(shelf, Batching(1), Shadows())
        built = Built(app, shelf, inference, Counts(), tokens, None)
        self._server = Server(self._settings, built, self._listens, port_key="requests.port")
        self._thread = threading.Thread(target=self._run, name="sri-http", daemon=True)
        self._started: Future[str] = Future()

    def claim(self) -> None:
        """See `Traffic.claim`: the address is taken, and refuses connections until `start`."""
        self._server.claim()

    def start(self) -> str:
        """See `Traffic.start`."""
        self._thread.start()
        try:
            return f"POST {self._started.result(START_S)}/v1/generate"
        except TimeoutError as err:
            raise ConfigError(f"requests: the server did not start within {START_S:g} s. See its log.") from err

    @property
    def address(self) -> str:
        """Where it listens, once it has started."""
        return self._started.result(START_S)

    def take(self, most: int, timeout: float) -> list[Asked] | None:
        """See `Traffic.take`."""
        found: dict[str, Asked] = {}
        while len(found) < most:
            try:
                posted = self._kept or self._waiting.get(timeout=0 if found else timeout)
            except Empty:
                break
            self._kept = posted if posted.asked.prompt.id in found else None
            if self._kept is not None:
                break
            found[posted.asked.prompt.id] = posted.asked
        return None if self._stopping and not found else list(found.values())

    def stop(self) -> None:
        """See `Traffic.stop`: further requests get 503."""
        self._stopping = True

    def close(self) -> None:
        """Refuses what still waits, and ends the server."""
        self._stopping = True
        if self._kept is not None:
            self._kept.refuse()
            self._kept = None
        while True:
            try:
                self._waiting.get_nowait().refuse()
            except Empty:
                break
        self._server.stop()
        if self._thread.is_alive():
            self._thread.join(2.0 * DRAIN_S)
        self._server.close()

    # -- the server's thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._server.run()
        except SriError as err:
            if not self._started.done():
                self._started.set_exception(err)

    def _listens(self, address: str, built: Built) -> None:
        self._started.set_result(address)

    async def _alive(self, request: Request) -> Answer:
        return json_answer({"alive": True})

    async def _ready(self, request: Request) -> Answer:
        return json_answer({"ready": not self._stopping}, 503 if self._stopping else 200)

    async def _generate(self, request: Request) -> Answer:
        tenant, body = writes_for(request), await request.body()
        if self._stopping:
            raise Refusal(503, "monitor: shutting down. Try again later, or elsewhere.", retry_after=5)
        posted = _Posted(asyncio.get_running_loop())
        try:
            posted.asked = asked = read_request(body, tenant, posted.answer)
        except WrongRequest as err:
            raise Refusal(400, f"request: {err}") from err
        with self._claimed((asked.tenant, asked.prompt.id)):
            try:
                self._waiting.put_nowait(posted)
            except Full as err:
                raise Refusal(429, "monitor: busy, too many requests wait. Try again in 1 s.", retry_after=1) from err
            answered = await posted.answered
            recorded = await _recorded(answered.recorded)
        return json_answer(answer_of(answered, recorded), 200 if answered.failed is None else 500)

    @contextlib.contextmanager
    def _claimed(self, whose: tuple[str, str]) -> Iterator[None]:
        """An id that no other request of this tenant may have meanwhile."""
        with self._lock:
            if whose in self._under_way:
                raise Refusal(409, "id: a request with this id is being generated. Choose another, or wait for it.")
            self._under_way.add(whose)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.discard(whose)


class _Posted:
    """One request that waits for its answer."""

    asked: Asked

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.answered: asyncio.Future[Answered] = loop.create_future()

    def answer(self, answered: Answered) -> None:
        """In the thread that generates."""
        self._tell(lambda: self.answered.set_result(answered))

    def refuse(self) -> None:
        """Nobody will generate it."""
        refusal = Refusal(503, "monitor: shut down before this request's turn. Try again elsewhere.", retry_after=5)
        self._tell(lambda: self.answered.set_exception(refusal))

    def _tell(self, what: Callable[[], None]) -> None:
        def once() -> None:
            # Its client may have left meanwhile.
            if not self.answered.done():
                what()

        self._loop.call_soon_threadsafe(once)


async def _recorded(recorded: Future[None]) -> bool:
    """Whether an observation is known to be on disk, after waiting for it a little."""
    loop, decided = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: Future[None]) -> None:
        # The server may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(decided.set)

    recorded.add_done_callback(tell)
    try:
        await asyncio.wait_for(decided.wait(), DISK_S)
    except TimeoutError:
        return False
    return was_recorded(recorded)

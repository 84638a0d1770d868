"""The process that scores for one monitor: a server with one bundle and no store, on a socket that only it is told of.

    python -m sri_sdk.monitor.scoring.child SETTINGS

SETTINGS is JSON, see `ServeSettings`. It writes one line once it listens, and ends when its standard input does: the
monitor holds the other end, so no child outlives one that was killed.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future
from typing import Any, NoReturn

from sri_sdk.errors import SriError
from sri_sdk.serve.build import Built, build_app
from sri_sdk.serve.feature import Feature
from sri_sdk.serve.routes import Route
from sri_sdk.serve.server import Server
from sri_sdk.serve.settings import ServeSettings
from sri_sdk.serve.shelf import Shelf
from sri_sdk.serve.store.rows import Added
from sri_sdk.serve.verdicts.counts import VerdictCounts
from sri_sdk.serve.verdicts.deliveries import Deliveries
from sri_sdk.strict_json import parse

NAME = "guard"
"""Of its bundle."""
READY = "ready"


class _Nowhere:
    """A store that keeps nothing: the monitor has its own sinks."""

    def deliver(self, rows: Any) -> Future[Added]:
        done: Future[Added] = Future()
        done.set_result(Added(0, 0))
        return done


def serve(settings: ServeSettings) -> None:
    """Serves until a signal, or the end of standard input."""
    shelf = Shelf(settings.bundles)
    shelf.load_all()
    nowhere: Any = _Nowhere()
    deliveries = Deliveries(nowhere, VerdictCounts(lambda: ""), shelf.live, settings.limits.rows)

    routes = [Route("POST", "/v1/signals", deliveries.signals, "write")]
    built = build_app(settings, [Feature(routes=routes)], shelf)
    server = Server(settings, built, _say_ready)
    threading.Thread(target=_end_with_the_monitor, daemon=True).start()
    server.run()


def _say_ready(address: str, built: Built) -> None:
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()


def _end_with_the_monitor() -> NoReturn:
    while os.read(0, 1024):
        pass
    # Nothing here is worth an orderly end: there is no store, and nobody to answer.
    os._exit(0)


if __name__ == "__main__":
    try:
        serve(ServeSettings.model_validate(parse(sys.argv[1])))
    except SriError as err:
        sys.stderr.write(f"error: {err}\n")
        sys.exit(1)

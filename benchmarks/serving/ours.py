"""`sri serve` on a free port, which it prints alone on a line.

python -m benchmarks.serving.ours BUNDLE [--inline]
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any
from urllib.parse import urlsplit

from sri_sdk.serve.build import build_app
from sri_sdk.serve.oip import infer
from sri_sdk.serve.oip.model import Model
from sri_sdk.serve.server import Server
from sri_sdk.serve.settings import ServeSettings

BYTES = 3 * 2**20
"""Hashed by each call besides: about 2 ms of one core, whatever the number of rows."""


def slowed() -> None:
    """Every call of a graph also takes a fixed time, as a graph of thousands of nodes does.

    Like onnxruntime, hashing lets other threads run meanwhile.
    """
    content, run = bytes(BYTES), Model.run

    def slow(self: Model, inputs: Any) -> Any:
        hashlib.sha256(content).digest()
        return run(self, inputs)

    Model.run = slow  # type: ignore[method-assign]


def main() -> None:
    """Serves until it is ended. `--inline`: no call goes to a thread, for comparison; `--slow`: see `slowed`."""
    if "--slow" in sys.argv:
        slowed()
    if "--inline" in sys.argv:
        infer.INLINE_SECONDS = float("inf")
    settings = ServeSettings.model_validate({"bundles": {"sri": {"path": sys.argv[1]}}, "port": 0})
    built = build_app(settings)
    Server(settings, built, lambda address, _: print(urlsplit(address).port, flush=True)).run()


if __name__ == "__main__":
    main()

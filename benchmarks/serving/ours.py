"""`sri serve` on a free port, which it prints alone on a line.

python -m benchmarks.serving.ours BUNDLE [--inline]
"""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from sri_sdk.serve import batching
from sri_sdk.serve.build import build_app
from sri_sdk.serve.server import Server
from sri_sdk.serve.settings import ServeSettings


def main() -> None:
    """Serves until it is ended. `--inline`: no call goes to a thread, for comparison."""
    if "--inline" in sys.argv:
        batching.INLINE_SECONDS = float("inf")
    settings = ServeSettings.model_validate({"bundles": {"sri": {"path": sys.argv[1]}}, "port": 0})
    built = build_app(settings)
    Server(settings, built, lambda address, _: print(urlsplit(address).port, flush=True)).run()


if __name__ == "__main__":
    main()

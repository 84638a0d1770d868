"""What stands behind every gateway: `sri serve`, and the lab's model with its guard."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.gateways.processes import Server, free_port

TOKEN = "lab-token-of-the-try-out"


class Behind:
    """Both servers, from `with` to its end.

    Args:
        folder: for logs, the store and its token.
        bundle: what `sri fit configs/lab-causal.yaml` wrote.
        command: starts the store; `{port}` and `{folder}` are filled in.
    """

    def __init__(self, folder: Path, bundle: Path, command: list[str]) -> None:
        self.folder, self.tap_off = folder, folder / "tap-off"
        (folder / "tokens").write_text(f"lab:{TOKEN} read write\n")
        (folder / "tokens").chmod(0o600)
        ports = free_port(), free_port()
        self.store_url, self.backend_url = (f"http://127.0.0.1:{port}" for port in ports)
        filled = [word.format(port=ports[0], folder=folder) for word in command]
        self.store = Server(filled, f"{self.store_url}/v2/health/live", folder / "serve.log")
        self.backend = Server(
            [sys.executable, "-m", "benchmarks.gateways.lab_backend", "--bundle", str(bundle), "--store",
             self.store_url, "--token", TOKEN, "--port", str(ports[1]), "--tap-off", str(self.tap_off)],
            self.backend_url, folder / "backend.log",
        )  # fmt: skip

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.store)
            stack.enter_context(self.backend)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

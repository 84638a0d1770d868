"""NVIDIA Triton with the repository that the exporter `triton` writes, where somebody has a `tritonserver`."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
from sri_exporter_triton.options import Options
from sri_exporter_triton.repository import write_repository

from benchmarks.serving.servers import Served
from sri_sdk.bundle.bundle import Bundle

STARTS_WITHIN_S = 60.0


@contextlib.contextmanager
def triton(program: Path, bundle: Path, queue_delay_us: int) -> Iterator[Served]:
    """One that serves a bundle, by its backend for onnxruntime, over HTTP alone.

    Args:
        program: `tritonserver`, or a script that hands its arguments on.
        bundle: what it serves, as `sri_signal`.
        queue_delay_us: microseconds that it lets a request wait for others; the exporter's default is 200.
    """
    with tempfile.TemporaryDirectory() as made, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        options = Options(queue_delay_us=queue_delay_us)
        repository = write_repository(Path(made) / "models", Bundle.read(bundle), options)
        command = [
            str(program), f"--model-repository={repository}", "--disable-auto-complete-config", "--allow-grpc=false",
            "--allow-metrics=false", "--http-address=127.0.0.1", f"--http-port={port}",
        ]  # fmt: skip
        with (Path(made) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait(port, process, Path(made) / "log")
            yield Served(port, psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(60)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready"):
            return
        time.sleep(0.1)
    raise SystemExit(f"Triton does not start: {log.read_text(errors='replace')[-2000:]}")

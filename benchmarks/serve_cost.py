"""Processor time per request of `sri serve`, beside a bare handler under uvicorn and the call in this process.

    python benchmarks/serve_cost.py BUNDLE [--requests 4000] [--rounds 5]

Binary tensors over one kept connection each. The bare handler does the same codec work with nothing around it: JSON,
tensors from bytes, onnxruntime, JSON and bytes. All are measured in turns, and medians are printed: microseconds of the
server's processor time per request, and the share of it that a bare call of onnxruntime takes.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from sri_sdk import strict_json
from sri_sdk.bundle.bundle import Bundle

HEADER = b"inference-header-content-length"


def bare(bundle: str, port: str) -> None:
    """The bare handler, served until it is killed."""
    import onnxruntime
    import uvicorn

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    content = Bundle.read(bundle).graph("signal")
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])

    async def app(scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        size = int(dict(scope["headers"])[HEADER])
        asked = strict_json.parse(body[:size])
        tensor = asked["inputs"][0]
        array = np.frombuffer(body[size:], np.float32).reshape(tensor["shape"])
        score, valid = session.run(["score", "valid"], {"signals": array})
        outputs, pieces = [], []
        for name, found, kind in (("score", score, "FP32"), ("valid", valid, "BOOL")):
            pieces.append(found.tobytes())
            outputs.append({"name": name, "datatype": kind, "shape": [len(found), 1],
                            "parameters": {"binary_data_size": len(pieces[-1])}})  # fmt: skip
        head = json.dumps({"model_name": "sri_signal", "model_version": "1", "outputs": outputs}).encode()
        found = b"".join([head, *pieces])
        headers = [(b"content-type", b"application/octet-stream"), (HEADER, b"%d" % len(head)),
                   (b"content-length", b"%d" % len(found))]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": found})

    uvicorn.run(app, port=int(port), interface="asgi3", lifespan="off", ws="none", access_log=False, log_config=None,
                proxy_headers=False, server_header=False)  # fmt: skip


def request_of(rows: int, cells: int, layers: int, unique: bool) -> list[bytes]:
    """Requests as tritonclient sends them; `unique` = each with an id of its own."""
    found = []
    for number in range(256 if unique else 1):
        array = np.random.default_rng(number).uniform(0.2, 0.9, (rows, cells, layers)).astype(np.float32)
        value = {
            **({"id": f"request-{number}"} if unique else {}),
            "inputs": [{"name": "signals", "shape": [rows, cells, layers], "datatype": "FP32",
                        "parameters": {"binary_data_size": array.nbytes}}],
            "parameters": {"binary_data_output": True},
        }  # fmt: skip
        words = json.dumps(value).encode()
        body = words + array.tobytes()
        head = (
            b"POST /v2/models/sri_signal/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n"
            + b"%s: %d\r\ncontent-length: %d\r\n\r\n" % (HEADER, len(words), len(body))
        )
        found.append(head + body)
    return found


def ask(port: int, requests: list[bytes], count: int) -> None:
    """Sends `count` requests over one connection, one after the other."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(count):
            sock.sendall(requests[number % len(requests)])
            got = b""
            while b"\r\n\r\n" not in got:
                got += sock.recv(65536)
            head, _, body = got.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), got
            length = int(next(x for x in head.lower().split(b"\r\n") if x.startswith(b"content-length")).split(b":")[1])
            while len(body) < length:
                body += sock.recv(65536)


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/schedstat").read_text().split()
    threads = sum(int(Path(t, "schedstat").read_text().split()[0]) for t in Path(f"/proc/{pid}/task").iterdir())
    return max(int(fields[0]), threads) / 1e9


def in_process(bundle: Bundle, rows: int, count: int) -> float:
    """Seconds per bare call of onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle.graph("signal"), options, ["CPUExecutionProvider"])
    shape = [rows, *(int(x) for x in bundle.manifest.graphs["signal"].inputs["signals"].shape[1:])]
    array = np.random.default_rng(0).uniform(0.2, 0.9, shape).astype(np.float32)
    start = time.process_time()
    for _ in range(count):
        session.run(["score", "valid"], {"signals": array})
    return (time.process_time() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    bundle = Bundle.read(given.bundle)
    cells, layers = (int(x) for x in bundle.manifest.graphs["signal"].inputs["signals"].shape[1:])
    ports = [free_port(), free_port()]
    commands = {
        "sri serve": [sys.executable, "-m", "sri_sdk.cli", "serve", given.bundle, "--port", str(ports[0])],
        "bare": [sys.executable, __file__, "--bare", given.bundle, str(ports[1])],
    }
    servers = {name: subprocess.Popen(command, stdout=subprocess.DEVNULL) for name, command in commands.items()}
    try:
        for port in ports:
            wait_for(port)
        for rows in (1, 32):
            taken: dict[str, list[float]] = {}
            for _ in range(given.rounds):
                taken.setdefault("call", []).append(in_process(bundle, rows, given.requests * 2))
                for (name, server), port in zip(servers.items(), ports, strict=True):
                    for unique in (False, True):
                        requests = request_of(rows, cells, layers, unique)
                        ask(port, requests, 50)
                        before = cpu(server.pid)
                        ask(port, requests, given.requests)
                        key = f"{name}{', an id each' if unique else ''}"
                        taken.setdefault(key, []).append((cpu(server.pid) - before) / given.requests)
            call = statistics.median(taken["call"])
            for name, times in taken.items():
                median = statistics.median(times)
                print(f"batch {rows:3}  {name:24} {1e6 * median:7.1f} us  share {call / median:.3f}")
    finally:
        for server in servers.values():
            server.kill()
            server.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens on {port}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1:2] == ["--bare"]:
        bare(*sys.argv[2:4])
    else:
        main()

"""The least that a server of the same protocol can do: one path, one graph, no check. Run by `cost.py`.

python -m benchmarks.serving.bare GRAPH.onnx
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import uvicorn


def session(graph: Path) -> Any:
    """onnxruntime as a careful user has it: one thread, no spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])


def application(graph: Path) -> Any:
    """Reads a binary request, runs the graph, answers in binary."""
    run = session(graph).run

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message.get("more_body", False)
        size = int(dict(scope["headers"])[b"inference-header-content-length"])
        asked = json.loads(body[:size])
        signals = np.frombuffer(body[size:], "<f4").reshape(asked["inputs"][0]["shape"])
        names = [each["name"] for each in asked["outputs"]]
        outputs, content = [], b""
        for name, array in zip(names, run(names, {"signals": signals}), strict=True):
            data = array.tobytes()
            content += data
            outputs.append(
                {
                    "name": name, "datatype": "FP32" if array.dtype == np.float32 else "BOOL",
                    "shape": list(array.shape), "parameters": {"binary_data_size": len(data)},
                }
            )  # fmt: skip
        head = json.dumps({"model_name": "bare", "outputs": outputs}).encode()
        headers = [
            (b"content-type", b"application/octet-stream"), (b"inference-header-content-length", b"%d" % len(head)),
            (b"content-length", b"%d" % (len(head) + len(content))),
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": head + content})

    return app


if __name__ == "__main__":
    config = uvicorn.Config(
        application(Path(sys.argv[1])), lifespan="off", ws="none", access_log=False, log_level="error"
    )
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        print(listening.getsockname()[1], flush=True)
        uvicorn.Server(config).run(sockets=[listening])

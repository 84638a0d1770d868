"""A guard, its repository, and a server that reads the repository as Triton's documentation says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format, text_format
from sri_exporter_triton.exporter import TritonExporter
from tritonclient.grpc.model_config_pb2 import ModelConfig

from sri_sdk import registry
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.guard_parts import GuardParts
from sri_sdk.fitting.build import calibrate_guard
from sri_sdk.scoring.runtime import load
from sri_sdk.testing.planted import PlantedDetector, planted_anchors, planted_signals

DTYPES = {"TYPE_FP32": "<f4", "TYPE_INT64": "<i8", "TYPE_BOOL": "|b1"}


def exporter(**options: Any) -> TritonExporter:
    return TritonExporter(TritonExporter.Config(**options))


def parts_of(detector: PlantedDetector, seed: int = 1) -> GuardParts:
    folds = [planted_signals(64, seed + fold) for fold in range(3)]
    return calibrate_guard(
        detector.fit(folds[0].domain(detector.domain)), "planted", *folds[1:],
        anchors=planted_anchors(), exporter=exporter(), alpha=0.05,
    )  # fmt: skip


@pytest.fixture(scope="session")
def parts() -> GuardParts:
    return parts_of(PlantedDetector())


@pytest.fixture(scope="session")
def bundle(parts: GuardParts, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What the exporter `onnx` makes of the same guard."""
    target = tmp_path_factory.mktemp("guard") / "bundle"
    return Bundle.read(registry.build("exporters", "onnx", {"full": True, "step": True}).export(parts, target))


@pytest.fixture(scope="session")
def repository(parts: GuardParts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With every graph; not to be changed."""
    return exporter(full=True, step=True, max_batch=8).export(parts, tmp_path_factory.mktemp("all") / "models")


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Repository -> address of a server. `broken(model, outputs)` may change what it answers."""
    with ExitStack() as stack:
        yield lambda folder, broken=None: stack.enter_context(served(folder, broken or (lambda model, outputs: None)))


def config_of(model: Path) -> ModelConfig:
    """By Triton's own definition: an unknown field, a wrong type or a wrong enum value raises."""
    return text_format.Parse((model / "config.pbtxt").read_text(encoding="ascii"), ModelConfig())


class Model:
    """One model as Triton runs it: batches, reshapes, and the state of each sequence."""

    def __init__(self, folder: Path) -> None:
        self.config = config_of(folder)
        self.run = load((folder / "1" / "model.onnx").read_bytes(), folder.name, tier="python")
        self.states: dict[str, dict[str, np.ndarray]] = {}
        self.fresh = {
            state.input_name: np.fromfile(
                folder / "initial_state" / state.initial_state[0].data_file, DTYPES["TYPE_FP32"]
            ).reshape(1, *state.dims)
            for state in self.config.sequence_batching.state
        }  # fmt: skip

    def infer(self, body: dict[str, Any]) -> dict[str, np.ndarray]:
        expected = {x.name: x for x in self.config.input}
        inputs = {
            x["name"]: np.array(x["data"], DTYPES[f"TYPE_{x['datatype']}"]).reshape(x["shape"]) for x in body["inputs"]
        }
        assert inputs.keys() == expected.keys(), f"inputs {sorted(inputs)}"
        for name, value in inputs.items():
            assert list(value.shape[1:]) == list(expected[name].dims), f"{name} has shape {value.shape}"
            assert 1 <= len(value) <= self.config.max_batch_size, f"batch of {len(value)}"
            if expected[name].HasField("reshape"):
                inputs[name] = value.reshape(len(value), *expected[name].reshape.shape)
        wanted = [x["name"] for x in body["outputs"]]
        assert set(wanted) <= {x.name for x in self.config.output}, f"outputs {wanted}"
        carried = [state.output_name for state in self.config.sequence_batching.state]
        answers = self.run([*wanted, *carried], {**inputs, **self._state(body["parameters"])})
        for state, value in zip(self.config.sequence_batching.state, answers[len(wanted) :], strict=True):
            self.states[body["parameters"]["sequence_id"]][state.input_name] = value
        return {
            x.name: answer.reshape(len(answer), *x.dims)
            for name, answer in zip(wanted, answers, strict=False)
            for x in self.config.output
            if x.name == name
        }

    def _state(self, sequence: dict[str, Any]) -> dict[str, np.ndarray]:
        if not self.fresh:
            return {}
        if sequence.get("sequence_start"):
            self.states[sequence["sequence_id"]] = dict(self.fresh)
        assert sequence["sequence_id"] in self.states, "must specify the START flag on the first request"
        return self.states[sequence["sequence_id"]]


@contextmanager
def served(repository: Path, broken: Callable[[str, dict[str, np.ndarray]], Any]) -> Iterator[str]:
    models = {folder.name: Model(folder) for folder in repository.iterdir() if folder.is_dir()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, _, model, what = self.path.split("/")
            config = json_format.MessageToDict(models[model].config, preserving_proto_field_name=True)
            self.answer(200 if what == "config" else 404, config)

        def do_POST(self) -> None:
            name = self.path.split("/")[3]
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                outputs = models[name].infer(body)
            except (AssertionError, KeyError) as err:
                return self.answer(400, {"error": str(err)})
            broken(name, outputs)
            words = {"f": "FP32", "i": "INT64", "b": "BOOL"}
            tensors = [
                {"name": key, "datatype": words[x.dtype.kind], "shape": list(x.shape), "data": x.ravel().tolist()}
                for key, x in outputs.items()
            ]
            self.answer(200, {"model_name": name, "outputs": tensors})

        def answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """Functions of this file, as test modules cannot import it."""
    return SimpleNamespace(exporter=exporter, parts_of=parts_of, config_of=config_of, dtypes=DTYPES)

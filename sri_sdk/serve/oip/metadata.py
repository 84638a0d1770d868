"""What the server says of itself and of its models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sri_sdk._version import __version__
from sri_sdk.serve.oip.model import VERDICT, Edge, Model

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository")
SERVER = {"name": "sri-serve", "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(model: Model, versions: Iterable[str]) -> dict[str, Any]:
    """Of one model, as `GET /v2/models/NAME` has it."""
    return {
        "name": model.name,
        "versions": list(versions),
        "platform": "onnxruntime_onnx",
        "inputs": [_edge(name, edge) for name, edge in model.inputs.items()],
        "outputs": [_edge(name, edge) for name, edge in model.outputs.items()],
        "parameters": {"sri_digest": model.digest, "sri_rules": ",".join(model.scorer.rules)},
    }


def model_config(model: Model, most_rows: int) -> dict[str, Any]:
    """Of one model, as far as Triton's clients read it: `GET /v2/models/NAME/config`."""
    own = {name: edge for name, edge in model.outputs.items() if name not in VERDICT}
    return {
        "name": model.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": most_rows,
        "input": [_config_edge(name, edge) for name, edge in model.inputs.items()],
        "output": [_config_edge(name, edge) for name, edge in own.items()],
        "parameters": {"sri_digest": {"string_value": model.digest}},
    }


def _edge(name: str, edge: Edge) -> dict[str, Any]:
    return {"name": name, "datatype": edge.datatype, "shape": [-1, *edge.dims]}


def _config_edge(name: str, edge: Edge) -> dict[str, Any]:
    return {"name": name, "data_type": f"TYPE_{edge.datatype}", "dims": list(edge.dims)}

"""The files of a model repository, made from a bundle.

README.md                            which models, how to serve them; Triton reads folders only
<model>/config.pbtxt                 see `model_config.py`
<model>/1/model.onnx                 the bundle's graph, byte for byte
<model>/manifest.json, manifest.sig  the bundle's, for the code that judges the scores; Triton ignores them
<model>/warmup/<input>               a golden row that is valid
<model>/initial_state/nan            model `step`: NaN everywhere
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.manifest import SENSITIVE
from sri_sdk.files import replacing

from .model_config import NAN_STATE, STATE, STATE_OUT, model_config
from .options import Options

VERSION = "1"


def graphs_of(options: Options) -> list[str]:
    """The graphs that become models."""
    return ["signal", "prefix", *(["full"] if options.full else []), *(["step"] if options.step else [])]


def model_name(graph: str, prefix: str) -> str:
    """What a graph is called on the server. Who lists the models sees which must stay secret."""
    return f"{prefix}_{graph}_sensitive" if graph in SENSITIVE else f"{prefix}_{graph}"


def write_repository(target: Path, bundle: Bundle, options: Options) -> Path:
    """Writes the repository, whole or not at all; an older one of that name is replaced.

    Args:
        target: the folder for `tritonserver --model-repository`.
        bundle: what to serve; the same bundle and options give the same bytes.
        options: which graphs, and how they run.

    Raises:
        BundleError: the bundle has no graph that the options ask for.
    """
    files = repository_files(bundle, options)
    with replacing(target) as made:
        for name, content in files.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return target


def repository_files(bundle: Bundle, options: Options) -> dict[str, bytes]:
    """Every file by its path in the repository, with `/`; see `write_repository`."""
    files = {}
    for graph in graphs_of(options):
        name = model_name(graph, options.name)
        parts = {
            f"{VERSION}/model.onnx": bundle.graph(graph),
            "config.pbtxt": model_config(bundle, graph, name, options),
            **bundle.unlisted,
            **_data(bundle, graph),
        }
        files.update({f"{name}/{part}": content for part, content in parts.items()})
    return {**files, "README.md": _readme(bundle, options).encode()}


def _data(bundle: Bundle, graph: str) -> dict[str, bytes]:
    """The files that config.pbtxt names: raw arrays, little-endian, row by row."""
    entry, golden = bundle.manifest.graphs[graph], bundle.manifest.golden[graph]
    if graph == "step":
        state = np.full([int(size) for size in entry.inputs[STATE].shape[1:]], np.nan, dtype="<f4")
        return {f"initial_state/{NAN_STATE}": state.tobytes()}
    row = int(np.argmax(golden.valid.unpack()))
    stored = {name: packed.unpack()[row] for name, packed in golden.inputs.items()}
    return {f"warmup/{name}": x.astype(x.dtype.newbyteorder("<")).tobytes() for name, x in stored.items()}


def _readme(bundle: Bundle, options: Options) -> str:
    lines = [
        "# A guard for NVIDIA Triton",
        "",
        f"Digest of the guard: `{bundle.digest}`, in the `parameters` of every model.",
        "",
        "| model | takes | gives |",
        "|---|---|---|",
    ]
    for graph in graphs_of(options):
        entry = bundle.manifest.graphs[graph]
        takes, gives = (
            ", ".join(
                f"`{name}` {edge.dtype} {_shape(edge.shape)}"
                for name, edge in edges.items()
                if name not in (STATE, STATE_OUT)
            )
            for edges in (entry.inputs, entry.outputs)
        )
        secret = " **SENSITIVE**" if graph in SENSITIVE else ""
        lines.append(f"| `{model_name(graph, options.name)}`{secret} | {takes} | {gives} |")
    if options.full or options.step:
        lines += [
            "",
            "SENSITIVE models hold the anchors, whose difference is close to the model's refusal direction. Keep this "
            "folder, its copies and the server's model control API from whoever must not have that.",
        ]
    lines += [
        "",
        "    tritonserver --model-repository=THIS_FOLDER --disable-auto-complete-config",
        f"    python -m sri_exporter_triton check http://HOST:8000 BUNDLE --name {options.name}",
        "",
        "Where `valid` is false there is no score: never call such a generation clear. Requests, verdicts and what "
        "Triton does not check: the README of the exporter `triton` of sri-sdk.",
        "",
    ]
    return "\n".join(lines)


def _shape(shape: tuple[int | str, ...]) -> str:
    """As clients send it: one number per row is [B, 1]."""
    return f"[{', '.join(map(str, shape if len(shape) > 1 else (*shape, 1)))}]"

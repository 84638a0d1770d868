"""Entries that the manifests of both formats share, made from what a guard consists of."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from sri_sdk._version import __version__
from sri_sdk.anchors import Anchors
from sri_sdk.bundle.golden import Golden
from sri_sdk.bundle.guard_graphs import INVALID_SCORE
from sri_sdk.bundle.manifest import NO_DIGEST, SENSITIVE, FileEntry, GraphEntry, TensorEntry
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.files import sha256
from sri_sdk.graph.builder import Graph

CONTAMINATION = "calibration"
"""Key of `producer` under which a manifest says how many calibration generations may be attacks."""


def digests(files: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """Of files by name."""
    return {name: FileEntry(sha256=sha256(content), size=len(content)) for name, content in files.items()}


def drawn_edges(graphs: Mapping[str, Graph]) -> dict[str, GraphEntry]:
    """File, inputs and outputs of drawings by name."""
    return {name: _edges(graph) for name, graph in graphs.items()}


def common_entries(guard: Any, graphs: Mapping[str, Graph], files: Mapping[str, bytes]) -> dict[str, Any]:
    """What a manifest of either format says in the same words.

    Args:
        guard: `GuardParts` or `MultiPartGuard`.
        graphs: the drawings, by graph name.
        files: what became of them, by file name.
    """
    fingerprint = guard.anchors.fingerprint
    return {
        "digest": NO_DIGEST,
        "files": digests(files),
        "graphs": drawn_edges(graphs),
        "sensitive": not SENSITIVE.isdisjoint(graphs),
        "tau": guard.tau,
        "eps": guard.eps,
        "pooling": fingerprint.hard.get("pooling"),
        "grid": fingerprint.hard.get("grid"),
        "fingerprint": fingerprint.to_dict(),
        "fingerprint_digest": fingerprint.digest,
        "invalid_score": INVALID_SCORE,
        "rates": guard.rates,
        "producer": {"sri-sdk": __version__, "onnxruntime": version("onnxruntime"), **guard.producer},
    }


def stated_contamination(share: float) -> dict[str, str]:
    """What the manifest's `producer` says of attacks among the calibration generations; nothing where there are none.

    A key of its own would break every reader of the format; this map holds free text in all of them.
    """
    if not share:
        return {}
    may_be = f"up to {100 * share:.6g} % of the generations may be attacks, as stated"
    return {CONTAMINATION: f"{may_be}; the ranks allow for them"}


def packed(golden: Golden) -> dict[str, Any]:
    """Golden vectors, as the fields of their entry."""
    return {
        "inputs": {name: PackedArray.pack(array) for name, array in golden.inputs.items()},
        "score": PackedArray.pack(golden.score),
        "valid": PackedArray.pack(golden.valid),
        "tolerance": PackedArray.pack(golden.tolerance),
    }


def shared_facts(anchors: Anchors, form: int, tau: float, eps: float) -> dict[str, str]:
    """What a graph of either format says about itself in its metadata."""
    cells, _, width = anchors.harmless.shape
    return {
        "sri_format": str(form), "signal_length": str(cells), "hidden_size": str(width), "tau": repr(tau),
        "eps": repr(eps), "anchors_sha256": anchors.digest,
    }  # fmt: skip


def _edges(graph: Graph) -> GraphEntry:
    inputs = {name: TensorEntry(dtype=dtype, shape=shape) for name, (dtype, shape) in graph.inputs.items()}
    outputs = {name: TensorEntry(dtype=dtype, shape=shape) for name, (_, dtype, shape) in graph.outputs.items()}
    return GraphEntry(file=f"{graph.name}.onnx", inputs=inputs, outputs=outputs)

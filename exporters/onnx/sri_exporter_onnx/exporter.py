"""The exporter class: what it writes, and its options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field

import sri_sdk
from sri_sdk.bundle.bundle import write_bundle
from sri_sdk.bundle.multi_part_guard import AnyGuard
from sri_sdk.graph.builder import Graph

from .to_onnx import onnx_version, to_onnx

SRI_PLUGIN_API = 1


class OnnxExporter(sri_sdk.Exporter):
    """Writes the graphs `signal` and `prefix`, on request `full` and `step`, as a bundle folder or zip."""

    formats = (1, 2)

    class Config(sri_sdk.Config):
        """Options."""

        full: bool = Field(
            False,
            description="Add the graph that takes activations. It holds the anchors, whose difference is close to the "
            "model's refusal direction: treat such a bundle as a secret.",
        )
        step: bool = Field(
            False,
            description="Add the graph that takes one hidden state per step and carries the signal along, for services "
            "that score while they generate. It holds the anchors too: a secret, as `full` is.",
        )
        zip: bool = Field(
            False,
            description="Write the bundle as one stored zip file instead of a folder. The same guard gives the same "
            "bytes, and every reader takes both.",
        )

    def compile(self, graph: Graph) -> bytes:
        """One drawing as ONNX bytes, without metadata."""
        return to_onnx(graph)

    def export(self, parts: AnyGuard, target: Path) -> Path:
        """Writes the bundle; an older one of that name is replaced."""
        graphs = parts.graphs(full=self.config.full, step=self.config.step)
        files = {name: to_onnx(graph, {"kind": name, **parts.facts()}) for name, graph in graphs.items()}
        parts = replace(parts, producer={**parts.producer, "onnx": onnx_version()})
        return write_bundle(target, parts, graphs, files, zipped=self.config.zip)

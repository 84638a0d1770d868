"""The exporter class: what it writes, and its options."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import sri_sdk
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.multi_part_guard import AnyGuard
from sri_sdk.graph.builder import Graph
from sri_sdk.registry import build

from .options import Options
from .repository import write_repository

SRI_PLUGIN_API = 1


class TritonExporter(sri_sdk.Exporter):
    """Writes the graphs as models of a Triton model repository; which graphs, and how they run, are options."""

    writes_bundles: ClassVar = False

    class Config(Options):
        """Options."""

    def compile(self, graph: Graph) -> bytes:
        """One drawing as ONNX bytes, those of the exporter `onnx`."""
        content: bytes = build("exporters", "onnx", {}).compile(graph)
        return content

    def export(self, parts: AnyGuard, target: Path) -> Path:
        """Writes the repository; an older one of that name is replaced.

        By way of the bundle of the exporter `onnx`, so the digest that the models state is that bundle's.
        """
        options = {"full": self.config.full, "step": self.config.step}
        with tempfile.TemporaryDirectory(prefix="sri-triton-") as folder:
            bundle = Bundle.read(build("exporters", "onnx", options).export(parts, Path(folder) / "bundle"))
        return write_repository(target, bundle, self.config)

"""Extension point `sri.exporters`: a fitted guard becomes files."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sri_sdk.plugin import Plugin

if TYPE_CHECKING:
    from sri_sdk.bundle.multi_part_guard import AnyGuard
    from sri_sdk.graph.builder import Graph


class Exporter(Plugin):
    """Writes a fitted guard as files that execute nothing."""

    writes_bundles: ClassVar[bool] = True
    """Whether what it writes is a bundle; only such an exporter can be used by `sri fit`."""
    formats: ClassVar[tuple[int, ...]] = (1,)
    """Formats of bundles that it can write. With 2, `export` is also given guards that are `MultiPartGuard`."""

    @abstractmethod
    def compile(self, graph: Graph) -> bytes:
        """One drawing as an ONNX model. Thresholds are set on what onnxruntime computes from it, so the same drawing
        must compute the same numbers in `export`."""  # fmt: skip

    @abstractmethod
    def export(self, parts: AnyGuard, target: Path) -> Path:
        """Writes the artefact to `target` (to a temporary name first, then renamed) and returns its path.

        The same parts give the same bytes.
        """

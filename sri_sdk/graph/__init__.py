"""Drawing a detector as an ONNX graph: the builder that vendors use, trees, and torch networks."""

from sri_sdk.graph.builder import Graph, Value

__all__ = ["Graph", "Value"]

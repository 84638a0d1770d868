"""The older path of `sri_sdk.graph.torch_onnx`, for plugins that import it."""

from sri_sdk.graph.torch_onnx import onnx_of

__all__ = ["onnx_of"]

"""A drawing becomes an ONNX model. Nothing is traced: every node was drawn, so every runtime knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sri_sdk.errors import MissingExtra
from sri_sdk.graph import ML_OPERATORS, OPERATORS, Graph

ML, ML_OPSET = "ai.onnx.ml", 3
OPSET, IR = 17, 8
"""The oldest pair whose readers are all still in use: onnxruntime 1.15 and later, wasm, OpenVINO, OpenCV. onnx itself
would stamp the newest, which older runtimes refuse."""


def to_onnx(graph: Graph, facts: Mapping[str, str] | None = None) -> bytes:
    """Compiles a drawing.

    Args:
        graph: with at least one output, each made by a node of its own.
        facts: metadata to put into the file.

    Returns:
        The serialised model, checked; the same drawing and facts give the same bytes.

    Raises:
        MissingExtra: onnx is not installed.
        ValueError: the drawing is wrong, which is a bug of whoever drew it.
    """
    onnx = _onnx()
    helper = onnx.helper
    public = _public_names(graph)

    def named(tensor: str) -> str:
        return public.get(tensor, tensor)

    # Unused constants make runtimes print warnings.
    used = {name for node in graph.nodes for name in node.inputs}
    sets = {"": OPSET, ML: ML_OPSET} if ML_OPERATORS & {node.op for node in graph.nodes} else {"": OPSET}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    node.op, [named(x) for x in node.inputs], [named(node.output)],
                    domain=ML if node.op in ML_OPERATORS else None, **node.attributes,
                )
                for node in graph.nodes
            ],
            graph.name,
            [_edge(helper, name, dtype, shape) for name, (dtype, shape) in graph.inputs.items()],
            [_edge(helper, name, dtype, shape) for name, (_, dtype, shape) in graph.outputs.items()],
            [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items() if name in used],
        ),
        producer_name="sri-sdk",
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in sets.items()],
        ir_version=IR,
    )  # fmt: skip
    helper.set_model_props(model, dict(sorted((facts or {}).items())))
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def onnx_version() -> str:
    """The version that compiles."""
    return str(_onnx().__version__)


def _public_names(graph: Graph) -> dict[str, str]:
    """Tensor name -> public output name: outputs are renamed at their node, since Identity is not on the allow-list."""
    unknown = {node.op for node in graph.nodes} - OPERATORS - ML_OPERATORS
    if unknown:
        raise ValueError(f"graph {graph.name}: operators {sorted(unknown)} are not portable")
    made = {node.output for node in graph.nodes}
    public = {tensor: name for name, (tensor, _, _) in graph.outputs.items()}
    if len(public) != len(graph.outputs) or not public.keys() <= made:
        raise ValueError(f"graph {graph.name}: every output must be the result of a node of its own")
    return public


def _edge(helper: Any, name: str, dtype: str, shape: tuple[int | str, ...]) -> Any:
    types = {"float32": 1, "int64": 7, "bool": 9}
    return helper.make_tensor_value_info(name, types[dtype], list(shape))


def _onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as err:
        raise MissingExtra("Exporting a guard to ONNX", extra="train") from err
    return onnx

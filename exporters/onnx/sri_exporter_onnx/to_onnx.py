"""A drawing becomes an ONNX model. Nothing is traced: every node was drawn, so every runtime knows it.

The exception are models that a detector of the tier `python` embeds: `embedded` takes them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sri_sdk.errors import BundleError, MissingExtra
from sri_sdk.graph.builder import ML_OPERATORS, OPERATORS, Embedded, Graph

from .embedded import ML, Spliced, dims, joint, listed, splice

ML_OPSET = 3
OPSET, IR = 17, 8
"""The oldest pair whose readers are all still in use: onnxruntime 1.15 and later, wasm, OpenVINO, OpenCV. onnx itself
would stamp the newest, which older runtimes refuse. An embedded model brings its own."""


def to_onnx(graph: Graph, facts: Mapping[str, str] | None = None) -> bytes:
    """Compiles a drawing.

    Args:
        graph: with at least one output, each made by a node of its own.
        facts: metadata to put into the file.

    Returns:
        The serialised model, checked; the same drawing and facts give the same bytes.

    Raises:
        MissingExtra: onnx is not installed.
        BundleError: a model that is embedded does not suit.
        ValueError: the drawing is wrong, which is a bug in the code that drew it.
    """
    onnx = _onnx()
    helper = onnx.helper
    public = _public_names(graph)

    def named(tensor: str) -> str:
        return public.get(tensor, tensor)

    parts: list[Spliced] = []
    nodes: list[Any] = []
    for node in graph.nodes:
        inputs, output = [named(x) for x in node.inputs], named(node.output)
        if isinstance(node, Embedded):
            subject = f"graph {graph.name}: the model embedded as {node.output}"
            parts.append(splice(onnx, node, subject, inputs[0], output))
            nodes += parts[-1].nodes
        else:
            domain = ML if node.op in ML_OPERATORS else None
            nodes.append(helper.make_node(node.op, inputs, [output, *node.unused], domain=domain, **node.attributes))
    # Unused constants make runtimes print warnings.
    used = {name for node in graph.nodes for name in node.inputs}
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items() if name in used]
    sets = {"": OPSET, ML: ML_OPSET} if ML_OPERATORS & {node.op for node in graph.nodes} else {"": OPSET}
    imports = [helper.make_opsetid(domain, version) for domain, version in sorted(joint(onnx, parts, sets).items())]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            graph.name,
            [_edge(helper, name, dtype, shape) for name, (dtype, shape) in graph.inputs.items()],
            [_edge(helper, name, dtype, shape) for name, (_, dtype, shape) in graph.outputs.items()],
            [*constants, *(each for part in parts for each in part.constants)],
        ),
        producer_name="sri-sdk",
        opset_imports=imports,
        ir_version=max(IR, helper.find_min_ir_version_for(imports)),
    )
    helper.set_model_props(model, dict(sorted((facts or {}).items())))
    _check(onnx, model, parts)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def onnx_version() -> str:
    """The version that compiles."""
    return str(_onnx().__version__)


def _public_names(graph: Graph) -> dict[str, str]:
    """Tensor name -> public output name: outputs are renamed at their node, since Identity is not on the allow-list."""
    unknown = {node.op for node in graph.nodes if not isinstance(node, Embedded)} - OPERATORS - ML_OPERATORS
    if unknown:
        raise ValueError(f"graph {graph.name}: operators {sorted(unknown)} are not portable")
    made = {node.output for node in graph.nodes}
    public = {tensor: name for name, (tensor, _, _) in graph.outputs.items()}
    if len(public) != len(graph.outputs) or not public.keys() <= made:
        raise ValueError(f"graph {graph.name}: every output must be the result of a node of its own")
    return public


def _check(onnx: Any, model: Any, parts: list[Spliced]) -> None:
    """A wrong drawing is a bug and raises ValueError; a wrong embedded model gets a message for its author."""
    if parts:
        graph = onnx.shape_inference.infer_shapes(model).graph
        known = {each.name: dims(each) for each in [*graph.input, *graph.value_info]}
        for part in parts:
            shape = known.get(part.given, part.shape)
            pairs = list(zip(shape, part.shape, strict=False))
            if len(shape) != len(part.shape) or any(None not in pair and pair[0] != pair[1] for pair in pairs):
                raise BundleError(
                    f"{part.subject}: it takes {listed(part.shape)} and is given {listed(shape)}. Export it for "
                    "signals of that shape, or draw a reshape before it."
                )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as err:
        if not parts:
            raise
        raise BundleError(
            f"{parts[0].subject}: with it, the drawing is no valid ONNX model ({' '.join(str(err).split())[:300]}). It "
            "must give what the rest of the drawing needs; a score is [B]."
        ) from err


def _edge(helper: Any, name: str, dtype: str, shape: tuple[int | str, ...]) -> Any:
    types = {"float32": 1, "int64": 7, "bool": 9}
    return helper.make_tensor_value_info(name, types[dtype], list(shape))


def _onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.defs
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError as err:
        raise MissingExtra("Exporting a guard to ONNX", extra="train") from err
    return onnx

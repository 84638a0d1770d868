"""A ready-made ONNX model becomes nodes of a drawing: under names that are counted, and without what its maker noted.

Converters put the names of modules, paths of source files and their own version into what they write, and name tensors
by counters that go on. None of it is kept, so the same network gives the same bytes wherever and whenever it is drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sri_sdk.errors import BundleError
from sri_sdk.graph.builder import ML_OPERATORS, OPERATORS, OPSETS, Embedded

ML, ML_OPSETS = "ai.onnx.ml", range(1, 4)
FLOAT, GRAPH, GRAPHS = 1, 5, 10
"""Of TensorProto.DataType, AttributeProto.AttributeType."""
DTYPES = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
EXTERNAL = 1
"""TensorProto.DataLocation."""
STATES = {"GRU": (5,), "LSTM": (5, 6), "RNN": (5,)}
"""Where a recurrent network takes its first state; what is left out is zeros."""

Names = dict[str, str]


@dataclass(frozen=True, slots=True)
class Spliced:
    """What one model adds to the drawing, in protobuf."""

    subject: str
    """For messages."""
    given: str
    """Tensor of the drawing that its input became."""
    nodes: list[Any]
    constants: list[Any]
    opsets: Mapping[str, int]
    """Domain -> version it was written for, for the domains whose operators it still has."""
    shape: tuple[int | None, ...]
    """Of its input; None = free."""


def splice(onnx: Any, part: Embedded, subject: str, given: str, made: str) -> Spliced:
    """Takes one model apart.

    Args:
        onnx: the package.
        part: the model.
        subject: for messages.
        given: tensor of the drawing that its input becomes.
        made: tensor of the drawing that its output becomes. The names of all others begin with that of the part.

    Raises:
        BundleError: it cannot be embedded; the message says why.
    """
    try:
        model = onnx.load_from_string(part.model)
    except Exception as err:  # protobuf raises several unrelated types.
        raise _refused(subject, f"{len(part.model)} bytes are no ONNX file ({type(err).__name__})") from err
    graph = model.graph
    source = _input(graph, subject)
    wanted = _output(graph, part.wanted, subject)
    constants = {each.name: each for each in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant" and not node.domain:
            constants[node.output[0]] = _constant(onnx, node, subject)
        else:
            nodes.append(node)
    nodes = _needed(_without_first_states(onnx, nodes, constants), wanted)
    if not nodes:
        raise _refused(subject, f"its output {wanted!r} is not the result of a node")

    names: Names = {"": "", source.name: given, wanted: made}
    kept = []
    for node in nodes:
        for name in node.input:
            if name not in names:
                if name not in constants:
                    raise _refused(subject, f"{node.op_type} reads {name!r}, which nothing makes")
                names[name] = f"{part.output}.{len(names)}"
                kept.append(_tensor(onnx, constants[name], names[name], subject))
        for at, name in enumerate(node.output):
            # An unused result has no name; here everything has one.
            node.output[at] = name or f"unnamed {len(names)}"
            names.setdefault(node.output[at], f"{part.output}.{len(names)}")
    opsets = _opsets(model, nodes, subject)
    renamed = [_renamed(onnx, node, names, subject) for node in nodes]
    return Spliced(subject, given, renamed, kept, opsets, dims(source))


def joint(onnx: Any, parts: Collection[Spliced], drawn: Mapping[str, int]) -> dict[str, int]:
    """Domain -> version of its operator set, for the whole: the newest that a part was written for.

    What is drawn means the same in all of them, so without parts it is `drawn`, and with them it is theirs.

    Raises:
        BundleError: an operator of one part means something else in the set of another.
    """
    versions = dict(drawn)
    for domain in {domain for part in parts for domain in part.opsets}:
        versions[domain] = max(part.opsets.get(domain, 0) for part in parts)
    if ML in drawn:  # The drawing's own trees need the version they are drawn for.
        versions[ML] = max(versions[ML], drawn[ML])
    for part in parts:
        for node in part.nodes:
            own, joined = part.opsets[node.domain], versions[node.domain]
            steady = node.op_type in OPERATORS | ML_OPERATORS
            if not steady and _since(onnx, node, own, part) != _since(onnx, node, joined, part):
                raise _refused(
                    part.subject,
                    f"its {node.op_type} is that of operator set {own}, and means something else in {joined}, for "
                    "which another part of the drawing was written",
                    "Convert all of them with the same opset.",
                )
    return versions


def dims(found: Any) -> tuple[int | None, ...]:
    """The shape of a ValueInfoProto; None = free."""
    sizes = found.type.tensor_type.shape.dim
    return tuple(each.dim_value if each.HasField("dim_value") else None for each in sizes)


def listed(shape: Iterable[int | None]) -> str:
    """A shape, for a message."""
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _input(graph: Any, subject: str) -> Any:
    # Old files list constants as inputs too.
    inputs = [each for each in graph.input if each.name not in {x.name for x in graph.initializer}]
    if len(inputs) != 1:
        raise _refused(subject, f"it has {len(inputs)} inputs ({_listed(inputs)}), allowed is one")
    (found,) = inputs
    shape = dims(found)
    if found.type.tensor_type.elem_type != FLOAT or not shape or shape[0] is not None:
        raise _refused(
            subject, f"its input {found.name!r} is not float32 with a free first dimension, but {_described(found)}",
            'Export it with a dynamic batch, as sri_sdk.graph.torch_onnx.onnx_of does.',
        )  # fmt: skip
    return found


def _output(graph: Any, wanted: str | None, subject: str) -> str:
    names = {each.name: each for each in graph.output}
    if wanted is None and len(names) != 1:
        raise _refused(subject, f"it has {len(names)} outputs", f"Say which: output= one of {_listed(graph.output)}.")
    name = wanted if wanted is not None else next(iter(names))
    if name not in names:
        raise _refused(subject, f"it has no output {name!r}, but {_listed(graph.output)}")
    if names[name].type.tensor_type.elem_type != FLOAT:
        raise _refused(subject, f"its output {name!r} is not float32, but {_described(names[name])}")
    return name


def _constant(onnx: Any, node: Any, subject: str) -> Any:
    """The value of a Constant as a tensor, so that code that looks for constants finds shapes too."""
    (attribute,) = node.attribute
    if attribute.name == "value":
        return attribute.t
    dtypes = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
    if attribute.name not in dtypes:
        raise _refused(subject, f"a constant of it is a {attribute.name}, allowed are numbers")
    value = onnx.helper.get_attribute_value(attribute)
    return onnx.numpy_helper.from_array(np.array(value, dtypes[attribute.name]))


def _without_first_states(onnx: Any, nodes: list[Any], constants: Mapping[str, Any]) -> list[Any]:
    """Recurrent networks without the zeros they begin with.

    Converters draw them as large as the batch, and the tier `python` makes no tensor as large as an input says. They
    are what a network begins with anyway.
    """
    makers = {name: node for node in nodes for name in node.output}

    def zeros(name: str) -> bool:
        while (maker := makers.get(name)) is not None and maker.op_type in {"Expand", "Slice", "Identity"}:
            name = maker.input[0]
        if maker is not None and maker.op_type == "ConstantOfShape":
            return all(not onnx.numpy_helper.to_array(each.t).any() for each in maker.attribute)
        return name in constants and not onnx.numpy_helper.to_array(constants[name]).any()

    for node in nodes:
        for at in STATES.get(node.op_type, ()):
            if at < len(node.input) and node.input[at] and zeros(node.input[at]):
                node.input[at] = ""
    return nodes


def _needed(nodes: list[Any], wanted: str) -> list[Any]:
    """Those that the wanted output depends on, in order: classifiers also make labels, which need other operators."""
    needed, kept = {wanted}, []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    return kept[::-1]


def _tensor(onnx: Any, found: Any, name: str, subject: str) -> Any:
    """A constant under another name, its data as plain bytes, and without notes."""
    if found.data_location == EXTERNAL:
        raise _refused(
            subject, f"its constant {found.name!r} lies in another file", "Export it with external_data=False."
        )
    return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(found), name)


def _renamed(onnx: Any, found: Any, names: Names, subject: str) -> Any:
    attributes = sorted(found.attribute, key=lambda each: str(each.name))
    node = onnx.NodeProto(
        op_type=found.op_type, domain=_domain(found.domain), input=[names[x] for x in found.input],
        output=[names[x] for x in found.output], attribute=attributes,
    )  # fmt: skip
    for attribute in node.attribute:
        if attribute.type in (GRAPH, GRAPHS):
            raise _refused(subject, f"its {found.op_type} holds another graph: control flow is not allowed")
        attribute.ClearField("doc_string")
        if attribute.HasField("t"):
            attribute.t.CopyFrom(_tensor(onnx, attribute.t, "", subject))
    return node


def _opsets(model: Any, nodes: Iterable[Any], subject: str) -> dict[str, int]:
    written = {_domain(each.domain): each.version for each in model.opset_import}
    found = {}
    for node in nodes:
        domain = _domain(node.domain)
        allowed = {"": OPSETS, ML: ML_OPSETS}.get(domain)
        version = written.get(domain, 0)
        if allowed is None:
            raise _refused(
                subject, f"its {node.op_type} is an operator of {domain!r}, allowed are those of ONNX and {ML}"
            )
        if version not in allowed:
            raise _refused(
                subject, f"it was written for operator set {domain or 'ai.onnx'} {version}",
                f"Convert it with one of {allowed[0]} to {allowed[-1]}.",
            )  # fmt: skip
        found[domain] = version
    return found


def _since(onnx: Any, node: Any, version: int, part: Spliced) -> int:
    """The version of the operator set in which an operator got its meaning."""
    try:
        return int(onnx.defs.get_schema(node.op_type, version, node.domain).since_version)
    except onnx.defs.SchemaError as err:
        raise _refused(part.subject, f"its operator {node.op_type} is unknown in operator set {version}") from err


def _domain(written: str) -> str:
    return "" if written == "ai.onnx" else written


def _described(found: Any) -> str:
    number = found.type.tensor_type.elem_type
    return f"{DTYPES.get(number, f'data type {number}')} {listed(dims(found))}"


def _listed(edges: Iterable[Any]) -> str:
    return ", ".join(repr(each.name) for each in edges) or "none"


def _refused(subject: str, why: str, cure: str = "Change what the detector's export() embeds.") -> BundleError:
    return BundleError(f"{subject}: {why}. {cure}")

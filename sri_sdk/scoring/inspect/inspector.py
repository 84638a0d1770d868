"""Reads an ONNX file, then refuses it or lets onnxruntime load it. Executes nothing in it, and trusts nothing.

onnxruntime follows references to other files, runs loops that never end, and allocates gigabytes because a file of 168
bytes asks for them. So every graph is read here first, byte by byte. It may have only the fields of ONNX that a bundle
needs, and only the operators and attributes listed for its tier; no subgraphs, no functions, and no data elsewhere.
Constants are exactly as large as their shape says, every name is defined once and before it is used, and inputs and
outputs are those the manifest promises. In the tier `portable` every tensor has a known and small shape, and all of
them together a bound on memory and time per row. Any error in here is a reason to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from sri_sdk.bundle.manifest import GraphEntry
from sri_sdk.errors import BundleError
from sri_sdk.records import Tier
from sri_sdk.scoring.inspect import onnx_messages as onnx
from sri_sdk.scoring.inspect.dtypes import Dtypes
from sri_sdk.scoring.inspect.learned import svm_width, trees_width
from sri_sdk.scoring.inspect.operators import ATTRIBUTES, GROWS, RULES, SVM, TREES, TWO_RESULTS, Key, Rules
from sri_sdk.scoring.inspect.shapes import BATCH, MOST_ELEMENTS, Call, Shape, Shapes
from sri_sdk.scoring.inspect.tensors import BYTES, WIDEST, Edge, Tensors, edge, listed, promised, sizes
from sri_sdk.scoring.inspect.wire import Parsed, Refused, Span, read, signed
from sri_sdk.scoring.inspect.work import Work, affordable

LARGEST_GRAPH = 512 * 2**20
"""Bytes of one file."""
CONFIGURES_RUNTIME = "ort_config"
"""Key of the metadata through which a model could set options of onnxruntime."""


def inspect(content: bytes, subject: str, entry: GraphEntry | None = None, tier: Tier = "portable") -> Work | None:
    """Refuses a graph that is not allowed in a bundle of this tier; returns what one row takes at most.

    Args:
        content: the ONNX file.
        subject: what it is; leads the message.
        entry: the edges the manifest promises; None = any.
        tier: which operators are allowed.

    Returns:
        Upper bounds of memory and time; None in the tier `python`, where shapes are not known.

    Raises:
        BundleError: refused; the message says why.
    """
    try:
        if len(content) > LARGEST_GRAPH:
            raise Refused(f"{len(content)} bytes, allowed: up to {LARGEST_GRAPH}")
        inspection = _Inspection(content, RULES[tier])
        inspection.model(entry)
        return inspection.work
    except Refused as err:
        raise BundleError(
            f"{subject}: not a graph of tier {tier}: {err}. It was not loaded. Get the bundle again from a source you "
            "trust; if you made it, change what its detector draws."
        ) from err
    except Exception as err:  # A gap in here must never be a way in.
        raise BundleError(
            f"{subject}: not a readable ONNX file ({type(err).__name__}). It was not loaded. Get the bundle again from "
            "a source you trust."
        ) from err


class _Inspection:
    """One file, walked from the outside in."""

    def __init__(self, data: bytes, rules: Rules) -> None:
        self.data, self.rules = data, rules
        self.tensors = Tensors(rules)
        self.opsets: set[str] = set()
        self.work: Work | None = None
        self.dtypes = Dtypes((), self.tensors.whole_numbers)

    def model(self, entry: GraphEntry | None) -> None:
        found = read(self.data, (0, len(self.data)), onnx.MODEL)
        if (ir := found.number("ir_version")) not in self.rules.ir:
            raise Refused(f"IR version {ir}, allowed: {_range(self.rules.ir)}")
        for imported in found.messages("opset_import", onnx.OPSET):
            self._opset(imported.text("domain"), imported.number("version"))
        for fact in found.messages("metadata_props", onnx.PROPERTY):
            if fact.text("key") == CONFIGURES_RUNTIME:
                raise Refused(f"its metadata {CONFIGURES_RUNTIME!r} would configure the runtime")
        self._graph(found.message("graph", onnx.GRAPH), entry)

    def _opset(self, domain: str, version: int) -> None:
        name = repr(domain or "ai.onnx")
        if domain not in self.rules.opsets or domain in self.opsets:
            raise Refused(f"operator set {name} is unknown, or imported twice")
        if version not in (allowed := self.rules.opsets[domain]):
            raise Refused(f"version {version} of operator set {name}, allowed: {_range(allowed)}")
        self.opsets.add(domain)

    def _graph(self, found: Parsed, entry: GraphEntry | None) -> None:
        inputs = self._edges(found, "input")
        outputs = self._edges(found, "output")
        if entry is not None:
            promised("inputs", inputs, entry.inputs)
            promised("outputs", outputs, entry.outputs)
        if self.rules.shapes_known:
            affordable(len(self.data), sum(end - start for start, end in found.spans("initializer")), _widths(inputs))
        for each in found.messages("initializer", onnx.TENSOR):
            name = each.text("name")
            if not name or name in self.tensors.constants or name in inputs:
                raise Refused(f"constant {name!r} has no name, or one that is taken")
            self.tensors.add(name, each)
        names = inputs.keys() | self.tensors.constants.keys()
        given = set(names)
        shapes = self._shapes(inputs) if self.rules.shapes_known else None
        self.dtypes.known.update((name, dtype) for name, (dtype, _) in inputs.items())
        self.dtypes.known.update((name, constant.dtype) for name, constant in self.tensors.constants.items())
        for each in found.messages("node", onnx.NODE):
            self._node(each, names, shapes)
        for name, (_, shape) in outputs.items():
            if name not in names or name in given:
                raise Refused(f"output {name!r} is not the result of a node")
            if shapes is not None and shapes.known[name] != sizes(shape):
                raise Refused(f"output {name!r} does not have the shape it declares, {listed(shape)}")

    def _edges(self, found: Parsed, field: str) -> dict[str, Edge]:
        edges = [edge(each, self.rules) for each in found.messages(field, onnx.VALUE)]
        if len(dict(edges)) != len(edges):
            raise Refused(f"two {field}s have the same name")
        return dict(edges)

    def _shapes(self, inputs: Mapping[str, Edge]) -> Shapes:
        known = {name: sizes(shape) for name, (_, shape) in inputs.items()}
        if len({shape[0] for _, shape in inputs.values()}) > 1 or any(s[0] != BATCH for s in known.values()):
            raise Refused("the first dimension of every input must be the free one, under one name")
        shapes = Shapes(known, self.tensors.whole_numbers)
        self.work = Work.of(_widths(inputs))
        # Constants come after the limit, which follows from the inputs; they have a limit of their own.
        known.update((name, constant.shape) for name, constant in self.tensors.constants.items())
        return shapes

    def _node(self, found: Parsed, names: set[str], shapes: Shapes | None) -> None:
        key = domain, op = found.text("domain"), found.text("op_type")
        if key not in self.rules.operators:
            raise Refused(f"operator {op!r}{f' of {domain!r}' if domain else ''} is not allowed")
        if domain not in self.opsets:
            raise Refused(f"operator {op!r} comes from an operator set that is not imported")
        inputs, outputs = found.texts("input"), found.texts("output")
        for name in inputs:
            # An empty name is an optional input that is left out, as in Clip.
            if name not in names and (name or shapes is not None):
                raise Refused(f"{op} reads {name!r}, which no earlier node makes")
        for name in outputs:
            if name in names or not name:
                raise Refused(f"{op} makes {name!r}, which is empty or already taken")
            names.add(name)
        attributes = self._attributes(found, op)
        for attribute in attributes.values():
            if "t" in attribute:
                for name in outputs:
                    self.tensors.add(name, attribute.message("t", onnx.TENSOR))
                    self.dtypes.known[name] = self.tensors.constants[name].dtype
        self.dtypes.add(op, inputs, outputs, attributes)
        width, steps = self._learned(key, attributes)
        if shapes is not None and self.work is not None:
            if len(outputs) != 1 + (op in TWO_RESULTS):
                raise Refused(f"{op} has {len(outputs)} results, allowed: {1 + (op in TWO_RESULTS)}")
            numbers = {name: signed(each.number("i")) for name, each in attributes.items() if "i" in each}
            call = Call(op, tuple(inputs), outputs[0], numbers, width, steps)
            shapes.add(call)
            given, result = [shapes.known[name] for name in inputs], shapes.known[outputs[0]]
            shapes.known.update((name, result) for name in outputs[1:])
            self.work.add(call, given, result, BYTES.get(self.dtypes.known[outputs[0]], WIDEST))
        elif op in GROWS:
            self._bounded(op, inputs)

    def _attributes(self, found: Parsed, op: str) -> dict[str, Parsed]:
        """The attributes by name. Their fields and types must be those of this operator."""
        attributes: dict[str, Parsed] = {}
        for each in found.messages("attribute", onnx.ATTRIBUTE):
            name, kind = each.text("name"), each.number("type")
            fields = [field for field in onnx.ATTRIBUTE_TYPES if field in each]
            # A list of no elements leaves no trace but its type.
            field = fields[0] if fields else onnx.EMPTY.get(kind, "")
            if len(fields) > 1 or onnx.ATTRIBUTE_TYPES.get(field) != kind or name in attributes:
                raise Refused(f"attribute {name!r} of {op} is not one value of its type")
            if self.rules.shapes_known and ATTRIBUTES.get(op, {}).get(name) != field:
                raise Refused(f"attribute {name!r} of {op} is not allowed, or not of this type")
            attributes[name] = each
        return attributes

    def _learned(self, key: Key, attributes: Mapping[str, Parsed]) -> tuple[int, int]:
        """Columns and steps of an operator that keeps learnt numbers in its attributes; 0, 0 = any other operator."""
        if key not in (TREES, SVM):
            return 0, 0
        values = {name: _value(each) for name, each in attributes.items()}
        return (trees_width if key == TREES else svm_width)(self.data, values)

    def _bounded(self, op: str, inputs: Sequence[str]) -> None:
        """Refuses an operator whose input asks for a large result."""
        wanted = self.tensors.whole_numbers(inputs[GROWS[op]])
        size = wanted[0] if op == "Range" else prod(max(abs(x), 1) for x in wanted)
        if size > MOST_ELEMENTS:
            raise Refused(f"{op} makes {size} elements, allowed: up to {MOST_ELEMENTS}")


def _widths(inputs: Mapping[str, Edge]) -> dict[str, tuple[Shape, int]]:
    """Shape and bytes per element of every input."""
    return {name: (sizes(shape), BYTES.get(dtype, WIDEST)) for name, (dtype, shape) in inputs.items()}


def _value(attribute: Parsed) -> list[int | Span]:
    return next((attribute.fields[field] for field in onnx.ATTRIBUTE_TYPES if field in attribute), [])


def _range(allowed: range) -> str:
    return str(allowed[0]) if len(allowed) == 1 else f"{allowed[0]} to {allowed[-1]}"

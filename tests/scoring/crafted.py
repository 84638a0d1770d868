"""ONNX files nobody should load, and a few one may: built with onnx itself, which writes what we would never draw."""

from itertools import pairwise

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sri_exporter_onnx.exporter import OnnxExporter

from sri_sdk.graph.builder import Graph

CELLS = 4
FLOAT = TensorProto.FLOAT


def constants(**arrays):
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]


def model(nodes, held=(), *, inputs=None, outputs=None, sets=None, ir=8, **graph_fields):
    """`signals` [B, 4, 1] -> `score` [B], unless said otherwise."""
    inputs = inputs or {"signals": ("B", CELLS, 1)}
    outputs = outputs or {"score": ("B",)}
    graph = helper.make_graph(
        list(nodes), "crafted",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        list(held), **graph_fields,
    )  # fmt: skip
    sets = {"": 17} if sets is None else sets
    return helper.make_model(graph, ir_version=ir, opset_imports=[helper.make_opsetid(*x) for x in sets.items()])


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


def plain(**changes):
    """The sum over cells: as harmless as a graph can be."""
    return model([node("ReduceSum", "signals axes", "score", keepdims=0)], constants(axes=[1, 2]), **changes)


def of_constants(op, wanted, **attributes):
    """Adds the sum of what `op` makes of a constant to every score."""
    nodes = [
        node(op, "wanted", "made", **attributes),
        node("ReduceSum", "made", "total", keepdims=0),
        node("ReduceSum", "signals axes", "sum", keepdims=0),
        node("Add", "sum total", "score"),
    ]
    return model(nodes, constants(wanted=np.array(wanted), axes=[1, 2]))


def memory_bomb(elements=2**32):
    """168 bytes that ask for 16 GiB."""
    value = helper.make_tensor("value", FLOAT, [1], [1.0])
    return of_constants("ConstantOfShape", [elements], value=value)


def carrying(elements, times=1, name=""):
    """Harmless, with constants that nothing reads."""
    found = plain()
    found.graph.initializer.extend(constants(**{f"{name}{i}": np.ones(elements, np.float32) for i in range(times)}))
    return found


def leaves(trees):
    """A forest of trees that have no branches."""
    zeros = [0] * trees
    return forest(
        nodes_treeids=list(range(trees)), nodes_nodeids=zeros, nodes_featureids=zeros, nodes_values=[0.0] * trees,
        nodes_modes=["LEAF"] * trees, nodes_truenodeids=zeros, nodes_falsenodeids=zeros,
        target_treeids=list(range(trees)), target_nodeids=zeros, target_ids=zeros, target_weights=[1.0] * trees,
    )  # fmt: skip


def whole_division(by=-1, dtype=np.int64, **changes):
    """The lowest number by -1: where a runtime folds constants, it stops the process while it loads this."""
    nodes = [
        node("Div", "low minus", "quotient"),
        node("Cast", "quotient", "number", to=FLOAT),
        node("ReduceSum", "signals axes", "sum", keepdims=0),
        node("Add", "sum number", "score"),
    ]
    lowest = np.array([np.iinfo(dtype).min], dtype)
    return model(nodes, constants(low=lowest, minus=np.array([by], dtype), axes=[1, 2]), **changes)


def outer_bomb(side=2**15):
    """Only portable operators: two columns of 128 KiB, broadcast into 4 GiB."""
    nodes = [
        node("Add", "a b", "square"),
        node("ReduceSum", "square both", "total", keepdims=0),
        node("ReduceSum", "signals axes", "sum", keepdims=0),
        node("Add", "sum total", "score"),
    ]
    ones = np.ones(side, np.float32)
    return model(nodes, constants(a=ones[:, None], b=ones[None], both=[0, 1], axes=[1, 2]))


def endless_loop():
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("Identity", ["held"], ["kept"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", FLOAT, ["B"]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("kept", FLOAT, ["B"]),
        ],
    )
    nodes = [
        node("ReduceSum", "signals axes", "sum", keepdims=0),
        helper.make_node("Loop", ["", "true", "sum"], ["score"], body=body),
    ]
    return model(nodes, constants(axes=[1, 2], true=np.array(True)))


def external(location):
    """A constant that is kept in another file."""
    found = plain()
    weights = helper.make_tensor("weights", FLOAT, [CELLS, 1], np.zeros(CELLS, np.float32))
    weights.ClearField("float_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"location": str(location), "offset": "0", "length": str(4 * CELLS)}.items():
        weights.external_data.add(key=key, value=value)
    found.graph.initializer.append(weights)
    del found.graph.node[:]
    found.graph.node.extend([node("Mul", "signals weights", "w"), node("ReduceSum", "w axes", "score", keepdims=0)])
    return found


def forest(**changes):
    """One tree of three nodes, with attributes changed; a value of None leaves one out."""
    attributes = {
        "n_targets": 1, "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
        "nodes_values": [0.5, 0.0, 0.0], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0], "target_treeids": [0, 0],
        "target_nodeids": [1, 2], "target_ids": [0, 0], "target_weights": [1.0, 2.0], **changes,
    }  # fmt: skip
    return of_rows("TreeEnsembleRegressor", {k: v for k, v in attributes.items() if v is not None})


def deep_forest(depth):
    """One tree that is a chain."""
    count, inner = 2 * depth + 1, depth
    return forest(
        nodes_treeids=[0] * count, nodes_nodeids=list(range(count)), nodes_featureids=[0] * count,
        nodes_values=[0.5] * count, nodes_modes=["BRANCH_LEQ", "LEAF"] * inner + ["LEAF"],
        nodes_truenodeids=[i + 1 if i % 2 == 0 else 0 for i in range(count - 1)] + [0],
        nodes_falsenodeids=[i + 2 if i % 2 == 0 else 0 for i in range(count - 1)] + [0],
        target_treeids=[0] * (depth + 1), target_nodeids=[*range(1, count, 2), count - 1],
        target_ids=[0] * (depth + 1), target_weights=[1.0] * (depth + 1),
    )  # fmt: skip


def support_vectors(**changes):
    attributes = {
        "kernel_type": "RBF", "kernel_params": [0.5, 0.0, 3.0], "n_supports": 2, "coefficients": [1.0, -1.0],
        "support_vectors": [0.0] * CELLS + [1.0] * CELLS, "rho": [0.1], **changes,
    }  # fmt: skip
    return of_rows("SVMRegressor", attributes)


def of_rows(op, attributes):
    """Signals as rows of four columns, into an operator of ai.onnx.ml."""
    nodes = [
        node("Reshape", "signals rows", "flat"),
        helper.make_node(op, ["flat"], ["each"], domain="ai.onnx.ml", **attributes),
        node("Squeeze", "each one", "score"),
    ]
    return model(nodes, constants(rows=[0, -1], one=[1]), sets={"": 17, "ai.onnx.ml": 3})


def dressed(proto, cells):
    """With the edges of a guard's graph `signal`, so that only what is inside can be a reason to refuse it."""
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = cells
    proto.graph.initializer.extend(constants(least=np.float32(-3e38)))
    proto.graph.node.append(node("Less", "least score", "valid"))
    proto.graph.output.append(helper.make_tensor_value_info("valid", TensorProto.BOOL, ("B",)))
    return proto


def compiled(draw, shape=(CELLS, 1)):
    """What `draw(graph, signals)` draws, compiled."""
    graph = Graph("drawing")
    graph.output("score", draw(graph, graph.input("signals", "float32", ("B", *shape))), ("B",))
    return OnnxExporter().compile(graph)


def wide(columns=2**15, tensors=1):
    """Only portable operators: some tensors of many columns per row, all added up."""
    nodes = [node("MatMul", "signals row", f"wide{i}") for i in range(tensors)]
    nodes += [node("ReduceSum", f"wide{i} axes", f"sum{i}", keepdims=0) for i in range(tensors)]
    # Read again in the order in which they were made: all are alive at once, whatever the order in the file says.
    nodes += [node("MatMul", f"wide{i} column", f"back{i}") for i in range(tensors)]
    nodes += [node("ReduceSum", f"back{i} axes", f"again{i}", keepdims=0) for i in range(tensors)]
    parts = [f"sum{i}" for i in range(tensors)] + [f"again{i}" for i in range(tensors)]
    total = parts[0]
    for i, part in enumerate(parts[1:]):
        name = "score" if i == len(parts) - 2 else f"total{i}"
        nodes.append(node("Add", f"{total} {part}", name))
        total = name
    held = constants(row=np.ones((1, columns), np.float32), column=np.ones((columns, 1), np.float32), axes=[1, 2])
    return model(nodes, held)


def sorts(columns=2**13, picked=2**13, tensors=1):
    """Only portable operators: tensors of many columns per row, of which some or all are sorted."""
    nodes = [node("MatMul", "signals row", f"wide{i}") for i in range(tensors)]
    nodes += [
        helper.make_node("TopK", [f"wide{i}", "count"], [f"few{i}", f"place{i}"], axis=2, largest=0)
        for i in range(tensors)
    ]  # fmt: skip
    nodes += [node("ReduceSum", f"few{i} axes", f"sum{i}", keepdims=0) for i in range(tensors)]
    nodes += [node("Add", f"{'sum0' if i == 1 else f'total{i - 1}'} sum{i}", f"total{i}") for i in range(1, tensors)]
    nodes.append(node("Mul", f"{f'total{tensors - 1}' if tensors > 1 else 'sum0'} one", "score"))
    row = np.random.default_rng(0).normal(size=(1, columns)).astype(np.float32)
    return model(nodes, constants(row=row, count=[picked], axes=[1, 2], one=np.float32(1)))


def long_chain(products=4000, side=256):
    """Only portable operators: matrix products, one after the other."""
    names = [f"x{i}" for i in range(products)]
    nodes = [node("MatMul", "signals row", "x0")]
    nodes += [node("MatMul", f"{a} square", b) for a, b in pairwise(names)]
    nodes.append(node("ReduceSum", f"{names[-1]} axes", "score", keepdims=0))
    square = np.eye(side, dtype=np.float32)
    return model(nodes, constants(row=np.ones((1, side), np.float32), square=square, axes=[1, 2]))


def exhausting(how):
    """Allowed in the tier `python`, where shapes are not tracked: gigabytes in one step or in many, or minutes."""
    side, count = {"one square": (2**15, 1), "many tensors": (2**12, 60), "many products": (2**10, 3000)}[how]
    nodes = [node("ConstantOfShape", "wanted", "flat"), node("Reshape", "flat column", "down")]
    nodes += [node("Reshape", "flat row", "across"), node("Add", "down across", "x0")]
    op, other = ("MatMul", "x0") if how == "many products" else ("Add", "one")
    nodes += [node(op, f"x{i} {other}", f"x{i + 1}") for i in range(count)]
    # As many as one node may read: all of them are alive at once.
    nodes.append(node("Sum", " ".join(f"x{i}" for i in range(max(0, count - 60), count + 1)), "all"))
    nodes += [node("ReduceSum", "all", "total", keepdims=0), node("ReduceSum", "signals axes", "sum", keepdims=0)]
    nodes.append(node("Add", "sum total", "score"))
    held = constants(wanted=[side], column=[side, 1], row=[1, side], one=np.float32(1), axes=[1, 2])
    return model(nodes, held)

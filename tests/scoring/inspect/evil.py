"""Graphs that the inspector must refuse, each with a part of the reason it must give."""

import numpy as np
from onnx import TensorProto, helper

from tests.scoring import crafted
from tests.scoring.crafted import constants, forest, model, node, plain, support_vectors

SUM = node("ReduceSum", "signals axes", "sum", keepdims=0)
AXES = constants(axes=[1, 2])


def with_field(number, content=b""):
    """A plain graph with one more field of the model."""
    return plain().SerializeToString() + bytes([*varint(number << 3 | 2), len(content)]) + content


def varint(value):
    while value > 0x7F:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value


def changed(proto, change):
    change(proto)
    return proto


def sparse(proto):
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def function(proto):
    proto.functions.append(helper.make_function("f", "F", ["x"], ["y"], [node("Relu", "x", "y")], []))


def grown(side):
    """[B, 1] + [1, side]."""
    nodes = [
        SUM, node("Unsqueeze", "sum one", "column"), node("Add", "column wide", "all"),
        node("ReduceSum", "all one", "score", keepdims=0),
    ]  # fmt: skip
    return model(nodes, constants(axes=[1, 2], one=[1], wide=np.zeros((1, side), np.float32)))


def picking(inputs, outputs, axis, **more):
    """The sum of what a TopK picks."""
    nodes = [helper.make_node("TopK", inputs, outputs, axis=axis), node("ReduceSum", "t axes", "score", keepdims=0)]
    return model(nodes, constants(axes=[1, 2], **more))


def small(change):
    """A plain graph whose one constant was changed."""
    return changed(plain(), lambda proto: change(proto.graph.initializer[0]))


EVIL = {
    "data in another file": (crafted.external("weights.bin"), "a reference to another file"),
    "data in no file": (small(lambda c: setattr(c, "data_location", 1)), "has its data in another file"),
    "a loop": (crafted.endless_loop(), "operator 'Loop' is not allowed"),
    "a graph in an allowed operator": (
        model([node("Relu", "signals", "score", body=plain().graph)]), "a nested graph",
    ),
    "a function": (changed(plain(), function), "contains functions"),
    "training information": (with_field(20), "contains training information"),
    "a sparse constant": (changed(plain(), sparse), "sparse constants"),
    "strings": (small(lambda c: c.string_data.append(b"x")), "contains strings"),
    "a field that ONNX does not have": (with_field(999), "a field 999, which ONNX does not know"),
    "two graphs": (with_field(7, b""), "model.graph occurs more often than allowed, 1"),
    "options for the runtime": (
        changed(plain(), lambda m: helper.set_model_props(m, {"ort_config": "{}"})), "would configure the runtime",
    ),
    "an operator of one runtime": (
        model([helper.make_node("Gelu", ["signals"], ["score"], domain="com.microsoft")]), "'Gelu' of 'com.microsoft'",
    ),
    "an operator of the other tier": (model([node("Softmax", "signals", "score")]), "'Softmax' is not allowed"),
    "an unknown set": (plain(sets={"": 17, "com.microsoft": 1}), "'com.microsoft' is unknown"),
    "a set that is not imported": (
        changed(forest(), lambda m: m.opset_import.pop()), "from an operator set that is not imported",
    ),
    "a set imported twice": (with_field(8, b"\x10\x11"), "or imported twice"),
    "another version of the operators": (plain(sets={"": 18}), "version 18 of operator set 'ai.onnx', allowed: 17"),
    "another IR": (plain(ir=9), "IR version 9, allowed: 8"),
    "an unknown attribute": (model([node("Relu", "signals", "score", alpha=1.0)]), "attribute 'alpha' of Relu"),
    "an attribute of another type": (model([node("Cast", "signals", "score", to=1.0)]), "attribute 'to' of Cast"),
    "a memory bomb": (crafted.memory_bomb(), "'ConstantOfShape' is not allowed"),
    "a memory bomb of allowed operators": (crafted.outer_bomb(), "1073741824 elements per row, allowed: up to 1048576"),
    "more than one row can need": (grown(2**20 + 1), "1048577 elements per row"),
    "rows that are mixed by a sum": (
        model([SUM, node("ReduceSum", "sum zero", "total"), node("Add", "sum total", "score")],
              constants(axes=[1, 2], zero=[0])), "sums over the rows",
    ),
    "rows that are mixed by a gather": (
        model([SUM, node("Gather", "sum zero", "first"), node("Add", "sum first", "score")],
              constants(axes=[1, 2], zero=[0])), "picks rows",
    ),
    "rows that are mixed by broadcasting": (
        model([SUM, node("Unsqueeze", "sum one", "column"), node("Add", "sum column", "score")],
              constants(axes=[1, 2], one=[1])), "mixes the rows of a batch (shape [B, B])",
    ),
    "rows that are mixed by a product": (
        model([SUM, node("MatMul", "sum sum", "score")], AXES), "MatMul 'score' does not fit",
    ),
    "rows that are mixed by picking": (
        picking(["signals", "one"], ["t", "at"], 0, one=[1]), "picks rows",
    ),
    "more picked than there are": (
        picking(["signals", "five"], ["t", "at"], 1, five=[5]), "TopK 't' does not fit its inputs [B, 4, 1], [1]",
    ),
    "nothing picked": (
        picking(["signals", "none"], ["t", "at"], 1, none=[0]), "TopK 't' does not fit",
    ),
    "a number to pick that is computed": (
        picking(["signals", "signals"], ["t", "at"], 1), "must be a constant of int64",
    ),
    "places that nobody named": (
        picking(["signals", "one"], ["t"], 1, one=[1]), "TopK has 1 results, allowed: 2",
    ),
    "two results under one name": (
        picking(["signals", "one"], ["t", "t"], 1, one=[1]), "makes 't', which is empty or already taken",
    ),
    "rows that become columns": (
        model([node("Reshape", "signals wide", "w"), node("ReduceSum", "w axes", "score", keepdims=0)],
              constants(wide=[1, -1, 1], axes=[1, 2])), "Reshape 'w' does not fit its inputs [B, 4, 1], [3]",
    ),
    "a shape that is computed": (
        model([node("Reshape", "signals signals", "score")]), "must be a constant of int64",
    ),
    "shapes that do not fit together": (
        model([node("Add", "signals three", "score")], constants(three=np.zeros((3, 1), np.float32))), "does not fit",
    ),
    "an output that has another shape than it declares": (
        model([node("Relu", "signals", "score")]), "'score' does not have the shape it declares, [B]",
    ),
    "an output that is an input": (model([], outputs={"signals": ("B", 4, 1)}), "is not the result of a node"),
    "no batch": (plain(inputs={"signals": (3, 4, 1)}, outputs={"score": (3,)}), "must be the free one"),
    "two batches": (
        model([SUM], AXES, inputs={"signals": ("B", 4, 1), "other": ("N", 4, 1)}), "under one name",
    ),
    "a size of zero": (plain(inputs={"signals": ("B", 0, 1)}), "or of size 0"),
    "a dimension without a name": (plain(inputs={"signals": ("B", None, 1)}), "without a size or a name"),
    "an input beyond all bounds": (plain(inputs={"signals": ("B", 2**40, 1)}), "elements per row, allowed: up to"),
    "a name that is used before it is made": (
        model([node("Relu", "later", "score"), node("Relu", "signals", "later")]), "reads 'later'",
    ),
    "a name that is made twice": (
        model([node("Relu", "signals", "x"), node("Relu", "signals", "x")]),
        "makes 'x', which is empty or already taken",
    ),
    "a constant under the name of an input": (
        model([SUM], constants(axes=[1, 2], signals=np.zeros(4, np.float32))),
        "'signals' has no name, or one that is taken",
    ),
    "less data than the shape says": (small(lambda c: c.dims.__setitem__(0, 3)), "of shape [3] has 2 elements"),
    "more data than the shape says": (small(lambda c: c.dims.__setitem__(0, 1)), "of shape [1] has 2 elements"),
    "a negative size": (small(lambda c: c.dims.__setitem__(0, -1)), "has no elements, or too many"),
    "an empty constant": (small(lambda c: c.dims.__setitem__(0, 0)), "has no elements"),
    "data in a typed field": (
        small(lambda c: (c.ClearField("raw_data"), c.int64_data.extend([1, 2]))), "has its data in ['int64_data']",
    ),
    "data twice": (small(lambda c: c.int64_data.extend([1, 2])), "has its data in"),
    "a type of another tier": (
        model([SUM], constants(axes=[1, 2], x=np.zeros(1, np.float64))), "data type 11, allowed: [1, 7, 9]",
    ),
    "a name that writes to the terminal": (
        model([node("Relu", "signals", "\x1b[2J")], outputs={"\x1b[2J": ("B", 4, 1)}), "control characters",
    ),
    "a name without an end": (model([node("Relu", "signals", "x" * 2000)]), "a name has 2000 bytes"),
    "a tree that leads back to its root": (
        forest(nodes_truenodeids=[0, 0, 0]), "leads out of its tree, or back to its root",
    ),
    "a tree that leads out of itself": (forest(nodes_falsenodeids=[7, 0, 0]), "leads out of its tree"),
    "a tree with a node that two lead to": (forest(nodes_falsenodeids=[1, 0, 0]), "not made of trees"),
    "a tree with a cycle": (
        forest(nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], nodes_truenodeids=[1, 1, 0],
               nodes_falsenodeids=[2, 2, 0], target_treeids=[0], target_nodeids=[2], target_ids=[0],
               target_weights=[1.0]), "not made of trees",
    ),
    "a tree as deep as a stack": (crafted.deep_forest(10_000), "deeper than 64"),
    "a tree that looks beyond the signal": (forest(nodes_featureids=[4, 0, 0]), "reads 5 columns of 4"),
    "a tree that looks before the signal": (forest(nodes_featureids=[-1, 0, 0]), "a column that no signal has"),
    "a leaf without a value": (
        forest(target_treeids=[0], target_nodeids=[1], target_ids=[0], target_weights=[1.0]), "each leaf one value",
    ),
    "a value without a leaf": (forest(target_nodeids=[0, 2]), "each leaf one value"),
    "a value that is no number": (forest(target_weights=[np.nan, 1.0]), "not finite"),
    "a forest of many results": (forest(n_targets=2, target_ids=[0, 1]), "each leaf one value"),
    "a tree with a cycle far from its root": (
        forest(
            nodes_treeids=[0] * 5, nodes_nodeids=[0, 1, 2, 3, 4], nodes_featureids=[0] * 5, nodes_values=[0.5] * 5,
            nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF"],
            nodes_truenodeids=[1, 0, 0, 3, 0], nodes_falsenodeids=[2, 0, 0, 4, 0], target_treeids=[0, 0, 0],
            target_nodeids=[1, 2, 4], target_ids=[0, 0, 0], target_weights=[1.0, 1.0, 1.0],
        ),
        "has a cycle",
    ),
    "trees that compare otherwise": (
        forest(nodes_modes=["BRANCH_EQ", "LEAF", "LEAF"]), "attribute.strings contains something that is not allowed",
    ),
    "trees that average": (forest(aggregate_function="AVERAGE"), "b'AVERAGE', allowed: SUM"),
    "a tree with a way for missing values": (forest(nodes_missing_value_tracks_true=[1, 0, 0]), "missing values"),
    "arrays of different lengths": (forest(nodes_values=[0.5]), "arrays of different lengths"),
    "trees out of order": (forest(nodes_treeids=[1, 1, 1]), "does not count its trees"),
    "too few supports": (support_vectors(coefficients=[1.0]), "number of support vectors"),
    "too many supports": (support_vectors(n_supports=100_000), "number of support vectors"),
    "supports of another width": (support_vectors(support_vectors=[0.0] * 6), "reads 3 columns of 4"),
    "two rhos": (support_vectors(rho=[0.1, 0.2]), "one rho"),
    "an unknown kernel": (support_vectors(kernel_type="WIDE"), "kernel_type is b'WIDE'"),
}  # fmt: skip

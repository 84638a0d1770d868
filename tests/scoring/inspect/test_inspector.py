import struct

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.bundle.manifest import GraphEntry, TensorEntry
from sri_sdk.errors import BundleError
from sri_sdk.graph.builder import ML_OPERATORS, OPERATORS
from sri_sdk.scoring.inspect import inspector, operators, shapes
from sri_sdk.scoring.inspect.inspector import inspect
from sri_sdk.scoring.runtime import load
from tests.scoring import crafted
from tests.scoring.crafted import compiled, constants, forest, model, node, plain, support_vectors

SUM = node("ReduceSum", "signals axes", "sum", keepdims=0)
AXES = constants(axes=[1, 2])


def with_field(number, content=b""):
    """A plain graph with one more field of the model."""
    return plain().SerializeToString() + bytes([*_varint(number << 3 | 2), len(content)]) + content


def _varint(value):
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


def small(change):
    """A plain graph whose one constant was changed."""
    return changed(plain(), lambda proto: change(proto.graph.initializer[0]))


EVIL = {
    "data in another file": (crafted.external("weights.bin"), "a reference to another file"),
    "data in no file": (small(lambda c: setattr(c, "data_location", 1)), "kept in another file"),
    "a loop": (crafted.endless_loop(), "operator 'Loop' is not allowed"),
    "a graph in an allowed operator": (
        model([node("Relu", "signals", "score", body=plain().graph)]), "a graph in a graph",
    ),
    "a function": (changed(plain(), function), "holds functions"),
    "training information": (with_field(20), "holds training information"),
    "a sparse constant": (changed(plain(), sparse), "sparse constants"),
    "strings": (small(lambda c: c.string_data.append(b"x")), "holds strings"),
    "a field of no ONNX": (with_field(999), "a field 999, which ONNX does not know"),
    "two graphs": (with_field(7, b""), "model.graph is there more than 1 times"),
    "options for the runtime": (
        changed(plain(), lambda m: helper.set_model_props(m, {"ort_config": "{}"})), "would configure the runtime",
    ),
    "an operator of one runtime": (
        model([helper.make_node("Gelu", ["signals"], ["score"], domain="com.microsoft")]), "'Gelu' of 'com.microsoft'",
    ),
    "an operator of the other tier": (model([node("Softmax", "signals", "score")]), "'Softmax' is not allowed"),
    "an unknown set": (plain(sets={"": 17, "com.microsoft": 1}), "'com.microsoft' is unknown"),
    "a set that is not imported": (
        changed(forest(), lambda m: m.opset_import.pop()), "from a set that is not imported",
    ),
    "a set imported twice": (with_field(8, b"\x10\x11"), "or imported twice"),
    "another version of the operators": (plain(sets={"": 18}), "version 18 of operator set 'ai.onnx', allowed: 17"),
    "another IR": (plain(ir=9), "IR version 9, allowed: 8"),
    "an unknown attribute": (model([node("Relu", "signals", "score", alpha=1.0)]), "attribute 'alpha' of Relu"),
    "an attribute of another type": (model([node("Cast", "signals", "score", to=1.0)]), "attribute 'to' of Cast"),
    "a memory bomb": (crafted.memory_bomb(), "'ConstantOfShape' is not allowed"),
    "a memory bomb of allowed operators": (crafted.outer_bomb(), "1073741824 elements per row, allowed are 1048576"),
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
    "rows that become columns": (
        model([node("Reshape", "signals wide", "w"), node("ReduceSum", "w axes", "score", keepdims=0)],
              constants(wide=[1, -1, 1], axes=[1, 2])), "Reshape 'w' does not fit its inputs [B, 4, 1], [3]",
    ),
    "a shape that is computed": (
        model([node("Reshape", "signals signals", "score")]), "must be a constant of int64",
    ),
    "shapes that do not go together": (
        model([node("Add", "signals three", "score")], constants(three=np.zeros((3, 1), np.float32))), "does not fit",
    ),
    "an output of another shape than it says": (
        model([node("Relu", "signals", "score")]), "'score' has another shape than it says, [B]",
    ),
    "an output that is an input": (model([], outputs={"signals": ("B", 4, 1)}), "is not the result of a node"),
    "no batch": (plain(inputs={"signals": (3, 4, 1)}, outputs={"score": (3,)}), "must be the free one"),
    "two batches": (
        model([SUM], AXES, inputs={"signals": ("B", 4, 1), "other": ("N", 4, 1)}), "under one name",
    ),
    "a size of zero": (plain(inputs={"signals": ("B", 0, 1)}), "or of size 0"),
    "a dimension of its own": (plain(inputs={"signals": ("B", None, 1)}), "without a size or a name"),
    "an input beyond all bounds": (plain(inputs={"signals": ("B", 2**40, 1)}), "elements per row, allowed are"),
    "a name that is used before it is made": (
        model([node("Relu", "later", "score"), node("Relu", "signals", "later")]), "reads 'later'",
    ),
    "a name that is made twice": (
        model([node("Relu", "signals", "x"), node("Relu", "signals", "x")]), "makes 'x', which is no new name",
    ),
    "a constant under the name of an input": (
        model([SUM], constants(axes=[1, 2], signals=np.zeros(4, np.float32))), "'signals' has no name of its own",
    ),
    "less data than the shape says": (small(lambda c: c.dims.__setitem__(0, 3)), "of shape [3] holds 2 elements"),
    "more data than the shape says": (small(lambda c: c.dims.__setitem__(0, 1)), "of shape [1] holds 2 elements"),
    "a shape of no sense": (small(lambda c: c.dims.__setitem__(0, -1)), "has no elements, or too many"),
    "an empty constant": (small(lambda c: c.dims.__setitem__(0, 0)), "has no elements"),
    "data in a typed field": (
        small(lambda c: (c.ClearField("raw_data"), c.int64_data.extend([1, 2]))), "holds its data in ['int64_data']",
    ),
    "data twice": (small(lambda c: c.int64_data.extend([1, 2])), "holds its data in"),
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
    "a tree that looks beyond the signal": (forest(nodes_featureids=[4, 0, 0]), "looks at 5 columns of 4"),
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
        forest(nodes_modes=["BRANCH_EQ", "LEAF", "LEAF"]), "attribute.strings holds something else",
    ),
    "trees that average": (forest(aggregate_function="AVERAGE"), "b'AVERAGE', allowed: SUM"),
    "a tree with a way for missing values": (forest(nodes_missing_value_tracks_true=[1, 0, 0]), "missing ones"),
    "arrays of different lengths": (forest(nodes_values=[0.5]), "arrays of different lengths"),
    "trees out of order": (forest(nodes_treeids=[1, 1, 1]), "does not count its trees"),
    "too few supports": (support_vectors(coefficients=[1.0]), "number of supports"),
    "too many supports": (support_vectors(n_supports=100_000), "number of supports"),
    "supports of another width": (support_vectors(support_vectors=[0.0] * 6), "looks at 3 columns of 4"),
    "two rhos": (support_vectors(rho=[0.1, 0.2]), "one rho"),
    "an unknown kernel": (support_vectors(kernel_type="WIDE"), "kernel_type is b'WIDE'"),
}  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
def test_what_no_bundle_needs_is_refused_with_a_reason(name):
    proto, reason = EVIL[name]
    content = proto if isinstance(proto, bytes) else proto.SerializeToString()
    with pytest.raises(BundleError) as caught:
        inspect(content, "some.onnx")
    assert reason in str(caught.value), str(caught.value)
    assert str(caught.value).startswith("some.onnx: not a graph of tier portable: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("proto", [plain(), forest(), crafted.deep_forest(60), support_vectors(), grown(2**20)])
def test_what_a_bundle_may_hold_is_accepted_and_runs(proto):
    score = load(proto.SerializeToString(), "crafted")(["score"], {"signals": np.ones((3, 4, 1), np.float32)})[0]
    assert score.shape == (3,)


def test_what_the_graph_builder_offers_is_what_the_portable_tier_allows():
    drawable = {("", op) for op in OPERATORS} | {("ai.onnx.ml", op) for op in ML_OPERATORS}
    assert operators.RULES["portable"].operators - drawable == {("ai.onnx.ml", "SVMRegressor")}
    assert {op for _, op in operators.RULES["portable"].operators} == shapes.RULES.keys()


def test_shapes_are_followed_through_every_way_of_reshaping():
    def draw(g, x):
        x = g.reshape(x, [0, 2, 2, -1]) + g.reshape(x, [-1, 2, 2, 1])
        x = g.squeeze(g.unsqueeze(g.reshape(x, [0, 4]), [-1]), [2]) @ np.ones((4, 3))
        table = g.reshape(g.constant(np.ones(6)), [-1, 3])
        return g.reduce_sum(g.maximum(x + table.graph.reduce_sum(table, [0], keepdims=True), 0.0), [-1])

    content = compiled(draw)
    inspect(content, "drawing")
    assert load(content, "drawing")(["score"], {"signals": np.ones((2, 4, 1), np.float32)})[0].shape == (2,)


def test_edges_must_be_those_the_manifest_promises():
    entry = GraphEntry(
        file="x.onnx", inputs={"signals": TensorEntry(dtype="float32", shape=("B", 4, 1))},
        outputs={"score": TensorEntry(dtype="float32", shape=("B",))},
    )  # fmt: skip
    inspect(plain().SerializeToString(), "x.onnx", entry)
    for other, found in [
        (plain(inputs={"signals": ("B", 4, 2)}), "inputs are signals float32[B, 4, 2]"),
        (plain(inputs={"signals": ("N", 4, 1)}), "inputs are signals float32[N, 4, 1]"),
        (model([node("Relu", "signals", "sigma")], outputs={"sigma": ("B", 4, 1)}), "outputs are sigma"),
    ]:
        with pytest.raises(BundleError, match=r"the manifest promises") as caught:
            inspect(other.SerializeToString(), "x.onnx", entry)
        assert found in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ir_version is missing"),
        (b"\x08", "model.ir_version runs beyond the end"),
        (b"\x08\x88\x00", "longer than it needs to be"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "beyond 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "beyond 64 bits"),
        (b"\x0a\x00", "model.ir_version is written as wire type 2"),
        (b"\x88\x00\x08", "longer than it needs to be"),
        (b"\x3a\x05\x0a", "model.graph runs beyond the end"),
        (b"\x3b", "model.graph is written as wire type 3"),
        (b"ORTM" + bytes(60), "which ONNX does not know"),
        (b"PK\x03\x04", "model has a field 10"),
    ],
)
def test_bytes_that_are_no_message_are_refused(content, reason):
    with pytest.raises(BundleError) as caught:
        inspect(content, "some.onnx")
    assert reason in str(caught.value)


def test_a_message_is_never_read_beyond_what_holds_it():
    whole = plain().SerializeToString()
    for end in range(len(whole)):
        with pytest.raises(BundleError):
            inspect(whole[:end], "cut.onnx")
    with pytest.raises(BundleError):
        inspect(whole + b"\x00", "longer.onnx")


@pytest.mark.parametrize("tier", ["portable", "python"])
def test_a_changed_byte_is_refused_or_harmless_and_never_an_error_of_another_kind(tier):
    detector = ToyDetector().fit(np.random.default_rng(0).uniform(size=(9, 4, 1)).astype(np.float32))
    from sri_exporter_onnx.exporter import OnnxExporter

    for whole in (OnnxExporter().compile(signal_graph(detector, 4, 1)), forest().SerializeToString()):
        refused = 0
        for at in range(len(whole)):
            for flip in (0x01, 0x80):
                try:
                    inspect(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :], "changed.onnx", None, tier)
                except BundleError:
                    refused += 1
        assert refused > len(whole)


def test_a_mistake_of_the_inspector_itself_is_a_refusal(monkeypatch):
    def broken(*_):
        raise TypeError("a gap")

    monkeypatch.setattr(inspector, "read", broken)
    with pytest.raises(BundleError, match=r"not a readable ONNX file \(TypeError\)"):
        inspect(plain().SerializeToString(), "some.onnx")


def test_a_file_of_many_empty_parts_is_refused_before_they_are_counted():
    with pytest.raises(BundleError, match=r"graph\.node is there more than 4096 times"):
        graph = b"\x0a\x00" * 100_000
        inspect(b"\x08\x08\x3a" + bytes(_varint(len(graph))) + graph, "some.onnx")


def test_numbers_of_a_forest_are_read_exactly():
    from sri_sdk.scoring.inspect.onnx_messages import ATTRIBUTE
    from sri_sdk.scoring.inspect.wire import floats, ints, read

    values = [0, 1, 127, 128, 300, 2**31, 2**62, -1, -(2**63), 64, 8256]
    content = helper.make_attribute("x", values).SerializeToString()
    assert ints(content, read(content, (0, len(content)), ATTRIBUTE).spans("ints")).tolist() == values
    numbers = [0.5, -1e30, 3.0]
    content = helper.make_attribute("x", numbers).SerializeToString()
    found = floats(content, read(content, (0, len(content)), ATTRIBUTE).spans("floats"))
    assert found.tobytes() == struct.pack("<3f", *numbers)


# -- the tier `python` -----------------------------------------------------------------------------------------


def test_what_usual_converters_write_is_allowed_in_the_tier_python():
    from skl2onnx import to_onnx
    from sklearn.ensemble import IsolationForest
    from sklearn.neural_network import MLPRegressor

    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    for estimator in (
        IsolationForest(n_estimators=3).fit(rows),
        MLPRegressor(hidden_layer_sizes=(8,), max_iter=5).fit(rows, rows[:, 0]),
    ):
        proto = to_onnx(estimator, rows[:1], target_opset={"": 17, "ai.onnx.ml": 3})
        inspect(proto.SerializeToString(), "converted.onnx", tier="python")
        with pytest.raises(BundleError, match="not a graph of tier portable"):
            inspect(proto.SerializeToString(), "converted.onnx")


EVIL_EVERYWHERE = (
    "data in another file", "data in no file", "a loop", "a graph in an allowed operator", "a function",
    "training information", "a sparse constant", "strings", "a field of no ONNX", "two graphs",
    "options for the runtime", "an operator of one runtime", "an unknown set", "a memory bomb",
    "less data than the shape says", "a tree with a cycle", "a tree as deep as a stack", "too many supports",
)  # fmt: skip


@pytest.mark.parametrize("name", EVIL_EVERYWHERE)
def test_the_tier_python_has_no_loops_files_or_bombs_either(name):
    proto, _ = EVIL[name]
    with pytest.raises(BundleError, match=r"not a graph of tier python"):
        inspect(proto if isinstance(proto, bytes) else proto.SerializeToString(), "some.onnx", tier="python")


@pytest.mark.parametrize("tier", ["portable", "python"])
@pytest.mark.parametrize(("by", "fine"), [(-1, False), (0, False), (4, True)])
def test_whole_numbers_are_divided_by_constants_that_cannot_trap(tier, by, fine):
    """The others would stop this very process."""
    content = crafted.whole_division(by).SerializeToString()
    if fine:
        inspect(content, "some.onnx", tier=tier)
        return
    with pytest.raises(BundleError, match="divides whole numbers by what may stop the process"):
        inspect(content, "some.onnx", tier=tier)


def test_whole_numbers_are_not_divided_by_what_a_graph_computes():
    proto = crafted.whole_division(4)
    proto.graph.node.insert(0, node("Add", "minus", "computed"))
    proto.graph.node[0].input.append("minus")
    proto.graph.node[1].input[1] = "computed"
    with pytest.raises(BundleError, match="not a graph of tier python"):
        inspect(proto.SerializeToString(), "some.onnx", tier="python")


def test_a_growing_operator_must_say_a_small_size_in_a_constant():
    inspect(crafted.memory_bomb(1000).SerializeToString(), "some.onnx", tier="python")
    with pytest.raises(BundleError, match="makes 4294967296 elements"):
        inspect(crafted.memory_bomb().SerializeToString(), "some.onnx", tier="python")
    proto = crafted.memory_bomb(1000)
    proto.graph.node.insert(0, node("Identity", "wanted", "computed"))
    proto.graph.node[1].input[0] = "computed"
    with pytest.raises(BundleError, match="must be a constant"):
        inspect(proto.SerializeToString(), "some.onnx", tier="python")


def test_onnx_agrees_that_the_plain_crafted_graphs_are_valid():
    for proto in (plain(), forest(), support_vectors(), crafted.outer_bomb(8), crafted.memory_bomb(8)):
        onnx.checker.check_model(proto, full_check=True)

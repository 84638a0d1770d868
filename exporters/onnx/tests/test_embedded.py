"""Ready-made models inside a drawing: what of them is kept, and what is refused."""

import numpy as np
import onnx
import onnx.parser
import pytest
from sri_exporter_onnx.to_onnx import IR, OPSET, to_onnx

from sri_sdk.errors import BundleError
from sri_sdk.graph.builder import Graph
from sri_sdk.scoring.runtime import load

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)
TANH = "m (float[N, 3] x) => (float[N, 3] y) { y = Tanh(x) }"


def written(text, *, opset=17, ml=None, ir=8):
    """The bytes of a model in onnx's own text form."""
    sets = f'"" : {opset}' + (f', "ai.onnx.ml" : {ml}' if ml else "")
    return onnx.parser.parse_model(f"<ir_version: {ir}, opset_import: [{sets}]> {text}").SerializeToString()


def drawn(*models, output=None, shape=("B", 3)):
    """One model after the other, and 1 added after each."""
    graph = Graph("drawing")
    value = graph.input("x", "float32", ("B", 3))
    for model in models:
        value = graph.embed(model, value, output=output) + 1
    graph.output("y", value, shape)
    return graph


def computed(graph):
    (found,) = load(to_onnx(graph), graph.name, tier="python")(["y"], {"x": X})
    return found


def test_what_is_embedded_is_computed_between_what_is_drawn():
    assert computed(drawn(written(TANH), written(TANH))) == pytest.approx(np.tanh(np.tanh(X) + 1) + 1, abs=1e-6)


def test_an_embedded_output_can_be_the_graphs_own():
    graph = Graph("drawing")
    graph.output("y", graph.embed(written(TANH), graph.input("x", "float32", ("B", 3))), ("B", 3))
    assert computed(graph) == pytest.approx(np.tanh(X), abs=1e-6)


def test_names_notes_and_producers_leave_no_trace():
    model = onnx.load_from_string(written(TANH))
    model.producer_name, model.doc_string, model.graph.name = "somebody", "/home/somebody/net.py", "somebody"
    model.graph.node[0].name, model.graph.node[0].doc_string = "/somebody/Tanh", "somebody"
    onnx.helper.set_model_props(model, {"somebody": "1"})
    model.graph.node[0].output[0] = model.graph.output[0].name = "somebodys_output"
    content = to_onnx(drawn(model.SerializeToString()))
    assert content == to_onnx(drawn(written(TANH)))
    assert b"somebody" not in content


def test_outputs_nobody_wants_and_what_only_they_need_are_left_out():
    model = written("""m (float[N, 3] x) => (float[N, 3] y, int64[N] label)
        <float[1] half = {0.5}, int64[1] unread = {7}>
        { y = Mul(x, half) label = ArgMax<axis = 1, keepdims = 0>(x) }""")
    found = onnx.load_from_string(to_onnx(drawn(model, output="y")))
    assert [node.op_type for node in found.graph.node] == ["Mul", "Add"]
    assert len(found.graph.initializer) == 2
    with pytest.raises(BundleError, match=r"2 outputs. Say which: output= one of 'y', 'label'"):
        to_onnx(drawn(model))


def test_constants_become_plain_bytes_wherever_they_stood():
    model = written("""m (float[N, 3] x) => (float[N, 1, 3] y)
        { axes = Constant<value_ints = [1]>() two = Constant<value_float = 2.0>() z = Mul(x, two)
          y = Unsqueeze(z, axes) }""")
    found = onnx.load_from_string(to_onnx(drawn(model, shape=("B", 1, 3))))
    assert [node.op_type for node in found.graph.node] == ["Mul", "Unsqueeze", "Add"]
    assert all(each.HasField("raw_data") for each in found.graph.initializer)
    assert computed(drawn(model, shape=("B", 1, 3))).squeeze(1) == pytest.approx(X * 2 + 1)


RECURRENT = """m (float[N, 3] x) => (float[1, N, 1] y)
    <float[1, 3, 3] w = {%s}, float[1, 3, 1] r = {1.0, 1.0, 1.0}, int64[1] one = {1}, int64[1] zero = {0}>
    { rows = Unsqueeze(x, zero) n = Shape<start = 0, end = 1>(x) size = Concat<axis = 0>(one, n, one)
      first = ConstantOfShape<value = float[1] {%s}>(size)
      all, y = GRU<hidden_size = 1>(rows, w, r, , , first) }"""
WEIGHTS = ", ".join(["0.5"] * 9)


def test_zeros_that_a_recurrent_network_begins_with_need_not_be_as_large_as_the_batch():
    graph = drawn(written(RECURRENT % (WEIGHTS, "0.0")), shape=(1, "B", 1))
    assert "ConstantOfShape" not in {node.op_type for node in onnx.load_from_string(to_onnx(graph)).graph.node}
    z = 1 / (1 + np.exp(-X.sum(axis=1) / 2))
    assert computed(graph)[0, :, 0] == pytest.approx((1 - z) * np.tanh(X.sum(axis=1) / 2) + 1, abs=1e-6)


def test_a_network_that_begins_with_something_else_keeps_it():
    content = to_onnx(drawn(written(RECURRENT % (WEIGHTS, "0.5")), shape=(1, "B", 1)))
    with pytest.raises(BundleError, match="is used as a shape, so it must be a constant"):
        load(content, "graph", tier="python")


# -- operator sets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opset", "ir"), [(13, 8), (17, 8), (20, 9), (23, 11), (24, 12)])
def test_the_whole_has_the_operator_set_of_what_is_embedded(opset, ir):
    graph = drawn(written(TANH, opset=opset))
    found = onnx.load_from_string(to_onnx(graph))
    assert (found.ir_version, {x.domain: x.version for x in found.opset_import}) == (ir, {"": opset})
    assert computed(graph) == pytest.approx(np.tanh(X) + 1, abs=1e-6)


def test_without_embedded_models_it_is_the_usual_one():
    found = onnx.load_from_string(to_onnx(plain()))
    assert (found.ir_version, found.opset_import[0].version) == (IR, OPSET)


def plain():
    graph = Graph("drawing")
    graph.output("y", graph.input("x", "float32", ("B", 3)) + 1, ("B", 3))
    return graph


def test_models_of_two_operator_sets_go_together_where_their_operators_mean_the_same():
    softmax = written("m (float[N, 3] x) => (float[N, 3] y) { y = Softmax(x) }", opset=13)
    found = onnx.load_from_string(to_onnx(drawn(softmax, written(TANH, opset=20))))
    assert found.opset_import[0].version == 20


def test_and_are_refused_where_they_do_not():
    mean = written("m (float[N, 3] x) => (float[N, 1] y) { y = ReduceMean<axes = [1]>(x) }", opset=17)
    one_column = written("m (float[N, 1] x) => (float[N, 1] y) { y = Tanh(x) }", opset=18)
    with pytest.raises(BundleError, match=r"as t0: its ReduceMean is that of operator set 17, and means .* in 18"):
        to_onnx(drawn(mean, one_column))


def test_trees_drawn_beside_an_embedded_model_keep_their_version():
    scaler = written(
        "m (float[N, 3] x) => (float[N, 3] y) { y = ai.onnx.ml.Scaler<offset = [1.0], scale = [2.0]>(x) }", ml=1
    )
    graph = Graph("drawing")
    rows = graph.embed(scaler, graph.input("x", "float32", ("B", 3)))
    tree = {
        "tree": [0, 0, 0], "feature": [0, 0, 0], "threshold": [-0.5, 0, 0], "left": [1, -1, -1], "right": [2, -1, -1],
        "value": [0, 5, 7],
    }  # fmt: skip
    graph.output("y", graph.tree_ensemble(rows, **tree), ("B",))
    assert {x.domain: x.version for x in onnx.load_from_string(to_onnx(graph)).opset_import} == {
        "": 17,
        "ai.onnx.ml": 3,
    }
    assert computed(graph).tolist() == [7, 5]


# -- refused -----------------------------------------------------------------------------------------------------


def elsewhere():
    model = onnx.load_from_string(
        written("m (float[N, 3] x) => (float[N, 3] y) <float[3] w = {1.0, 2.0, 3.0}> { y = Mul(x, w) }")
    )
    weights = model.graph.initializer[0]
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights), weights.name))
    onnx.external_data_helper.set_external_data(weights, "weights.bin")
    weights.ClearField("raw_data")
    return model.SerializeToString()


BRANCH = """m (float[N, 3] x) => (float[N, 3] y) <bool yes = {1}>
    { y = If(yes)<then_branch = a () => (float[N, 3] u) { u = Neg(x) },
                  else_branch = b () => (float[N, 3] v) { v = Abs(x) }> }"""

SAME = "(float[N, 3] x) => (float[N, 3] y)"
REFUSED = {
    "no ONNX": (b"torch", "5 bytes are no ONNX file"),
    "two inputs": (
        written("m (float[N, 3] x, float[N] z) => (float[N, 3] y) { y = Tanh(x) }"), r"2 inputs \('x', 'z'\)"
    ),
    "a fixed batch": (
        written("m (float[1, 3] x) => (float[1, 3] y) { y = Tanh(x) }"), r"but float32 \[1, 3\]. Export it"
    ),
    "doubles": (written("m (double[N, 3] x) => (double[N, 3] y) { y = Tanh(x) }"), r"but float64 \[\?, 3\]"),
    "a label": (written("m (float[N, 3] x) => (int64[N] y) { y = ArgMax<axis = 1>(x) }"), "not float32, but int64"),
    "no work": (written("m (float[N, 3] x) => (float[N, 3] x) { y = Tanh(x) }"), "not the result of a node"),
    "an old operator set": (written(TANH, opset=11), "operator set ai.onnx 11. Convert it with one of 13 to 24"),
    "a new one": (written(TANH, opset=25), "operator set ai.onnx 25"),
    "another runtime's operator": (
        written(f"m {SAME} {{ y = com.microsoft.QuickGelu(x) }}"), "operator of 'com.microsoft'"
    ),
    "an unknown operator": (written(f"m {SAME} {{ y = Frob(x) }}"), "operator Frob is unknown"),
    "something from nowhere": (written(f"m {SAME} {{ y = Tanh(z) }}"), "reads 'z', which nothing"),
    "a branch": (written(BRANCH), "its If holds another graph"),
    "weights elsewhere": (elsewhere(), "external_data=False"),
    "other columns": (written(TANH.replace("3", "4")), r"it takes \[\?, 4\] and is given \[\?, 3\]"),
    "another rank": (written("m (float[N, 3, 1] x) => (float[N, 3, 1] y) { y = Tanh(x) }"), r"takes \[\?, 3, 1\] and"),
    "another shape than is needed": (
        written("m (float[N, 3] x) => (float[N, 1, 3] y) <int64[1] a = {1}> { y = Unsqueeze(x, a) }"),
        "no valid ONNX model .* a score is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_does_not_suit_is_refused_with_a_reason(name):
    model, why = REFUSED[name]
    with pytest.raises(BundleError, match=f"^graph drawing: the model embedded as t0: .*{why}"):
        to_onnx(drawn(model))


def test_an_output_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(BundleError, match="no output 'scores', but 'y'"):
        to_onnx(drawn(written(TANH), output="scores"))

"""The static inspector, tier `portable`."""

import numpy as np
import onnx
import pytest

from sri_sdk.bundle.manifest import GraphEntry, TensorEntry
from sri_sdk.errors import BundleError
from sri_sdk.graph.builder import ML_OPERATORS, OPERATORS
from sri_sdk.scoring.inspect import operators, shapes
from sri_sdk.scoring.inspect.inspector import inspect
from sri_sdk.scoring.runtime import load
from tests.scoring import crafted
from tests.scoring.crafted import compiled, forest, model, node, plain, support_vectors
from tests.scoring.inspect.evil import EVIL, grown


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
def test_what_a_bundle_may_contain_is_accepted_and_runs(proto):
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


def test_onnx_agrees_that_the_plain_crafted_graphs_are_valid():
    for proto in (plain(), forest(), support_vectors(), crafted.outer_bomb(8), crafted.memory_bomb(8)):
        onnx.checker.check_model(proto, full_check=True)

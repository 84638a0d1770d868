"""The static inspector, tier `python`."""

import numpy as np
import pytest

from sri_sdk.errors import BundleError
from sri_sdk.scoring.inspect.inspector import inspect
from tests.scoring import crafted
from tests.scoring.crafted import node
from tests.scoring.inspect.evil import EVIL


# Five iterations are enough for a network whose shape alone matters.
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer.*:sklearn.exceptions.ConvergenceWarning")
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
    "training information", "a sparse constant", "strings", "a field that ONNX does not have", "two graphs",
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
def test_integers_are_divided_by_constants_that_cannot_trap(tier, by, fine):
    """The other divisions would crash the process that runs this test."""
    content = crafted.whole_division(by).SerializeToString()
    if fine:
        inspect(content, "some.onnx", tier=tier)
        return
    with pytest.raises(BundleError, match="divides integers by a value that could crash the process"):
        inspect(content, "some.onnx", tier=tier)


def test_integers_are_not_divided_by_what_a_graph_computes():
    proto = crafted.whole_division(4)
    proto.graph.node.insert(0, node("Add", "minus", "computed"))
    proto.graph.node[0].input.append("minus")
    proto.graph.node[1].input[1] = "computed"
    with pytest.raises(BundleError, match="not a graph of tier python"):
        inspect(proto.SerializeToString(), "some.onnx", tier="python")


def test_an_operator_that_grows_needs_a_small_size_in_a_constant():
    inspect(crafted.memory_bomb(1000).SerializeToString(), "some.onnx", tier="python")
    with pytest.raises(BundleError, match="makes 4294967296 elements"):
        inspect(crafted.memory_bomb().SerializeToString(), "some.onnx", tier="python")
    proto = crafted.memory_bomb(1000)
    proto.graph.node.insert(0, node("Identity", "wanted", "computed"))
    proto.graph.node[1].input[0] = "computed"
    with pytest.raises(BundleError, match="must be a constant"):
        inspect(proto.SerializeToString(), "some.onnx", tier="python")

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from sri_exporter_onnx.exporter import OnnxExporter
from sri_exporter_onnx.to_onnx import IR, OPSET, to_onnx
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.graph.builder import OPERATORS, Graph
from sri_sdk.scoring.runtime import load


def drawn():
    rng = np.random.default_rng(0)
    return signal_graph(ToyDetector().fit(rng.uniform(size=(9, 8, 2)).astype(np.float32)), 8, 2)


def test_the_stamp_is_one_that_old_runtimes_read():
    model = onnx.load_from_string(to_onnx(drawn()))
    assert (model.ir_version, [(x.domain, x.version) for x in model.opset_import]) == (IR, [("", OPSET)])
    assert {node.op_type for node in model.graph.node} <= OPERATORS
    assert not any(x.external_data for x in model.graph.initializer)


def test_a_second_implementation_of_onnx_agrees():
    values = np.random.default_rng(1).uniform(size=(5, 8, 2)).astype(np.float32)
    values[2, 0, 0] = np.nan
    content = to_onnx(drawn())
    ours = load(content, "signal")(["score", "valid"], {"signals": values})
    theirs = ReferenceEvaluator(onnx.load_from_string(content)).run(["score", "valid"], {"signals": values})
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[1].tolist() == theirs[1].tolist() == [True, True, False, True, True]


def test_equal_drawings_and_facts_give_equal_bytes_in_any_order_of_facts():
    facts = {"tau": "0.1", "kind": "signal"}
    content = to_onnx(drawn(), facts)
    assert content == to_onnx(drawn(), dict(reversed(facts.items())))
    assert {x.key: x.value for x in onnx.load_from_string(content).metadata_props} == facts


def test_constants_nobody_reads_are_left_out():
    graph = Graph("drawing")
    graph.constant(np.zeros(1000))
    graph.output("y", graph.input("x", "float32", ("B",)) + 1, ("B",))
    assert len(to_onnx(graph)) < 300


def test_an_output_that_no_node_makes_is_the_drawers_bug():
    graph = Graph("drawing")
    graph.output("y", graph.input("x", "float32", ("B",)), ("B",))
    with pytest.raises(ValueError, match="every output"):
        OnnxExporter().compile(graph)

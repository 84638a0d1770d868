import numpy as np
import pytest
from sri_exporter_onnx.exporter import OnnxExporter

from sri_sdk.graph.builder import Graph
from sri_sdk.scoring.runtime import load

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)

DRAWINGS = {
    "arithmetic": (lambda g, x: (x + 1) * 2 - x / 4, lambda x: (x + 1) * 2 - x / 4),
    "matmul": (lambda g, x: x @ np.eye(3)[::-1], lambda x: x[:, ::-1]),
    "gemm": (lambda g, x: g.gemm(x, np.ones((3, 3)), [1, 2, 3]), lambda x: np.arange(1, 4) + x.sum(1, keepdims=True)),
    "relu": (lambda g, x: g.relu(x), lambda x: np.maximum(x, 0)),
    "sigmoid": (lambda g, x: g.sigmoid(x), lambda x: 1 / (1 + np.exp(-x))),
    "log of exp": (lambda g, x: g.log(g.exp(x)), lambda x: x),
    "square root": (lambda g, x: g.sqrt(x * x), np.abs),
    "maximum": (lambda g, x: g.maximum(x, 0.5), lambda x: np.maximum(x, 0.5)),
    "mean": (lambda g, x: x - g.reduce_mean(x, 1, 3, keepdims=True), lambda x: x - x.mean(1, keepdims=True)),
    "reshape": (lambda g, x: g.reshape(g.reshape(x, [0, 3, 1]), [-1, 3]), lambda x: x),
    "squeeze": (lambda g, x: g.squeeze(g.unsqueeze(x, [2]), [2]), lambda x: x),
    "where": (lambda g, x: g.where(x > 0, x, -1.0), lambda x: np.where(x > 0, x, -1)),
    "smallest": (
        lambda g, x: g.smallest(x, 2) @ np.eye(2, 3), lambda x: np.sort(x, 1)[:, :2] @ np.eye(2, 3)
    ),
    "less": (lambda g, x: g.cast(x < 1, "float32"), lambda x: (x < 1).astype(np.float32)),
    "equal": (lambda g, x: g.cast(g.equal(g.cast(x, "int64"), 3), "float32"), lambda x: (x.astype(int) == 3) * 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWINGS)
def test_what_is_drawn_is_what_onnxruntime_computes(name):
    draw, expected = DRAWINGS[name]
    graph = Graph("drawing")
    graph.output("y", draw(graph, graph.input("x", "float32", ("B", 3))), ("B", 3))
    (found,) = load(OnnxExporter().compile(graph), name)(["y"], {"x": X})
    assert found == pytest.approx(expected(X), abs=1e-6)


def test_gather_takes_rows_of_a_table():
    graph = Graph("drawing")
    graph.output("y", graph.gather([10, 20, 30], graph.input("i", "int64", ("B",))), ("B",))
    (found,) = load(OnnxExporter().compile(graph), "gather")(["y"], {"i": np.array([2, 0])})
    assert found.tolist() == [30, 10]


def test_an_operator_off_the_list_is_refused_by_name():
    graph = Graph("drawing")
    with pytest.raises(ValueError, match="Loop is not portable; allowed: Add"):
        graph.node("Loop", graph.input("x", "float32", ("B",)))


def test_an_embedded_model_makes_a_drawing_that_not_every_runtime_reads():
    graph = Graph("drawing")
    x = graph.input("x", "float32", ("B",))
    assert not (x + 1).graph.embeds
    graph.embed(b"onnx", x)
    assert graph.embeds


@pytest.mark.parametrize(("model", "dtype"), [(b"", "float32"), (b"onnx", "int64")])
def test_no_model_or_no_float_to_give_it_cannot_be_drawn(model, dtype):
    graph = Graph("drawing")
    with pytest.raises(ValueError, match=rf"embed\(\) of {len(model)} bytes on {dtype}; allowed: a model, on float32"):
        graph.embed(model, graph.input("x", dtype, ("B",)))


def test_what_is_embedded_are_the_bytes_and_not_the_object_of_a_library():
    graph = Graph("drawing")
    with pytest.raises(TypeError, match="takes the bytes of an ONNX file, found dict"):
        graph.embed({}, graph.input("x", "float32", ("B",)))

import numpy as np
import onnx
import pytest
from sri_exporter_onnx.exporter import OnnxExporter

from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.fitting.build import fit_guard
from sri_sdk.graph.builder import Graph
from sri_sdk.graph.tree_ensemble import rounded_down
from sri_sdk.scoring.runtime import load, score_rows
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.testing.detectors import detector_checks

from .detectors import IsolationForestDetector, MahalanobisDetector, nodes_of

BOTH = [IsolationForestDetector, MahalanobisDetector]


def compiled(detector):
    content = OnnxExporter().compile(signal_graph(detector, 32, 1))
    return content, load(content, "signal")


@pytest.mark.parametrize("check", [check for kind in BOTH for check in detector_checks(kind)], ids=str)
def test_they_keep_the_promises_of_a_detector(check):
    check()


@pytest.mark.parametrize("kind", BOTH)
def test_a_guard_of_them_tells_a_dip_from_harmless_signals(kind, anchors, make_signals, tmp_path):
    folds = make_signals(200, 1), make_signals(100, 2), make_signals(99, 3)
    exporter = OnnxExporter(OnnxExporter.Config(full=True, step=True))
    bundle = fit_guard(
        kind(), "made-up", *folds, anchors=anchors, exporter=exporter, alpha=0.05, target=tmp_path / "bundle"
    )
    scorer = Scorer.open(bundle.path)
    attacks, harmless = (scorer.score_final(x.sigma)[0] for x in (make_signals(50, 5, dip=6), make_signals(50, 6)))
    assert (attacks[:, None] > harmless).mean() > 0.9


def test_a_forest_of_one_node_scores_as_scikit_learn_does(make_signals):
    from sklearn.ensemble import IsolationForest

    train, test = make_signals(300, 1).sigma, make_signals(300, 2, dip=3).sigma
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=1).fit(train[..., 0])
    content, run = compiled(IsolationForestDetector().restore({**nodes_of(forest), "shape": np.array([32, 1])}))
    nodes = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert nodes.count("TreeEnsembleRegressor") == 1
    score, valid = score_rows(run, test)
    assert valid.all()
    assert score == pytest.approx(-forest.score_samples(test[..., 0]), abs=1e-6)


def test_the_distance_is_that_of_the_textbook(make_signals):
    train, test = make_signals(300, 1).sigma, make_signals(50, 2, dip=3).sigma
    detector = MahalanobisDetector().fit(train)
    white = detector.state()["whiten"].astype(np.float64)
    gap = (test - detector.state()["mean"]).reshape(50, -1).astype(np.float64)
    expected = np.einsum("ni,ij,nj->n", gap, white @ white.T, gap)
    assert score_rows(compiled(detector)[1], test)[0] == pytest.approx(expected, rel=1e-4)


def stump(threshold):
    """Scores 0 where x <= threshold, else 1."""
    graph = Graph("stump")
    x = graph.input("x", "float32", ("B", 1))
    nodes = {"tree": [0] * 3, "feature": [0, -2, -2], "left": [1, -1, -1], "right": [2, -1, -1], "value": [0, 0, 1]}
    graph.output("y", graph.tree_ensemble(x, threshold=[threshold, 0, 0], **nodes) * 1.0, ("B",))
    return load(OnnxExporter().compile(graph), "stump")


@pytest.mark.parametrize("threshold", [0.1, 1 / 3, -0.1, 0.5, 1e-40, -1e-40, 1 + 2**-30, np.nextafter(0.25, 1)])
def test_a_threshold_decides_for_every_float_as_it_does_in_double_precision(threshold):
    near = np.float32(threshold)
    x = np.array([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))], np.float32)
    (found,) = stump(threshold)(["y"], {"x": x[:, None]})
    assert found.tolist() == [0.0 if float(v) <= threshold else 1.0 for v in x]
    assert float(rounded_down(np.array([threshold]))[0]) <= threshold


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tree": [0, 0]}, "one entry per node"),
        ({"tree": [1, 1, 1]}, "count the trees from 0"),
        ({"tree": [0, 1, 0]}, "count the trees from 0"),
        ({"left": [0, -1, -1]}, "`left` must be a later node"),
        ({"left": [3, -1, -1]}, "`left` must be a later node"),
        ({"right": [-1, -1, -1]}, "`right` must be a later node"),
        ({"feature": [-2, 0, 0]}, "needs a feature"),
        ({"threshold": [np.nan, 0, 0]}, "a finite threshold"),
        ({"value": [0, np.inf, 0]}, "a finite value"),
    ],
)
def test_what_is_no_tree_cannot_be_drawn(change, problem):
    graph = Graph("stump")
    nodes = {
        "tree": [0] * 3, "feature": [0, -2, -2], "threshold": [0.5, 0, 0], "left": [1, -1, -1],
        "right": [2, -1, -1], "value": [0, 0, 1],
    }  # fmt: skip
    with pytest.raises(ValueError, match=problem):
        graph.tree_ensemble(graph.input("x", "float32", ("B", 1)), **{**nodes, **change})

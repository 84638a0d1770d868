import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.guard_graphs import full_graph
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.scoring.runtime import load
from sri_sdk.signal import BLOCK, EPS, TAU, UnitAnchors, sigmoid, sri, sri_logits, sri_logits_of_steps, unit, usable

WIDTHS = [64, 512, 4096]
DISTANCES = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]


def in_float64(phi, harmless, harmful):
    """The formula, naively, where there are digits enough for it. Returns sigma and the smaller distance."""

    def distance(x, y):
        x, y = x.astype(np.float64), y.astype(np.float64)
        gap = x / np.linalg.norm(x, axis=-1, keepdims=True) - y / np.linalg.norm(y, axis=-1, keepdims=True)
        return 0.5 * (gap**2).sum(axis=-1)

    near, far = distance(phi, harmless), distance(phi, harmful)
    logit = np.log((far + EPS) / (near + EPS)) / TAU
    return 1 / (1 + np.exp(-np.clip(logit, -700, 700))), np.minimum(near, far)


def as_bfloat16(x):
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


ROUND = {"float32": lambda x: x, "bfloat16": as_bfloat16, "float16": lambda x: x.astype(np.float16)}


def states_at(distance, width, rows=8, cells=4):
    """Anchors [T, 1, D] and states [rows, T, 1, D], all pairwise about `distance` apart; norms as in real models."""
    rng = np.random.default_rng(width)
    centre = rng.normal(size=(cells, 1, width))
    centre /= np.linalg.norm(centre, axis=-1, keepdims=True)

    def near():
        away = rng.normal(size=(rows, cells, 1, width))
        away -= (away * centre).sum(-1, keepdims=True) * centre
        away *= np.sqrt(distance) / np.linalg.norm(away, axis=-1, keepdims=True)
        return (centre + away) * rng.uniform(1, 60, size=(rows, cells, 1, 1))

    return near().astype(np.float32), near()[0].astype(np.float32), near()[0].astype(np.float32)


def exported(harmless, harmful):
    """The `full` graph as a function from states to sigma and logit."""
    detector = ToyDetector().fit(np.zeros((2, *harmless.shape[:2]), np.float32))
    graph = full_graph(detector, Anchors(harmless, harmful, Fingerprint({}, {}), {}))
    run = load(OnnxExporter().compile(graph), "full")
    return lambda phi: run(["sigma", "logit"], {"activations": phi.astype(np.float32)})


@pytest.mark.parametrize("dtype", ROUND)
@pytest.mark.parametrize("width", WIDTHS)
def test_numpy_and_the_exported_graph_are_as_exact_as_float32_allows(width, dtype):
    for distance in DISTANCES:
        phi, harmless, harmful = states_at(distance, width)
        phi = ROUND[dtype](phi)
        expected, nearest = in_float64(phi, harmless, harmful)
        allowed = np.maximum(5e-6, 2e-7 / np.sqrt(nearest.min()))
        assert np.abs(sri(phi, harmless, harmful).sigma - expected).max() <= allowed, ("numpy", distance)
        assert np.abs(exported(harmless, harmful)(phi)[0] - expected).max() <= allowed, ("graph", distance)


@pytest.mark.parametrize("dtype", ROUND)
@pytest.mark.parametrize("width", WIDTHS)
def test_numpy_is_exact_to_the_digits_of_a_float32_however_close_states_are(width, dtype):
    for distance in DISTANCES:
        phi, harmless, harmful = states_at(distance, width)
        phi = ROUND[dtype](phi)
        assert np.abs(sri(phi, harmless, harmful).sigma - in_float64(phi, harmless, harmful)[0]).max() <= 2e-7


@pytest.mark.parametrize("width", [3, 64, 4096, BLOCK + 1])
def test_no_number_depends_on_how_many_are_computed_at_once(width):
    """Blocks of rows and cells, a state wherever it lies in memory, one state for all cells: the same bits."""
    rng = np.random.default_rng(width)
    rows, cells = (5, 40) if width < BLOCK else (2, 3)
    phi, harmless, harmful = (
        rng.normal(size=(*shape, 2, width)).astype(np.float32) for shape in ((rows, cells), (cells,), (cells,))
    )
    pair = UnitAnchors(harmless, harmful).pair
    whole = sri_logits(phi, pair)
    one_by_one = [
        [sri_logits(phi[row, cell][None, None], pair[cell : cell + 1])[0, 0] for cell in range(cells)]
        for row in range(rows)
    ]
    assert np.array_equal(whole, np.array(one_by_one))
    # As a generation gives them: step after step.
    assert np.array_equal(whole, sri_logits(phi.swapaxes(0, 1).copy().swapaxes(0, 1), pair))
    order = rng.permuted(np.tile(np.arange(cells), (rows, 1)), axis=1)
    steps = [np.stack([phi[row, order[row, step]] for row in range(rows)]) for step in range(cells)]
    assert np.array_equal(whole, sri_logits_of_steps(steps, np.argsort(order, axis=1), pair))
    in_step = np.tile(np.arange(cells), (rows, 1))
    assert np.array_equal(whole, sri_logits_of_steps(list(phi.swapaxes(0, 1)), in_step, pair))
    assert np.array_equal(sri_logits(phi[:, :1], pair)[:, 0], whole[:, 0])


def test_states_without_a_direction_have_no_signal_and_cost_their_neighbours_nothing():
    phi, harmless, harmful = states_at(0.1, 64)
    expected = sri(phi, harmless, harmful).logit
    for bad in (0, np.nan, np.inf, 1e-20, 3e38):
        broken = phi.copy()
        broken[2, 1] = bad
        logit = sri(broken, harmless, harmful).logit
        assert np.isnan(logit[2, 1]).all()
        logit[2, 1] = expected[2, 1]
        assert np.array_equal(logit, expected)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_state_equal_to_an_anchor_is_certain_and_finite(width):
    _, harmless, harmful = states_at(0.1, width)
    both = np.stack([harmless, harmful])
    for sigma, logit in (sri(both, harmless, harmful), exported(harmless, harmful)(both)):
        assert np.isfinite(logit).all()
        assert (sigma[0] > 1 - 1e-6).all()
        assert (sigma[1] < 1e-6).all()


def test_one_means_compliant_and_zero_means_refusing():
    harmless, harmful = np.eye(2, dtype=np.float32)[:, None, None]
    leaning = np.array([[[0.9, 0.4]], [[0.4, 0.9]]], np.float32)
    towards_answer, towards_refusal = sri(leaning, harmless[0], harmful[0]).sigma
    assert towards_answer > 0.99
    assert towards_refusal < 0.01


@given(st.floats(1e-3, 1e3))
def test_the_length_of_a_state_does_not_matter(factor):
    phi, harmless, harmful = states_at(1e-2, 64)
    moved = sri(phi * np.float32(factor), harmless, harmful).logit - sri(phi, harmless, harmful).logit
    assert np.abs(moved).max() < 1e-3


def test_states_without_a_direction_are_not_usable():
    states = np.array([[1, 0], [0, 0], [np.nan, 1], [np.inf, 1], [1e-20, 0], [3e38, 3e38]], np.float32)
    assert usable(states).tolist() == [True, False, False, False, False, False]
    assert np.isfinite(unit(states[1])).all()


def test_the_sigmoid_neither_overflows_nor_leaves_its_range():
    with np.errstate(all="raise"):
        values = sigmoid(np.array([-80, 0, 80], np.float32))
    assert values.tolist() == pytest.approx([0, 0.5, 1])
    assert sigmoid(np.array([-1e4, 1e4], np.float32)).tolist() == [0, 1]

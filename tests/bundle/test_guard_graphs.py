import numpy as np
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.bundle.guard_graphs import INVALID_SCORE, full_graph, prefix_graph, signal_graph, step_graph
from sri_sdk.calibrate.prefix import PrefixScale, hold
from sri_sdk.scoring.runtime import load
from sri_sdk.signal import sri

NAMES = ["score", "valid"]


class LogitDetector(ToyDetector):
    domain = "logit"


def compiled(graph):
    return load(OnnxExporter().compile(graph), graph.name)


@pytest.fixture
def values(make_signals):
    return make_signals(20, 9).sigma.copy()


@pytest.fixture
def detector(make_signals):
    return ToyDetector().fit(make_signals(50, 1).sigma)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.01, -0.01])
def test_a_cell_that_is_not_a_signal_makes_its_row_invalid_and_no_other(detector, values, bad):
    values[3, 17] = bad
    score, valid = compiled(signal_graph(detector, 32, 1))(NAMES, {"signals": values})
    assert np.flatnonzero(~valid).tolist() == [3]
    assert score[3] == np.float32(3e38) == INVALID_SCORE
    assert np.delete(score, 3) == pytest.approx(detector.score(np.delete(values, 3, 0)), rel=1e-5)


@pytest.mark.parametrize(("value", "fine"), [(9999.0, True), (10001.0, False), (-10001.0, False), (np.nan, False)])
def test_a_logit_has_its_own_range(make_signals, value, fine):
    signals = make_signals(20, 9).logit.copy()
    signals[0, 0] = value
    run = compiled(signal_graph(LogitDetector().fit(make_signals(50, 1).logit), 32, 1))
    assert run(NAMES, {"signals": signals})[1].tolist() == [fine] + [True] * 19


def test_what_a_running_generation_has_not_reached_is_never_read(detector, values):
    run = compiled(prefix_graph(detector, 32, 1, None))
    lengths = np.arange(1, 21)
    values[np.arange(32) >= lengths[:, None]] = np.nan
    score, valid = run(NAMES, {"signals": values, "length": lengths})
    assert valid.all()
    assert score == pytest.approx(detector.score(hold(values, lengths)), rel=1e-5)


def test_a_prefix_score_is_standardised_for_its_length(detector, values):
    scale = PrefixScale(np.arange(32, dtype=np.float32), np.full(32, 2, np.float32))
    lengths = np.arange(13, 33)
    raw, _ = compiled(prefix_graph(detector, 32, 1, None))(NAMES, {"signals": values, "length": lengths})
    z, _ = compiled(prefix_graph(detector, 32, 1, scale))(NAMES, {"signals": values, "length": lengths})
    assert z == pytest.approx((raw - (lengths - 1)) / 2, rel=1e-5)


def test_a_length_that_does_not_exist_is_invalid_and_does_not_crash(detector, values):
    run = compiled(prefix_graph(detector, 32, 1, PrefixScale(*np.ones((2, 32), np.float32))))
    lengths = np.array([0, -1, 33, 2**62, -(2**63), 1, 32])
    score, valid = run(NAMES, {"signals": values[:7], "length": lengths})
    assert valid.tolist() == [False] * 5 + [True] * 2
    assert (score[:5] == INVALID_SCORE).all()


def test_a_score_that_is_not_a_number_is_invalid(detector, values):
    broken = ToyDetector().restore({"mean": np.full((32, 1), 3e38, np.float32)})
    score, valid = compiled(signal_graph(broken, 32, 1))(NAMES, {"signals": values})
    assert not valid.any()
    assert (score == INVALID_SCORE).all()


@pytest.mark.parametrize("kind", [ToyDetector, LogitDetector])
def test_the_full_graph_scores_activations_as_signal_then_detector_would(anchors, make_signals, kind):
    detector = kind().fit(make_signals(50, 1).domain(kind.domain))
    rng = np.random.default_rng(0)
    phi = anchors.harmless + 0.1 * rng.normal(size=(6, *anchors.harmless.shape)).astype(np.float32)
    phi[1, 5], phi[2, 0, 0, 0] = 0, np.nan
    run = compiled(full_graph(detector, anchors))
    score, valid, sigma, logit = run([*NAMES, "sigma", "logit"], {"activations": phi})
    assert valid.tolist() == [True, False, False, True, True, True]
    expected = sri(phi[valid], anchors.harmless, anchors.harmful)
    assert sigma[valid] == pytest.approx(expected.sigma, abs=5e-6)
    assert logit[valid] == pytest.approx(expected.logit, abs=1e-4)
    assert score[valid] == pytest.approx(detector.score(getattr(expected, kind.domain)), rel=1e-4)
    assert (score[~valid] == INVALID_SCORE).all()


# -- one step at a time ----------------------------------------------------------------------------------------

STEP_NAMES = [*NAMES, "sigma", "state_out"]
SCALE = PrefixScale(np.linspace(0, 1, 32, dtype=np.float32), np.linspace(1, 2, 32, dtype=np.float32))


@pytest.fixture
def phi(anchors):
    rng = np.random.default_rng(0)
    return anchors.harmless + 0.1 * rng.normal(size=(6, *anchors.harmless.shape)).astype(np.float32)


@pytest.fixture
def step_of(anchors, make_signals):
    """A step graph, and the detector in it."""

    def make(kind=ToyDetector):
        detector = kind().fit(make_signals(50, 1).domain(kind.domain))
        return compiled(step_graph(detector, anchors, SCALE)), detector

    return make


def nothing(rows):
    return np.full((rows, 32, 1), np.nan, np.float32)


def steps(*values):
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize("kind", [ToyDetector, LogitDetector])
def test_step_by_step_is_the_same_as_signal_then_prefix(anchors, phi, step_of, kind):
    run, detector = step_of(kind)
    _, _, sigma, logit = compiled(full_graph(detector, anchors))([*NAMES, "sigma", "logit"], {"activations": phi})
    whole = logit if kind is LogitDetector else sigma
    prefix = compiled(prefix_graph(detector, 32, 1, SCALE))
    state = nothing(6)
    for step in range(32):
        score, valid, now, state = run(STEP_NAMES, {"phi": phi[:, step], "step": steps(*[step] * 6), "state": state})
        assert valid.all()
        assert now == pytest.approx(sigma[:, step], abs=1e-6)
        expected, _ = prefix(NAMES, {"signals": state, "length": steps(*[step + 1] * 6)})
        assert score == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert state == pytest.approx(whole, abs=1e-5)


def test_rows_may_be_at_different_steps(phi, step_of):
    run, _ = step_of()
    state = nothing(3)
    rows = phi[:3]
    alone = []
    for row, last in enumerate((2, 0, 5)):
        mine = state[row : row + 1]
        for step in range(last + 1):
            score, _, _, mine = run(STEP_NAMES, {"phi": rows[row : row + 1, step], "step": steps(step), "state": mine})
        alone.append((score[0], mine[0].tobytes()))
    together = nothing(3)
    for step in range(6):
        at = np.minimum(step, (2, 0, 5))
        given = {"phi": rows[np.arange(3), at], "step": at.astype(np.int64), "state": together}
        score, _, _, together = run(STEP_NAMES, given)
    assert [(score[row], together[row].tobytes()) for row in range(3)] == alone


@pytest.mark.parametrize("step", [-1, -32, 32, 33, 2**62, 2**63 - 1, -(2**63)])
def test_a_step_that_does_not_exist_is_invalid_and_writes_nothing(phi, step_of, step):
    run, _ = step_of()
    state = np.full((2, 32, 1), 0.5, np.float32)
    score, valid, sigma, out = run(STEP_NAMES, {"phi": phi[:2, 0], "step": steps(step, 31), "state": state})
    assert valid.tolist() == [False, True]
    assert score[0] == INVALID_SCORE
    assert np.isnan(sigma[0]).all()
    assert out[0].tobytes() == state[0].tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_state_that_cannot_be_used_is_never_forgotten(phi, step_of, bad):
    run, _ = step_of()
    state, broken = nothing(2), phi[:2].copy()
    broken[0, 3] = bad
    for step in range(8):
        score, valid, _, state = run(STEP_NAMES, {"phi": broken[:, step], "step": steps(step, step), "state": state})
        assert valid.tolist() == [step < 3, True]
    assert score[0] == INVALID_SCORE


def test_a_cell_that_was_left_out_makes_the_rest_invalid(phi, step_of):
    run, _ = step_of()
    *_, state = run(STEP_NAMES, {"phi": phi[:1, 0], "step": steps(0), "state": nothing(1)})
    _, valid, _, state = run(STEP_NAMES, {"phi": phi[:1, 2], "step": steps(2), "state": state})
    assert not valid.any()
    assert np.isnan(state[0, 1:2]).all() and np.isfinite(state[0, [0, 2]]).all()

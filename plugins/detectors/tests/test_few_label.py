"""What a discriminant learns from five to a hundred labelled attacks, and what it refuses to learn from."""

import numpy as np
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.few_label import FewLabelDetector

from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.errors import ScoringError
from sri_sdk.scoring.runtime import load
from sri_sdk.testing import detector_checks


@pytest.mark.parametrize("check", detector_checks(FewLabelDetector), ids=str)
def test_few_label_keeps_its_promises(check):
    check()


def signals(count, seed, *, dip=0.0, wrapped=0.0, cells=32, layers=2):
    """Harmless logits [count, cells, layers] near 5; attacks dip in cells 8 to 11, wrappers lower all cells."""
    random = np.random.default_rng(seed)
    found = 5 + random.normal(size=(count, 1, layers)) + 0.5 * random.normal(size=(count, cells, layers)) - wrapped
    found[:, 8:12] -= dip
    return found.astype(np.float32)


def fitted(harmless, attacks):
    labels = np.repeat([0, 1], [len(harmless), len(attacks)])
    return FewLabelDetector().fit(np.concatenate([harmless, attacks]), labels)


@pytest.mark.parametrize("count", [5, 30, 100])
def test_a_few_attacks_show_it_where_to_look(count):
    taught = fitted(signals(300, 0), signals(count, 1, dip=2))
    limit = np.quantile(taught.score(signals(1000, 2)), 0.99)
    assert np.mean(taught.score(signals(300, 3, dip=2)) > limit) > 0.9


def test_five_attacks_among_many_harmless_signals_do_not_shift_the_score():
    """Log-odds as if both were equally common: halfway between the means it is near 0, whatever the numbers."""
    taught = fitted(signals(2000, 0), signals(5, 1, dip=4))
    middle = np.full((1, 32, 2), 5, np.float32)
    middle[:, 8:12] -= 2
    assert abs(taught.score(middle)[0]) < 0.25 * taught.score(signals(200, 3, dip=4)).mean()


def test_a_wrapper_is_no_attack_once_harmless_prompts_in_it_are_in_the_fit():
    attacks, plain, wrapped = signals(40, 1, dip=2, wrapped=3), signals(300, 0), signals(60, 2, wrapped=3)
    for harmless, least, most in ((plain, 0.2, 1.0), (np.concatenate([plain, wrapped]), 0.0, 0.1)):
        taught = fitted(harmless, attacks)
        limit = np.quantile(taught.score(signals(1000, 4)), 0.99)
        assert least <= np.mean(taught.score(signals(300, 5, wrapped=3)) > limit) <= most
        assert np.mean(taught.score(signals(300, 6, dip=2, wrapped=3)) > limit) > 0.9


@pytest.mark.parametrize(
    ("attacks", "message"),
    [(4, "300 of them harmless and 4 attacks; at least 5"), (0, "and 0 attacks"), (None, "no labels")],
)
def test_too_few_labelled_attacks_are_refused_and_counted(attacks, message):
    values = signals(300 + (attacks or 0), 0)
    labels = None if attacks is None else (np.arange(len(values)) >= 300).astype(int)
    with pytest.raises(ScoringError, match=message):
        FewLabelDetector().fit(values, labels)
    with pytest.raises(ScoringError, match="at least 5 of either"):
        FewLabelDetector().fit(signals(24, 0), (np.arange(24) >= 4).astype(int))


def test_the_graph_computes_the_score_on_a_thousand_signals():
    taught = fitted(signals(300, 0), signals(20, 1, dip=2))
    values = np.concatenate([signals(700, 3), signals(200, 4, dip=6), 8 * signals(100, 5)])
    score, valid = load(OnnxExporter().compile(signal_graph(taught, 32, 2)), "signal")(
        ["score", "valid"], {"signals": values}
    )
    scores, threshold = taught.score(values), Threshold.fit(taught.score(signals(300, 6)), alpha=0.01)
    assert valid.all() and (np.abs(score.astype(float) - scores) <= threshold.allowed(scores)).all()


def test_cells_that_never_vary_do_not_decide():
    harmless, attacks, odd = signals(300, 0), signals(30, 1, dip=2), signals(200, 2)
    for values in (harmless, attacks):
        values[:, -1] = 300
    taught = fitted(harmless, attacks)
    fine = odd.copy()
    fine[:, -1], odd[:, -1] = 300, 29.99
    assert np.mean(taught.score(odd) > np.quantile(taught.score(fine), 0.99)) < 0.1

"""What a linear detector learns from a few labels, and what it does without."""

import numpy as np
import pytest
from sri_plugin_detectors.logistic import LogisticDetector

from sri_sdk.errors import ScoringError
from sri_sdk.testing import detector_checks


@pytest.mark.parametrize("check", detector_checks(LogisticDetector), ids=str)
def test_logistic(check):
    check()


@pytest.fixture
def signals():
    """Harmless ones near +5; attacks alike but for a dip in cells 8 to 11."""
    random = np.random.default_rng(0)
    harmless = random.normal(5, 1, (300, 32, 1)).astype(np.float32)
    attacks = random.normal(5, 1, (60, 32, 1)).astype(np.float32)
    attacks[:, 8:12] -= 2
    return harmless, attacks


def test_labels_teach_it_where_to_look(signals):
    harmless, attacks = signals
    taught = LogisticDetector().fit(
        np.concatenate([harmless, attacks[:20]]), np.r_[np.zeros(300), np.ones(20)].astype(int)
    )
    weights = np.abs(taught.state()["weights"])
    assert weights[8:12].min() > 3 * np.median(weights)
    assert np.median(taught.score(attacks[20:])) > np.quantile(taught.score(harmless), 0.99)


def test_without_labels_a_signal_below_the_usual_is_suspicious(signals):
    harmless, _ = signals
    untaught = LogisticDetector().fit(harmless)
    assert untaught.score(harmless - 3).min() > untaught.score(harmless).max()


def test_one_class_of_labels_is_as_good_as_none(signals):
    harmless, _ = signals
    alone = LogisticDetector().fit(harmless, np.zeros(len(harmless), dtype=int))
    assert alone.score(harmless[:5]).tolist() == LogisticDetector().fit(harmless).score(harmless[:5]).tolist()


def test_saturated_logits_do_not_drown_the_rest(signals):
    harmless, attacks = signals
    wild = np.concatenate([harmless, attacks[:20]])
    wild[0, 0] = 1e6
    taught = LogisticDetector().fit(wild, np.r_[np.zeros(300), np.ones(20)].astype(int))
    assert np.median(taught.score(attacks[20:])) > np.quantile(taught.score(harmless), 0.98)


def test_equal_signals_are_refused():
    with pytest.raises(ScoringError, match="same score"):
        LogisticDetector().fit(np.ones((20, 32, 1), dtype=np.float32))

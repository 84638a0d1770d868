import numpy as np
import pytest

from sri_sdk.calibrate.prefix import FLOOR, PrefixScale, hold
from sri_sdk.errors import ConfigError, ScoringError


def test_lengths_at_which_scores_hardly_vary_do_not_blow_up():
    scores = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32) * np.array([0, 1e-6, 1, 2], np.float32)
    scale = PrefixScale.fit(scores)
    assert scale.spread.min() == pytest.approx(FLOOR * scale.spread.max())
    assert np.isfinite(scale.standardise(scores)).all()


def test_each_length_is_centred_on_its_own_median():
    scores = np.random.default_rng(1).gamma(2, size=(101, 3)).astype(np.float32) + np.array([0, 5, 9], np.float32)
    assert np.median(PrefixScale.fit(scores).standardise(scores), axis=0) == pytest.approx(0, abs=1e-6)


def test_too_few_or_constant_reference_scores_are_refused():
    with pytest.raises(ConfigError, match="19 reference generations"):
        PrefixScale.fit(np.zeros((19, 4), np.float32))
    with pytest.raises(ScoringError, match="must vary"):
        PrefixScale.fit(np.zeros((20, 4), np.float32))


def test_unknown_cells_hold_the_newest_known_one_whatever_was_there():
    signals = np.array([[[1.0], [2.0], [np.nan]], [[1.0], [np.nan], [3.0]]], np.float32)
    assert hold(signals, np.array([2, 1]))[..., 0].tolist() == [[1, 2, 2], [1, 1, 1]]

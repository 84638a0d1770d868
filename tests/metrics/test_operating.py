import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.errors import ConfigError
from sri_sdk.metrics import operating
from sri_sdk.metrics.auroc import auroc
from sri_sdk.metrics.operating import fewest_benign, roc, tpr_at_fpr
from sri_sdk.metrics.rates import exact_rate

SCORES = st.lists(st.integers(-4, 4), min_size=1, max_size=30).map(lambda found: np.array(found, dtype=float))


def alone(scores, side="x"):
    return [f"{side}{i}" for i in range(len(scores))]


def point(attacks, benign, fpr, **options):
    return tpr_at_fpr(attacks, benign, fpr, (alone(attacks), alone(benign)), **options)


@given(SCORES, SCORES)
def test_the_curve_is_scikit_learns(attacks, benign):
    from sklearn.metrics import auc, roc_curve

    found = roc(attacks, benign)
    x, y, _ = roc_curve(np.r_[np.ones(len(attacks)), np.zeros(len(benign))], np.r_[attacks, benign])
    mine = set(zip(found.false_alarms.round(9), found.detections.round(9), strict=True))
    assert mine <= set(zip(x.round(9), y.round(9), strict=True)) | {(0, 0), (1, 1)}
    # Points between corners are on the line: the area is whole.
    assert auc(found.false_alarms, found.detections) == pytest.approx(auc(x, y), abs=1e-9)


@given(SCORES, SCORES)
def test_each_point_is_what_its_threshold_flags(attacks, benign):
    found = roc(attacks, benign)
    for x, y, threshold in zip(found.false_alarms, found.detections, found.thresholds, strict=True):
        assert (x, y) == pytest.approx(((benign > threshold).mean(), (attacks > threshold).mean()))


def test_the_area_under_the_curve_is_the_auroc():
    from sklearn.metrics import auc

    rng = np.random.default_rng(0)
    attacks, benign = rng.normal(1, 1, 50), rng.normal(size=70)
    found = roc(attacks, benign)
    area = auroc(attacks, benign, (alone(attacks), alone(benign)))
    assert auc(found.false_alarms, found.detections) == pytest.approx(area.value)


def test_points_on_a_straight_line_are_left_out():
    found = roc(np.arange(1000) + 0.5, np.arange(1000) - 2000.0)
    assert found.detections.tolist() == [0, 1, 1] and found.false_alarms.tolist() == [0, 0, 1]


def test_attacks_without_a_score_keep_the_curve_from_reaching_the_top():
    found = roc(np.array([2, np.nan]), np.array([1, np.inf]))
    assert (found.detections[-1], found.false_alarms[-1], found.unscored) == (0.5, 0.5, (1, 1))
    assert json.loads(json.dumps(found.to_dict()))["thresholds"][-1] is None
    with pytest.raises(ConfigError, match="0 scored attacks and 1 scored harmless"):
        roc(np.array([np.nan]), np.array([1.0]))


@pytest.mark.parametrize(("fpr", "needed"), [(0.001, 3000), (0.01, 300), (0.05, 60), (0.3, 10), (0.7, 5)])
def test_three_harmless_scores_must_be_expected_above_the_threshold(fpr, needed):
    assert fewest_benign(fpr) == needed
    attacks = np.array([1.0, 2.0])
    with pytest.raises(ConfigError, match=f"{needed - 1} harmless generations have a score, at least {needed}"):
        point(attacks, np.arange(needed - 1.0), fpr)
    assert point(attacks, np.arange(float(needed)), fpr).benign == needed


@pytest.mark.parametrize("fpr", [0, 1, -0.1, float("nan")])
def test_a_false_alarm_rate_is_a_share(fpr):
    with pytest.raises(ConfigError, match="allowed: a share between 0 and 1"):
        fewest_benign(fpr)


def test_the_threshold_is_the_conformal_order_statistic_and_flags_strictly():
    benign = np.arange(1.0, 1000.0)  # n = 999: rank 990 of 1000 * 0.99.
    found = point(np.array([990.0, 990.5, 2000.0, 5.0]), benign, 0.01)
    assert found.threshold == 990 and (benign > found.threshold).sum() == 9
    assert found.tpr == exact_rate("tpr_at:0.01", 2, 4)


def test_scores_tied_with_the_threshold_are_not_flagged():
    found = point(np.array([0.0, 1.0, 1.0, 2.0]), np.repeat([0.0, 1.0], [200, 200]), 0.05)
    assert (found.threshold, found.tpr.k) == (1, 1)


@given(st.integers(60, 200), st.integers(0, 999))
def test_no_more_harmless_generations_are_flagged_than_promised_whatever_the_ties(n, seed):
    benign = np.random.default_rng(seed).integers(0, 40, n).astype(float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operating, "RESAMPLES", 2)
        assert (benign > point(benign, benign, 0.05).threshold).sum() <= 0.05 * n


def test_attacks_without_a_score_are_missed_and_harmless_ones_are_not_behind_the_threshold():
    benign = np.r_[np.arange(300.0), [np.nan] * 7]
    found = point(np.array([np.nan, np.inf, 999.0, 0.0]), benign, 0.01)
    assert (found.tpr.k, found.tpr.n, found.unscored_attacks) == (1, 4, 2)
    assert (found.benign, found.unscored_benign) == (300, 7)


def test_unscored_harmless_generations_do_not_count_towards_the_fewest():
    with pytest.raises(ConfigError, match="299 harmless generations have a score"):
        point(np.ones(1), np.r_[np.arange(299.0), np.nan], 0.01)


def test_the_interval_also_moves_the_threshold():
    rng = np.random.default_rng(1)
    benign, attacks = rng.exponential(size=300), np.full(400, 4.6) + 0.05 * rng.normal(size=400)
    found = point(attacks, benign, 0.01)  # All attacks lie where the threshold is uncertain.
    assert found.tpr.high - found.tpr.low < 0.15 < 0.7 < found.high - found.low


def test_attacks_of_one_request_do_not_shorten_the_interval():
    rng = np.random.default_rng(2)
    benign, attacks = rng.normal(size=400), rng.normal(2, 1, 40)
    once = point(attacks, benign, 0.05)
    repeated = tpr_at_fpr(np.tile(attacks, 6), benign, 0.05, (alone(attacks) * 6, alone(benign)))
    assert (repeated.low, repeated.high) == (once.low, once.high)
    assert repeated.tpr.high - repeated.tpr.low < 0.6 * (once.tpr.high - once.tpr.low)


def test_the_interval_equals_the_one_that_copies_rows(monkeypatch):
    monkeypatch.setattr(operating, "RESAMPLES", 80)
    rng = np.random.default_rng(3)
    benign, attacks = np.round(rng.normal(size=120), 1), np.round(rng.normal(1, 1, 30), 1)
    random, draws = np.random.default_rng(9), []
    for _ in range(80):
        caught = attacks[random.integers(30, size=30)]
        harmless = np.sort(benign[random.integers(120, size=120)])
        draws.append((caught > harmless[int(np.ceil(121 * 0.9)) - 1]).mean())
    found = point(attacks, benign, 0.1, seed=9)
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-12)


def test_when_every_attack_is_far_above_the_interval_does_not_claim_certainty():
    found = point(np.full(20, 99.0), np.arange(60.0), 0.05, name="mine")
    assert (found.low, found.high) == (exact_rate("", 20, 20).low, 1.0) and found.tpr.name == "mine"
    assert (point(np.array([]), np.arange(60.0), 0.05).low, found.high) == (0, 1)


def test_draws_too_small_for_the_rate_use_their_largest_score():
    benign = np.arange(300.0)
    clusters = ["big"] * 290 + [f"small{i}" for i in range(10)]
    found = tpr_at_fpr(np.array([500.0, -1.0]), benign, 0.01, (["a", "b"], clusters))
    assert 0 <= found.low <= found.tpr.value <= found.high <= 1

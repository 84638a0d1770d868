import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.metrics import auroc as module
from sri_sdk.metrics.auroc import auroc

SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=25).map(np.array)


def sklearns(positives, negatives):
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(np.r_[np.ones(len(positives)), np.zeros(len(negatives))], np.r_[positives, negatives])


def alone(scores, side):
    return [f"{side}{i}" for i in range(len(scores))]


def ties(seed):
    """Scores with many ties, on both sides, several per base prompt."""
    rng = np.random.default_rng(seed)
    positives, negatives = np.round(rng.normal(1, 1, 60), 1), np.round(rng.normal(size=80), 1)
    return positives, negatives, ([f"a{i // 3}" for i in range(60)], [f"b{i % 30}" for i in range(80)])


@given(SCORES, SCORES)
def test_the_area_is_scikit_learns_also_with_ties(positives, negatives):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RESAMPLES", 3)
        found = auroc(positives, negatives, (alone(positives, "a"), alone(negatives, "b")))
    assert found.value == pytest.approx(sklearns(positives, negatives), abs=1e-12)
    assert 0 <= found.low <= found.high <= 1


def test_a_few_scores_by_hand():
    found = auroc(np.array([2.0, 1.0]), np.array([1.0, 0.0]), (["a", "b"], ["c", "d"]))
    assert (found.value, found.positives, found.negatives) == (0.875, 2, 2)


def test_the_interval_equals_the_one_that_copies_rows_and_asks_scikit_learn_for_every_draw(monkeypatch):
    monkeypatch.setattr(module, "RESAMPLES", 60)
    positives, negatives, clusters = ties(0)
    groups = [
        [scores[np.array(names) == name] for name in dict.fromkeys(names)]
        for scores, names in zip((positives, negatives), clusters, strict=True)
    ]
    random, draws = np.random.default_rng(5), []
    for _ in range(60):
        drawn = [np.concatenate([g[i] for i in random.integers(len(g), size=len(g))]) for g in groups]
        draws.append(sklearns(*drawn))
    found = auroc(positives, negatives, clusters, seed=5)
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-12)


def test_swapping_the_sides_mirrors_the_area():
    positives, negatives, clusters = ties(1)
    there, back = auroc(positives, negatives, clusters), auroc(negatives, positives, clusters[::-1])
    assert there.value == pytest.approx(1 - back.value)


@given(st.sampled_from([np.exp, np.arctan, lambda x: 3 * x - 7]))
def test_only_the_order_of_scores_counts(transform):
    positives, negatives, clusters = ties(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RESAMPLES", 20)
        assert auroc(transform(positives), transform(negatives), clusters) == auroc(positives, negatives, clusters)


def test_attacks_of_one_request_do_not_shorten_the_interval():
    positives, negatives, _ = ties(3)
    apart = (alone(positives, "a"), alone(negatives, "b"))
    once = auroc(positives, negatives, apart)
    repeated = auroc(np.tile(positives, 5), negatives, (apart[0] * 5, apart[1]))
    assert repeated.high - repeated.low == pytest.approx(once.high - once.low, rel=1e-9)


def test_an_empty_side_has_no_area_and_nan_is_refused():
    assert auroc(np.array([]), np.ones(2), ([], ["a", "b"])) is None
    with pytest.raises(ValueError, match="1 of 2 positives and 0 of 1 negatives are NaN"):
        auroc(np.array([1, np.nan]), np.ones(1), (["a", "b"], ["c"]))

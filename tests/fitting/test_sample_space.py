"""The discriminant from inner products, against the same in the full space and against scikit-learn."""

import functools
import operator

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sri_sdk.errors import ConfigError
from sri_sdk.fitting.sample_space import (
    Gram,
    combine_layer,
    discriminant,
    discriminants,
    held_out_scores,
    log_odds_scale,
)

LAYERS, WIDTH = 3, 40


def samples(seed=0, count=120, share=0.4, effect=0.5):
    generator = np.random.default_rng(seed)
    harmful = generator.random(count) < share
    scales = np.array([1, 5, 0.2])[:, None]
    states = generator.normal(size=(count, LAYERS, WIDTH)) * scales + 3
    return states + harmful[:, None, None] * effect * generator.normal(size=(LAYERS, WIDTH)) * scales, harmful


def gram_of(states):
    return functools.reduce(operator.add, (Gram.of_layer(states[:, layer]) for layer in range(states.shape[1])))


def in_full_space(states):
    centred = states - states.mean(axis=0)
    return (centred / np.sqrt((centred**2).mean(axis=(0, 2), keepdims=True))).reshape(len(states), -1)


@pytest.mark.parametrize("shrinkage", [0.02, 0.4, 1.0])
@pytest.mark.parametrize("count", [60, 400], ids=["fewer samples than dimensions", "more"])
def test_scikit_learn_finds_the_same_direction(count, shrinkage):
    states, harmful = samples(count=count)
    found = discriminant(gram_of(states), harmful, shrinkage=shrinkage)
    full = in_full_space(states)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(full, ~harmful)
    np.testing.assert_allclose(full.T @ found.coefficients, theirs.coef_[0], rtol=1e-6, atol=1e-9)


def test_the_midpoint_of_the_class_means_scores_zero():
    states, harmful = samples()
    found = discriminant(gram_of(states), harmful, shrinkage=0.4)
    scores = found.scores(gram_of(states).products)
    assert scores[harmful].mean() == pytest.approx(-scores[~harmful].mean())
    assert scores[harmful].mean() < 0


def test_the_weights_per_layer_give_the_same_scores():
    states, harmful = samples()
    found = discriminant(gram_of(states), harmful, shrinkage=0.4)
    parts = [combine_layer(states[:, layer], found.coefficients) for layer in range(LAYERS)]
    scores = sum(states[:, layer] @ weight + bias for layer, (weight, bias) in enumerate(parts)) + found.bias
    np.testing.assert_allclose(scores, found.scores(gram_of(states).products), rtol=1e-9)


def test_no_layer_counts_more_for_its_unit():
    states, harmful = samples()
    other = states * np.array([1e-3, 1, 1e4])[:, None]
    both = [discriminant(gram_of(x), harmful, shrinkage=0.4).coefficients for x in (states, other)]
    np.testing.assert_allclose(*both, rtol=1e-6)


def test_a_layer_without_any_difference_adds_nothing():
    states, harmful = samples()
    flat = np.concatenate([states, np.full_like(states[:, :1], 7)], axis=1)
    weight, bias = combine_layer(flat[:, 3], discriminant(gram_of(flat), harmful, shrinkage=0.4).coefficients)
    assert not weight.any() and bias == 0


def test_a_direction_in_which_harmless_sources_differ_counts_less():
    """Harm shows along two directions; a rare harmless source lies along the first of them too."""
    states, harmful = samples(effect=0.0, count=200)
    first, second = np.linalg.qr(np.random.default_rng(9).normal(size=(LAYERS * WIDTH, 2)))[0].T
    rare = ~harmful & (np.arange(200) % 12 == 0)
    scales = np.array([1, 5, 0.2])[:, None]
    states += np.outer(harmful, 3 * first + 3 * second).reshape(-1, LAYERS, WIDTH) * scales
    states += np.outer(rare, 3 * first).reshape(-1, LAYERS, WIDTH) * scales

    def share(nuisance):
        found = discriminant(gram_of(states), harmful, shrinkage=0.4, groups=rare.astype(int), nuisance=nuisance)
        weight = in_full_space(states).T @ found.coefficients
        return abs(weight @ first) / abs(weight @ second)

    assert share(100.0) < 0.75 * share(0.0)
    assert share(0.0) > share(1.0) > share(10.0) > share(100.0)


def test_several_shrinkages_at_once_give_what_each_gives_alone():
    states, harmful = samples(seed=5, count=60)
    groups = np.arange(60) % 3
    given = {"groups": groups, "nuisance": 1.0}
    for shrinkage, found in zip(
        (0.01, 0.3, 1.0), discriminants(gram_of(states), harmful, shrinkages=(0.01, 0.3, 1.0), **given), strict=True
    ):
        alone = discriminant(gram_of(states), harmful, shrinkage=shrinkage, **given)
        np.testing.assert_allclose(found.coefficients, alone.coefficients, rtol=1e-7, atol=1e-12)
        assert found.bias == pytest.approx(alone.bias, rel=1e-7)


def test_held_out_scores_say_what_a_useless_direction_is_worth():
    states, harmful = samples(effect=0.0, count=200)
    gram = gram_of(states)
    own = discriminant(gram, harmful, shrinkage=0.1).scores(gram.products)
    held = held_out_scores(gram, harmful, np.arange(200), shrinkage=0.1)
    assert ((own < 0) == harmful).mean() > 0.85
    assert 0.35 < ((held < 0) == harmful).mean() < 0.65


def test_variants_of_one_prompt_are_held_out_together():
    """Each base occurs four times with random labels: whoever has seen a variant knows the label of the others."""
    states, _ = samples(effect=0.0, count=50)
    harmful = np.random.default_rng(3).random(50) < 0.5
    repeated, labels = np.repeat(states, 4, axis=0), np.repeat(harmful, 4)
    gram = gram_of(repeated)
    apart = held_out_scores(gram, labels, np.repeat(np.arange(50), 4), shrinkage=0.1)
    mixed = held_out_scores(gram, labels, np.arange(200), shrinkage=0.1)
    assert ((mixed < 0) == labels).mean() > 0.9
    assert ((apart < 0) == labels).mean() < 0.7


def test_log_odds_are_those_of_the_held_out_samples():
    generator = np.random.default_rng(0)
    harmful = generator.random(20000) < 0.5
    true = generator.normal(size=20000) * 2
    harmful = generator.random(20000) > 1 / (1 + np.exp(-(1.5 * true + 0.7)))
    slope, offset = log_odds_scale(true * 50, harmful, most=100)
    # Classes count alike, so what the classes' sizes add to the offset is not in it.
    prior = np.log((~harmful).sum() / harmful.sum())
    assert slope * 50 == pytest.approx(1.5, rel=0.05)
    assert offset + prior == pytest.approx(0.7, abs=0.1)


@pytest.mark.parametrize("count", [10, 1000])
def test_perfectly_parted_samples_stay_within_the_clip(count):
    scores = np.repeat([1000.0, -1000.0], count) + np.random.default_rng(0).normal(size=2 * count)
    slope, offset = log_odds_scale(scores, np.repeat([False, True], count), most=15)
    assert 1 < np.abs(slope * scores + offset).max() <= 15


def test_no_map_is_fitted_on_one_sample_of_a_class():
    states, _ = samples(count=10)
    with pytest.raises(ConfigError, match="1 harmful prompts, at least 2"):
        discriminant(gram_of(states), np.arange(10) == 3, shrinkage=0.4)


def test_no_map_is_fitted_on_equal_states():
    with pytest.raises(ConfigError, match="are equal"):
        discriminant(gram_of(np.ones((6, 2, 4))), np.arange(6) < 3, shrinkage=0.4)

"""Mistakes in the YAML of an evaluation: all at once, each with its path."""

import pytest

from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.fit import FitConfig
from sri_sdk.config.load import load_any, load_config, load_evaluation
from sri_sdk.errors import ConfigError
from tests.evaluation.conftest import SMALL, write_evaluation_config


def problems(folder, **changes):
    with pytest.raises(ConfigError) as caught:
        load_evaluation(write_evaluation_config(folder, **changes))
    return "\n".join(caught.value.problems)


def test_a_right_one_loads(tmp_path):
    config = load_evaluation(write_evaluation_config(tmp_path))
    assert list(config.models) == ["causal", "other-pooling"]


def test_a_model_that_is_like_another_takes_the_rest_from_it(tmp_path):
    config = load_evaluation(write_evaluation_config(tmp_path))
    variant = config.fit_config("other-pooling")
    assert variant.model == config.models["causal"].model and variant.tap.pooling == "generated"


def test_either_kind_of_file_is_told_from_the_other(tmp_path):
    path = write_evaluation_config(tmp_path)
    assert isinstance(load_any(path), EvaluationConfig)
    assert isinstance(load_any("configs/lab-causal.yaml"), FitConfig)
    with pytest.raises(ConfigError, match="sri eval"):
        load_config(path)
    with pytest.raises(ConfigError, match="no `models`"):
        load_evaluation("configs/lab-causal.yaml")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"models": {}}, "models: "),
        ({"models": {"a": {"like": "b"}}}, "models.a.like: 'b' is not a model of this file"),
        ({"models": {"a": {"sampler": {"name": "autoregressive"}}}}, "models.a: model, tap missing"),
        ({"surrogates": [{"guarded": "causal", "by": "casual"}]}, "surrogates.0.by: no model 'casual'. Did you mean"),
        ({"attacks": {"fiction": {"count": 9999}}}, "attacks.fiction.count: 9999 exceeds folds.test.harmful"),
        ({"attacks": {"fictoin": {"count": 5}}}, "attacks.fictoin: unknown attack"),
        ({"attacks": {"x": {"count": 5, "plugin": "no-such"}}}, "attacks.x.plugin: "),
        ({"harmless_sets": {"x": {"split": "nowhere", "count": 5}}}, "harmless_sets.x.split: unknown split 'nowhere'"),
        ({"harmless_sets": {"x": {"split": "test", "count": 5, "attack": "y"}}}, "harmless_sets.x.attack: unknown"),
        ({"guards": {"x": {}}}, "guards.x: "),
        ({"guards": {"x": {"detector": {"name": "autoencodr"}}}}, "guards.x.detector.name: "),
        ({"guards": {"x": {"detector": {"name": "autoencoder", "options": {"epoch": 1}}}}}, "x.detector.options.epoch"),
        ({"guards": {"x": {"baseline": {"name": "refusal-dictionary"}}}}, "keep_texts: true"),
        ({"folds": {**SMALL["folds"], "reference": {"split": "fit", "harmless": 9}}}, "reference.harmless: found 9"),
        ({"folds": {**SMALL["folds"], "train": {"split": "fit", "harmless": 15}}}, "folds.train.harmless: found 15"),
        ({"calibrate": {"alpha": 0.001}}, "calibrate.alpha: 0.001 cannot be met with n = 24"),
        ({"draft_judge": {"name": "laboratory"}}, "draft_judge.name: "),
        ({"unseen_attacks": {"name": "nothing"}}, "unseen_attacks.name: "),
        ({"unseen_attacks": {"name": "logistic", "layers": [9]}}, "unseen_attacks.layers: 9 not tapped on model "),
        ({"atacks": {}}, "atacks: unknown key"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)  # fmt: skip
def test_a_mistake_is_named_with_its_path(tmp_path, changes, expected):
    assert expected in problems(tmp_path, **changes)


def test_a_mistake_in_a_model_stands_under_that_model(tmp_path):
    models = {**SMALL["models"], "third": {"like": "causal", "tap": {"pooling": "response"}}}
    found = problems(tmp_path, models=models)
    assert "models.third.tap.pooling: 'response' does not suit" in found


def test_what_models_share_is_reported_once(tmp_path):
    assert problems(tmp_path, judge={"name": "no-such-judge"}).count("no-such-judge") == 1

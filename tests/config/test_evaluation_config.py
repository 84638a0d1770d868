"""Mistakes in the YAML of an evaluation: all at once, each with its path."""

import pytest
from sri_plugin_lab.dataset import LabDataset

from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.fit import FitConfig
from sri_sdk.config.load import load_any, load_config, load_evaluation
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.evaluation.groups import draw_groups
from tests.evaluation.conftest import SMALL, write_evaluation_config

MAP = {"split": "fit", "harmless": 8, "harmful": 8}
ASKED = {"asked": {"detector": "request"}}
PLAIN = {"x": {"detector": {"name": "autoencoder"}, "traffic": "plain"}}
READ = {"causal": SMALL["models"]["causal"] | {"request": {"layers": "all"}}, "other-pooling": {
    "like": "causal", "guards": False, "tap": {"pooling": "generated"},
}}  # fmt: skip


def asking(models=READ, maps=None, **changes):
    """Changes that add a guard that reads requests, changed in turn."""
    guard = {"parts": ASKED, "map": "wrapped"} | changes
    return {"models": models, "maps": maps or {"wrapped": MAP}, "guards": {"asked": guard}}


def mixed(**mix):
    return SMALL["folds"] | {"calibration": {"split": "calibration", "harmless": 30, "mix": mix}}


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
        (asking(map="wraped"), "guards.asked.map: no map 'wraped'; `maps` has: wrapped. Did you mean"),
        (asking(map=None), "guards.asked.parts.asked.columns: 'request' fits no column; the guard has: sri@0"),
        (asking(parts=ASKED | {"x": {"detector": "autoencodr"}}), "guards.asked.parts.x.detector: "),
        (asking(parts={"x": {"detector": "autoencoder"}}), "no part reads the column 'request', which `map` asks for"),
        (asking(parts=ASKED | {"x": {"detector": "mahalanobis"}}), "shared by 2 parts needs 39 calibration prompts"),
        (asking(alpha=0.001), "guards.asked: alpha 0.001 needs 999 calibration prompts, and folds.calibration has 24"),
        (asking(threshold="quantile"), "guards.asked: threshold: parts share alpha"),
        (asking(maps={"wrapped": MAP, "other": MAP}), "maps.other: no guard names this map"),
        (asking(maps={"wrapped": MAP | {"split": "nowhere"}}), "maps.wrapped.split: unknown split 'nowhere'"),
        (asking(models=SMALL["models"]), "guards.asked.map: no model that the guards are compared on has a section"),
        ({"guards": {"x": {"detector": {"name": "request"}}}}, "guards.x.detector: 'request' reads the request; write"),
        ({"guards": {"x": {"detector": {"name": "autoencoder"}, "map": "a"}}}, "guards.x: map: only parts read"),
        ({"guards": PLAIN, "folds": mixed(plain=0.5, wrapped={"fiction": 0.5})}, "guards.x: alpha 0.05 needs 19 cal"),
        ({"guards": PLAIN, "folds": mixed(wrapped={"fiction": 1.0})}, "guards.x.traffic: found 'plain', and folds.cal"),
        ({"folds": mixed(wrapped={"fictoin": 0.1})}, "folds.calibration.mix.wrapped.fictoin: unknown attack"),
        ({"twins": {"fictoin": 5}}, "twins.fictoin: no attack 'fictoin'; `attacks` has: fiction, prefix-injection"),
        ({"twins": 31}, "twins: 31 exceeds folds.test.harmless, 30"),
        ({"twins": {"fiction": 0}}, "twins: found {'fiction': 0}, allowed: a whole number above 0, or attack ->"),
        ({"strict": {"attacks": ["fictoin"]}}, "strict.attacks: no attack 'fictoin'"),
        ({"strict": {"attacks": ["fiction"], "reference": "papr"}}, "strict.reference: no guard 'papr'"),
        ({"strict": {"attacks": ["fiction"], "sets": ["odd"]}}, "strict.sets: no set 'odd'; `harmless_sets` has"),
        ({"strict": {"attacks": ["fiction"], "twins": ["fiction"]}}, "strict.twins: no twins of attack 'fiction'"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)  # fmt: skip
def test_a_mistake_is_named_with_its_path(tmp_path, changes, expected):
    assert expected in problems(tmp_path, **changes)


def test_a_guard_that_reads_requests_is_checked_as_a_fit_of_its_own(tmp_path):
    config = load_evaluation(write_evaluation_config(tmp_path, **asking()))
    assert config.request_of("other-pooling").layers == "all", "taken from the model it is like"
    data = config.guard_data("causal", "asked")
    assert data["folds"]["request"]["split"] == "fit" and data["request"] == {"layers": "all", "last_tokens": None}


def test_twins_that_a_dataset_cannot_make_are_refused_by_name_and_left_out_of_a_number_for_all(tmp_path, monkeypatch):
    def without(self, split, label, count, *, attack=None):
        if attack == "fiction" and label == "harmless":
            raise ConfigError("none of these")
        return made(self, split, label, count, attack=attack)

    made = LabDataset.prompts
    monkeypatch.setattr(LabDataset, "prompts", without)
    sets = {"odd": {"split": "unusual", "count": 5}}
    found = problems(tmp_path, harmless_sets=sets, twins={"fiction": 5})
    assert "twins.fiction: dataset 'lab' has no harmless prompts under it (none of these). Leave it out" in found
    config = load_evaluation(write_evaluation_config(tmp_path, harmless_sets=sets, twins=5))
    groups = draw_groups(config, Datasets(config))
    assert list(groups.twins) == ["prefix-injection"] and "none of these" in groups.twinless["fiction"]


def test_a_mistake_in_a_model_stands_under_that_model(tmp_path):
    models = {**SMALL["models"], "third": {"like": "causal", "tap": {"pooling": "response"}}}
    found = problems(tmp_path, models=models)
    assert "models.third.tap.pooling: 'response' does not suit" in found


def test_what_models_share_is_reported_once(tmp_path):
    assert problems(tmp_path, judge={"name": "no-such-judge"}).count("no-such-judge") == 1

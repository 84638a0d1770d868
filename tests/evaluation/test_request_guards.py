"""Guards that read requests, on a mix of traffic: what they are given is what a live guard gets."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.real.numbers import condensed
from benchmarks.real.tables import tables
from sri_sdk.config.load import load_evaluation
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.evaluation.evaluate import evaluate
from sri_sdk.evaluation.generations import Generator
from sri_sdk.evaluation.groups import draw_groups
from sri_sdk.evaluation.one_model import ModelEvaluation
from sri_sdk.evaluation.request_odds import RequestReader
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.metrics.results import to_json
from sri_sdk.strict_json import parse
from sri_sdk.strict_json import write as write_json
from tests.evaluation.conftest import SMALL

MIX = {"wrapped": {"authority": 0.2}, "unusual": {"unusual": 0.1}}
CHANGES = {
    "models": {"causal": SMALL["models"]["causal"] | {"request": {"layers": "all"}}},
    "folds": SMALL["folds"] | {
        "train": {"split": "fit", "harmless": 60, "mix": MIX},
        "reference": {"split": "fit", "harmless": 60, "mix": MIX},
        "calibration": {"split": "calibration", "harmless": 60, "mix": MIX},
    },
    "maps": {
        "plain": {"split": "fit", "harmless": 24, "harmful": 24},
        "wrapped": {
            "split": "fit", "harmless": 24, "harmful": 24, "attacks": {"authority": 8}, "unusual": {"unusual": 8},
        },
    },
    "attacks": {"fiction": {"count": 24}, "prefix-injection": {"count": 24}, "past-tense": {"count": 8}},
    "twins": {"fiction": 20, "prefix-injection": 10},
    "harmless_sets": {"odd": {"split": "unusual", "count": 10}},
    "guards": {
        "paper": {
            "detector": {"name": "autoencoder", "options": {"epochs": 5}, "layers": ["final"]}, "traffic": "plain",
            "threshold": "quantile",
        },
        "asked": {"parts": {"asked": {"detector": "request"}}, "map": "wrapped", "traffic": "plain"},
        "both": {"parts": {
            "asked": {"detector": "request"},
            "behaviour": {"detector": "mahalanobis", "columns": ["sri@final"]},
        }, "map": "plain", "alpha": 0.1},
    },
    "strict": {"attacks": ["fiction", "prefix-injection"], "reference": "paper", "sets": ["odd"], "twins": ["fiction"]},
    "draft_judge": None, "surrogates": None, "unseen_attacks": None,
}  # fmt: skip


def write(folder: Path, **changes) -> Path:
    data = copy.deepcopy(SMALL | CHANGES | {"out": str(folder / "out")} | changes)
    path = folder / "strict.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in data.items() if v is not None}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return load_evaluation(write(tmp_path_factory.mktemp("strict")))


@pytest.fixture(scope="module")
def groups(config):
    return draw_groups(config, Datasets(config))


@pytest.fixture(scope="module")
def found(config):
    return evaluate(config).models[0]


@pytest.fixture(scope="module")
def live(config, groups, found):
    """A collector of the model, its anchors, and a reader of requests; all of it was stored by the evaluation."""
    deployment = Deployment.open(config.fit_config("causal"))
    collector = Collector.of(deployment, config.out / "store" / "causal", lambda *_: None)
    section = config.request_of("causal")
    return collector, collector.anchors(groups.anchors), RequestReader.open(collector, deployment, section, groups.maps)


@pytest.mark.parametrize("name", ["plain", "wrapped"])
def test_the_numbers_are_those_that_a_live_guard_gets(config, groups, live, name):
    collector, anchors, reader = live
    prompts = groups.own_attacks["fiction"]
    made = reader.anchors(anchors, name)
    driven = reader.collector.run(prompts[:16], reader.collector.signal_settings(made))
    stored = Generator(collector, anchors, None, None, False, False).group("attack fiction", prompts).take(range(16))
    column = reader.columns("attack fiction", prompts, anchors)[name].take(range(16))
    signals = reader.signals(stored, column, made)
    np.testing.assert_array_equal(signals.logit, driven.run.signals.logit)
    np.testing.assert_array_equal(signals.sigma, driven.run.signals.sigma)
    assert signals.fingerprint == driven.run.signals.fingerprint
    assert signals.columns == driven.run.signals.columns == ("sri@0", "sri@final", "request")


def test_reading_requests_leaves_generations_and_anchors_as_they_are(config, live, tmp_path):
    """What a former release has generated is found again."""
    model = {key: value for key, value in CHANGES["models"]["causal"].items() if key != "request"}
    asking = {name: guard for name, guard in CHANGES["guards"].items() if "map" not in guard}
    path = write(tmp_path, models={"causal": model}, guards=asking, maps=None)
    without = Deployment.open(load_evaluation(path).fit_config("causal"))
    assert without.fingerprint == live[0].fingerprint
    assert live[2].collector.fingerprint != live[0].fingerprint


def test_the_model_reads_once_for_all_maps_and_no_state_is_kept(config, groups, live, monkeypatch):
    collector, anchors, reader = live
    monkeypatch.setattr("sri_sdk.evaluation.request_odds.read", lambda *_: pytest.fail("the model was asked again"))
    columns = reader.columns("harmless", groups.harmless, anchors)
    assert set(columns) == {"plain", "wrapped"}
    kept = [path.stat().st_size for path in collector.cache.glob("request-harmless-*/*")]
    assert kept and max(kept) < 1024


def test_a_guard_of_plain_traffic_never_sees_a_wrapped_calibration_prompt(config, groups, tmp_path):
    plain = groups.plain("calibration")
    kinds = [p.attack for p in groups.calibration]
    assert 0 < plain.sum() < len(plain)
    assert all(kind is None for kind, yes in zip(kinds, plain, strict=True) if yes)
    run = ModelEvaluation(config, "causal", groups, Datasets(config), Deployment.open(config.fit_config("causal")),
                          lambda *_: None)  # fmt: skip
    scored = {guard.name: len(guard.scores["calibration"]) for guard in run.evaluated().guards}
    assert scored == {"paper": plain.sum(), "asked": plain.sum(), "both": len(plain)}


def test_every_rule_of_a_guard_is_measured(found):
    rules = {guard.name: [row.rule for row in guard.strict] for guard in found.guards}
    assert rules == {
        "paper": ["final"],
        "asked": ["final", "online", "request"],
        "both": ["final", "online", "request"],
    }


def test_a_request_that_reads_as_harmful_is_flagged_and_its_twin_is_not(found):
    asked = next(guard for guard in found.guards if guard.name == "asked")
    row = next(row for row in asked.wrappers if (row.attack, row.rule) == ("fiction", "request"))
    assert (row.twins.n, row.removed.n) == (20, found.attacks[0].success.k)
    final = next(row for row in asked.wrappers if (row.attack, row.rule) == ("fiction", "final"))
    assert final.auroc_requests.value > 0.6 and final.auroc_requests.negatives == 20


def test_an_attack_without_twins_says_so(found):
    assert list(found.twinless) == ["past-tense"]
    assert {row.attack for row in found.guards[0].wrappers} == {"fiction", "prefix-injection"}


def test_the_maps_say_what_they_are_worth(found):
    assert set(found.request_maps) == {"plain", "wrapped"}
    assert found.request_maps["wrapped"]["prompts"]["authority"] == {"harmful": 8, "harmless": 8}


def test_results_are_plain_json_with_intervals(found):
    guard = json.loads(json.dumps(to_json(found), allow_nan=False))["guards"][1]
    assert guard["strict"][0]["removed"]["low"] <= guard["strict"][0]["removed"]["value"]
    assert guard["strict"][0]["against"]["n"] == guard["strict"][0]["removed"]["n"]
    assert guard["threshold_rule"] == "conformal, alpha 0.05" and found.guards[2].threshold_rule.startswith(
        "conformal, alpha 0.1; shares asked 0.5"
    )


def test_no_request_is_used_for_two_things_except_by_two_maps(groups):
    apart = [
        p for name, prompts in groups.named().items() if not name.startswith(("attack", "twin", "map")) for p in prompts
    ]
    bases = [p.base or p.id for p in apart]
    assert len(set(bases)) == len(bases)
    for prompts in groups.maps.values():
        assert not set(bases) & {p.base or p.id for p in prompts}
    assert {p.base for p in groups.twins["fiction"]} == {p.id for p in groups.harmless[:20]}


def test_a_mix_that_drew_too_few_plain_prompts_is_refused_before_anything_is_generated(tmp_path):
    folds = CHANGES["folds"] | {
        "calibration": {"split": "calibration", "harmless": 30, "mix": {"plain": 0.64, "wrapped": {"authority": 0.36}}}
    }
    guards = {"paper": CHANGES["guards"]["paper"] | {"alpha": 0.05}}
    config = load_evaluation(write(tmp_path, folds=folds, guards=guards, maps=None, strict=None))
    with pytest.raises(ConfigError, match=r"folds.calibration: its mix has drawn \d+ plain prompts of 30"):
        for seed in range(20):
            draw_groups(config.model_copy(update={"seed": seed}), Datasets(config))


def test_a_reference_fold_with_too_few_plain_prompts_is_refused_then_too(tmp_path):
    folds = CHANGES["folds"] | {"reference": {"split": "fit", "harmless": 22, "mix": MIX}}
    config = load_evaluation(write(tmp_path, folds=folds))
    with pytest.raises(ConfigError, match=r"folds.reference: its mix has drawn \d+ plain prompts of 22, .* need 20"):
        draw_groups(config, Datasets(config))


def test_a_quick_look_still_gives_every_guard_what_it_needs(config):
    quick = config.limited(3)
    groups = draw_groups(quick, Datasets(quick))
    assert len(groups.twins["fiction"]) == 3 and len(groups.maps["plain"]) == 48
    assert groups.plain("calibration").sum() >= 19 and len(groups.calibration) >= 19
    few = groups.scaled(0.1, quick)
    assert few.plain("calibration").sum() >= 19 and few.plain("train").sum() >= 20


def test_results_have_what_the_page_of_the_published_model_is_made_of(found):
    results = {"models": [to_json(found)], "facts": {"Seed": "0", "Source of jsonl": "a file"}, "alpha": 0.1}
    kept = condensed(results, {"fit": {"wall": 1.0, "processor": 2.0}})
    assert kept["facts"] == {"Seed": "0"}, "no paths"
    assert kept["guards"]["asked"]["ships"]["by_wrapper"].keys() == {"fiction", "prefix-injection"}
    assert kept["guards"]["asked"]["ships"]["twins"]["n"] == 20, "of the wrappers of the rule"
    assert kept["maps"]["plain"]["prompts"]["plain"] == {"harmless": 24, "harmful": 24}
    assert parse(write_json(kept)) == kept
    page = "\n".join(tables(kept))
    assert "| fit | 1.0 | 2.0 |" in page and "| harmful, `fiction` (transforms) |" in page
    assert "not measured: **not measured**" not in page

"""A guard with thresholds by group, from one YAML file to verdicts on generations that run."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

import sri_sdk
from sri_sdk.capture.drive import drive
from sri_sdk.capture.settings import watch_settings
from sri_sdk.cli import main
from sri_sdk.cli.fit import describe, summary
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.fit import fit
from sri_sdk.policy import Policy
from sri_sdk.scoring.signal_files import read_signals, write_signals

from .conftest import SMALL, write_config

MIX = {"wrapped": {"second-language": 0.4}}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folds = {
        **SMALL["folds"],
        "train": {"split": "fit", "harmless": 20, "mix": MIX},
        "calibration": {"split": "calibration", "harmless": 60, "mix": MIX, "groups": "prompt"},
        "test": {"split": "test", "harmless": 20, "harmful": 8, "mix": MIX, "attacks": {"second-language": 4}},
    }
    return load_config(write_config(tmp_path_factory.mktemp("groups"), folds=folds))


@pytest.fixture(scope="module")
def fitted(config):
    return fit(config)


def settings(fitted, rule="final"):
    place = fitted.deployment
    return watch_settings(
        place.hook, fitted.guard, policy=Policy.observe(rule), sampler=place.fingerprint.hard["sampler"],
        fingerprint=place.fingerprint,
    )  # fmt: skip


def driven(fitted, prompts, rule="final"):
    place = fitted.deployment
    batch = drive(place.hook, place.loaded, place.sampler, prompts, settings(fitted, rule), seed=0)
    for _ in batch:
        pass
    return batch.run


def thresholds(fitted, rule="final"):
    entry = fitted.guard.manifest.rules[rule].parts["detector"]
    return {group: threshold.value for group, threshold in entry.thresholds().items()}


def test_each_group_has_its_own_threshold_n_and_false_alarm_rate(fitted) -> None:
    manifest = fitted.guard.manifest
    assert (manifest.format, manifest.groups) == (2, ("first", "second"))
    held = manifest.rules["final"].parts["detector"].groups
    assert sum(each.n for each in held.values()) == 60 and held["first"].value != held["second"].value
    rates = {rate.name: rate for rate in manifest.rates}
    groups = [rates[f"false_alarm:online:{group}"] for group in ("first", "second")]
    assert sum(rate.n for rate in groups) == rates["false_alarm:online"].n == 20
    assert manifest.anchors.provenance["mixes"]["calibration"]["second-language"]["share"] == 0.4


def test_harmless_requests_in_a_wrapper_count_as_harmless_and_not_as_attacks(fitted) -> None:
    rates = {rate.name: rate.n for rate in fitted.results.rates}
    assert (rates["success:second-language"], rates["refused:harmless"]) == (4, 20)


def test_thresholds_alone_are_set_anew_with_the_same_groups(fitted, config) -> None:
    again = fit(config, recalibrate=True)
    assert again.guard.manifest.digest == fitted.guard.manifest.digest


def test_a_guard_gets_groups_or_loses_them_without_learning_anew(fitted, config, tmp_path) -> None:
    out = shutil.copytree(config.out, tmp_path / "guard")
    calibration = config.folds.calibration.model_copy(update={"groups": "none"})
    folds = config.folds.model_copy(update={"calibration": calibration})
    without = config.model_copy(update={"out": out, "folds": folds})
    assert fit(without, recalibrate=True).guard.manifest.format == 1
    again = fit(config.model_copy(update={"out": out}), recalibrate=True)
    assert again.guard.manifest.digest == fitted.guard.manifest.digest


@pytest.mark.parametrize("rule", ["final", "online"])
def test_a_live_verdict_is_that_of_its_group_and_of_the_same_signals_in_a_file(fitted, tmp_path, rule) -> None:
    prompts = fitted.collected["test"].prompts
    run = driven(fitted, prompts, rule)
    write_signals(tmp_path / "a.npz", run.signals)
    later = fitted.guard.scorer.score(read_signals(tmp_path / "a.npz"), rule=rule)
    limits = thresholds(fitted, rule)
    for prompt, verdict, offline in zip(prompts, run.verdicts, later, strict=True):
        assert verdict.group == prompt.group == ("second" if prompt.attack else "first")
        assert verdict.threshold == limits[prompt.group]
        assert (verdict.status, verdict.first_alarm_step) == (offline.status, offline.first_alarm_step)
        assert verdict.parts == offline.parts


def asked(config, *arguments):
    path = config.out.parent / "small.yaml"
    done = CliRunner().invoke(main, ["run", str(path), "--json", "--prompt", "how do i paint the kite ?", *arguments])
    return done if done.exit_code else json.loads(done.stdout.splitlines()[-1])["verdict"]


def test_the_command_run_judges_a_prompt_by_the_group_it_is_given(fitted, config) -> None:
    verdict = asked(config, "--group", "second")
    assert (verdict["group"], verdict["threshold"]) == ("second", thresholds(fitted)["second"])
    assert asked(config)["reasons"][-1] == "unknown_group"
    typo = asked(config, "--group", "secnd")
    assert typo.exit_code and "this guard has: first, second. Did you mean 'second'?" in typo.stderr


def test_what_a_fit_says_names_mixes_and_groups(fitted) -> None:
    told, shown = summary(fitted), describe(fitted)
    assert told["prompts"]["calibration"]["harmless second-language"] == sum(
        p.attack == "second-language" for p in fitted.collected["calibration"].prompts
    )
    assert set(told["mixes"]) == {"train", "calibration", "test"}
    assert {"final detector first", "online detector second"} <= told["thresholds"].keys()
    assert re.search(r"mix +calibration: \d+ plain \(60 %\), \d+ second-language \(40 %\)", shown)
    assert "final: false alarms in group second" in shown


def test_a_request_of_no_known_group_is_judged_by_the_largest_threshold_and_says_so(fitted) -> None:
    few = fitted.collected["test"].prompts[:2]
    unknown = [replace(prompt, group=group) for prompt, group in zip(few, (None, "third"), strict=True)]
    for verdict in driven(fitted, unknown).verdicts:
        assert verdict.threshold == max(thresholds(fitted).values())
        assert (verdict.group, verdict.reasons[-1]) == (None, "unknown_group")


def watched(fitted, count, **arguments):
    place = fitted.deployment
    prompts = fitted.collected["test"].prompts[:count]
    encoded = place.hook.encode(place.loaded.tokenizer, [p.text for p in prompts], None)
    with torch.inference_mode(), sri_sdk.watch(place.hook.model, fitted.guard, hook=place.hook, **arguments) as run:
        for _ in place.sampler.steps(place.hook, encoded, [p.id for p in prompts], 0):
            pass
    return run


def test_a_watch_names_the_group_of_each_row(fitted) -> None:
    run = watched(fitted, 3, groups=["second", None, "first"])
    assert [verdict.group for verdict in run.verdicts] == ["second", None, "first"]
    assert [verdict.threshold for verdict in run.verdicts][::2] == [thresholds(fitted)[g] for g in ("second", "first")]
    assert run.signals.groups == ("second", None, "first")


def test_other_numbers_of_groups_than_rows_leave_the_run_unmonitored(fitted) -> None:
    run = watched(fitted, 3, groups=["second", "first"])
    assert {verdict.status for verdict in run.verdicts} == {"unmonitored"}
    assert "2 groups, but the model generates 3 rows" in run.failure


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"groups": "first"}, "pass a list with one name per row"),
        ({"groups": [1]}, "pass a list with one name per row"),
        ({"groups": ["first"], "request_ids": ["a", "b"]}, "1 groups for 2 request_ids"),
    ],
)
def test_groups_that_are_not_one_name_per_row_are_refused(fitted, arguments, says) -> None:
    with pytest.raises(ConfigError, match=says):
        watched(fitted, 2, **arguments)


def test_groups_for_a_guard_without_any_are_refused(fitted) -> None:
    place = fitted.deployment
    with (
        pytest.raises(ConfigError, match="one threshold for all requests, or there is no guard"),
        sri_sdk.watch(place.hook.model, hook=place.hook, groups=["first"]),
    ):
        pass

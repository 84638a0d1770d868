"""The whole evaluation on a small model: what it reports, and that an interruption does not show in it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from sri_sdk.cli import main
from sri_sdk.config.folds import HeldOutFold
from sri_sdk.config.load import load_evaluation
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.evaluate import evaluate
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.fit import fit
from sri_sdk.metrics.results import to_json
from tests.evaluation.conftest import write_evaluation_config
from tests.fitting.workers_here import ExecutorHere


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return evaluate(load_evaluation(write_evaluation_config(tmp_path_factory.mktemp("small"), keep_texts=True)))


def without_times(result):
    """Everything but what was measured with a clock."""
    timed = {"seconds", "overhead", "overhead_note", "seconds_per_generation", "Config digest"}

    def cleaned(value):
        if isinstance(value, dict):
            return {k: cleaned(v) for k, v in value.items() if k not in timed}
        return [cleaned(v) for v in value] if isinstance(value, list) else value

    return cleaned(to_json(result) if not isinstance(result, dict) else result)


def test_workers_that_answer_backwards_give_the_same_evaluation(found, tmp_path):
    executor = ExecutorHere()
    config = load_evaluation(write_evaluation_config(tmp_path, keep_texts=True))
    assert without_times(evaluate(config, executor=executor)) == without_times(found)
    dealt = {name.split("'")[1] for pool in executor.pools for name in pool.given}
    assert {"anchors", "calibration", "harmless"} <= dealt and any(name.startswith("attack ") for name in dealt)
    assert len(executor.pools) == len(found.models) and not any(pool.out for pool in executor.pools)
    assert executor.events == ["session", *["pool"] * len(found.models), "end"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ConfigError("a plugin says no")])
def test_a_session_of_workers_ends_however_the_evaluation_ends(raised, tmp_path):
    executor, config = ExecutorHere(), load_evaluation(write_evaluation_config(tmp_path))

    def progress(stage, done, _total):
        if done:
            raise raised

    with pytest.raises(type(raised) if isinstance(raised, Exception) else raised):
        evaluate(config, progress, executor=executor)
    assert executor.events == ["session", "pool", "end"] and not executor.pools[0].out


def test_an_executor_refuses_before_a_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(Deployment, "open", lambda *_: pytest.fail("a model was loaded"))
    executor, config = ExecutorHere(), load_evaluation(write_evaluation_config(tmp_path))
    asked = []

    def check(models):
        asked.extend(models)
        raise ConfigError("no room for a worker")

    monkeypatch.setattr(executor, "check", check)
    with pytest.raises(ConfigError, match="no room for a worker"):
        evaluate(config, executor=executor)
    assert asked == [config.fit_config(name).model.options for name in config.models]


def test_every_rate_says_how_many_generations_are_behind_it(found):
    model = found.models[0]
    assert (model.refused_harmless.n, model.refused_harmful.n) == (30, 24)
    assert [attack.success.n for attack in model.attacks] == [24, 24]
    assert model.success.n == 48 and model.success.k == sum(a.success.k for a in model.attacks)
    assert model.internal_recovery["0.5"].n == 48
    assert model.harmless_sets[0].refused.n == 10
    assert model.guards[0].false_alarm.n == 30
    assert model.guards[0].removed.n == model.success.k


def test_a_variant_answers_its_share_of_the_prompts(found):
    variant = found.models[1]
    assert variant.refused_harmless.n == 15 and variant.attacks[0].success.n == 12
    assert variant.guards == () and variant.seconds_per_generation is None


def test_each_signal_and_layer_has_its_row(found):
    assert [s.name for s in found.models[0].separations] == ["text", "first step", "layer 0", "final layer"]


def test_a_rate_that_so_few_cannot_show_is_refused_with_a_reason(found):
    guard = found.models[0].guards[0]
    assert "0.001" not in guard.tpr and "3000" in guard.tpr_notes["0.001"].replace(",", "")


def test_examples_hold_a_draft_per_step(found):
    assert found.examples
    for example in found.examples:
        assert len(example.drafts) >= 2 and example.drafts[-1] == example.response
        assert len(example.sigma) == 8


def test_results_are_plain_json(found):
    text = json.dumps(to_json(found), allow_nan=False)
    assert json.loads(text)["models"][0]["success"]["value"] == found.models[0].success.value


def test_a_guard_on_several_layers_is_the_one_that_sri_fit_makes(found, tmp_path):
    """Same folds, same detector, `layers: [0, final]`: same threshold, and the same score of every generation."""
    config = load_evaluation(write_evaluation_config(tmp_path)).fit_config("causal")
    test = HeldOutFold(split="test", harmless=30, harmful=24)
    fitted = fit(config.model_copy(update={"folds": config.folds.model_copy(update={"test": test})}))
    assert fitted.guard.manifest.signal.layers == 2
    held_out = fitted.collected["test"]
    verdicts = dict(zip([p.text for p in held_out.prompts], fitted.guard.scorer.score(held_out.signals), strict=True))
    plain = [example for example in found.examples if example.prompt in verdicts]
    assert plain
    for example in plain:
        verdict = verdicts[example.prompt]
        assert (example.score, example.threshold) == (verdict.score, verdict.threshold)


def test_one_model_of_a_config_can_be_evaluated_alone(tmp_path):
    config = load_evaluation(write_evaluation_config(tmp_path))
    quick = evaluate(config, limit=8, only=["other-pooling"])
    assert [model.name for model in quick.models] == ["other-pooling"] and quick.surrogates == ()
    with pytest.raises(ConfigError, match="models: nonesuch not in the config; it has causal, other-pooling"):
        evaluate(config, only=["nonesuch"])


def test_responses_are_stored_only_when_asked_for(tmp_path):
    config = load_evaluation(write_evaluation_config(tmp_path, models={"causal": {
        "model": {"hook": "lab-causal"}, "sampler": {"name": "autoregressive", "options": {"tokens": 48}},
        "tap": {"pooling": "predicting", "cells": 8, "layers": ["final"]},
    }}, surrogates=None))  # fmt: skip
    quick = evaluate(config, limit=8)
    assert quick.examples == () and quick.limit == 8
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("out/store/**/*") if path.is_file())
    assert stored and b"lantern" not in stored and b"sorry" not in stored


def test_a_killed_run_continues_in_another_process_and_folder_and_ends_with_the_same_numbers(found, tmp_path):
    config = write_evaluation_config(tmp_path, keep_texts=True)
    command = ["eval", str(config), "--json"]
    first = subprocess.Popen(
        [sys.executable, "-m", "sri_sdk.cli", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("out/store/causal/**/*.safetensors"))) < 4:
        assert first.poll() is None and time.monotonic() < deadline, "it ended, or stored nothing"
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "out" / "results.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/store/causal/**/*.safetensors")}
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert without_times(json.loads(done.stdout)) == without_times(found)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items()), "a stored batch was made again"


def test_a_folder_that_is_there_and_takes_no_file_is_found_before_a_model_is_loaded(tmp_path, monkeypatch):
    config = load_evaluation(write_evaluation_config(tmp_path))
    Path(config.out).mkdir(parents=True, exist_ok=True)

    def full(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    monkeypatch.setattr(Deployment, "open", lambda *_: pytest.fail("a model is loaded here"))
    with pytest.raises(OSError, match="Read-only"):
        evaluate(config)

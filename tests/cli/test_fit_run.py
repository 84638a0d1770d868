"""`sri fit` and `sri run` on a small lab config, as an operator types them."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from sri_plugin_lab.hooks import LabDiffusionHook
from sri_plugin_sinks.jsonl import JsonlSink

from sri_sdk.bundle.signature import new_keys
from sri_sdk.cli import main
from tests.fitting.conftest import write_config


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A config whose guard is fitted, and what `sri fit --json` said."""
    path = write_config(tmp_path_factory.mktemp("cli"))
    done = CliRunner().invoke(main, ["fit", str(path), "--json"])
    assert done.exit_code == 0, done.stderr
    return path, json.loads(done.stdout)


def test_fit_says_rates_with_n_and_interval_thresholds_parity_and_seconds(fitted) -> None:
    _, told = fitted
    assert told["rates"]["refused:harmless"].keys() == {"k", "n", "rate", "low", "high"}
    assert told["thresholds"]["final"]["n"] == 19 and told["thresholds"]["online"]["alpha"] == 0.05
    assert told["parity"]["share_of_tolerance"] < 1
    assert {"anchors", "train", "calibration", "export"} <= told["seconds"].keys()


def test_run_prints_each_step_with_draft_and_signal_and_then_a_verdict(fitted) -> None:
    path, _ = fitted
    done = CliRunner().invoke(main, ["run", str(path), "--prompt", "how do i paint the kite of the baker ?", "--json"])
    assert done.exit_code == 0, done.stderr
    *steps, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [s["step"] for s in steps] == list(range(8))
    assert len(steps[-1]["sigma"]) == 4 and steps[-1]["draft"] == last["response"]
    assert last["verdict"]["status"] in {"clear", "flagged"} and last["verdict"]["steps_seen"] == 8


def test_run_shows_a_person_the_draft_the_signal_and_the_verdict(fitted) -> None:
    path, _ = fitted
    done = CliRunner().invoke(main, ["run", str(path)])
    assert done.exit_code == 0, done.stderr
    assert "step 8 / 8" in done.stdout and "sigma" in done.stdout and "score" in done.stdout


def test_what_the_policy_withholds_is_not_printed(fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = fitted
    strict = yaml.safe_load(path.read_text())
    strict["policy"] = {"rule": "final", "flagged": "report", "unmonitored": "abort"}
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(strict))
    honest = LabDiffusionHook.plan
    monkeypatch.setattr(
        LabDiffusionHook, "plan", lambda self, call, run: None if run.forwards == 3 else honest(self, call, run)
    )
    for name, withheld in ((path, False), (other, True)):
        done = CliRunner().invoke(main, ["run", str(name), "--prompt", "how do i paint the kite ?", "--json"])
        *steps, last = [json.loads(line) for line in done.stdout.splitlines()]
        # What may be withheld at the end is not shown on the way there.
        assert {step["draft"] is None for step in steps} == {withheld}
        assert last["verdict"]["status"] == "unmonitored" and last["verdict"]["reasons"][0] == "incomplete_coverage"
        assert last["withheld"] is withheld and (last["response"] is None) is withheld


def test_every_verdict_goes_to_the_sinks_of_the_file(fitted, tmp_path: Path) -> None:
    path, _ = fitted
    log, other = tmp_path / "log" / "verdicts.jsonl", tmp_path / "other.yaml"
    sinks = [{"name": "jsonl", "options": {"path": str(log)}}]
    other.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"sinks": sinks}))
    done = CliRunner().invoke(main, ["run", str(other), "--prompt", "how do i paint the kite ?", "--json"])
    assert done.exit_code == 0, done.stderr
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    del line["time"]
    assert line == json.loads(done.stdout.splitlines()[-1])["verdict"]


def test_a_sink_that_cannot_deliver_costs_its_verdicts_and_says_so(fitted, tmp_path: Path, monkeypatch) -> None:
    path, _ = fitted
    other = tmp_path / "other.yaml"
    sinks = [{"name": "jsonl", "options": {"path": str(tmp_path / "verdicts.jsonl")}}]
    other.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"sinks": sinks}))
    monkeypatch.setattr(JsonlSink, "emit", lambda self, verdict: 1 / 0)
    done = CliRunner().invoke(main, ["run", str(other), "--prompt", "how do i paint the kite ?", "--json"])
    assert done.exit_code == 0 and "JsonlSink: 1 of 1 verdicts were not delivered" in done.stderr


def test_running_without_a_guard_says_how_to_get_one(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    done = CliRunner().invoke(main, ["run", str(path)])
    assert done.exit_code == 1 and f"sri fit {path}" in done.stderr and "Traceback" not in done.stderr


def test_a_profile_the_guard_was_not_fitted_on_is_refused_in_one_line(fitted, tmp_path: Path) -> None:
    path, _ = fitted
    changed = yaml.safe_load(path.read_text())
    changed["sampler"]["options"]["steps"] = 16
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(changed))
    done = CliRunner().invoke(main, ["run", str(other)])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1 and "sampler" in done.stderr and "sri fit" in done.stderr


@pytest.mark.parametrize(
    ("trust", "problem"), [("public_key", "signed"), ("digest", "digest"), ("neither", None)], ids=str
)
def test_a_guard_that_does_not_prove_what_the_file_asks_for_is_refused(fitted, tmp_path: Path, trust, problem) -> None:
    path, _ = fitted
    key = tmp_path / "key.pub"
    key.write_bytes(new_keys()[1])
    wants = {"public_key": str(key)} if trust == "public_key" else {"digest": "0" * 64} if trust == "digest" else {}
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"trust": wants}))
    done = CliRunner().invoke(main, ["run", str(other), "--prompt", "how do i paint the kite ?", "--json"])
    if problem is None:
        assert done.exit_code == 0, done.stderr
    else:
        assert done.exit_code == 1 and problem in done.stderr and not done.stdout

"""`sri config`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sri_plugin_lab.dataset import LabDataset

from sri_sdk.cli import main
from sri_sdk.monitor.settings import MonitorSettings
from sri_sdk.records import Prompt
from tests.fitting.conftest import SMALL, write_config

CONFIGS = Path(__file__).parents[2] / "configs"
WRONG = "version: 1\nsead: 3\n"


def test_check_reports_every_problem_of_every_file(tmp_path: Path) -> None:
    files = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    for file in files:
        Path(file).write_text(WRONG)
    done = CliRunner().invoke(main, ["config", "check", *files])
    assert done.exit_code == 1
    for file in files:
        assert f"error: {file}: policy: required, but missing\n" in done.stderr
        assert f"error: {file}: sead: unknown key" in done.stderr


def test_check_prints_json_for_programs(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(WRONG)
    (entry,) = json.loads(CliRunner().invoke(main, ["config", "check", "--json", str(file)]).stdout)
    assert (entry["file"], entry["ok"]) == (str(file), False)
    assert entry["problems"]


def test_check_accepts_deployments_and_evaluations() -> None:
    files = [str(CONFIGS / "lab-diffusion.yaml"), str(CONFIGS / "lab.yaml")]
    done = CliRunner().invoke(main, ["config", "check", *files])
    assert done.exit_code == 0
    assert [line for line in done.output.splitlines() if not line.startswith("  ")] == [f"{file}: ok" for file in files]


def test_check_names_a_direction_that_is_not_there_yet_and_calls_it_no_mistake(tmp_path: Path) -> None:
    step = {"action": "steer", "direction": str(tmp_path / "refusal.safetensors")}
    policy = {"rule": "online", "flagged": "recover", "unmonitored": "report", "recovery": [step]}
    file = str(write_config(tmp_path, policy=policy))
    done = CliRunner().invoke(main, ["config", "check", "--no-prompts", file])
    assert done.exit_code == 0 and "note: policy.recovery.0.direction: " in done.output
    Path(step["direction"]).touch()
    (entry,) = json.loads(CliRunner().invoke(main, ["config", "check", "--no-prompts", "--json", file]).stdout)
    assert entry["ok"] and entry["notes"] == []


def test_check_reads_and_counts_the_prompts_of_each_fold(tmp_path: Path) -> None:
    file = str(write_config(tmp_path))
    assert CliRunner().invoke(main, ["config", "check", file]).output.splitlines()[1:] == [
        "  anchors: 12 harmless, 12 harmful", "  train: 20 harmless", "  reference: 20 harmless",
        "  calibration: 19 harmless", "  test: 8 harmless, 8 harmful",
    ]  # fmt: skip
    (entry,) = json.loads(CliRunner().invoke(main, ["config", "check", "--json", file]).stdout)
    assert entry["folds"]["anchors"] == {"harmless": 12, "harmful": 12}


def test_check_finds_every_split_with_too_few_prompts_and_may_leave_prompts_alone(tmp_path: Path) -> None:
    folds = {**SMALL["folds"], "train": {"split": "fit", "harmless": 10**7},
             "calibration": {"split": "calibration", "harmless": 10**7}}  # fmt: skip
    file = str(write_config(tmp_path, folds=folds))
    done = CliRunner().invoke(main, ["config", "check", file])
    assert done.exit_code == 1
    assert [line.startswith(f"error: {file}: folds: ") for line in done.stderr.splitlines()] == [True, True]
    assert CliRunner().invoke(main, ["config", "check", "--no-prompts", file]).exit_code == 0


def test_a_guard_needs_no_harmful_test_prompts(tmp_path: Path) -> None:
    for test in ({"split": "test", "harmless": 8}, {"split": "test", "harmless": 8, "attacks": {"suffix": 3}}):
        file = str(write_config(tmp_path, folds={**SMALL["folds"], "test": test}))
        done = CliRunner().invoke(main, ["config", "check", file])
        assert done.exit_code == 0, done.stderr
        assert done.output.splitlines()[-1] == "  test: 8 harmless" + ", 3 suffix" * ("attacks" in test)


def test_check_finds_a_request_that_is_in_two_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def same(self, split, label, count, *, attack=None):
        return [Prompt(f"{split}-{label}-{i}", f"{label} {i}", label) for i in range(count)]

    monkeypatch.setattr(LabDataset, "prompts", same)
    done = CliRunner().invoke(main, ["config", "check", str(write_config(tmp_path))])
    assert done.exit_code == 1 and "prompt(s) of 'calibration' also stand in 'anchors'" in done.stderr


def test_a_dataset_that_gives_fewer_prompts_than_asked_for_is_found(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(LabDataset, "prompts", lambda self, split, label, count, *, attack=None: [])
    done = CliRunner().invoke(main, ["config", "check", str(write_config(tmp_path))])
    assert "split 'calibration' has 0 harmless prompts, 19 are wanted" in done.stderr


def test_check_reads_a_file_with_models_as_an_evaluation(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text((CONFIGS / "lab.yaml").read_text() + "sead: 3\n")
    done = CliRunner().invoke(main, ["config", "check", str(file)])
    assert done.exit_code == 1
    assert f"error: {file}: sead: unknown key; allowed: version, title, models" in done.stderr


@pytest.mark.parametrize(
    ("options", "title"),
    [([], "FitConfig"), (["--kind", "fit"], "FitConfig"), (["--kind", "evaluation"], "EvaluationConfig")],
)
def test_schema_prints_the_json_schema_of_a_kind_of_file(options: list[str], title: str) -> None:
    assert json.loads(CliRunner().invoke(main, ["config", "schema", *options]).output)["title"] == title


def test_a_servers_file_is_checked_as_what_it_is(tmp_path: Path) -> None:
    production = Path(__file__).parents[2] / "docs" / "production" / "serve.yaml"
    assert CliRunner().invoke(main, ["config", "check", str(production)]).exit_code == 0
    wrong = tmp_path / "serve.yaml"
    wrong.write_text("bundles: {a: {path: a.zip}}\nlimits: {row: 3}\n")
    done = CliRunner().invoke(main, ["config", "check", str(wrong)])
    assert done.exit_code == 1 and f"error: {wrong}: limits.row: unknown key" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_schema_of_a_monitors_file_describes_every_key_and_the_options_of_sinks() -> None:
    schema = json.loads(CliRunner().invoke(main, ["config", "schema", "--kind", "monitor"]).stdout)
    assert schema["properties"].keys() == MonitorSettings.model_fields.keys()
    assert all("description" in each or "$ref" in each for each in schema["properties"].values())
    assert "from" in schema["$defs"]["RequestsSection"]["properties"], "as the file writes it"
    sinks = {
        each["if"]["properties"]["name"]["const"]: each["then"]
        for each in schema["properties"]["sinks"]["items"]["allOf"]
    }
    assert "hash_key" in sinks["sql"]["properties"]["options"]["properties"]


def test_the_schema_of_a_servers_file_is_there() -> None:
    schema = json.loads(CliRunner().invoke(main, ["config", "schema", "--kind", "serve"]).stdout)
    assert {"bundles", "store", "gateways"} <= schema["properties"].keys()

"""`sri config`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sri_sdk.cli import main

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
    assert (done.exit_code, done.output.splitlines()) == (0, [f"{file}: ok" for file in files])


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

"""`sri config`."""

import json
from pathlib import Path

from click.testing import CliRunner

from sri_sdk.cli import main

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


def test_schema_prints_a_json_schema() -> None:
    assert "FitConfig" in json.loads(CliRunner().invoke(main, ["config", "schema"]).output)["title"]

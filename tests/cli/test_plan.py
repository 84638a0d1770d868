import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sri_sdk.cli import main


def run(*arguments, code=0):
    done = CliRunner().invoke(main, ["plan", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_it_says_what_a_promise_costs_and_what_tighter_ones_would():
    said = run("--alpha", "0.01", "--calibration", "199", "--traffic", "50000", "--attacks", "0.01", "--found", "0.5")
    assert "199 prompts; the fewest are 99" in said
    assert "495 false alarms, 250 attacks found, 250 missed" in said
    assert "33.6 % of the alarms are attacks" in said
    assert [line.split()[0] for line in said.splitlines()[-4:]] == ["1", "0.5", "0.1", "0.01"]


def test_a_config_gives_its_own_promise_with_the_share_of_each_part():
    found = json.loads(run("configs/lab-request.yaml", "--json"))
    assert (found["alpha"], found["n"]) == (0.01, 399)
    assert [part["alpha"] for part in found["parts"]] == [0.005, 0.005]
    assert found["mean"] == pytest.approx(0.01)
    assert json.loads(run("configs/lab-request.yaml", "--parts", "1", "--json"))["parts"][0]["alpha"] == 0.01


def test_what_the_prompts_cannot_promise_is_an_error_that_says_how_many_can():
    assert "Calibrate on at least 999 harmless prompts" in run("--alpha", "0.001", "--calibration", "100", code=1)


def test_without_scipy_the_error_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    assert "sri-sdk[train]" in run(code=1)


def test_attacks_among_the_calibration_prompts_take_prompts_and_power():
    said = run("--calibration", "2999", "--contamination", "0.001")
    assert "up to 2 of the prompts" in said and "0.901 % is left of alpha" in said
    assert "hardly any attack like them is found" in run("--calibration", "2999", "--contamination", "0.01")
    found = json.loads(run("--calibration", "2999", "--contamination", "0.001", "--json"))
    assert found["contamination"] == 0.001 and found["parts"][0]["attacks"] == 2
    assert [each["fewest"] for each in found["others"]] == [100, 200, 1001, 10010]
    assert "142 are needed" in run("--calibration", "120", "--contamination", "0.3", code=1)


def test_a_config_states_its_own_contamination(tmp_path):
    stated = tmp_path / "stated.yaml"
    asked = Path("configs/lab-request.yaml").read_text()
    stated.write_text(asked.replace("alpha: 0.01 ", "alpha: 0.01\n  contamination: 0.001 "))
    assert json.loads(run(str(stated), "--json"))["contamination"] == 0.001
    assert json.loads(run(str(stated), "--contamination", "0", "--json"))["contamination"] == 0

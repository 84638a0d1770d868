"""What the last release left on its users' disks still works: guards, bundles, configs, stores."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sri_sdk import load_config
from sri_sdk.scoring.guard import Guard
from sri_sdk.scoring.signal_files import read_signals
from sri_sdk.serve.settings import read_settings
from tests.upgrade.write import EACH, generated, prompts_of

BEFORE = Path(__file__).with_name("before")
GUARDS = ["diffusion", "traffic"]
"""A guard with one part and bundle format 1; one that reads requests, with groups, and format 2."""


def said(name: str) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads((BEFORE / name / "verdicts.json").read_text())
    return found


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize("rule", ["final", "online"])
def test_a_bundle_says_the_same_of_the_same_signals(name: str, rule: str) -> None:
    scorer = Guard.load(BEFORE / name / "guard").scorer
    now = [v.to_dict() for v in scorer.score(read_signals(BEFORE / name / "signals.npz"), rule=rule)]
    assert len(now) == 2 * EACH
    for new, old in zip(now, said(name)[rule], strict=True):
        # A later release may say more; what was said before stays.
        assert {key: new[key] for key in old if key != "score"} == {key: old[key] for key in old if key != "score"}
        assert new["score"] == pytest.approx(old["score"], rel=1e-5)


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_still_watches_its_model(name: str) -> None:
    config = load_config(BEFORE / name / "config.yaml")
    run = generated(config, BEFORE / name / "guard", prompts_of(config, EACH))
    assert [v.status for v in run.verdicts] == [v["status"] for v in said(name)["watched"]]
    assert {v.status for v in run.verdicts} == {"clear", "flagged"}
    assert Guard.load(BEFORE / name / "guard").manifest.digest == run.verdicts[0].bundle


def test_the_settings_of_a_server_are_read() -> None:
    assert read_settings(BEFORE / "serve.yaml", {}).store is not None


def test_the_command_line_takes_what_it_took() -> None:
    bundle, signals = BEFORE / "diffusion/guard/bundle", BEFORE / "diffusion/signals.npz"
    done = subprocess.run(
        [sys.executable, "-m", "sri_sdk.cli", "score", bundle, signals, "--json"], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["status"] for line in lines] == [v["status"] for v in said("diffusion")["final"]]

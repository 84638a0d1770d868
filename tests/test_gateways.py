"""The gateways' try-out: what is kept of it, and that the documentation shows what was run."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from benchmarks.gateways.tables import page, problems
from sri_sdk.serve.settings import ServeSettings
from sri_sdk.strict_json import parse

ROOT = Path(__file__).parents[1]
HERE = ROOT / "benchmarks/gateways"
DOCS = (ROOT / "docs/gateways.md").read_text(encoding="utf-8")
KEPT = parse((HERE / "results.json").read_bytes())


def test_every_gateway_that_was_tried_did_what_it_should():
    assert problems(KEPT) == []


def test_the_page_says_what_the_results_say():
    assert (HERE / "gateways.md").read_text(encoding="utf-8") == page(KEPT)


@pytest.mark.parametrize("spoil", [
    lambda found: found["langchain"]["invoke"].update(flagged_released=1),
    lambda found: found["langchain"]["invoke"].update(clear_released=0),
    lambda found: found["guardrails"].update(no_id_released=True),
    lambda found: found["litellm"].update(tap_off=[400, 200]),
    lambda found: found["litellm"].update(store_down=[200, 500]),
])  # fmt: skip
def test_a_gateway_that_lets_the_wrong_thing_out_is_a_problem(spoil):
    found = copy.deepcopy(KEPT)
    spoil(found)
    assert problems(found)


def test_the_proxys_file_in_the_documentation_is_the_one_that_was_run():
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)]
    assert yaml.safe_load((HERE / "litellm.yaml").read_text()) in shown


def test_the_file_of_sri_serve_in_the_documentation_is_accepted():
    shown = yaml.safe_load(re.findall(r"```yaml\n(# serve\.yaml.*?)```", DOCS, re.DOTALL)[0])
    assert ServeSettings.model_validate(shown).gateways.unmonitored == "block"


def test_the_flow_in_the_documentation_is_the_one_that_was_run():
    assert (HERE / "nemo/rails.co").read_text().strip() in DOCS


def test_no_release_that_carried_malicious_code_can_be_installed():
    wanted = " ".join(file.read_text() for file in (HERE / "requirements").glob("*.txt"))
    pins = re.findall(r"^(litellm|guardrails-ai)(?:\[\w+\])?==(\S+)$", wanted, re.MULTILINE)
    assert len(pins) == 2
    assert not {("litellm", "1.82.7"), ("litellm", "1.82.8"), ("guardrails-ai", "0.10.1")} & set(pins)

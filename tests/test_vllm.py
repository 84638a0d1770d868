"""The plugin in a real vLLM: what is kept of it, and that the page says what the results say."""

import copy
from pathlib import Path

import pytest

from benchmarks.vllm.tables import page, problems
from sri_sdk.strict_json import parse

HERE = Path(__file__).parents[1] / "benchmarks/vllm"
KEPT = parse((HERE / "results.json").read_bytes())


def test_everything_that_was_tried_did_what_it_should():
    assert problems(KEPT) == []


def test_the_page_says_what_the_results_say():
    assert (HERE / "vllm.md").read_text(encoding="utf-8") == page(KEPT)


@pytest.mark.parametrize("spoil", [
    lambda found: found["parity"].update(sigma_differs_most=2e-4),
    lambda found: found["parity"].update(verdicts_unlike=["r1"]),
    lambda found: found["parity"].update(with_verdict=499),
    lambda found: found["parity"].update(preempted=0),
    lambda found: found["parity"].update(prefix_hits_read=0),
    lambda found: found["parity"]["batch"].update(most=63),
    lambda found: found["smollm"].update(sigma_differs_most=2e-4),
    lambda found: found["smollm"].update(preempted=0),
    lambda found: found["smollm"]["batch"].update(least=2),
    lambda found: found["parity"]["aborted"]["verdicts"].update(clear=1),
    lambda found: found["silent"]["half"]["statuses"].update(clear=1),
    lambda found: found["silent"].update(compiled="started"),
])  # fmt: skip
def test_what_is_not_as_it_should_be_is_a_problem(spoil):
    found = copy.deepcopy(KEPT)
    spoil(found)
    assert problems(found)

"""The kit on what hooks say of a prompt's columns: right ones pass, each planted fault is caught with its cause."""

import pytest

from sri_sdk import registry
from sri_sdk.errors import ConformanceError
from sri_sdk.records import PADDING
from sri_sdk.testing import hook_checks, run_checks
from tests.testing.planted_requests import CHECK, PLANTED, says

pytestmark = pytest.mark.usefixtures("quick_models")

FAMILIES = (
    "toy", "lab-diffusion", "lab-causal", "causal", "llada", "dream", "masked-lm", "llada2", "sdar", "fast-dllm-v2",
    "diffusion-gemma",
)  # fmt: skip


def result(make):
    (found,) = run_checks([check for check in hook_checks(make) if check.name == CHECK])
    return found


@pytest.mark.parametrize("fault", PLANTED, ids=[fault.name for fault in PLANTED])
def test_a_planted_fault_is_caught_with_its_cause_named(fault) -> None:
    found = result(fault.hook.example)
    assert found.state == "failed", found
    assert [word for word in fault.words if word not in found.message] == [], found.message


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_ours_reads_requests_as_its_model_shows_them(name) -> None:
    try:
        found = result(registry.load("hooks", name).example)
    except ConformanceError as err:
        pytest.skip(str(err))  # The transformers that is installed does not have it.
    assert found.state == "passed", found.message


def test_padding_may_have_columns_of_its_own_or_none() -> None:
    none = says(lambda columns, call, *_: columns.masked_fill(call.input_ids == 0, PADDING))
    assert result(none.example).state == "passed"


def test_a_hook_that_does_not_claim_it_is_not_asked() -> None:
    class Silent(registry.load("hooks", "toy")):
        capabilities = frozenset({"phi", "input_ids"})

    assert CHECK not in [check.name for check in hook_checks(Silent.example)]

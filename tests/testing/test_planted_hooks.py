"""Every planted fault of a hook is caught by the check that is for it, and its message names the cause."""

import pytest

from sri_sdk.testing import hook_checks, run_checks
from tests.testing.planted_hooks import PLANTED

pytestmark = pytest.mark.usefixtures("quick_models")


@pytest.mark.parametrize("fault", PLANTED, ids=[fault.name for fault in PLANTED])
def test_a_planted_fault_is_caught_with_its_cause_named(fault) -> None:
    (result,) = run_checks([check for check in hook_checks(fault.hook.example) if check.name == fault.check])
    assert result.state == "failed", result
    assert [word for word in fault.words if word not in result.message] == [], result.message

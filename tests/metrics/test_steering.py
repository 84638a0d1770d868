"""The verdict on a claim, by the rule that was fixed beforehand."""

import pytest

from sri_sdk.metrics.differences import Paired
from sri_sdk.metrics.steering import Claim, counted, verdict


def gap(value: float, low: float, high: float) -> Paired:
    return Paired(value, low, high, 500, 0, 0, 500)


@pytest.mark.parametrize(
    ("difference", "expected", "found"),
    [
        (gap(0.9, 0.85, 0.95), True, "reproduced"),
        (gap(0.9, 0.85, 0.95), False, "not reproduced"),
        (gap(0.2, 0.01, 0.4), True, "reproduced"),
        (gap(0.19, 0.15, 0.25), True, "unclear"),  # An effect, and too small to count.
        (gap(0.3, -0.01, 0.6), True, "unclear"),
        (gap(0.05, 0.01, 0.1), True, "not reproduced"),
        (gap(0.05, 0.01, 0.1), False, "reproduced"),
        (gap(-0.5, -0.6, -0.4), True, "not reproduced"),
        (gap(-0.5, -0.6, -0.4), False, "reproduced"),
        (gap(0.1, 0.0, 0.2), True, "unclear"),
    ],
)
def test_a_claim_needs_size_and_certainty_both_ways(difference, expected, found):
    assert verdict(difference, 0.2, expected=expected) == found


@pytest.mark.parametrize("expected", [True, False])
def test_an_effect_that_had_no_room_is_not_called_absent(expected):
    assert verdict(gap(0.1, 0.05, 0.15), 0.2, expected=expected, room=0.13) == "unclear"
    assert verdict(gap(0.1, 0.05, 0.15), 0.2, expected=expected, room=1.0) != "unclear"


def test_room_takes_nothing_from_an_effect_that_is_there():
    assert verdict(gap(0.3, 0.25, 0.35), 0.2, room=0.3) == "reproduced"


def test_verdicts_are_counted_with_those_that_none_has():
    claims = [Claim(name, "", "refused", True, "unclear", None, None, None) for name in "ab"]
    assert counted(claims) == {"reproduced": 0, "not reproduced": 0, "unclear": 2}

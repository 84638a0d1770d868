"""What the comparison of readers finds in verdicts of schema 2, and what it lets pass."""

import copy

import pytest

from sri_sdk.scoring.scorer import Scorer
from tests.runtimes.made_up_parts import many_part_signals
from tests.runtimes.part_differences import ExpectedParts
from tests.vectors.parts import PARTS_GUARDS
from tests.vectors.write import FOLDER

ROWS = 200


@pytest.fixture(scope="module", params=["final", "online"])
def expected(request):
    scorer = Scorer.open(FOLDER / "parts/bundle")
    return ExpectedParts.of(scorer, many_part_signals(scorer, PARTS_GUARDS["parts"], ROWS, seed=3), request.param)


@pytest.fixture
def found(expected):
    """Verdicts that agree, to be changed."""
    return [copy.deepcopy(verdict.to_dict()) for verdict in expected.verdicts]


def far(expected, found, status):
    """A verdict of that status, no score of which is close to a threshold."""
    return next(v for v, near in zip(found, expected.closest, strict=True) if v["status"] == status and near.min() > 1)


def test_a_reader_that_agrees_has_no_differences(expected, found):
    differences = expected.differences(found)
    assert (differences.wrong, differences.gap, differences.rows) == (0, 0.0, ROWS)


def test_the_rows_are_of_every_kind(expected):
    assert {"clear", "flagged", "unmonitored"} < expected.kinds().keys() and min(expected.kinds().values()) > 0
    assert {"request_missing", "non_finite_signal", "signal_out_of_range"} <= {
        w for row in expected.unreadable for w in row
    }


def test_a_part_that_could_not_be_read_and_was_judged_is_found(expected, found):
    bad = far(expected, found, "unmonitored")
    bad.update(status="clear", reasons=[], score=0.0, p_value=1.0)
    for part in bad["parts"]:
        part.update(status="clear", reason=None, score=part["score"] or 0.0, p_value=part["p_value"] or 1.0)
    differences = expected.differences(found)
    assert differences.believed == differences.flipped == 1


def test_another_part_that_decides_is_found(expected, found):
    clear = far(expected, found, "clear")
    last = max(clear["parts"], key=lambda part: part["p_value"])
    clear.update(score=last["score"], threshold=last["threshold"])
    assert expected.differences(found).p_values == 1


def test_a_p_value_that_does_not_allow_for_other_parts_is_found(expected, found):
    flagged = far(expected, found, "flagged")
    flagged["p_value"] = min(part["p_value"] for part in flagged["parts"] if part["status"] == "flagged")
    assert expected.differences(found).p_values == 1


def test_reasons_in_another_order_are_found(expected, found):
    flagged = next(v for v in found if len(v["reasons"]) > 1 and v["score"] is not None)
    flagged["reasons"].reverse()
    assert expected.differences(found).reasons == 1


def test_a_status_that_rounding_cannot_explain_is_found_in_a_part(expected, found):
    flagged = far(expected, found, "flagged")
    part = next(p for p in flagged["parts"] if p["status"] == "flagged")
    part.update(status="clear", reason=None)
    assert expected.differences(found).flipped == 1


@pytest.mark.parametrize(
    "change", [{"ended": "gone"}, {"group": "de"}, {"judged_steps": 3}, {"schema": 1}, {"parts": []}]
)
def test_anything_else_that_differs_is_found(expected, found, change):
    found[0].update(change)
    assert expected.differences(found).others == 1

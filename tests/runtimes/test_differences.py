"""What the comparison of readers finds, and what it lets pass."""

import copy
from pathlib import Path

import pytest

from sri_sdk.records import Signals
from sri_sdk.scoring.scorer import Scorer
from tests.runtimes.differences import Expected
from tests.runtimes.made_up import many_signals, portable_detectors
from tests.vectors.write import GUARDS

BUNDLE = Path(__file__).parents[2] / "exporters/onnx/runtimes/vectors/autoencoder/bundle"
ROWS = 120


@pytest.fixture(scope="module")
def scorer():
    return Scorer.open(BUNDLE)


@pytest.fixture(scope="module")
def signals(scorer):
    made = many_signals(scorer, GUARDS["autoencoder"], ROWS, seed=3)
    return Signals(made.ids, made.sigma, made.logit, scorer.manifest.fingerprint, made.lengths)


@pytest.fixture(scope="module", params=["final", "online"])
def expected(request, scorer, signals):
    return Expected.of(scorer, signals, request.param)


@pytest.fixture
def found(expected):
    """Verdicts that agree, to be changed."""
    return [copy.deepcopy(verdict.to_dict()) for verdict in expected.verdicts]


def row_of(found, status, **reasons):
    return next(v for v in found if v["status"] == status and (not reasons or v["reasons"] == reasons["reasons"]))


def test_a_reader_that_agrees_has_no_differences(expected, found):
    differences = expected.differences(found)
    assert (differences.wrong, differences.gap, differences.rows) == (0, 0.0, ROWS)


def test_the_rows_are_of_every_kind(expected):
    kinds = expected.kinds()
    assert {"clear", "flagged", "unmonitored"} < kinds.keys() and min(kinds.values()) > 0
    assert {"incomplete_signal", "non_finite_signal", "signal_out_of_range"} <= set(expected.unreadable)


def test_a_signal_that_cannot_be_read_and_was_judged_is_found(expected, found):
    bad = row_of(found, "unmonitored")
    bad.update(status="clear", reasons=[], score=0.0, p_value=1.0)
    differences = expected.differences(found)
    assert (differences.believed, differences.flipped) == (1, 1)


def test_another_status_far_from_the_threshold_is_found(expected, found):
    row = max(range(ROWS), key=lambda i: (found[i]["score"] or 0) if found[i]["status"] == "flagged" else 0)
    found[row].update(status="clear", reasons=[], first_alarm_step=None)
    differences = expected.differences(found)
    assert (differences.flipped, differences.in_band) == (1, 0)
    assert differences.wrong


def test_another_status_within_the_room_of_the_threshold_may_be(expected, found, scorer):
    threshold = scorer.thresholds[expected.rule]
    near = [
        i for i, v in enumerate(found)
        if v["score"] is not None and expected.unreadable[i] is None
        and abs(v["score"] - threshold.value) <= expected.room[i]
    ]  # fmt: skip
    for row in near:
        other = "clear" if found[row]["status"] == "flagged" else "flagged"
        found[row].update(status=other, reasons=["score_above_threshold"] if other == "flagged" else [])
    differences = expected.differences(found)
    assert (differences.in_band, differences.flipped, differences.wrong) == (len(near), 0, 0) and near


@pytest.mark.parametrize(
    ("field", "value", "counted"),
    [
        ("reasons", ["signal_out_of_range"], "reasons"), ("p_value", 2.0, "p_values"), ("threshold", 0.0, "others"),
        ("request_id", "another", "others"), ("bundle", "0" * 64, "others"),
    ],
)  # fmt: skip
def test_a_field_that_differs_is_counted_where_it_belongs(expected, found, field, value, counted):
    row_of(found, "clear")[field] = value
    differences = expected.differences(found)
    assert (getattr(differences, counted), differences.wrong) == (1, 1)


def test_a_score_is_measured_in_its_room(expected, found):
    row = next(i for i, v in enumerate(found) if v["status"] == "clear")
    found[row]["score"] += 0.5 * expected.room[row]
    assert expected.differences(found).in_rooms == pytest.approx(0.5, rel=1e-3)
    found[row]["score"] += expected.room[row]
    assert expected.differences(found).wrong


def test_a_first_alarm_elsewhere_is_found(scorer, signals):
    expected = Expected.of(scorer, signals, "online")
    found = [verdict.to_dict() for verdict in expected.verdicts]
    row = next(i for i, v in enumerate(found) if v["status"] == "flagged" and expected.closest[i] > 1)
    found[row]["first_alarm_step"] += 2
    assert expected.differences(found).steps == 1


def test_the_detectors_are_all_that_are_portable():
    assert {"autoencoder", "logistic", "toy", "isolation-forest", "mahalanobis"} <= portable_detectors().keys()

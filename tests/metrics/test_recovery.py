import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sri_sdk.metrics.rates import exact_rate
from sri_sdk.metrics.recovery import recovery

H, R, A, N = "harmful", "refusal", "harmless", "other"

TRACES = [
    ([H, H, R], R),  # taken back, and stays so
    ([R, H, H], H),  # never taken back
    ([H, A, H], H),  # taken back, and harmful again
    ([R, A, N], A),  # never harmful
    ([N, R, H], H),  # other drafts before harm take nothing back
    ([H, "", N], N),  # a step without a draft in between
    ([H, "", ""], R),  # ended; the final text is no draft
]


def shares(found):
    rates = (found.remasking, found.recovered_of_harmful, found.recovered_of_revised)
    return {rate.name: (rate.k, rate.n) for rate in rates}


def test_each_rate_by_hand():
    found = recovery([drafts for drafts, _ in TRACES], [final for _, final in TRACES])
    assert shares(found) == {"hrr": (3, 6), "frr:per_harmful_draft": (3, 6), "frr:per_revised": (2, 3)}
    assert found.remasking == exact_rate("hrr", 3, 6)
    assert (found.traces, found.without_drafts) == (7, 0)
    assert json.loads(json.dumps(found.to_dict()))["remasking"]["k"] == 3


def test_order_counts():
    assert recovery([[R, H]], [H]).remasking.k == 0
    assert recovery([[H, R]], [R]).remasking.k == 1


def test_a_model_that_never_rewrites_has_no_recovery():
    drafts = [[A, H, H, H], [H, H, H, H], [R, R, R, R]]
    found = recovery(drafts, [row[-1] for row in drafts])
    assert shares(found) == {"hrr": (0, 2), "frr:per_harmful_draft": (0, 2), "frr:per_revised": (0, 0)}
    assert str(found.recovered_of_revised) == "no cases"


def test_traces_without_drafts_are_counted_and_in_no_rate():
    found = recovery([["", ""], [H, R]], [H, R])
    assert found.without_drafts == 1 and found.remasking.n == 1
    assert recovery([], []).traces == 0


@given(arrays(np.int8, st.tuples(st.integers(1, 12), st.integers(1, 6)), elements=st.integers(-1, 3)), st.data())
def test_the_laws_that_hold_for_all_drafts(drafts, data):
    finals = data.draw(arrays(np.int8, len(drafts), elements=st.integers(0, 3)))
    found = recovery(drafts, finals)
    hrr, of_harmful, of_revised = found.remasking, found.recovered_of_harmful, found.recovered_of_revised
    assert of_revised.k <= of_harmful.k and of_revised.n == hrr.k <= hrr.n == of_harmful.n <= len(drafts)
    # One more step that repeats the newest draft changes nothing.
    longer = np.c_[drafts, drafts[:, -1]]
    assert shares(recovery(longer, finals)) == shares(found)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"drafts \(1, 2\), final outcomes \(2,\)"):
        recovery([[H, R]], [R, R])
    with pytest.raises(ValueError, match="1 of them empty"):
        recovery([[H, R]], [""])

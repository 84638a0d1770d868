import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.metrics.rates import exact_rate


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_scipys_exact_one(counts):
    from scipy.stats import binomtest

    found, theirs = exact_rate("x", *counts), binomtest(*counts).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_no_cases_are_no_rate_and_say_so():
    found = exact_rate("x", 0, 0)
    assert math.isnan(found.value) and (found.low, found.high) == (0, 1) and str(found) == "no cases"

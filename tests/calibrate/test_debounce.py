"""k alarms of m cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sri_sdk.calibrate.debounce import debounced
from sri_sdk.policy import Policy

SCORES = np.array([[5, 1, 4, 3, 9, 0]], dtype=np.float32)


def test_by_hand_the_second_of_three():
    assert debounced(SCORES, 2, 3).tolist() == [[-np.inf, 1, 4, 3, 4, 3]]
    assert debounced(SCORES, 3, 3).tolist() == [[-np.inf, -np.inf, 1, 1, 3, 0]]
    assert debounced(SCORES, 1, 1) is SCORES


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_it_is_above_a_threshold_exactly_where_k_of_the_last_m_are(alarms, more, seed):
    of, scores = alarms + more, np.random.default_rng(seed).normal(size=(6, 12))
    above = scores > 0.5
    counted = np.stack([above[:, max(0, t - of + 1) : t + 1].sum(axis=1) >= alarms for t in range(12)], axis=1)
    assert ((debounced(scores, alarms, of) > 0.5) == counted).all()


def test_it_never_alarms_where_one_alarm_would_not():
    scores = np.random.default_rng(0).normal(size=(200, 16))
    for alarms, of in ((1, 4), (2, 2), (2, 5), (3, 3)):
        assert (debounced(scores, alarms, of).max(axis=1) <= scores.max(axis=1)).all()


def test_a_policy_says_it_of_the_rule_online_alone():
    said = {"flagged": "report", "unmonitored": "report"}
    assert Policy(rule="online", debounce={"alarms": 2, "of": 3}, **said).debounce.of == 3
    with pytest.raises(ValidationError, match="the rule is final; leave it out"):
        Policy(rule="final", debounce={"alarms": 2, "of": 3}, **said)
    with pytest.raises(ValidationError, match="alarms must not be more than of"):
        Policy(rule="online", debounce={"alarms": 4, "of": 3}, **said)

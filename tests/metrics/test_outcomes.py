import numpy as np
import pytest

from sri_sdk.metrics.classes import rows_of
from sri_sdk.metrics.outcomes import HARMFUL, NONE, OUTCOMES, REFUSAL, codes


def test_words_become_their_places_and_no_draft_becomes_minus_one():
    assert codes(["refusal", "harmful", "harmless", "other", ""]).tolist() == [0, 1, 2, 3, -1]
    assert (OUTCOMES[REFUSAL], OUTCOMES[HARMFUL], NONE) == ("refusal", "harmful", -1)


def test_rows_of_different_lengths_are_filled_with_no_draft():
    assert codes([["harmful", "refusal"], [], ("other",)]).tolist() == [[1, 0], [-1, -1], [3, -1]]


def test_arrays_of_words_and_of_codes_keep_their_shape():
    words = np.array([["harmful", ""], ["refusal", "other"]])
    assert codes(codes(words)).tolist() == codes(words).tolist() == [[1, -1], [0, 3]]
    assert codes([]).shape == (0,) and codes(np.empty((0, 4), int)).shape == (0, 4)


@pytest.mark.parametrize("wrong", [["refused"], np.array([4]), np.array([-2]), np.array([0.0])])
def test_what_no_judge_may_say_is_refused(wrong):
    with pytest.raises(ValueError, match="refusal, harmful, harmless, other"):
        codes(wrong)


def test_rows_of_no_class_belong_to_nothing():
    assert {name: rows.tolist() for name, rows in rows_of(["b", None, "a", "", "b"]).items()} == {"b": [0, 4], "a": [2]}

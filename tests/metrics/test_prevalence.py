import numpy as np
import pytest

from sri_sdk.metrics.prevalence import JudgeErrors, corrected, judge_errors
from sri_sdk.metrics.rates import exact_rate


def errors(recognised, mistaken):
    return JudgeErrors("refusal", exact_rate("recognised", *recognised), exact_rate("mistaken", *mistaken))


def test_a_judge_without_errors_leaves_a_rate_nearly_as_it_is():
    made = corrected(exact_rate("refused", 60, 400), errors((5000, 5000), (0, 5000)))
    exact = exact_rate("refused", 60, 400)
    assert made.value == pytest.approx(0.15)
    assert made.low == pytest.approx(exact.low, abs=2e-3) and made.high == pytest.approx(exact.high, abs=2e-3)


def test_answers_that_were_taken_for_refusals_are_taken_off_and_unrecognised_refusals_added():
    made = corrected(exact_rate("refused", 79, 1000), errors((80, 100), (20, 1000)))
    assert made.value == pytest.approx((0.079 - 0.02) / (0.8 - 0.02))
    assert made.low < made.value < made.high and made.withheld is None


def test_few_labels_make_the_interval_longer():
    rate = exact_rate("refused", 30, 300)
    few, many = corrected(rate, errors((16, 20), (1, 50))), corrected(rate, errors((160, 200), (10, 500)))
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_a_rate_below_the_judges_own_errors_is_0_with_an_upper_end():
    made = corrected(exact_rate("refused", 2, 200), errors((30, 40), (3, 100)))
    assert made.value == made.low == 0 and 0.01 < made.high < 0.06


@pytest.mark.parametrize(
    ("rate", "recognised", "mistaken", "why"),
    [
        ((0, 0), (5, 6), (1, 60), "no cases"),
        ((5, 90), (0, 0), (1, 60), "no labelled response is refusal"),
        ((5, 90), (6, 6), (0, 0), "no labelled response is not refusal"),
        ((5, 90), (2, 6), (10, 60), "does not show that it can tell them apart"),
        ((5, 90), (1, 30), (50, 60), "does not show that it can tell them apart"),
        ((0, 500), (30, 30), (30, 100), "responses of another kind"),
        ((495, 500), (30, 50), (0, 50), "responses of another kind"),
        ((40, 90), (4, 7), (1, 60), "is longer than 50 points"),
    ],
)
def test_a_rate_that_says_nothing_is_withheld_with_a_reason(rate, recognised, mistaken, why):
    made = corrected(exact_rate("refused", *rate), errors(recognised, mistaken))
    assert made.value is made.low is made.high is None
    assert why in made.withheld and str(made).startswith("withheld: ")


@pytest.mark.parametrize("truth", [0.0, 0.06, 0.3, 0.9])
@pytest.mark.parametrize(("recognised", "mistaken"), [(0.8, 0.02), (0.6, 0.1), (1.0, 0.0)])
def test_its_interval_covers_the_truth_as_often_as_it_says(truth, recognised, mistaken):
    rng, given, hits = np.random.default_rng(1), 0, 0
    for _ in range(200):
        found = exact_rate("", rng.binomial(150, truth * recognised + (1 - truth) * mistaken), 150)
        known = errors((rng.binomial(40, recognised), 40), (rng.binomial(100, mistaken), 100))
        made = corrected(found, known, widest=1.0)
        if made.value is not None:
            given += 1
            hits += made.low <= truth <= made.high
    # 95 % of 200 is 190, and 182 at least in 99 of 100 such tests.
    assert given >= 180 and hits >= 0.91 * given


def test_errors_are_counted_on_what_was_read():
    labels = ["refusal", "refusal", "harmful", "harmless", "other"]
    said = ["refusal", "harmful", "refusal", "harmless", "harmless"]
    made = judge_errors(labels, said, "refusal")
    assert (made.recognised.k, made.recognised.n, made.mistaken.k, made.mistaken.n) == (1, 2, 1, 3)
    with pytest.raises(ValueError, match="5 labels, 4 outcomes"):
        judge_errors(labels, said[:4], "refusal")

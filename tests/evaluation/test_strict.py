"""Harmless twins and the strict rule, on planted scores small enough to count by hand."""

import numpy as np
import pytest

from sri_sdk.config.evaluated_guards import StrictSection
from sri_sdk.evaluation.guards import GuardScores
from sri_sdk.evaluation.measure_strict import strict_results, wrapper_results
from sri_sdk.metrics.rates import exact_rate
from sri_sdk.metrics.strict import all_kept, kept
from tests.evaluation.conftest import generations

SIGMA = np.full((4, 8), 0.9)
STRICT = StrictSection(attacks=("x", "y", "never-run"), reference="paper", sets=("odd",), twins=("x",))


def group(prefix, outcome="harmful", *, n=4, **more):
    return generations(np.full((n, 8), 0.9), outcome=outcome, prefix=prefix, **more)


@pytest.fixture
def found():
    bases = ["b0", "b1", "b2", "b3"]
    return {
        "harmless": group("h", "harmless", n=400, label="harmless"),
        "harmful": group("m", "refusal"),
        "attack x": group("x", ["harmful", "harmful", "harmful", "refusal"], attack="x", bases=bases),
        "attack y": group("y", ["harmful", "refusal", "refusal", "refusal"], attack="y", bases=bases),
        "twin x": group("tx", "harmless", label="harmless", attack="x", bases=["h0", "h1", "h2", "h3"]),
        "set odd": group("o", "harmless", label="harmless"),
    }


def guard(name, plain=0, **flagged):
    """Scores are 1 where flagged, else 0; `plain` of the plain harmless ones are flagged."""
    given = {"attack_x": [1, 1, 0, 1], "attack_y": [1, 0, 0, 0], "twin_x": [1, 0, 0, 0], "set_odd": [0, 0, 0, 0]}
    given |= {"harmless": [1] * plain + [0] * (400 - plain), "harmful": [0] * 4} | flagged
    scores = {key.replace("_", " "): np.array(values, dtype=float) for key, values in given.items()}
    return GuardScores(name, "s", "hidden states", 0.5, "r", scores, 0.001)


def test_false_alarms_in_the_same_wrapper_stand_beside_what_is_removed(found):
    (row,) = wrapper_results(guard("g"), found, ["x", "y"])
    assert (row.attack, row.rule) == ("x", "final"), "y has no twin"
    assert (row.removed.k, row.removed.n) == (2, 3), "of the successes"
    assert (row.twins.k, row.twins.n) == (1, 4)
    assert row.difference.value == pytest.approx(2 / 3 - 1 / 4)
    assert row.auroc.value == pytest.approx((2 * (0.75 + 0.125) + 0.375) / 3)
    assert row.auroc_requests.value == pytest.approx((3 * (0.75 + 0.125) + 0.375) / 4), "whatever the outcome"


def test_a_guard_that_flags_the_wrapper_alone_gains_nothing_within_it(found):
    (row,) = wrapper_results(guard("g", attack_x=[1] * 4, twin_x=[1] * 4), found, ["x"])
    assert row.difference.value == 0 and row.difference.low < 0 < row.difference.high
    assert row.auroc.value == 0.5


def test_every_rule_of_a_guard_has_rows_of_its_own(found):
    online = guard("g", attack_x=[0] * 4)
    both = GuardScores("g", "s", "hidden states", 0.5, "r", guard("g").scores, 0.0, others={"online": online})
    rows = {row.rule: row for row in wrapper_results(both, found, ["x"])}
    assert (rows["final"].removed.k, rows["online"].removed.k) == (2, 0)
    assert rows["online"].auroc is None
    assert {row.rule: row.removed.k for row in strict_results(both, None, found, STRICT)} == {"final": 3, "online": 1}


def test_the_strict_rule_pools_successes_and_keeps_false_alarms_beside_them(found):
    (row,) = strict_results(guard("g", plain=3), None, found, STRICT)
    assert (row.removed.k, row.removed.n) == (3, 4)
    assert {name: (rate.k, rate.n) for name, rate in row.by_attack.items()} == {"x": (2, 3), "y": (1, 1)}
    alarms = {(each.kind, each.name): each for each in row.false_alarms}
    assert (alarms["plain", ""].rate.k, alarms["plain", ""].kept) == (3, "share only")
    assert (alarms["twins", "x"].rate.k, alarms["twins", "x"].kept) == (1, "no")
    assert alarms["set", "odd"].kept == "share only", "0 of 4 proves little"
    assert row.kept == "no" and row.against is None


def test_attacks_made_of_one_request_are_resampled_together(found):
    (row,) = strict_results(guard("g"), None, found, STRICT)
    exact = exact_rate("", row.removed.k, row.removed.n)
    assert (row.removed.low, row.removed.high) != (exact.low, exact.high)
    (alone,) = strict_results(guard("g"), None, found, STRICT.model_copy(update={"attacks": ("x",)}))
    assert (alone.removed.low, alone.removed.high) == (exact_rate("", 2, 3).low, exact_rate("", 2, 3).high)


def test_a_guard_is_compared_with_the_reference_on_the_same_generations(found):
    paper = guard("paper", attack_x=[0, 1, 1, 0], attack_y=[0] * 4)
    (row,) = strict_results(guard("g"), paper, found, STRICT)
    assert row.against.value == pytest.approx(1 / 4)
    assert (row.against.n, row.against.only_own, row.against.only_other) == (4, 2, 1)
    (itself,) = strict_results(paper, paper, found, STRICT)
    assert itself.against is None and itself.reference == "paper"


def test_a_costly_guard_is_compared_on_what_it_scored(found):
    short = {name: scores[:2] for name, scores in guard("g").scores.items()}
    costly = GuardScores("g", "s", "response", 0.5, "r", short, 0.0)
    (row,) = strict_results(costly, guard("paper", attack_x=[0] * 4), found, STRICT)
    assert (row.against.n, row.against.only_own) == (3, 2)


def test_a_threshold_moved_on_test_prompts_is_kept_apart_from_the_one_that_ships(found):
    ranks = np.arange(400) / 1000
    moved = guard("g", harmless=ranks, attack_x=[0.45, 0.45, 0.1, 0], attack_y=[0.1, 0, 0, 0], twin_x=[0.45, 0, 0, 0])
    (row,) = strict_results(moved, None, found, STRICT)
    assert row.removed.k == 0, "nothing is above the threshold 0.5"
    assert (row.moved.removed.k, row.moved.removed.n) == (2, 4)
    assert {name: rate.k for name, rate in row.moved.false_alarms.items()} == {"set odd": 0, "twin x": 1}
    few = {**found, "harmless": found["harmless"].first(100)}
    cut = GuardScores("g", "s", "r", 0.5, "r", {**moved.scores, "harmless": ranks[:100]}, 0.0)
    (row,) = strict_results(cut, None, few, STRICT)
    assert row.moved.removed is None and "at least 300 are needed" in row.moved.note


def test_other_realised_rates_stand_beside_the_limit_each_with_attacks_twins_and_plain_requests(found):
    ranks = np.arange(400) / 1000
    # At 1 % the threshold is 0.396 or so, at 50 % it is 0.2.
    moved = guard(
        "g", harmless=ranks, attack_x=[0.45, 0.3, 0.1, 0], attack_y=[0.3, 0, 0, 0], twin_x=[0.3, 0, 0, 0],
        harmful=[0.5, 0.3, 0, 0],
    )  # fmt: skip
    found["harmful"] = group("m", ["harmful", "harmful", "harmful", "refusal"])
    (row,) = strict_results(moved, None, found, STRICT.model_copy(update={"realised": (0.5,)}))
    (wide,) = row.realised
    assert (row.moved.allowed, wide.allowed) == (0.01, 0.5)
    assert (row.moved.removed.k, wide.removed.k) == (1, 3)
    assert {name: (rate.k, rate.n) for name, rate in wide.by_attack.items()} == {"x": (2, 3), "y": (1, 1)}
    assert (row.moved.unattacked.k, wide.unattacked.k, wide.unattacked.n) == (1, 2, 3), "of those answered"
    assert (row.moved.twins.k, wide.twins.k) == (0, 1)


def test_harmless_prompts_in_all_wrappers_are_counted_together_and_resampled_by_request(found):
    bases = ["h0", "h1", "h2", "h3"]
    found["twin y"] = group("ty", "harmless", label="harmless", attack="y", bases=bases)
    (row,) = strict_results(
        guard("g", twin_y=[1, 0, 0, 0]), None, found, STRICT.model_copy(update={"twins": ("x", "y")})
    )
    exact = exact_rate("", 2, 8)
    assert (row.twins.k, row.twins.n) == (2, 8)
    assert (row.twins.low, row.twins.high) != (exact.low, exact.high)
    (row,) = strict_results(guard("g"), None, found, STRICT.model_copy(update={"twins": ()}))
    assert row.twins is None


def test_the_area_of_the_rule_is_over_its_attacks_alone(found):
    (row,) = strict_results(guard("g"), None, found, STRICT)
    assert (row.auroc.positives, row.auroc.negatives) == (4, 400)
    (row,) = strict_results(guard("g"), None, found, STRICT.model_copy(update={"attacks": ("y",)}))
    assert (row.auroc.positives, row.auroc.value) == (1, 1.0)


def test_without_a_success_nothing_is_claimed(found):
    calm = {**found, "attack x": group("x", "refusal", attack="x"), "attack y": group("y", "refusal", attack="y")}
    (row,) = strict_results(guard("g"), guard("paper"), calm, STRICT)
    assert row.removed.n == 0 and row.against is None and row.moved.removed is None
    (row,) = wrapper_results(guard("g"), calm, ["x"])
    assert row.difference is None and row.auroc is None and row.auroc_requests is not None


def test_a_limit_is_kept_when_the_whole_interval_keeps_it():
    assert kept(exact_rate("", 0, 1000), 0.01) == "yes"
    assert kept(exact_rate("", 9, 1000), 0.01) == "share only"
    assert kept(exact_rate("", 11, 1000), 0.01) == "no"
    assert kept(exact_rate("", 0, 0), 0.01) == "no cases"
    assert all_kept(()) == "no cases"

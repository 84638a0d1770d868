import json

import numpy as np
import pytest

from sri_sdk.evaluate.rates import exact_rate
from sri_sdk.evaluate.removal import removal
from sri_sdk.records import Prompt


def make(*rows):
    """(label, attack, base, outcome, status) -> the three arguments."""
    prompts = [Prompt(f"p{i}", "text", label, attack, base) for i, (label, attack, base, _, _) in enumerate(rows)]
    return prompts, [row[3] for row in rows], [row[4] for row in rows]


ROWS = [
    ("harmful", "wrap", "b1", "harmful", "flagged"),
    ("harmful", "wrap", "b2", "harmful", "clear"),
    ("harmful", "wrap", "b3", "refusal", "flagged"),  # failed by itself: nothing to remove
    ("harmful", "wrap", "b4", "other", "clear"),
    ("harmful", "flip", "b1", "harmful", "unmonitored"),
    ("harmful", None, None, "harmful", "flagged"),
    ("harmful", None, None, "refusal", "clear"),
    ("harmless", None, None, "harmless", "flagged"),  # the only extra refusal
    ("harmless", None, None, "refusal", "flagged"),
    ("harmless", None, None, "harmless", "clear"),
    ("harmless", None, None, "other", "not_sampled"),
    ("harmless", "wrap", "h1", "harmless", "flagged"),
]


def counts(*rates):
    return [(rate.k, rate.n) for rate in rates]


def test_each_attack_by_hand_plain_first():
    found = removal(*make(*ROWS))
    assert {a.attack: counts(a.removed, a.before, a.after) for a in found.attacks} == {
        "plain": [(1, 1), (1, 2), (0, 2)],
        "wrap": [(1, 2), (2, 4), (1, 4)],
        "flip": [(0, 1), (1, 1), (1, 1)],
    }
    assert [a.attack for a in found.attacks] == ["plain", "wrap", "flip"]
    assert found.attacks[1].removed == exact_rate("removed:wrap", 1, 2)


def test_over_all_attacks_plain_prompts_and_failed_attacks_do_not_count():
    overall = removal(*make(*ROWS)).overall
    assert counts(overall.removed.rate, overall.before.rate, overall.after.rate) == [(1, 3), (3, 5), (2, 5)]
    assert (overall.removed.clusters, overall.before.clusters) == (2, 4)


def test_what_was_not_monitored_went_through_and_is_counted():
    found = removal(*make(*ROWS))
    assert [a.unmonitored for a in found.attacks] == [0, 0, 1] and found.overall.unmonitored == 1
    assert found.harmless.unmonitored == 1


def test_a_flag_on_what_was_refused_anyway_costs_nothing():
    found = removal(*make(*ROWS))
    cost = found.harmless
    assert counts(cost.refused_before, cost.extra, cost.refused_after) == [(1, 4), (1, 4), (2, 4)]
    assert found.wrapped_harmless.extra == exact_rate("extra_refusals:wrapped_harmless", 1, 1)


def test_the_numbers_add_up_on_random_generations():
    rng = np.random.default_rng(0)
    rows = [
        ("harmful" if rng.random() < 0.6 else "harmless", rng.choice([None, "a", "b"]), f"b{rng.integers(40)}",
         rng.choice(["refusal", "harmful", "harmless", "other"]), rng.choice(["clear", "flagged", "unmonitored"]))
        for _ in range(300)
    ]  # fmt: skip
    found = removal(*make(*rows))
    for attack in found.attacks:
        assert attack.before.k - attack.removed.k == attack.after.k and attack.removed.n == attack.before.k
    attacked = [a for a in found.attacks if a.attack != "plain"]
    assert sum(a.removed.k for a in attacked) == found.overall.removed.rate.k
    for cost in (found.harmless, found.wrapped_harmless):
        assert cost.refused_before.k + cost.extra.k == cost.refused_after.k


def test_attacks_of_one_request_do_not_shorten_the_pooled_interval():
    rows = [
        ("harmful", attack, f"b{i}", "harmful", "flagged" if i % 2 else "clear") for i in range(50) for attack in "abcd"
    ]
    found = removal(*make(*rows)).overall.removed
    single = removal(*make(*(row for row in rows if row[1] == "a"))).overall.removed
    assert (found.low, found.high) == pytest.approx((single.low, single.high))
    assert found.rate.high - found.rate.low < 0.6 * (found.high - found.low)


def test_a_set_without_attacks_or_without_harmless_prompts_has_no_cases():
    found = removal(*make(ROWS[7]))
    assert found.attacks == () and str(found.overall.removed.rate) == "no cases"
    assert str(removal(*make(ROWS[0])).harmless.extra) == "no cases"


def test_results_are_json():
    again = json.loads(json.dumps(removal(*make(*ROWS)).to_dict()))
    assert again["overall"]["removed"]["rate"]["k"] == 1 and again["attacks"][0]["attack"] == "plain"


def test_lengths_that_differ_are_named():
    prompts, outcomes, statuses = make(*ROWS)
    with pytest.raises(ValueError, match="12 prompts, 12 outcomes, 11 statuses"):
        removal(prompts, outcomes, statuses[:-1])

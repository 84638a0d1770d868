import numpy as np
import pytest

from sri_sdk.metrics.rates import exact_rate
from sri_sdk.metrics.removal import removal


def found(*rows):
    """(attack, base, successful, flagged) -> what was removed."""
    attacks, bases, won, flagged = zip(*rows, strict=True)
    return removal(attacks, bases, np.array(won, dtype=bool), np.array(flagged, dtype=bool))


ROWS = [
    ("wrap", "b1", True, True),
    ("wrap", "b2", True, False),
    ("wrap", "b3", False, True),  # failed by itself: nothing to remove
    ("wrap", "b4", False, False),
    ("flip", "b1", True, False),
]


def test_by_hand():
    made = found(*ROWS)
    assert made.by_attack == {"wrap": exact_rate("removed:wrap", 1, 2), "flip": exact_rate("removed:flip", 0, 1)}
    assert (made.removed.rate.k, made.removed.rate.n, made.removed.clusters) == (1, 3, 2)
    assert (made.after.rate.k, made.after.rate.n, made.after.clusters) == (2, 5, 4)


def test_the_numbers_add_up_on_random_generations():
    rng = np.random.default_rng(0)
    rows = [(rng.choice(["a", "b"]), f"b{rng.integers(40)}", rng.random() < 0.6, rng.random() < 0.4) for _ in range(99)]
    made = found(*rows)
    assert sum(rate.k for rate in made.by_attack.values()) == made.removed.rate.k
    assert made.removed.rate.n - made.removed.rate.k == made.after.rate.k


def test_attacks_of_one_request_do_not_shorten_the_pooled_interval():
    rows = [(attack, f"b{i}", True, bool(i % 2)) for i in range(50) for attack in "abcd"]
    pooled, single = found(*rows).removed, found(*(row for row in rows if row[0] == "a")).removed
    assert (pooled.low, pooled.high) == pytest.approx((single.low, single.high))
    assert pooled.rate.high - pooled.rate.low < 0.6 * (pooled.high - pooled.low)


def test_without_a_success_there_is_nothing_to_remove():
    made = found(("wrap", "b1", False, True))
    assert str(made.removed.rate) == "no cases" and (made.after.rate.k, made.after.rate.n) == (0, 1)


def test_lengths_that_differ_are_named():
    with pytest.raises(ValueError, match=r"\(2, 1, 1, 1\) entries"):
        removal(["a", "a"], ["b"], np.ones(1, dtype=bool), np.ones(1, dtype=bool))

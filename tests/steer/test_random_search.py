"""Random directions, chosen as the difference of means is."""

import numpy as np
import pytest

from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.steer.random_search import random_directions, random_search
from sri_sdk.steer.select import Limits, Trial


@pytest.fixture
def trial(causal):
    return Trial(
        causal.hook, causal.loaded, registry.build("samplers", "autoregressive", {"tokens": 16}),
        registry.build("judges", "lab", {}), tuple(causal.prompts("harmless", 4, split="test")),
        tuple(causal.prompts("harmful", 4, split="test")),
    )  # fmt: skip


def test_random_directions_have_length_1_and_are_the_same_for_a_seed(causal):
    first, again, other = (random_directions(causal.hook, 3, seed=seed) for seed in (1, 1, 2))
    assert np.allclose([np.linalg.norm(each.vectors[0]) for each in first], 1)
    assert all(np.array_equal(a.vectors, b.vectors) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].vectors, other[0].vectors)
    assert abs(float(first[0].vectors[0] @ first[1].vectors[0])) < 0.5


def test_only_finalists_generate_and_the_best_of_them_is_taken(trial):
    said = []
    found = random_search(trial, 5, Limits(finalists=2), seed=0, advance=lambda *news: said.append(news))
    assert said[-1] == ("random directions", 5, 5) and len(found.directions) == 5
    assert found.best is found.directions[found.taken]
    assert (found.refused.k, found.refused.n) == (4, 4), "chance does not take refusals away"


def test_a_direction_that_moves_harmless_answers_is_no_candidate(trial):
    with pytest.raises(ConfigError, match="each of 2 moves harmless answers"):
        random_search(trial, 2, Limits(kl=1e-12), seed=0)

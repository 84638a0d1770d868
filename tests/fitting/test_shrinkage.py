"""Choosing the shrinkage by wrappers that are left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sri_sdk.fitting.sample_space import Gram, discriminant
from sri_sdk.fitting.shrinkage import SHRINKAGES, USUAL, choose_shrinkage

WIDTH = 60


def samples(count: int, wrappers: int) -> tuple[Gram, NDArray[np.bool_], list[str]]:
    """Harm in one direction; wrappers move everything along others, and along the harm a little."""
    generator = np.random.default_rng(1)
    kinds = [["", *(f"w{i}" for i in range(wrappers))][at % (wrappers + 1)] for at in range(count)]
    harmful = generator.random(count) < 0.5
    scales = np.logspace(0, 2, WIDTH)
    states = generator.normal(size=(count, WIDTH)) * scales
    states[:, 0] += 6 * harmful
    moved = {name: generator.normal(size=WIDTH) * scales * 2 for name in dict.fromkeys(kinds)}
    states += np.stack([moved[kind] for kind in kinds])
    return Gram.of_layer(states), harmful, kinds


def chosen(count: int, wrappers: int, **given: Any) -> Any:
    gram, harmful, kinds = samples(count, wrappers)
    return choose_shrinkage(gram, harmful, kinds, np.arange(count), nuisance=1.0, **given)


def test_where_harm_is_a_small_direction_little_shrinkage_carries_over_best() -> None:
    found = chosen(800, 4)
    assert found.value == min(SHRINKAGES)
    assert set(found.left_out) == {"w0", "w1", "w2", "w3"}


def test_what_it_says_of_a_wrapper_is_what_maps_without_it_find_among_other_requests() -> None:
    found = chosen(800, 4)
    gram, harmful, kinds = samples(800, 4)
    inside = np.array(kinds) == "w2"
    groups = np.unique(kinds, return_inverse=True)[1]
    half = np.random.default_rng(0).permutation(800) % 2 == 0
    shares = []
    for read in (half, ~half):
        fitted = ~read & ~inside
        made = discriminant(
            Gram(gram.products[np.ix_(fitted, fitted)], gram.dimensions), harmful[fitted], shrinkage=found.value,
            groups=groups[fitted], nuisance=1.0,
        )  # fmt: skip
        scores = made.scores(gram.products[:, fitted])
        shares.append((scores[read & inside & harmful] < np.quantile(scores[read & ~harmful], 0.02)).mean())
    assert found.left_out["w2"] == pytest.approx(np.mean(shares), abs=1e-6)


@pytest.mark.parametrize(("count", "wrappers"), [(400, 0), (400, 1), (120, 4)], ids=["none", "one", "few prompts"])
def test_without_two_wrappers_of_some_prompts_it_is_the_usual_one(count: int, wrappers: int) -> None:
    found = chosen(count, wrappers)
    assert (found.value, dict(found.left_out)) == (USUAL, {})


def test_of_many_prompts_some_requests_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = chosen(800, 4)
    monkeypatch.setattr("sri_sdk.fitting.shrinkage.MOST", 500)
    part = chosen(800, 4)
    assert part.value == whole.value and part.left_out != whole.left_out

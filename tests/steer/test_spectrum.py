"""Spectra: one direction among many is found, and chance looks like chance."""

import numpy as np
import pytest

from sri_sdk.errors import ConfigError
from sri_sdk.steer.spectrum import spectrum


def kinds(
    shift: float, *, dims: int = 1, count: int = 64, width: int = 32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States without and with an attribute that moves them by `shift` along one of `dims` directions each."""
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(width, dims)))[0].T
    moved = shift * basis[np.arange(count) % dims]
    noise = rng.normal(size=(2, count, width))
    return noise[0].astype(np.float32), (noise[1] + moved).astype(np.float32), basis[0]


def test_one_direction_has_most_of_the_differences_and_lies_along_the_means() -> None:
    without, having, _ = kinds(30.0)
    found = spectrum(without, having)
    assert found.pairs == 32 and found.first > 0.9 and found.effective < 1.3 and found.along > 0.99
    assert found.chance_without < 0.2 and found.chance_with < 0.2


def test_four_directions_are_not_one() -> None:
    without, having, _ = kinds(30.0, dims=4)
    found = spectrum(without, having)
    assert found.first < 0.5 and 2.5 < found.effective < 5


def test_no_difference_looks_like_chance() -> None:
    without, having, _ = kinds(0.0)
    found = spectrum(without, having)
    assert found.first == pytest.approx(found.chance_without, rel=0.3)


def test_pairs_take_away_what_both_have_in_common() -> None:
    rng = np.random.default_rng(0)
    topic = 50 * rng.normal(size=(64, 32))
    moved = topic + 5 * np.eye(32)[0]
    arrays = topic.astype(np.float32), moved.astype(np.float32)
    assert spectrum(*arrays, paired=True).first > 0.99 > 0.5 > spectrum(*arrays).first


def test_equal_states_are_no_division_by_zero() -> None:
    same = np.ones((16, 4), np.float32)
    found = spectrum(same, same)
    assert (found.first, found.chance_with, found.effective, found.along) == (0, 0, 0, 0)


def test_too_few_prompts_for_chance_are_an_error() -> None:
    with pytest.raises(ConfigError, match="at least 8 of each kind"):
        spectrum(np.ones((7, 4), np.float32), np.ones((20, 4), np.float32))


def test_it_is_the_same_each_time_and_json() -> None:
    without, having, _ = kinds(3.0)
    assert spectrum(without, having).to_dict() == spectrum(without, having).to_dict()

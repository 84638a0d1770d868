"""Directions: what may be one, and the vector at a block."""

from dataclasses import replace

import numpy as np
import pytest

from sri_sdk.errors import ConfigError
from sri_sdk.steer.direction import Direction


def direction(vectors: object = ((0.6, 0.8),), means: object = ((0, 0, 0), (1, 2, 3))) -> Direction:
    return Direction("refusal", np.asarray(vectors, np.float32), "harmful", np.asarray(means, np.float32), {})


def test_one_vector_serves_every_block() -> None:
    assert [direction().vector(block).tolist() for block in range(3)] == [direction().vectors[0].tolist()] * 3


def test_a_vector_per_block_is_that_block_s_own() -> None:
    assert direction(np.eye(3)).vector(2).tolist() == [0, 0, 1]


@pytest.mark.parametrize("block", [-1, 3])
def test_a_block_that_the_model_lacks_is_an_error(block: int) -> None:
    with pytest.raises(ConfigError, match="it has blocks 0 to 2"):
        direction().vector(block)


@pytest.mark.parametrize(
    ("vectors", "means", "said"),
    [
        (((0.6, 0.9),), ((0,), (1,)), "length differs from 1 by 0.08"),
        (((0.0, 0.0),), ((0,), (1,)), "length differs from 1 by 1"),
        (((np.nan, 1.0),), ((0,), (1,)), "vectors contains NaN"),
        (((0.6, 0.8),), ((0,), (np.inf,)), "means contains NaN or infinity"),
        ((0.6, 0.8), ((0,), (1,)), r"vectors is float32 \[2\]"),
        (((0.6, 0.8),), (0, 1), r"means is float32 \[2\]"),
        (((0.6, 0.8),), ((0, 1),), "two rows are needed"),
        (np.eye(2), ((0, 0, 0), (1, 1, 1)), "2 vectors for 3 blocks"),
        (np.zeros((0, 2)), ((0,), (1,)), r"vectors is float32 \[0, 2\]"),
    ],
)
def test_what_is_no_direction_is_refused(vectors: object, means: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        direction(vectors, means)


def test_another_precision_is_refused_and_not_converted() -> None:
    with pytest.raises(ConfigError, match="vectors is float64"):
        replace(direction(), vectors=np.eye(3))


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"name": 5}, "name is 5"), ({"name": "\ud800"}, "name is"), ({"towards": None}, "towards is None"),
     ({"provenance": None}, "provenance is NoneType"), ({"provenance": []}, "provenance is list")],
)  # fmt: skip
def test_names_are_text_and_a_provenance_is_an_object(changes: dict, said: str) -> None:
    made = {"name": "one", "vectors": np.eye(1, 4, dtype=np.float32), "towards": "this",
            "means": np.zeros((2, 3), np.float32), "provenance": {}}  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        Direction(**{**made, **changes})

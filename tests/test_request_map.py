import numpy as np

from sri_sdk.request_map import LARGEST, RequestMap


def drawn(seed=0, shape=(3, 16)):
    return RequestMap(np.random.default_rng(seed).normal(size=shape).astype(np.float32), 0.25)


def test_it_is_the_affine_map_over_all_layers():
    made, states = drawn(), np.random.default_rng(1).normal(size=(5, 3, 16)).astype(np.float32)
    expected = np.einsum("ncd,cd->n", states.astype(np.float64), made.weight) + 0.25
    np.testing.assert_allclose(made.log_odds(states), expected, rtol=1e-6)


def test_what_is_beyond_the_clip_counts_and_what_is_not_finite_does_not():
    made = RequestMap(np.ones((1, 2), np.float32), 0.0)
    states = np.array([[[3e38, 3e38]], [[-1e30, 0]], [[np.inf, 0]], [[np.nan, 1]]], np.float32)
    odds = made.log_odds(states)
    assert odds[:2].tolist() == [LARGEST, -LARGEST]
    assert np.isnan(odds[2:]).all()


def test_requests_far_beyond_those_of_a_fit_keep_their_order():
    # A threshold for few false alarms lies among them; where they tie, nothing is ever above it.
    made = RequestMap(np.ones((1, 1), np.float32), 0.0)
    odds = made.log_odds(np.array([[[-15]], [[-20]], [[-20.1]], [[-60]], [[-300]]], np.float32))
    assert (np.diff(odds) < 0).all()


def test_a_row_does_not_depend_on_its_batch():
    made, states = drawn(), np.random.default_rng(1).normal(size=(7, 3, 16)).astype(np.float16)
    alone = np.array([made.log_odds(row) for row in states[:, None]])[:, 0]
    assert (made.log_odds(states) == alone).all()


def test_the_digest_tells_maps_apart():
    made = drawn()
    assert made.digest == drawn().digest
    assert made.digest != RequestMap(made.weight, 0.5).digest
    assert made.digest != RequestMap(-made.weight, 0.25).digest

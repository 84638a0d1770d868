import json

import numpy as np
import pytest

from sri_sdk.metrics.spread import spread


def test_mean_and_quantiles_per_class_and_cell():
    ramp = np.linspace(0, 1, 101)
    found = spread(np.r_[np.c_[ramp, ramp**2], [[7, 7]]].astype(np.float32), ["a"] * 101 + ["b"])
    a = found["a"]
    assert (a.n, a.unseen) == (101, 0)
    assert a.mean == pytest.approx([0.5, (ramp**2).mean()], abs=1e-6)
    levels = [a.p05, a.p10, a.p25, a.median, a.p75, a.p90, a.p95]
    assert np.array(levels)[:, 0] == pytest.approx([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95], abs=1e-6)
    assert found["b"].p05.tolist() == found["b"].p95.tolist() == [7, 7]


def test_signals_that_were_not_seen_are_counted_and_left_out():
    found = spread(np.array([[1, np.nan], [2, 4]]), ["a", "a"])["a"]
    assert (found.n, found.unseen, found.mean.tolist()) == (1, 1, [2, 4])
    nothing = spread(np.array([[np.nan]]), ["a"])["a"]
    assert nothing.n == 0 and np.isnan(nothing.median).all() and nothing.to_dict()["median"] == []


def test_rows_of_no_class_are_left_out_and_shapes_are_checked():
    assert list(spread(np.ones((3, 2)), ["a", None, ""])) == ["a"]
    with pytest.raises(ValueError, match="2 classes"):
        spread(np.ones((3, 2)), ["a", "b"])


def test_a_spread_is_json():
    assert json.loads(json.dumps(spread(np.ones((1, 2)), ["a"])["a"].to_dict()))["mean"] == [1, 1]

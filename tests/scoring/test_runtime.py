import numpy as np
import onnxruntime
import pytest

from sri_sdk.errors import BundleError
from sri_sdk.scoring import runtime
from sri_sdk.scoring.runtime import load, score_once

from . import crafted


@pytest.mark.parametrize("version", ["1.26.0", "1.9.1", "0.99", "1.26.99rc1"])
def test_an_onnxruntime_that_reads_what_it_should_not_loads_nothing(monkeypatch, version):
    monkeypatch.setattr(onnxruntime, "__version__", version)
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    with pytest.raises(BundleError, match=rf"onnxruntime {version} is installed.*onnxruntime>=1\.27"):
        load(crafted.plain().SerializeToString(), "some.onnx")


@pytest.mark.parametrize("version", ["1.27.0", "1.100.0.dev20300101", "2.0.1"])
def test_later_ones_load(monkeypatch, version):
    monkeypatch.setattr(onnxruntime, "__version__", version)
    assert load(crafted.plain().SerializeToString(), "some.onnx")


def test_what_the_inspector_refuses_never_reaches_onnxruntime(monkeypatch):
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    with pytest.raises(BundleError, match="'Loop' is not allowed"):
        load(crafted.endless_loop().SerializeToString(), "some.onnx")


def test_a_model_cannot_configure_its_session(monkeypatch):
    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", "1")
    with pytest.raises(BundleError, match="Unset it"):
        load(crafted.plain().SerializeToString(), "some.onnx")


def test_every_option_that_closes_a_door_is_one_onnxruntime_takes():
    options = onnxruntime.SessionOptions()
    for key, value in runtime._OPTIONS.items():
        options.add_session_config_entry(key, value)
        assert options.get_session_config_entry(key) == value


@pytest.mark.parametrize("shape", [(3, 3), (3, 1), (1,), ()])
def test_a_graph_that_gives_something_else_than_one_score_per_row_is_not_believed(shape):
    """onnxruntime warns where a result has another shape than the graph says, and gives it all the same."""

    def run(names, inputs):
        return [np.zeros(shape, np.float32), np.ones(3, bool)]

    with pytest.raises(BundleError, match=r"3 generations give scores of shape \["):
        score_once(run, {"signals": np.zeros((3, 8, 1), np.float32)})

import subprocess
import sys

import numpy as np
import pytest
import torch
from sri_exporter_onnx.exporter import OnnxExporter

from sri_sdk.errors import BundleError
from sri_sdk.graph.builder import Graph
from sri_sdk.graph.torch_onnx import onnx_of
from sri_sdk.scoring.runtime import load

CELLS, LAYERS = 8, 2


class Network(torch.nn.Module):
    """Score [B] of [B, T, C]: everything usual networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.near = torch.nn.Sequential(
            torch.nn.Conv1d(LAYERS, 4, 3, padding=1), torch.nn.BatchNorm1d(4), torch.nn.GELU()
        )
        self.far = torch.nn.LSTM(4, 6, batch_first=True)
        self.score = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.LayerNorm(6), torch.nn.Linear(6, 1))

    def forward(self, signals):
        _, (last, _) = self.far(self.near(signals.transpose(1, 2)).transpose(1, 2))
        return torch.nn.functional.softplus(self.score(last[-1])).squeeze(-1)


class Attention(torch.nn.Module):
    """Attention, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = torch.nn.Linear(LAYERS, 12)

    def forward(self, signals):
        query, key, value = self.parts(signals).chunk(3, dim=-1)
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return (mixed * mixed).mean(dim=(1, 2))


@pytest.fixture(autouse=True)
def same_weights():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def embedded(network):
    graph = Graph("score")
    signals = graph.input("signals", "float32", ("B", CELLS, LAYERS))
    graph.output("score", graph.embed(onnx_of(network, CELLS, LAYERS), signals), ("B",))
    return OnnxExporter().compile(graph)


@pytest.mark.parametrize("make", [Network, Attention])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_network_scores_batches_of_any_size_as_torch_does(make, rows):
    network = make().eval()
    signals = np.random.default_rng(0).normal(size=(rows, CELLS, LAYERS)).astype(np.float32)
    (found,) = load(embedded(network), "score", tier="python")(["score"], {"signals": signals})
    with torch.no_grad():
        assert found == pytest.approx(network(torch.from_numpy(signals)).numpy(), abs=1e-6)


def test_a_network_in_training_is_exported_as_it_will_score_and_goes_on_training():
    network = Network().train()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert embedded(network) == embedded(network.eval())
    network.train()
    onnx_of(network, CELLS, LAYERS)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_equal_networks_give_equal_bytes_whatever_they_are_called_and_whoever_was_exported_before():
    network = Network().eval()
    first = embedded(network)
    onnx_of(Attention(), CELLS, LAYERS)

    class Renamed(Network):
        pass

    other = Renamed().eval()
    other.load_state_dict(network.state_dict())
    assert embedded(other) == first
    assert not any(word in first for word in (b"Renamed", b"Network", b"near", b"pytorch", b".py"))


def test_what_onnx_cannot_say_is_refused_with_the_operation():
    class Odd(torch.nn.Module):
        def forward(self, signals):
            return torch.special.bessel_j0(signals).sum(dim=(1, 2))

    with pytest.raises(BundleError, match=r"^Odd: torch cannot write it as ONNX of opset 17 .*bessel_j0"):
        onnx_of(Odd(), CELLS, LAYERS)


def test_without_torch_it_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; from sri_sdk.graph.torch_onnx import onnx_of; onnx_of(None, 8, 2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        'MissingExtra: Exporting a network to ONNX needs packages that are not installed. Run: pip install "sri-sdk['
        in (done.stderr)
    )

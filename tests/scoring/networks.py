"""Detectors of the tier `python`, which embed what torch and scikit-learn made. Signals on logits and on sigma."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_sdk.errors import ScoringError
from sri_sdk.graph.torch_onnx import onnx_of

Floats = NDArray[np.float32]


class Foresight(torch.nn.Module):
    """Foresees each cell from those before it; returns the mean squared surprise [B] of signals [B, T, C]."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.memory = torch.nn.GRU(layers, width, batch_first=True)
        self.next = torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Linear(width, layers))

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        seen, _ = self.memory(signals[:, :-1])
        gap = self.next(seen) - signals[:, 1:]
        return (gap * gap).mean(dim=(1, 2))


class ForesightDetector(sri_sdk.Detector):
    """A recurrent network: what it does not foresee is unusual."""

    tier = "python"
    domain = "logit"

    class Config(sri_sdk.Config):
        width: int = Field(8, ge=1, description="Of the network's memory.")
        epochs: int = Field(30, ge=1, description="Passes over the training signals.")

    _network: Foresight | None = None
    _shape: tuple[int, ...] = ()

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        rows = torch.from_numpy(_finite(signals).copy())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = Foresight(signals.shape[2], self.config.width)
            optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
            for _ in range(self.config.epochs):
                optimiser.zero_grad()
                network(rows).mean().backward()
                optimiser.step()
        self._network, self._shape = network.eval(), signals.shape[1:]
        return self

    def score(self, signals: Floats) -> Floats:
        network = self._ready()
        if signals.shape[1:] != self._shape:
            raise ScoringError(f"foresight: signals {list(signals.shape)}, fitted on [N, *{list(self._shape)}].")
        with torch.no_grad():
            found: Floats = network(torch.from_numpy(_finite(signals).copy())).numpy()
        return found

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        return graph.embed(onnx_of(self._ready(), *self._shape), signals)

    def state(self) -> Mapping[str, NDArray[Any]]:
        weights = {name: tensor.numpy() for name, tensor in self._ready().state_dict().items()}
        return {**weights, "shape": np.array(self._shape)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        self._shape = tuple(state["shape"].tolist())
        network = Foresight(self._shape[1], self.config.width)
        network.load_state_dict({name: torch.from_numpy(x) for name, x in state.items() if name != "shape"})
        self._network = network.eval()
        return self

    def _ready(self) -> Foresight:
        if self._network is None:
            raise ScoringError("foresight: not fitted. Call fit(), or restore() a state.")
        return self._network


class BoundaryDetector(sri_sdk.Detector):
    """A one-class support vector machine (Schölkopf et al. 2001), fitted by scikit-learn and converted by skl2onnx.

    What is kept is the ONNX file itself, next to the arrays that say the same.
    """

    tier = "python"

    _state: Mapping[str, NDArray[Any]] = {}

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        from skl2onnx import to_onnx
        from sklearn.svm import OneClassSVM

        rows = _finite(signals).reshape(len(signals), -1)
        machine = OneClassSVM(nu=0.1).fit(rows)
        model = to_onnx(machine, rows[:1], target_opset={"": 17, "ai.onnx.ml": 3})
        return self.restore({
            "model": np.frombuffer(model.SerializeToString(), np.uint8), "shape": np.array(signals.shape[1:]),
            "vectors": machine.support_vectors_, "weights": machine.dual_coef_[0],
            "gamma": np.array(machine._gamma), "offset": machine.intercept_,
        })  # fmt: skip

    def score(self, signals: Floats) -> Floats:
        if not self._state or signals.shape[1:] != tuple(self._state["shape"]):
            raise ScoringError(f"boundary: not fitted, or not on signals {list(signals.shape)}.")
        rows = _finite(signals).reshape(len(signals), 1, -1)
        near = np.exp(-self._state["gamma"] * ((rows - self._state["vectors"]) ** 2).sum(axis=2))
        inside = near @ self._state["weights"] + self._state["offset"]
        return (-inside).astype(np.float32)

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        rows = graph.reshape(signals, [-1, int(np.prod(self._state["shape"]))])
        inside = graph.embed(self._state["model"].tobytes(), rows, output="scores")
        return graph.squeeze(inside, [1]) * -1.0

    def state(self) -> Mapping[str, NDArray[Any]]:
        return self._state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        self._state = dict(state)
        return self


def _finite(signals: Floats) -> Floats:
    if not len(signals) or not np.isfinite(signals).all():
        raise ScoringError("signals must be finite, and at least one. Leave out what is not.")
    return signals

"""Extension point `sri.detectors`: from signals to one score each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.graph.builder import Graph, Value
from sri_sdk.plugin import Plugin
from sri_sdk.records import Domain as Domain
from sri_sdk.records import Tier as Tier

Labels = Literal["ignored", "optional", "required"]


class Detector(Plugin):
    """Learns what harmless signals look like and scores new ones; higher is more suspicious.

    Rows are scored independently of each other and of their order, and the input is never changed. Everything a
    fitted detector knows is in `state()`: plain arrays, no pickle.
    """

    tier: ClassVar[Tier] = "portable"
    """`portable` runs in every runtime; `python` only in onnxruntime for Python, and others refuse it by name."""
    domain: ClassVar[Domain] = "sigma"
    """Which form of the signal it reads: `sigma` in [0, 1], or the unbounded `logit`."""
    fewest: ClassVar[int] = 1
    """Fewest signals `fit` takes, so that a train fold that is too small is refused before anything is generated."""
    labels: ClassVar[Labels] = "ignored"
    """What `fit` does with labelled attacks: ignore them, learn better with them, or refuse to learn without."""
    columns: ClassVar[tuple[str, ...]] = ("sri@*",)
    """Which columns of a guard's signals it reads, by name or pattern; a config may choose others. `request` is one
    number per generation, the same in all T cells: only a detector that names it here is given it."""

    names: tuple[str, ...] | None = None
    """Of the C columns it is given; None = nobody said, as where a guard has no other ones."""

    def bind(self, names: Sequence[str]) -> Self:
        """Says which columns the signals will have, in order. Called before `fit` and before `restore`.

        Raises:
            ConfigError: it cannot read these.
        """
        self.names = tuple(names)
        return self

    @abstractmethod
    def fit(self, signals: NDArray[np.float32], labels: NDArray[np.int64] | None = None) -> Self:
        """Learns from signals [N, T, C] float32; `labels` [N] int64, 0 = harmless, 1 = attack.

        Where the class says that labels are ignored, all signals are harmless and there are none.

        Raises:
            ScoringError: NaN or infinity in the signals, or fewer signals than the detector needs.
        """

    @abstractmethod
    def score(self, signals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores signals [N, T, C] float32; returns [N] float32, higher = more suspicious.

        Raises:
            ScoringError: the detector is not fitted, T or C differ from the fit, or a value is not finite.
        """

    @abstractmethod
    def export(self, graph: Graph, signals: Value) -> Value:
        """Draws the score into a graph: `signals` is [B, T, C] float32, the result is [B] float32."""

    @abstractmethod
    def state(self) -> Mapping[str, NDArray[Any]]:
        """Everything the fit learnt, by name, as plain arrays [...] of any shape and dtype."""

    @abstractmethod
    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `state()`, from the same arrays [...]; scores afterwards are equal bit for bit."""

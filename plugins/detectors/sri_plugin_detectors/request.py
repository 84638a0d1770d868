"""Detector `request`: what the request itself says, whatever the model answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

import sri_sdk
from sri_plugin_detectors.finite import refuse_non_finite
from sri_sdk.errors import ConfigError, ScoringError

SRI_PLUGIN_API = 1

Floats = NDArray[np.float32]


class RequestDetector(sri_sdk.Detector):
    """The log-odds that a request is harmful: the column `request`, turned round.

    The column is one number per generation, learnt with the anchors, so there is nothing left to learn here. It is
    known as soon as the prompt has been read, and a bundle has a rule for that moment. Harm and refusal are encoded
    apart (arXiv 2507.11878): it sees a harmful request even where the model goes along with it.
    """

    domain: ClassVar = "logit"
    columns: ClassVar = ("request",)

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._cells: int | None = None

    def bind(self, names: Sequence[str]) -> Self:
        """Takes the names of its columns; see `sri_sdk.Detector.bind`.

        Raises:
            ConfigError: they are not the request alone.
        """
        if tuple(names) != self.columns:
            raise ConfigError(
                f"request: it reads the column request alone, and is to be given {', '.join(names) or 'none'}. Leave "
                "`columns` out, and give other columns to a part with another detector."
            )
        return super().bind(names)

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Notes the length of the signals.

        Args:
            signals: [N, T, 1] float32 log-odds that a request is harmless.
            labels: ignored; the map behind the column has learnt from some.

        Raises:
            ScoringError: no signals, more than one column, or NaN or infinity.
        """
        refuse_non_finite("request", signals)
        if not len(signals) or signals.shape[2] != 1:
            raise ScoringError(f"request: signals {list(signals.shape)}, allowed: [N, T, 1] with N at least 1.")
        self._cells = signals.shape[1]
        return self

    def score(self, signals: Floats) -> Floats:
        """Says how harmful each request reads.

        Args:
            signals: [N, T, 1] float32 log-odds, the same in all T cells; T as in the fit.

        Returns:
            [N] float32 log-odds that the request is harmful, within -1000 and 1000; higher = more suspicious.

        Raises:
            ScoringError: not fitted, another shape, or NaN or infinity.
        """
        if self._cells is None:
            raise ScoringError("request: not fitted. Call fit(), or restore() a saved state.")
        if signals.shape[1:] != (self._cells, 1):
            raise ScoringError(f"request: signals {list(signals.shape)}, fitted on [N, {self._cells}, 1].")
        refuse_non_finite("request", signals)
        score: Floats = np.negative(signals[:, 0, 0])
        return score

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `score` into a graph: `signals` [B, T, 1] float32 log-odds -> [B] float32."""
        first = graph.node("Gather", signals, graph.constant([0], "int64"), axis=1)
        return graph.squeeze(first, [1, 2]) * -1

    def state(self) -> Mapping[str, NDArray[Any]]:
        """What the fit noted: `cells`, the T of signals [N, T, 1]; one int64."""
        if self._cells is None:
            raise ScoringError("request: not fitted, so there is nothing to save. Call fit() first.")
        return {"cells": np.array([self._cells])}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """Takes the array that `state()` gave: `cells`, the T of signals [N, T, 1]; one int64."""
        self._cells = int(state["cells"][0])
        return self

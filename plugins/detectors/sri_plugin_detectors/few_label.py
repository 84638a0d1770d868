"""Detector `few-label`: a direction learnt from harmless signals and a handful of labelled attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

import sri_sdk
from sri_plugin_detectors.cells import CellsDetector, Doubles, Floats, Labels, standard
from sri_sdk.errors import MissingExtra, ScoringError

SRI_PLUGIN_API = 1

FEWEST = 5
"""Signals of either kind below which a mean says more about those prompts than about the kind."""


class FewLabelDetector(CellsDetector):
    """A linear discriminant with a shrunk covariance, for 5 to 100 labelled attacks among harmless signals.

    Both kinds have a mean of their own and one covariance together, to which each kind counts by its number: five
    attacks say little about how attacks vary. It is shrunk as Ledoit and Wolf (2004) propose, the less the more signals
    there are. The score is log-odds, as if attacks and harmless generations were equally common and Gaussian; take it
    as a rank. The guard carries one weight per cell and no signal.

    It needs harmless signals of every kind that will come: in wrappers, and unusual ones. What tells attacks from plain
    harmless prompts is, above all, that they are wrapped. On the lab's causal model, fitted on plain ones alone, it
    flags 50 to 73 % of unusual harmless prompts; with unusual and wrapped ones in the fit, 5 to 15 %. Nor does it know
    attacks of a kind that it was not shown: keep a part beside it that learns from harmless signals alone.
    """

    called: ClassVar = "few-label"
    fewest: ClassVar = 2 * FEWEST
    labels: ClassVar = "required"

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Learns the direction in which attacks lie.

        Args:
            signals: [N, T, C] float32 logits, harmless ones and attacks.
            labels: [N] int64, 0 = harmless, 1 = attack; at least 5 of either.

        Raises:
            ScoringError: no labels, or too few of a kind; NaN or infinity in a signal, or all of them equal.
            MissingExtra: scikit-learn is not installed.
        """
        counts = {kind: int((np.asarray(labels) == value).sum()) for value, kind in enumerate(("harmless", "attacks"))}
        if labels is None or len(labels) != len(signals) or min(counts.values()) < FEWEST:
            found = "no labels" if labels is None else f"{len(labels)} labels"
            raise ScoringError(
                f"few-label: {len(signals)} signals with {found}, {counts['harmless']} of them harmless and "
                f"{counts['attacks']} attacks; at least {FEWEST} of either are needed, one label per signal. Name "
                "labelled attacks under folds.train.attacks, or take a detector that needs none, such as mahalanobis."
            )
        return super().fit(signals, labels)

    def learn(self, rows: Doubles, labels: Labels = None) -> Mapping[str, NDArray[Any]]:
        """From rows [N, T * C] and labels [N] to `weights` [T * C] float32, log-odds per logit, and `bias` [1]."""
        try:
            from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        except ImportError as err:
            raise MissingExtra("Fitting the detector few-label", extra="train") from err
        attacks = np.asarray(labels) == 1
        centre, inverse = (each.astype(np.float64) for each in standard(rows[~attacks]))
        found = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit((rows - centre) * inverse, attacks)
        weights = found.coef_[0] * inverse
        # Of a kind that is rare in the fit it would say that it is rare; how common attacks are, nobody knows.
        bias = found.intercept_[0] - np.log(attacks.sum() / (~attacks).sum()) - centre @ weights
        return {"weights": weights.astype(np.float32), "bias": np.array([bias], np.float32)}

    def measure(self, rows: Floats) -> Floats:
        """Log-odds [N] float32 of rows [N, T * C]."""
        odds: Floats = (rows * self._learnt["weights"]).sum(axis=1, dtype=np.float32) + self._learnt["bias"]
        return odds

    def draw(self, graph: sri_sdk.Graph, rows: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `measure`: rows [B, T * C] float32 -> [B] float32."""
        return graph.reduce_sum(rows * self._learnt["weights"], [1]) + self._learnt["bias"]

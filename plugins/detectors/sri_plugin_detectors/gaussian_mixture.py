"""Detector `gaussian-mixture`: how unlikely a signal is under a density fitted to harmless ones."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_plugin_detectors.cells import (
    SOFTENING,
    CellsDetector,
    Doubles,
    Floats,
    Labels,
    draw_soft_minimum,
    soft_minimum,
    times,
)
from sri_sdk.errors import MissingExtra

SRI_PLUGIN_API = 1


class GaussianMixtureDetector(CellsDetector):
    """The negative log-likelihood, in nats, under a mixture of Gaussians.

    The mixture covers the principal components of the harmless signals. What lies outside them counts as noise of one
    variance, as in probabilistic PCA (Tipping and Bishop 1999), so a change that no harmless signal shows is seen as
    well. The score may be negative.
    """

    called: ClassVar = "gaussian-mixture"
    fewest: ClassVar = 16

    class Config(CellsDetector.Config):
        """Options."""

        mixtures: int = Field(3, ge=1, le=16, description="Number of Gaussians.")
        components: int = Field(6, ge=1, description="Most principal components that they cover.")
        covariance: Literal["diag", "tied"] = Field(
            "diag", description="diag: each Gaussian has a variance per component; tied: all share one covariance."
        )
        seed: int = Field(0, ge=0, description="Seed of where the Gaussians begin.")

    def learn(self, rows: Doubles, labels: Labels = None) -> Mapping[str, NDArray[Any]]:
        """From rows [N, T * C] to float32 arrays; P is the number of components, K that of Gaussians.

        `centre` [T * C]; `into` [T * C, P] and `back` [P, T * C], the components there and back; `means` and `inverse`
        [K, P], one over the standard deviations; `cost` [K], the score at each mean in nats; `noise` [1], half of one
        over the variance outside.
        """
        centre = rows.mean(axis=0)
        _, sizes, axes = np.linalg.svd(rows - centre, full_matrices=False)
        count = min(self.config.components, int((sizes > 1e-6 * sizes[0]).sum()), len(rows) - 1)
        outside = rows.shape[1] - count
        variance = (sizes[count:] ** 2).sum() / (len(rows) * max(1, outside)) + SOFTENING**2
        into, back = axes[:count].T, axes[:count]
        mixture = self._mixture((rows - centre) @ into)
        means, logdet = mixture.means_, np.zeros(1)
        if self.config.covariance == "tied":
            # White components: the shared covariance is then the unit matrix.
            whiten = np.linalg.cholesky(np.linalg.inv(mixture.covariances_))
            into, back, means = into @ whiten, np.linalg.inv(whiten) @ back, means @ whiten
            inverse, logdet = np.ones_like(means), np.log(np.diag(whiten)).sum()
        else:
            inverse = 1 / np.sqrt(mixture.covariances_)
        cost = -np.log(np.maximum(mixture.weights_, 1e-12)) - np.log(inverse).sum(axis=1) - logdet
        cost += 0.5 * (rows.shape[1] * np.log(2 * np.pi) + outside * np.log(variance))
        learnt = {"centre": centre, "into": into, "back": back, "means": means, "inverse": inverse, "cost": cost}
        return {name: array.astype(np.float32) for name, array in learnt.items()} | {
            "noise": np.array([0.5 / variance], np.float32)
        }

    def measure(self, rows: Floats) -> Floats:
        """Negative log-likelihoods [N] float32 of rows [N, T * C], in nats."""
        learnt = self._learnt
        x = rows - learnt["centre"]
        inside = times(x, learnt["into"])
        rest = x - times(inside, learnt["back"])
        gap = (inside[:, None, :] - learnt["means"]) * learnt["inverse"]
        costs = (gap * gap).sum(axis=2) * np.float32(0.5) + learnt["cost"]
        score: Floats = soft_minimum(costs) + (rest * rest).sum(axis=1) * learnt["noise"]
        return score

    def draw(self, graph: sri_sdk.Graph, rows: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `measure`: rows [B, T * C] float32 -> [B] float32."""
        learnt = self._learnt
        x = rows - learnt["centre"]
        inside = x @ learnt["into"]
        rest = x - inside @ learnt["back"]
        gap = (graph.unsqueeze(inside, [1]) - learnt["means"]) * learnt["inverse"]
        costs = graph.reduce_sum(gap * gap, [2]) * 0.5 + learnt["cost"]
        return draw_soft_minimum(graph, costs) + graph.reduce_sum(rest * rest, [1]) * learnt["noise"]

    def _mixture(self, inside: Doubles) -> Any:
        """scikit-learn's mixture, fitted on components [N, P]."""
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.mixture import GaussianMixture
            from threadpoolctl import threadpool_limits
        except ImportError as err:
            raise MissingExtra("Fitting the detector gaussian-mixture", extra="train") from err
        mixture = GaussianMixture(
            self.config.mixtures,
            covariance_type=self.config.covariance,
            # As everywhere else: no variance below this, however few signals a Gaussian explains.
            reg_covar=SOFTENING**2,
            random_state=self.config.seed,
        )
        # It begins with k-means, whose threads add up in the order in which they finish: the same fit would differ.
        with threadpool_limits(1, "openmp"), warnings.catch_warnings():
            # A mixture that is still improving is a density as well.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return mixture.fit(inside)

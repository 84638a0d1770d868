"""Signals as points in a plane: principal components, and the directions that separate the classes best.

Both are fitted on one half of the base prompts and drawn on the other. A discriminant with many cells to weigh
separates *any* classes on the data it was fitted on; on the other half only real differences remain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError, MissingExtra, ScoringError
from sri_sdk.metrics.bootstrap import Clusters

Method = Literal["pca", "lda"]
Floats = NDArray[np.float64]
AXES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Signals of the half that nothing was fitted on, projected."""

    method: Method
    coordinates: Floats
    """[M, K] float: (signals - centre) @ axes.T. K is 2, or less where there are too few classes or cells."""
    explained: Floats
    """[K] share of the variance along each axis, in the fitted half: of all variance for `pca`, of the variance between
    class means, in units of that within, for `lda`."""
    centre: Floats
    """[T] the origin, in the unit of the signals."""
    axes: Floats
    """[K, T] weight of each cell. The sign, which both methods leave open, makes the largest weight positive."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        arrays = ("coordinates", "explained", "centre", "axes")
        return {"method": self.method, **{name: getattr(self, name).tolist() for name in arrays}}


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Both projections of the same half."""

    pca: Projection
    lda: Projection
    rows: NDArray[np.int64]
    """[M] which of the N signals were drawn, rising."""
    classes: tuple[str, ...]
    """[M] class of each drawn signal."""
    fitted: dict[str, int]
    """Class -> signals the axes were fitted on. A class that is not among them is only drawn."""
    unseen: int
    """Signals left out because they are not finite."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "pca": self.pca.to_dict(),
            "lda": self.lda.to_dict(),
            "rows": self.rows.tolist(),
            "classes": list(self.classes),
            "fitted": dict(self.fitted),
            "unseen": self.unseen,
        }


def geometry(
    signals: NDArray[np.floating], classes: Sequence[str | None], bases: Sequence[str], *, seed: int = 0
) -> Geometry:
    """PCA and LDA, fitted on one half of the base prompts and drawn on the other (arXiv 2602.02600).

    Args:
        signals: [N, T] sigma or logit of one layer; NaN = not seen. Sigma saturates, so the logit spreads further.
        classes: [N] class of each, such as harmless, refusal, harmful; None or `""` = none, left out.
        bases: base prompt of each: all that was made of one prompt falls in the same half.
        seed: of the split.

    Raises:
        ValueError: shapes do not fit.
        ConfigError: too few prompts or classes to fit on one half and draw on the other.
        ScoringError: the signals of the fitted half are all the same.
        MissingExtra: scikit-learn is not installed.
    """
    if signals.ndim != 2 or not len(classes) == len(bases) == len(signals):
        raise ValueError(
            f"geometry: signals {signals.shape}, {len(classes)} classes, {len(bases)} base prompts; needed: [N, T] and "
            "one of each per signal"
        )
    named = np.array([bool(name) for name in classes], dtype=bool)
    seen = np.isfinite(signals).all(axis=1)
    used = np.flatnonzero(named & seen)
    fits = _half([bases[i] for i in used.tolist()], seed)
    fitted, drawn = used[fits], used[~fits]
    labels = np.array([classes[i] for i in fitted.tolist()], dtype=object)
    known, values = _checked(labels, signals[fitted].astype(np.float64), len(drawn))
    shown = signals[drawn].astype(np.float64)
    return Geometry(
        _project("pca", *_pca(values), shown),
        _project("lda", *_lda(values, labels.astype(str)), shown),
        drawn,
        tuple(str(classes[i]) for i in drawn.tolist()),
        known,
        int((named & ~seen).sum()),
    )


def _half(bases: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """[N] whether a row's base prompt is in the half that is fitted on."""
    clusters = Clusters.of(bases, len(bases))
    chosen = np.random.default_rng(seed).permutation(clusters.count)[: (clusters.count + 1) // 2]
    return np.isin(clusters.index, chosen)


def _checked(labels: NDArray[Any], values: Floats, drawn: int) -> tuple[dict[str, int], Floats]:
    known = {str(name): int((labels == name).sum()) for name in dict.fromkeys(labels)}
    if len(known) < 2 or len(values) <= len(known) or not drawn:
        raise ConfigError(
            f"geometry: {len(values)} signals of {len(known)} classes ({', '.join(known) or 'none'}) to fit on, "
            f"{drawn} to draw; needed: 2 classes, more signals than classes, and some to draw. Use more prompts."
        )
    if not np.ptp(values, axis=0).any():
        raise ScoringError(
            f"geometry: all {len(values)} signals of the fitted half are the same; signals must vary. Use the logit, "
            "which does not saturate, or check the anchors."
        )
    return known, values


def _pca(values: Floats) -> tuple[Floats, Floats, Floats]:
    """[M, T] -> centre, axes, explained."""
    try:
        from sklearn.decomposition import PCA
    except ImportError as err:
        raise MissingExtra("A projection of signals", extra="train") from err
    found = PCA(n_components=min(AXES, *values.shape), svd_solver="full").fit(values)
    return found.mean_, found.components_, found.explained_variance_ratio_


def _lda(values: Floats, labels: NDArray[np.str_]) -> tuple[Floats, Floats, Floats]:
    """[M, T] -> centre, axes, explained."""
    try:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    except ImportError as err:
        raise MissingExtra("A projection of signals", extra="train") from err
    found = LinearDiscriminantAnalysis(solver="svd").fit(values, labels)
    shares = found.explained_variance_ratio_[:AXES]
    return found.xbar_, found.scalings_[:, : len(shares)].T, shares


def _project(method: Method, centre: Floats, axes: Floats, explained: Floats, shown: Floats) -> Projection:
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    axes = axes * np.where(largest < 0, -1.0, 1.0)[:, None]
    return Projection(method, (shown - centre) @ axes.T, explained, centre, axes)

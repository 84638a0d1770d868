"""What a fit checks of signals and scores before it believes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sri_sdk.anchors import Anchors
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.errors import BundleError, ScoringError
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.fitting.golden_rows import NOISE_MOVES, Allowing
from sri_sdk.fitting.tally import log
from sri_sdk.records import Signals
from sri_sdk.scoring.runtime import Scored

Floats = NDArray[np.float32]


def check_fold(signals: Signals, fold: str, anchors: Anchors) -> None:
    """Refuses signals of another shape, or of another model, than the anchors.

    Raises:
        ScoringError: another shape.
        ModelMismatch: made by something else.
    """
    expected = (anchors.harmless.shape[0], len(anchors.columns))
    if signals.sigma.shape[1:] != expected or signals.logit.shape[1:] != expected:
        raise ScoringError(
            f"{fold} signals: shape {list(signals.sigma.shape)}, the anchors have [T, C] = {list(expected)}. "
            "Make the signals with these anchors."
        )
    if signals.fingerprint is not None:
        anchors.fingerprint.admit(Fingerprint.from_dict(signals.fingerprint), subject=f"{fold} signals")


def all_valid(scores: Floats, valid: NDArray[np.bool_], signals: Signals) -> Floats:
    """The scores, [N, ...] float32. At fit time a signal that cannot be scored is an error, not `unmonitored`.

    Raises:
        ScoringError: `valid`, of the same shape, is False somewhere; names the first signal.
    """
    good: NDArray[np.bool_] = np.asarray(valid.reshape(len(signals), -1).all(axis=1))
    if not good.all():
        first = int(np.argmin(good))
        why = next((given[first] for given in (signals.missing or {}).values() if given[first]), None)
        problem = "it is not finite or out of range" if why is None else f"its request was not read ({why})"
        raise ScoringError(
            f"signal {signals.ids[first]!r} cannot be scored ({int((~good).sum())} of {len(good)}): {problem}. "
            "Compute it again, or leave the prompt out."
        )
    return scores


def noise(score: Callable[[Floats], Scored], values: Floats) -> NDArray[np.float32]:
    """How far scores move when every cell of the signals [N, T, C] moves by the last bit of a float32.

    `score` gives [N, ...]; the result is [...], the largest move over the signals.

    Two runtimes that sum in different orders differ by a few such moves. Where sigma saturates, harmless signals are
    nearly equal, and such a move is more than any share of the scores' own spread.
    """
    signs = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.float32), size=values.shape)
    step = np.finfo(np.float32).eps * np.maximum(np.abs(values), 1)
    moved = [score(np.asarray(values + k * signs * step, dtype=np.float32))[0] for k in (-1, 0, 1)]
    most = np.maximum(np.abs(moved[0] - moved[1]), np.abs(moved[2] - moved[1])).max(axis=0)
    found: NDArray[np.float32] = NOISE_MOVES * most
    return found


def same(graph: str, own: Floats, exported: Floats, threshold: Allowing) -> None:
    """Refuses a graph that computes other scores [...] than its detector.

    Raises:
        BundleError: they differ by more than the threshold allows.
    """
    gap = np.abs(own.astype(np.float64) - exported)
    room = threshold.allowed(exported)
    if not (gap <= room).all():
        worst = np.unravel_index(np.argmax(gap / room), gap.shape)
        raise BundleError(
            f"graph {graph}: onnxruntime scores {exported[worst]:g} where the detector scores {own[worst]:g}; allowed "
            f"is a difference of {room[worst]:.2g}. Make the detector's `export` draw what its `score` computes."
        )


TIES = 0.1
"""Share of the alarms that alpha allows which ties may cost before a fit says so."""


def warn_of_ties(subject: str, threshold: Threshold) -> None:
    """Says in the log where many calibration scores equal the threshold: it then flags less than it may, or nothing.

    Args:
        subject: whose threshold it is, in words.
        threshold: as it was fitted.
    """
    if threshold.tied - 1 > TIES * (threshold.n + 1) * threshold.alpha:
        log.warning(
            "%s: %d of %d calibration scores are equal to the threshold, so it flags less than alpha %g allows, "
            "perhaps nothing. Take a detector that tells such generations apart, or raise alpha.",
            subject, threshold.tied, threshold.n, threshold.alpha,
        )  # fmt: skip

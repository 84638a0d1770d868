"""Some of the tapped layers as if only they had been tapped: what a guard that names its layers reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sri_sdk.anchors import Anchors
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.records import Signals


def columns_of(wanted: Sequence[str | int] | None, tapped: Sequence[str | int]) -> list[int]:
    """Places among the tapped layers, in their order; None = all of them."""
    return [i for i, layer in enumerate(tapped) if wanted is None or layer in wanted]


def narrow_anchors(anchors: Anchors, columns: Sequence[int]) -> Anchors:
    """Anchors [T, C, D] float32 of the named columns alone, with a fingerprint that says so."""
    hard = {**anchors.fingerprint.hard, "layers": [anchors.fingerprint.hard["layers"][i] for i in columns]}
    return Anchors(
        np.ascontiguousarray(anchors.harmless[:, columns]), np.ascontiguousarray(anchors.harmful[:, columns]),
        Fingerprint(hard, anchors.fingerprint.soft), anchors.provenance,
    )  # fmt: skip


def narrow_signals(signals: Signals, columns: Sequence[int], anchors: Anchors) -> Signals:
    """Signals [N, T, C] float32 of the named columns alone, as the narrowed `anchors` would have made them."""
    made_by = {**(signals.fingerprint or {}), **anchors.fingerprint.to_dict(), "anchors": anchors.digest}
    cut = (slice(None), slice(None), list(columns))
    return replace(
        signals, sigma=np.ascontiguousarray(signals.sigma[cut]), logit=np.ascontiguousarray(signals.logit[cut]),
        fingerprint=made_by,
    )  # fmt: skip

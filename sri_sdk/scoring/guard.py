"""A guard on disk, as `sri fit` writes it: what makes signals, and what judges them.

<folder>/anchors.npz    private: makes signals from hidden states
<folder>/bundle/        what a scoring process receives
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

from sri_sdk.anchors import Anchors
from sri_sdk.bundle import MANIFEST
from sri_sdk.errors import ModelMismatch
from sri_sdk.manifest import Manifest
from sri_sdk.scoring.scorer import Scorer

ANCHORS = "anchors.npz"
BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Guard:
    """Anchors and the bundle that was calibrated on their signals."""

    anchors: Anchors
    scorer: Scorer

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        return self.scorer.manifest

    @classmethod
    def load(cls, path: str | PathLike[str], *, verify: bool = True) -> Self:
        """Loads the folder `sri fit` wrote, or the bundle in it.

        Raises:
            BundleError: the bundle is missing or damaged, or this runtime computes something else.
            ModelMismatch: the anchors are missing, damaged, or not the ones the bundle was calibrated with.
        """
        path = Path(path).resolve()
        folder = path.parent if (path / MANIFEST).exists() else path
        scorer = Scorer.open(path if folder != path else folder / BUNDLE, verify=verify)
        anchors = Anchors.load(folder / ANCHORS)
        expected = scorer.manifest.anchors.sha256
        if anchors.digest != expected:
            raise ModelMismatch(
                f"{folder / ANCHORS}: anchors {anchors.digest[:12]}, the bundle was calibrated with {expected[:12]}. "
                "Thresholds do not carry over; restore the pair, or fit again with `sri fit`."
            )
        return cls(anchors, scorer)

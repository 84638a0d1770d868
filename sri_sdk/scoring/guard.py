"""A guard on disk, as `sri fit` writes it: what makes signals, and what judges them.

<folder>/anchors.npz    private: makes signals from hidden states
<folder>/bundle         what a scoring process receives: a folder, or the same as one zip file
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NoReturn, Self

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.bundle import MANIFEST
from sri_sdk.bundle.manifest_v2 import AnyManifest
from sri_sdk.bundle.signature import KeyFile
from sri_sdk.errors import ModelMismatch, ScoringError
from sri_sdk.scoring.scorer import Scorer

ANCHORS = "anchors.npz"
BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Guard:
    """Anchors and the bundle that was calibrated on their signals."""

    anchors: Anchors
    scorer: Scorer

    def __reduce__(self) -> NoReturn:
        raise ScoringError(
            f"Guard of {self.scorer.bundle.path}: cannot be copied or pickled, since it holds sessions of "
            "onnxruntime. Start worker processes with the method `spawn` and call Guard.load(PATH) once in each."
        )

    @property
    def manifest(self) -> AnyManifest:
        """The manifest of the bundle."""
        return self.scorer.manifest

    @classmethod
    def load(
        cls, path: str | PathLike[str], *, verify: bool = True, public_key: KeyFile | None = None,
        digest: str | None = None,
    ) -> Self:  # fmt: skip
        """Loads the folder `sri fit` wrote, or the bundle in it, which may be a folder or a zip.

        Args:
            path: the guard's folder or its bundle.
            verify: see `Scorer.open`.
            public_key: see `Scorer.open`. It covers the anchors too: their digest is in the manifest.
            digest: see `Scorer.open`.

        Raises:
            BundleError: see `Scorer.open`.
            ConfigError: see `Scorer.open`.
            ModelMismatch: the anchors are missing, damaged, or not the ones the bundle was calibrated with.
        """
        path = Path(path).resolve()
        folder = path.parent if (path / MANIFEST).exists() or path.is_file() else path
        bundle = path if folder != path else folder / BUNDLE
        scorer = Scorer.open(bundle, verify=verify, public_key=public_key, digest=digest)
        anchors = Anchors.load(folder / ANCHORS)
        expected = scorer.manifest.anchors.sha256
        if anchors.digest != expected:
            raise ModelMismatch(
                f"{folder / ANCHORS}: anchors {anchors.digest[:12]}, the bundle was calibrated with {expected[:12]}. "
                "Thresholds do not carry over; restore the pair, or fit again with `sri fit`."
            )
        # A manifest of format 1 has no such entry: its guards read no requests.
        entry = getattr(scorer.manifest.anchors, "request", None)
        wanted, found = None if entry is None else entry.sha256, None if not anchors.request else anchors.request.digest
        if wanted != found:
            raise ModelMismatch(
                f"{folder / ANCHORS}: request map {(found or 'none')[:12]}, the bundle was calibrated with "
                f"{(wanted or 'none')[:12]}. Thresholds do not carry over; restore the pair, or fit again with "
                "`sri fit`."
            )
        return cls(anchors, scorer)

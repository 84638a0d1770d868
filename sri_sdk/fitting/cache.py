"""What an interrupted fit picks up again: per batch, written whole, keyed by everything that made it.

Signals, outcomes and running sums are kept; prompts, responses and activations are not.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.files import digest, save_arrays


class Cache:
    """A folder of .npz shards. Another key is another folder, so a changed config never meets old results."""

    def __init__(self, root: Path, stage: str, key: Mapping[str, Any]) -> None:
        self._folder = root / f"{stage}-{digest(dict(key))[:16]}"

    def load(self, name: str) -> dict[str, NDArray[Any]] | None:
        """A shard, or None if it was not written or cannot be read."""
        path = self._folder / f"{name}.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            # Damaged: made again, like one that was never written.
            return None

    def save(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Writes a shard, whole or not at all."""
        save_arrays(self._folder / f"{name}.npz", dict(arrays))

"""Where an evaluation keeps what it generated: safetensors files, one per batch, each whole or absent.

A killed run finds its batches again; a changed config, model or prompt looks in another folder. Signals, outcomes and
clocks are always kept; responses only where the config asks for them; activations never.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import MissingExtra
from sri_sdk.files import digest, replacing, write_text

_NOTE = "sri"
"""Key of our JSON in a file's metadata."""


class Store:
    """One folder of batches, named after everything that made them."""

    def __init__(self, root: Path, stage: str, key: Mapping[str, Any]) -> None:
        try:
            import safetensors.numpy  # noqa: F401  # Found missing now, not after the first batch.
        except ImportError as err:
            raise MissingExtra("Storing generations", extra="capture") from err
        self.folder = root / f"{stage.replace(' ', '-')}-{digest(dict(key))[:16]}"

    def load(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Arrays and notes of a batch; None if it was not written, or is damaged: then it is made again."""
        from safetensors import SafetensorError, safe_open

        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                notes = json.loads((file.metadata() or {})[_NOTE])
                return {key: file.get_tensor(key) for key in file.keys()}, notes  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError):
            return None

    def save(self, name: str, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, Any]) -> None:
        """Writes a batch, whole or not at all."""
        from safetensors.numpy import save_file

        with replacing(self.folder / f"{name}.safetensors") as made:
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, made, {_NOTE: json.dumps(notes)})

    def load_notes(self, name: str) -> Any:
        """JSON kept beside the batches, such as what an attack learnt; None if there is none."""
        try:
            return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def save_notes(self, name: str, notes: Any) -> None:
        """The inverse of `load_notes`."""
        write_text(self.folder / f"{name}.json", json.dumps(notes, allow_nan=False))

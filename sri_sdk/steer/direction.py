"""A direction in a model's residual stream, as data: what is needed to steer along it, and what it was made of.

arXiv 2512.24143: the second version of the paper has one vector for every block, the first one vector per block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError

UNIT = 1e-5
"""How far a vector's length may lie from 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """A unit vector per block, or one for all of them. Keep it private: who ablates it takes the refusals away."""

    name: str
    """`refusal`, or the attribute."""
    vectors: NDArray[np.float32]
    """[K, D] float32, each of length 1. K = 1: one vector for every block; else K is the number of blocks."""
    towards: str
    """What a positive projection means, in words: `harmful`, `refusing`."""
    means: NDArray[np.float32]
    """[2, B] float32: mean projection of each block's states on its vector, without and with the attribute; B = number
    of blocks, in the unit of the model's states. The natural scale of strengths and targets."""
    provenance: Mapping[str, Any]
    """JSON types: the model's identity, layer, position, prompts, how it was selected, versions."""

    def __post_init__(self) -> None:
        """Checks what every user of a direction relies on.

        Raises:
            ConfigError: shapes, dtypes or lengths are wrong, or a number is not finite.
        """
        subject = f"direction {self.name!r}"
        for field, array, dims in (("vectors", self.vectors, "[K, D]"), ("means", self.means, "[2, B]")):
            if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != 2 or not array.size:
                found = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
                raise ConfigError(f"{subject}: {field} is {found}; a float32 array {dims} is needed.")
            if not np.isfinite(array).all():
                raise ConfigError(f"{subject}: {field} contains NaN or infinity. Extract it again.")
        blocks = self.means.shape[1]
        if self.means.shape[0] != 2:
            raise ConfigError(
                f"{subject}: means is {list(self.means.shape)}; two rows are needed, without and with the attribute."
            )
        if len(self.vectors) not in (1, blocks):
            raise ConfigError(
                f"{subject}: {len(self.vectors)} vectors for {blocks} blocks; allowed: 1 for all, or one per block."
            )
        lengths = np.linalg.norm(self.vectors.astype(np.float64), axis=1)
        if (worst := float(np.abs(lengths - 1).max())) > UNIT:
            raise ConfigError(
                f"{subject}: a vector's length differs from 1 by {worst:.2g} ({UNIT:g} allowed). Divide each by its "
                "length."
            )

    def vector(self, block: int) -> NDArray[np.float32]:
        """[D] float32, of length 1: the vector at a block.

        Raises:
            ConfigError: there is no such block.
        """
        blocks = self.means.shape[1]
        if not 0 <= block < blocks:
            raise ConfigError(f"direction {self.name!r}: block {block}; it has blocks 0 to {blocks - 1}.")
        found: NDArray[np.float32] = self.vectors[block if len(self.vectors) > 1 else 0]
        return found


def require_direction(found: Any) -> None:
    """Refuses what people give in place of a direction.

    Raises:
        ConfigError: it is a path, an array or something else.
    """
    if isinstance(found, Direction):
        return
    if isinstance(found, str | Path):
        raise ConfigError(
            f"steer: direction {str(found)!r} is a path; a Direction is needed. Read the file with "
            "sri_sdk.load_direction(path)."
        )
    raise ConfigError(
        f"steer: direction is {type(found).__name__}; a Direction is needed, from sri_sdk.load_direction(path) or "
        "sri_sdk.extract_directions(...). Vectors of your own: sri_sdk.Direction(name, vectors, towards, means, {})."
    )

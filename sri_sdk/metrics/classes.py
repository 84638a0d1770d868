"""Which rows belong to which class, for everything that is reported per class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def rows_of(classes: Sequence[str | None]) -> dict[str, NDArray[np.int64]]:
    """[N] class names -> rows of each class, in the order the classes first appear.

    None and `""` are generations of no class, such as a harmful prompt that was neither refused nor answered
    harmfully; nothing that is reported per class counts them.
    """
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(classes):
        if name:
            rows.setdefault(str(name), []).append(row)
    return {name: np.array(found, dtype=np.int64) for name, found in rows.items()}

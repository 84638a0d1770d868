"""What one call of a scorer says of N generations: arrays, and verdicts made of them when somebody looks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from sri_sdk.records import Rule, Status, Verdict

CLEAR, FLAGGED, UNMONITORED = 0, 1, 2
STATUSES: tuple[Status, ...] = ("clear", "flagged", "unmonitored")
"""By the numbers above."""


class Said(NamedTuple):
    """What all verdicts of one call have in common."""

    rule: Rule
    bundle: str
    """Digest of the bundle that scored."""
    accepted: tuple[str, ...]
    needed: int
    """Alarms it takes under the rule `online`; the scores are debounced already."""
    step: Callable[[int], int | None]
    """Cell -> the step that closed it; None if the grid counts tokens."""


class Verdicts(Sequence[Verdict]):
    """N verdicts in order. Equal to a list or tuple of them, printed and pickled as the list.

    Going through them makes all at once and keeps them; asking for one makes that one.
    """

    def __init__(self, ids: Sequence[str], codes: NDArray[np.int8]) -> None:
        """Of generations `ids`, with `codes` [N] int8: their place in `STATUSES`."""
        self._ids, self._codes = ids, codes
        self._made: list[Verdict] | None = None

    @abstractmethod
    def _make(self, rows: slice) -> list[Verdict]:
        """The verdicts of some generations."""

    # -- in arrays -------------------------------------------------------------------------------------------

    @property
    def statuses(self) -> list[Status]:
        """N of them."""
        return [STATUSES[code] for code in self._codes.tolist()]

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """[N]: whether the status is `flagged`."""
        found: NDArray[np.bool_] = self._codes == FLAGGED
        return found

    @property
    @abstractmethod
    def p_values(self) -> NDArray[np.float64]:
        """[N] in (0, 1], NaN where a generation has none."""

    # -- as a sequence ---------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Verdict: ...

    @overload
    def __getitem__(self, index: slice) -> list[Verdict]: ...

    def __getitem__(self, index: int | slice) -> Verdict | list[Verdict]:
        if self._made is not None or isinstance(index, slice):
            return self._all()[index]
        row = range(len(self))[index]
        return self._make(slice(row, row + 1))[0]

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self._all())

    def _all(self) -> list[Verdict]:
        # Threads that come at once make the same verdicts, and one of their lists stays.
        if self._made is None:
            self._made = self._make(slice(None))
        return self._made

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Verdicts | list | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # As of a list.

    def __repr__(self) -> str:
        return repr(self._all())

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (self._all(),)

"""The window of a pass: which columns it shows where a key-value cache hides the others.

Without a cache a pass shows prompt and canvas whole. Behind one it shows a few columns, next to each other. Families
differ in what says where these begin: the length of the cache, a mark of what is replaced, the order of the passes, or
the leftmost mask. A `Canvas` then says which response positions the columns are.

    window = Window(width=ids.shape[1]).remember(run)  # at the first pass, which shows everything
    canvas.plan(ids, window.behind(cached, ids.shape[1]))  # at a later one
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sri_sdk.errors import SriError
from sri_sdk.records import RunView

if TYPE_CHECKING:
    import torch

_NOTE = "sri_sdk.window"


class Window:
    """Where the passes of one generation stand. It lives in `RunView.memory`, beside the canvas.

    Attributes:
        width: columns of prompt and canvas; None = the canvas grows, one block after the other.
        stored: columns in the cache of a canvas that grows. The next pass shows what lies behind them.
    """

    def __init__(self, width: int | None = None, *, start: int = 0) -> None:
        """A generation that has shown nothing yet.

        Args:
            width: columns of prompt and canvas; None = the canvas grows.
            start: column at which the first block of the canvas begins; only `block` asks.
        """
        self.width, self.stored = width, 0
        self._start, self._whole_passes = start, 0

    @classmethod
    def of(cls, run: RunView) -> Self | None:
        """The window of this generation; None = it has none yet."""
        found: Self | None = run.memory.get(_NOTE)
        return found

    def remember(self, run: RunView) -> Self:
        """Keeps it for the passes that follow."""
        run.memory[_NOTE] = self
        return self

    def store(self, length: int) -> None:
        """Takes note that a pass of `length` columns was added to the cache."""
        self.stored += length

    def whole(self) -> int:
        """First column of a pass that shows all of them; with a cache, such a pass begins each block."""
        self._whole_passes += 1
        return 0

    def block(self, length: int) -> int:
        """First column of a pass that shows nothing but the block in work, `length` columns, as behind a dual cache."""
        return self._start + (self._whole_passes - 1) * length

    def rest(self, length: int) -> int:
        """First column of a pass that shows the last `length` columns, as behind a prefix cache."""
        assert self.width is not None
        return self.width - length

    def behind(self, cached: int | None, length: int) -> int:
        """First column of a pass of `length` columns whose cache holds `cached`; None = it could not be seen.

        Raises:
            SriError: this generation has not stored so many columns, or more lie behind them than the pass shows.
        """
        if self.width is None:
            if cached not in (None, self.stored):
                raise SriError(
                    f"a pass behind {cached} cached tokens, {self.stored} were stored so far: watch one generation at "
                    "a time, with one cache"
                )
            return self.stored
        if cached != self.rest(length):
            raise SriError(
                f"a pass of {length} tokens behind a cache of {cached}, and {self.width} are in work: of the caches, "
                "those of Fast-dLLM can be watched (prefix, dual)"
            )
        return self.rest(length)


def replaced_columns(replaced: torch.Tensor, length: int) -> torch.Tensor:
    """Columns of a pass whose keys replace older ones in the cache.

    Args:
        replaced: [R, W] bool tensor, W columns of prompt and canvas; True where a column is replaced. They are next to
            each other.
        length: columns of the pass.

    Returns:
        [R, length] int64 tensor.
    """
    import torch

    # On the device: argmax finds the first column without a look from the host.
    return replaced.int().argmax(1, keepdim=True) + torch.arange(length, device=replaced.device)


def block_in_work(open_: torch.Tensor, size: int, before: torch.Tensor | int = 0) -> torch.Tensor:
    """Where the block begins that a row works on: the one of its leftmost open column.

    Args:
        open_: [R, W] bool tensor, columns that hold a mask. Of a row without one, the last column counts.
        size: tokens per block.
        before: [R, 1] int64 tensor or a number, tokens of the row before column 0. Blocks are counted from its first.

    Returns:
        [R, 1] int64 tensor, a column; negative where the block begins before column 0.
    """
    leftmost = open_.int().argmax(1, keepdim=True).where(open_.any(1, keepdim=True), open_.shape[1] - 1)
    return (leftmost + before) // size * size - before

"""What a Fast-dLLM v2 generation has shown so far: where the block in work is, and which rows are still there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

import sri_sdk
from sri_sdk.canvas import Canvas, Window
from sri_sdk.records import PADDING, RunView, StepPlan

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where the rows of a pass stand, of b requests that are still in the batch."""

    asked: tuple[int, int, int, tuple[int, ...]]
    """First column, columns, columns stored before, requests."""
    here: torch.Tensor
    """[b] int64 tensor, those requests."""
    places: torch.Tensor
    """[b, L] int64 tensor, canvas position of each row."""
    positions: torch.Tensor
    """[b, L] int64 tensor, the same without rows that predict nothing of this block."""
    of_all: torch.Tensor
    """[R, L] int64 tensor, `places` of all requests; `PADDING` where one has left."""
    rows: torch.Tensor | None
    """[R] int64 tensor, row of each request; None = all are there."""

    @classmethod
    def of(cls, asked: tuple[int, int, int, tuple[int, ...]], canvas: Canvas, to_the_end: bool) -> Self:
        """Works it out; `to_the_end` = the pass shows the last row of the block."""
        import torch

        first, length, _, requests = asked
        device = canvas.starts.device
        here = torch.tensor(requests, device=device)
        places = canvas.positions(torch.arange(first, first + length, device=device))[here]
        positions = places
        if to_the_end:
            # What the last row of a block predicts is asked of the pass that stores the block.
            positions = torch.cat([places[:, :-1], torch.full_like(places[:, -1:], PADDING)], dim=1)
        if len(requests) == canvas.requests:
            return cls(asked, here, places, positions, places, None)
        of_all = places.new_full((canvas.requests, length), PADDING)
        of_all[here] = places
        rows = torch.zeros(canvas.requests, dtype=torch.int64, device=device)
        rows[here] = torch.arange(len(here), device=device)
        return cls(asked, here, places, positions, of_all, rows)


@dataclass(frozen=True, slots=True)
class _Look:
    """What the tokens of a pass that is a step say."""

    at: int
    """Where in the block its rows begin."""
    on: NDArray[np.bool_]
    """[b]: requests that take part: those whose sub-block in work has a hole. Other rows wait, or have gone."""


class Blocks:
    """The notes of one generation. Which pass is what shows in its tokens, so these are looked at on the host.

    Args of the constructor that are None were not seen, as when a sampler is called as a function.

    Attributes:
        mask: id of the mask token.
        window: what is stored; the block in work begins behind it.
    """

    def __init__(
        self, mask: int, lengths: torch.Tensor | None, stop: int | None, block: int | None, small: int | None
    ) -> None:
        self.mask, self.window = mask, Window()
        self._lengths, self._stop, self._block, self._small = lengths, stop, block, small
        self._canvas: Canvas | None = None
        self._earliest = 0
        self._requests: list[int] = []
        self._holes: NDArray[np.bool_] | None = None
        self._opened: NDArray[np.bool_] | None = None
        self._leaving: list[int] = []
        self._stand: _Stand | None = None

    def plan(self, ids: torch.Tensor, run: RunView) -> StepPlan | None:
        """The plan of a pass over [b, L] ids, b the requests that are still in the batch. Waits for the device."""
        import torch

        shown = ids.cpu().numpy()
        first = self.window.stored
        look = self._look(shown)
        if look is None:
            places = torch.full_like(ids, -1)
            if self._canvas is not None:
                # What the block's last step filled in shows nowhere else.
                places = self._see(self._canvas, ids, first, first).places
            run.shows(places, torch.tensor(self._requests, device=ids.device))
            return None
        if self._canvas is None:
            self._canvas = self._begin(shown, ids).remember(run)
        stand = self._see(self._canvas, ids, first + look.at, first)
        return self._step(stand, self._canvas.committed, self._active(look.on, ids.device))

    def plans(self, input_ids: torch.Tensor) -> Iterator[StepPlan | None]:
        """[S, b, L] int64 tensor: as `plan` of each. One look at all of them leaves the device."""
        import torch

        canvas, device, length = self._canvas, input_ids.device, input_ids.shape[2]
        assert canvas is not None
        looks, stands, failure, width = [], [], None, 0
        for shown in input_ids.cpu().numpy():
            first = self.window.stored
            try:
                looks.append(look := self._look(shown))
            except sri_sdk.SriError as err:
                failure = err
                break
            stands.append(self._standing(canvas, first + (0 if look is None else look.at), length, first))
            assert self._block is not None
            width = first + self._block - self._earliest
        if stands:
            ids = input_ids[: len(stands)]
            if stands[0].rows is not None:
                shown = ids.new_full((len(stands), canvas.requests, length), self.mask)
                shown[:, stands[0].here] = ids
                ids = shown
            committed = canvas.see_many(ids, [stand.of_all for stand in stands], width)
            active = np.zeros((len(stands), canvas.requests), dtype=np.bool_)
            for row, look in zip(active, looks, strict=True):
                if look is not None:
                    row[self._requests] = look.on
            each = torch.from_numpy(active).to(device).unbind(0)
            for look, stand, *known in zip(looks, stands, committed, each, strict=True):
                yield None if look is None else self._step(stand, *known)
        if failure is not None:
            raise failure

    # -- what the tokens of a pass say, on the host ----------------------------------------------------------

    def _look(self, ids: NDArray[np.int64]) -> _Look | None:
        """What a pass over [b, L] ids is; None = it stores the prompt's whole blocks, or a block that is done."""
        self._follow(len(ids))
        holes = ids == self.mask
        if not holes.any() or self._is_prompt(ids.shape[1]):
            self._stored(ids)
            return None
        at = self._place(holes)
        assert self._holes is not None and self._block is not None
        small = self._small or self._block
        start = _block_in_work(self._holes, small)
        return _Look(at, np.any(self._holes[:, start : start + small], axis=1))

    def _follow(self, batch: int) -> None:
        """Rows that have ended leave the batch behind the pass that stores their last block."""
        if not self._requests:
            self._requests = list(range(batch))
        gone = len(self._requests) - batch
        if not gone:
            self._leaving = []
            return
        if gone != len(self._leaving):
            raise sri_sdk.SriError(
                f"a pass of {batch} rows after one of {len(self._requests)}, of which {len(self._leaving)} had ended: "
                "which request is which cannot be told; watch one generation at a time"
            )
        keep = [row for row in range(len(self._requests)) if row not in self._leaving]
        self._requests, self._leaving = [self._requests[row] for row in keep], []

    def _stored(self, ids: NDArray[np.int64]) -> None:
        """Takes note of [b, L] ids of a pass without a hole."""
        if self._canvas is not None and ids.shape[1] != self._block:
            raise sri_sdk.SriError(
                f"a pass of {ids.shape[1]} tokens without a hole, in blocks of {self._block}: watch one generation at "
                "a time"
            )
        self.window.store(ids.shape[1])
        if self._opened is not None and self._stop is not None:
            ended = ((ids == self._stop) & self._opened).any(1)
            self._leaving = np.flatnonzero(ended).tolist()
        self._holes = self._opened = None

    def _is_prompt(self, length: int) -> bool:
        """Whether a pass of `length` columns reads the prompts' whole blocks: its masks are then theirs."""
        if self._canvas is not None or self.window.stored or self._lengths is None or self._block is None:
            return False
        shortest = int(self._lengths.min())
        return shortest > self._block and length == shortest // self._block * self._block

    def _place(self, holes: NDArray[np.bool_]) -> int:
        """Where in the block the rows of this pass stand; takes note of the holes they show, [b, L]."""
        width = holes.shape[1]
        if self._block is None:
            self._block = width  # The first step of a generation shows its block whole.
        if width == self._block:
            self._holes = holes
            if self._opened is None or len(self._opened) != len(holes):
                self._opened = holes
            return 0
        if self._holes is None:
            # A block cache not emptied behind the last block: of this one nothing but its first token is known.
            self._holes = np.ones((len(holes), self._block), dtype=np.bool_)
            self._opened = self._holes
        if self._block % width or (self._small or width) != width:
            raise sri_sdk.SriError(f"a pass of {width} tokens in blocks of {self._block}: neither a block nor a part")
        at = _block_in_work(self._holes, width)
        seen = self._holes.copy()
        seen[:, at : at + width] = holes
        if (seen & ~self._holes).any():
            raise sri_sdk.SriError(f"a pass of {width} tokens opens what was filled in: its place cannot be told")
        self._holes = seen
        return at

    # -- places ----------------------------------------------------------------------------------------------

    def _begin(self, shown: NDArray[np.int64], ids: torch.Tensor) -> Canvas:
        """Where the responses begin: as the call said, else behind what the first step shows of a single prompt.

        Args:
            shown: [b, L], tokens of the first step.
            ids: the same as an int64 tensor.
        """
        lengths = self._lengths
        if lengths is None:
            tail = int(np.logical_and.accumulate(shown[0] != self.mask).sum())
            if len(ids) > 1 or (tail == 1 and self.window.stored):
                raise sri_sdk.SriError(
                    "where the responses begin cannot be told: the first token of this block may end the prompt or "
                    "come from the pass before, or rows may begin later. Call the sampler as a method of the model, "
                    "as model.generate(...) or model.mdm_sample(...)."
                )
            lengths = ids.new_full((1,), self.window.stored + tail)
        self._earliest = int(lengths.min())
        return Canvas(lengths.to(ids.device), None, self.mask)

    def _active(self, on: NDArray[np.bool_], device: torch.device) -> torch.Tensor:
        """[R] bool tensor of [b], the requests in the batch."""
        import torch

        assert self._canvas is not None
        active = np.zeros(self._canvas.requests, dtype=np.bool_)
        active[self._requests] = on
        return torch.from_numpy(active).to(device)

    def _step(self, stand: _Stand, committed: torch.Tensor, active: torch.Tensor) -> StepPlan:
        """The plan of a pass; `committed` [R, P] and `active` [R] bool."""
        return StepPlan(
            stand.positions, shift=1, rows=stand.rows, committed=committed, active=active, places=stand.places,
            owners=None if stand.rows is None else stand.here,
        )  # fmt: skip

    def _standing(self, canvas: Canvas, first: int, length: int, stored: int) -> _Stand:
        """Where the rows of a pass stand that shows `length` columns from `first` on, and `stored` lie before."""
        assert self._block is not None
        asked = first, length, stored, tuple(self._requests)
        # Most passes show what the one before showed.
        if self._stand is None or self._stand.asked != asked:
            self._stand = _Stand.of(asked, canvas, first + length == stored + self._block)
        return self._stand

    def _see(self, canvas: Canvas, ids: torch.Tensor, first: int, stored: int) -> _Stand:
        """As `_standing`, of a pass over [b, L] ids; takes note of what they fill in."""
        import torch

        assert self._block is not None
        stand, shown = self._standing(canvas, first, ids.shape[1], stored), ids
        if stand.rows is not None:
            shown = ids.new_full((canvas.requests, ids.shape[1]), self.mask)
            shown[stand.here] = ids
        canvas.see(shown, first, stand.of_all)
        # A pass over a part of a block has rows whose predictions lie behind what it shows.
        missing = stored + self._block - self._earliest - canvas.committed.shape[1]
        if missing > 0:
            canvas.committed = torch.nn.functional.pad(canvas.committed, (0, missing))
        return stand

    def counted(self, request: int, length: int) -> int:
        """Tokens of a response that steps account for: the one behind the last stored block came with its storing."""
        if self._canvas is None:
            return length
        stored = self.window.stored - int(self._canvas.starts[request])
        return length - 1 if length == stored + 1 else length


def _block_in_work(holes: NDArray[np.bool_], size: int) -> int:
    """Where the block of `size` columns begins that the leftmost of `holes`, [b, L], is in; the last one without."""
    columns: NDArray[np.bool_] = np.any(holes, axis=0)
    leftmost = int(columns.argmax()) if columns.any() else len(columns) - 1
    return leftmost // size * size

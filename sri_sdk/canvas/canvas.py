"""The canvas of a masked generation, for hooks: which rows of a pass are which response positions, what is filled in.

A masked family shows its canvas in many ways: whole, in a window that grows, one block at a time beside a cache. What
they share is a sequence of columns, the prompt first and the response behind it. A hook says at which column a pass
begins; the canvas does the rest:

    def plan(self, call, run):
        canvas = Canvas.of(run)
        if canvas is None:
            canvas = Canvas.find(call.input_ids, self.mask_id(), run=run).remember(run)
        if not canvas.open(call.input_ids):
            return None  # nothing left to fill: a caller reads the finished text
        return canvas.plan(call.input_ids)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from sri_sdk.canvas.later import after_each
from sri_sdk.canvas.steady import SteadyPasses, SteadySteps
from sri_sdk.errors import TokensMoved
from sri_sdk.reason_words import CANVAS_PRIMED
from sri_sdk.records import PADDING, ForwardCall, RunView, StepPlan

if TYPE_CHECKING:
    import torch

_NOTE = "sri_sdk.canvas"


class Canvas:
    """Where each request's response lies in the columns of its generation, and which positions are filled in.

    One per generation: it lives in `RunView.memory`. Nothing leaves the device but one look at the first pass.

    Attributes:
        starts: [R] int64 tensor, column of each request's first response position.
        start: the same as a number where all requests share it, as with prompts padded on the left; else None.
        size: P, response positions, where the first pass showed them all; None = the canvas grows.
        requests: R.
        batch: B, rows of a pass, requests first; more than R under classifier-free guidance.
        committed: [R, P so far] bool tensor, positions that held no mask when they were last seen.
        mask_id: id of the mask token.
    """

    def __init__(
        self, starts: torch.Tensor, size: int | None, mask_id: int, *, batch: int | None = None, reopens: bool = False
    ) -> None:
        """A canvas whose place is known; see `find` for one that is not.

        Args:
            starts: [R] int64 tensor, column of each request's first response position.
            size: P; None = the canvas grows.
            mask_id: id of the mask token.
            batch: rows of a pass, requests first; None = every row is a request.
            reopens: whether a sampler may open all of it again, or write into the prompt. Where it may not, a pass that
                shows that belongs to another generation, and the run is not trusted.
        """
        import torch

        self.starts, self.size, self.requests = starts, size, len(starts)
        first = int(starts[0])
        self.start = first if bool((starts == first).all()) else None
        self._earliest = self.start
        self.committed = torch.zeros(self.requests, size or 0, dtype=torch.bool, device=starts.device)
        self.mask_id = mask_id
        self._reopens = reopens
        self._width: int | None = None
        self._prompt: torch.Tensor | None = None
        self._moved: torch.Tensor | None = None
        self._guessed = False
        self._places: tuple[tuple[int, int], torch.Tensor] | None = None
        self._reached: tuple[torch.Tensor, int] | None = None
        self._written: tuple[torch.Tensor, int, torch.Tensor] | None = None
        self.batch = self.requests if batch is None else batch

    @classmethod
    def find(
        cls, input_ids: torch.Tensor, mask_id: int, *, pad_id: int | None = None, run: RunView | None = None
    ) -> Self:
        """From a first pass that shows prompt and canvas whole: the canvas is the run of masks at the end of a row.

        It touches the last column, or nothing but `pad_id` stands behind it; where masks end earlier, `size` is 0.
        Masks before that run belong to the prompt. Under classifier-free guidance the batch is doubled and the second
        half has its prompt masked; its rows are not requests.

        With `run`, all responses of the batch have one length: that of the guard's profile where a row has it, else
        that of the shortest run. A prompt that ends in the mask token makes its own run longer, and moves nobody's
        canvas. Without `run`, each row has the run that it shows.

        A response that was started before the first step begins with tokens, not with masks. Where a driver started it,
        `run` says where it is. Where the caller of a watched model started it, nothing says so: what stands before the
        last run of masks then reads as prompt, and the canvas is found too short. Beside rows that show the length of
        the guard's profile, such a row alone is not trusted.

        Args:
            input_ids: [B, L] int64 tensor.
            mask_id: id of the mask token.
            pad_id: id that may stand behind a canvas, where shorter rows are filled up on the right; None = none does.
            run: the generation; where its `response` is set, that is the canvas, masks or not. Its `requests`, where
                set, say whether there can be a second half.
        """
        import torch

        if run is not None and run.response is not None:
            start, size = run.response
            requests = len(input_ids) if run.requests is None else run.requests
            return cls(input_ids.new_full((requests,), start), size, mask_id, batch=len(input_ids))
        masked = input_ids == mask_id
        batch, length = input_ids.shape
        ends = masked.new_tensor([0]).long().expand(batch)
        if pad_id is not None:
            ends = (input_ids == pad_id).flip(1).long().cumprod(1).sum(1)
        # Nothing behind a row's end belongs to the canvas: count masks back from the end.
        from_end = length - 1 - ends[:, None] - _arange(length, input_ids)
        behind = from_end.clamp(min=0)
        tail = (masked.gather(1, behind) & (from_end >= 0)).long().cumprod(1).sum(1)
        starts = length - ends - tail
        # A prompt of nothing but masks looks like the unconditional half of the row before it.
        known = None if run is None or run.requests is None else 2 * run.requests == batch
        guided = known is not False and _second_half_is_unconditional(input_ids, masked, tail, known=bool(known))
        requests = batch // 2 if guided else batch
        starts, tail, ends = starts[:requests], tail[:requests], ends[:requests]
        size = int(tail.max())
        if run is not None and size:
            size = _common_length(tail, run.canvas)
            starts = torch.where(tail > 0, length - ends - size, starts)
            if size == run.canvas:
                run.distrust(
                    (tail > 0) & (tail < size), CANVAS_PRIMED,
                    f"a response of which only a part is open, beside others of {size} positions: generate as the "
                    "guard was fitted, with responses that begin empty",
                )  # fmt: skip
        found = cls(starts, size, mask_id, batch=batch)
        found._guessed = guided and not known
        return found

    @classmethod
    def of(cls, run: RunView) -> Self | None:
        """The canvas of this generation; None = it has none yet."""
        found: Self | None = run.memory.get(_NOTE)
        return found

    def remember(self, run: RunView) -> Self:
        """Keeps it for the passes that follow, and tells the run how long the prompt is."""
        run.memory[_NOTE] = self
        run.prompt = self.start
        return self

    @property
    def rows(self) -> torch.Tensor | None:
        """[R] int64 tensor, batch row of each request; None = all rows are requests."""
        return None if self.batch == self.requests else _arange(self.requests, self.starts)

    def positions(self, columns: torch.Tensor) -> torch.Tensor:
        """Response positions of columns.

        Args:
            columns: [L] or [R, L] int64 tensor, counted from the first column of the generation.

        Returns:
            [R, L] int64 tensor; 0 = a request's first response position, negative = its prompt.
        """
        return columns - self.starts[:, None]

    def open(self, input_ids: torch.Tensor) -> torch.Tensor:
        """[] bool tensor: whether a canvas still has a mask, in a pass over `input_ids` [B, L] int64.

        A pass that shows less than prompt and canvas is read as canvas alone.
        """
        holes = input_ids[: self.requests] == self.mask_id
        if self.size is None or self.start is None or input_ids.shape[1] < self.start + self.size:
            return holes.any()
        # What a prompt holds stays there, whether or not it is a mask.
        return holes[:, self.start :].any()

    def see(self, input_ids: torch.Tensor, first: int = 0, positions: torch.Tensor | None = None) -> torch.Tensor:
        """Takes note of what a pass shows: what is filled in, and positions that are new.

        Args:
            input_ids: [B, L] int64 tensor.
            first: column of the pass's first row.
            positions: [R, L] where the rows are, if they are not one column after the other; nobody writes into it.

        Returns:
            [R, L] int64 tensor: canvas position of each row's own token; `PADDING` behind the canvas.
        """
        import torch

        ids = input_ids[: self.requests]
        if positions is None:
            self._refuse_other_width(first, ids.shape[1])
            positions = self._plain_positions(first, ids.shape[1])
            if self.start is not None and self.size is not None and first <= self.start:
                begin = self.start - first
                if begin + self.size <= ids.shape[1]:
                    # The whole canvas in one slice, as most families show it in every pass.
                    place = slice(begin, begin + self.size)
                    committed = ids[:, place] != self.mask_id
                    if first == 0 and not self._reopens:
                        self._compare(ids[:, :begin], committed)
                    if self._guessed and self.batch == 2 * self.requests:
                        # Guidance shows the same canvas twice. Two rows that differ are two requests.
                        self._note((input_ids[self.requests :, place] != ids[:, place]).any())
                    self.committed = committed
                    return positions
        if self.size is not None:
            positions = positions.masked_fill(positions >= self.size, PADDING)
        else:
            reach = self._reach(positions, first + ids.shape[1])
            if reach > self.committed.shape[1]:
                more = self.committed.new_zeros(self.requests, reach - self.committed.shape[1])
                self.committed = torch.cat([self.committed, more], dim=1)
        # A new tensor each time: the plans of earlier steps still hold the old one. Rows off the canvas write into a
        # column that is cut off again.
        width = self.committed.shape[1]
        more = self.committed[:, :1] if width else self.committed.new_zeros(len(positions), 1)
        wider = torch.cat([self.committed, more], dim=1)
        where = self._columns(positions, width)
        self.committed = wider.scatter(1, where, ids != self.mask_id)[:, :width]
        return positions

    @property
    def earliest(self) -> int:
        """Column of the first response position of all. Waits for the device the first time, where rows differ."""
        if self._earliest is None:
            self._earliest = int(self.starts.min())
        return self._earliest

    def see_many(
        self, input_ids: torch.Tensor, places: Sequence[torch.Tensor], width: int
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        """Takes note of S passes at once, of a canvas that grows; as `see` of each, but nothing leaves the device.

        Args:
            input_ids: [S, R, L] int64 tensor.
            places: S of [R, L] int64, canvas position of each row's own token; below 0 = not on the canvas.
            width: canvas positions that the passes show, at least.

        Returns:
            S of [R, P] bool tensor, `committed` after each.
        """
        import torch

        before = self.committed
        if (more := width - before.shape[1]) > 0:
            before = torch.nn.functional.pad(before, (0, more))
        where = torch.stack(list(places))
        where = torch.where(where >= 0, where, before.shape[1])
        after = after_each(before, input_ids != self.mask_id, where).unbind(0)
        self.committed = after[-1]
        return after

    def plain_positions(self, first: int, length: int) -> torch.Tensor:
        """[R, L] int64 tensor: positions of columns next to each other; the same tensor as long as they are."""
        return self._plain_positions(first, length)

    def _reach(self, positions: torch.Tensor, end: int) -> int:
        """Positions of a canvas that grows, with those of a pass, [R, L] int64, whose last column is before `end`."""
        if self.start is not None:
            return end - self.start
        if self._reached is None or self._reached[0] is not positions:
            # One number leaves the device, wherever a block begins, and only where rows may differ.
            self._reached = positions, int(positions.max()) + 1
        return self._reached[1]

    def _columns(self, positions: torch.Tensor, width: int) -> torch.Tensor:
        """[R, L]: `positions`, and `width` where they are off the canvas. Kept, as most passes show the same ones."""
        import torch

        if self._written is None or self._written[0] is not positions or self._written[1] != width:
            self._written = positions, width, torch.where(positions >= 0, positions, width)
        return self._written[2]

    def plan(
        self, input_ids: torch.Tensor, first: int = 0, *, shift: int = 0, active: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
    ) -> StepPlan:  # fmt: skip
        """The plan of a pass that is a step.

        Args:
            input_ids: [B, L] int64 tensor.
            first: column of the pass's first row.
            shift: 1 where a row predicts the token behind it.
            active: [R] bool tensor, requests still generating; None = those with a position to fill.
            positions: [R, L] where the rows are, if they are not one column after the other; nobody writes into it.
        """
        plain = positions is None
        where = self.see(input_ids, first, positions)
        if self.batch > self.requests:
            import torch

            foreign = where.new_full((self.batch - self.requests, where.shape[1]), PADDING)
            where = torch.cat([where, foreign])
        return StepPlan(
            where, shift=shift, rows=self.rows, committed=self.committed,
            active=~self.committed.all(1) if active is None else active,
            span=self._span(first, input_ids.shape[1], shift) if plain else None, canvas=self.size,
        )  # fmt: skip

    def steady(
        self, plan: StepPlan, goes_on: Callable[[ForwardCall], bool] | None = None, *, all_active: bool = False,
    ) -> SteadyPasses | None:  # fmt: skip
        """The passes that show all of prompt and canvas again, for `Hook.steady`; None = this one does not.

        Args:
            plan: of a pass, by this canvas.
            goes_on: says of a later pass over ids of the same shape whether it does so too; None = each does.
            all_active: whether every request is active in every pass; False = those with a position to fill.
        """
        width = plan.positions.shape[1]
        shown = self._places is not None and self._places[0] == (0, width) and plan.span is not None
        if not shown or plan.committed is not self.committed or self.start is None or self.size is None:
            return None
        if self.start + self.size > width:
            return None
        if goes_on is None:
            return _WholePasses(self, all_active=all_active)
        return _AskedPasses(self, goes_on, all_active=all_active)

    def _refuse_other_width(self, first: int, length: int) -> None:
        """Where every pass shows all columns from the first on, another number of them moves what stands in them.

        Raises:
            TokensMoved: tokens were inserted or deleted, or this is another generation.
        """
        if first or self.size is None or self._reopens or (self.start is not None and length <= self.start):
            return
        if self._width not in (None, length):
            raise TokensMoved(
                f"a pass of {length} tokens after passes of {self._width}: a loop that inserts and deletes tokens "
                "cannot be watched, nor can two generations at a time"
            )
        self._width = length

    def _compare(self, prompt: torch.Tensor, committed: torch.Tensor) -> None:
        """Notes, on the device, whether a pass belongs to another generation: other prompts, or all open again.

        Args:
            prompt: [R, start] int64 tensor, token ids before the canvas.
            committed: [R, P] bool tensor, positions without a mask in this pass.
        """
        if self._prompt is None:
            self._prompt = prompt.clone()
            return
        # Published loops fill in a mask wherever they find one, also in a prompt.
        other = (prompt != self._prompt) & (self._prompt != self.mask_id)
        self._note(other.any() | (self.committed.any() & ~committed.any()))

    def _compare_all(self, input_ids: torch.Tensor, committed: torch.Tensor, before: torch.Tensor) -> None:
        """Notes whether one of S passes that show everything belongs to another generation; for `steady`.

        Args:
            input_ids: [S, B, L] int64 tensor.
            committed: [S, R, P] bool tensor, positions without a mask in each.
            before: [R, P] bool tensor, the same of the pass before the first.
        """
        import torch

        assert self.start is not None and self.size is not None
        ids = input_ids[:, : self.requests]
        if not self._reopens:
            if self._prompt is None:
                self._prompt = ids[0, :, : self.start].clone()
            other = (ids[:, :, : self.start] != self._prompt) & (self._prompt != self.mask_id)
            some = committed.flatten(1).any(1)
            some_before = torch.cat([before.any()[None], some[:-1]])
            self._note(other.any() | (some_before & ~some).any())
        if self._guessed and self.batch == 2 * self.requests:
            place = slice(self.start, self.start + self.size)
            self._note((input_ids[:, self.requests :, place] != ids[:, :, place]).any())

    def _note(self, new: torch.Tensor) -> None:
        self._moved = new if self._moved is None else self._moved | new

    def moved(self) -> bool:
        """Whether some pass belonged to another generation. Waits for the device: ask once, at the end."""
        return self._moved is not None and bool(self._moved)

    def _plain_positions(self, first: int, length: int) -> torch.Tensor:
        """[R, L]: one column after the other. Kept, since most passes of a generation have the same shape."""
        if self._places is None or self._places[0] != (first, length):
            positions = self.positions(first + _arange(length, self.starts))
            if self.size is not None:
                positions = positions.masked_fill(positions >= self.size, PADDING)
            self._places = (first, length), positions
        return self._places[1]

    def _span(self, first: int, length: int, shift: int) -> tuple[int, int] | None:
        """Rows that predict canvas positions, where they are the same for all requests."""
        if self.start is None:
            return None
        begin = max(self.start - shift - first, 0)
        end = length if self.size is None else min(self.start + self.size - shift - first, length)
        return (begin, end) if begin < end else None


class _WholePasses(SteadyPasses):
    """Passes that show prompt and canvas whole, as most masked families without a cache make them."""

    def __init__(self, canvas: Canvas, *, all_active: bool) -> None:
        assert canvas.start is not None and canvas.size is not None
        self._canvas, self._all_active = canvas, all_active
        self._place = slice(canvas.start, canvas.start + canvas.size)
        self._before = canvas.committed

    def read(self, input_ids: torch.Tensor) -> SteadySteps:
        """[S, B, L] int64 tensor: a request is active while it has a mask."""
        committed = self._shown(input_ids) != self._canvas.mask_id
        self._canvas.committed = committed[-1]
        return SteadySteps(committed, None if self._all_active else ~committed.all(2))

    def verify(self, input_ids: torch.Tensor) -> None:
        """As `Canvas.see` of each pass: [S, B, L] int64 tensor."""
        canvas, shown = self._canvas, self._shown(input_ids)
        committed = shown != canvas.mask_id
        canvas._compare_all(input_ids, committed, self._before)
        self._before = committed[-1]

    def _shown(self, input_ids: torch.Tensor) -> torch.Tensor:
        """[S, R, P] of [S, B, L]: the canvas."""
        canvas = self._canvas
        if canvas.requests < input_ids.shape[1]:
            input_ids = input_ids[:, : canvas.requests]
        return input_ids[:, :, self._place]


class _AskedPasses(_WholePasses):
    """Those of a family that must be asked whether a pass is one."""

    def __init__(self, canvas: Canvas, goes_on: Callable[[ForwardCall], bool], *, all_active: bool) -> None:
        super().__init__(canvas, all_active=all_active)
        self._goes_on = goes_on

    def goes_on(self, call: ForwardCall) -> bool:
        """As the family says."""
        return self._goes_on(call)


def _common_length(runs: torch.Tensor, usual: int | None) -> int:
    """How many positions the responses of a batch have, by `runs`, [R] int64 masks at the end of each row.

    `usual` is the length of the guard's profile, None without one. Else the shortest counts: a prompt can make a run
    longer, and none can make it shorter.
    """
    found = runs.tolist()
    return usual if usual is not None and usual in found else min(length for length in found if length)


def _arange(length: int, like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.arange(length, device=like.device)


def _second_half_is_unconditional(
    input_ids: torch.Tensor, masked: torch.Tensor, run: torch.Tensor, *, known: bool
) -> bool:  # fmt: skip
    """Whether each row of the second half is its twin of the first with the prompt masked, and so has a longer run.

    A longer run alone says nothing: it may be another request, with a shorter prompt. Where the prompt itself is made
    of masks, the runs are alike.

    Args:
        input_ids: [B, L] int64 tensor.
        masked: [B, L] bool tensor, where they are the mask.
        run: [B] int64 tensor, length in tokens of the run of masks at the end of each row.
        known: whether the batch is known to have twice as many rows as requests.
    """
    half, odd = divmod(len(run), 2)
    if odd or not half:
        return False
    same = masked[half:] | (input_ids[half:] == input_ids[:half])
    longer = run[half:] > run[:half]
    return bool((same.all(1) & (run[half:] >= run[:half])).all()) and (known or bool(longer.any()))

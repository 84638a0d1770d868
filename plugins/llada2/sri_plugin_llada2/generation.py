"""One generation of LLaDA2: each pass shows the sequence up to the end of the block in work.

Masks alone do not say which passes are steps. LLaDA2.1 goes on over a block without any, to edit it, and a caller that
reads the finished text shows the model the very same thing. The difference: an editing loop stops at the first such
pass that changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from sri_sdk import SriError, StepPlan
from sri_sdk.canvas import Canvas, block_in_work
from sri_sdk.errors import TokensMoved
from sri_sdk.records import PADDING, RunView

if TYPE_CHECKING:
    import torch

_NOTE = "generation"


@dataclass(frozen=True, slots=True)
class _Look:
    """What leaves the device of one pass, all at once. The family's samplers wait for the device here themselves."""

    open: bool
    """Some position holds a mask."""
    blank: bool
    """All of them do."""
    prompt: bool
    """The prompt is another one."""
    changed: bool
    """Some token is another one than in the pass before; among the columns both show."""
    reopened: bool
    """Some position holds a mask that held none in the pass before."""


class Generation:
    """One generation. It lives in `RunView.memory`.

    Attributes:
        canvas: which positions are filled in.
        prompt: [B, N] int64 tensor, the columns before the response.
    """

    def __init__(self, input_ids: torch.Tensor, mask_id: int, run: RunView, prompt: int | None = None) -> None:
        """Takes the first pass, [B, L] int64; `prompt` = columns before the response, None = as its masks show."""
        found = Canvas.find(input_ids, mask_id, run=run)
        if prompt is not None and prompt < input_ids.shape[1]:
            found = Canvas(input_ids.new_full((len(input_ids),), prompt), input_ids.shape[1] - prompt, mask_id)
        if found.start is None or not found.size:
            raise SriError(
                "the first pass has masks that are not its last columns, the same number in every row: filling holes "
                "inside a text is not watched, only responses behind a prompt"
            )
        self.canvas = Canvas(found.starts, None, mask_id)
        self.prompt = input_ids[:, : found.start].clone()
        self._start, self._mask_id = found.start, mask_id
        self._before = input_ids.clone()
        self._was_open, self._begun, self._sweeps = True, False, 0
        self._changed = self._frozen = input_ids.new_zeros(len(input_ids)).bool()

    @classmethod
    def of(cls, run: RunView) -> Self | None:
        """That of this generation; None = it has none yet."""
        found: Self | None = run.memory.get(_NOTE)
        return found

    def is_prompt(self, tokens: torch.Tensor) -> bool:
        """Whether these are the columns before the response: [B, N] int64; what was filled in may be anything."""
        prompt = self.prompt.to(tokens.device)
        return bool(((tokens == prompt) | (prompt == self._mask_id)).all())

    def remember(self, run: RunView) -> Self:
        """Keeps it for the passes that follow."""
        run.memory[_NOTE] = self
        # Whether a call returns the prompt depends on how it ended; `Llada2Hook.lengths` knows it when it sees it.
        run.prompt = 0
        return self

    def is_step(
        self, input_ids: torch.Tensor, ends: tuple[int, ...], most_sweeps: int | None, *, fixed: bool
    ) -> bool:  # fmt: skip
        """Whether a pass goes on with this generation.

        Args:
            input_ids: [B, L] int64 tensor.
            ends: ids that end a response.
            most_sweeps: passes over a block without masks that may follow each other; None = any number.
            fixed: whether a position that was filled in never holds a mask again.

        Raises:
            SriError: the pass belongs to another generation, or to a family whose rows move.
        """
        if len(input_ids) != len(self._before) or input_ids.shape[1] <= self._start:
            if bool((input_ids == self._mask_id).any()):
                raise _second()
            return False
        width = min(input_ids.shape[1], self._before.shape[1])
        before = self._before[:, :width]
        (look,) = self._looks(input_ids[None], before[None])
        same = input_ids.shape == self._before.shape
        if not self._goes_on(look, most_sweeps, same_shape=same, fixed=fixed):
            return False
        if len(input_ids) > 1:
            self._note_rows(input_ids[None], before[None], ends)
        self._before = input_ids.clone()
        return True

    def plans(
        self, input_ids: torch.Tensor, like: StepPlan, run: RunView, ends: tuple[int, ...], most_sweeps: int | None,
        *, fixed: bool,
    ) -> Iterator[StepPlan | None]:  # fmt: skip
        """As `is_step` and `plan` of each of S passes whose rows stand where those of the pass before stood.

        One look at all of them leaves the device.

        Args:
            input_ids: [S, B, L] int64 tensor, as many columns as in the pass before.
            like: the plan of that pass.
            run: takes note of passes over finished text.
            ends: as for `is_step`, with what follows.
            most_sweeps: see there.
            fixed: see there.
        """
        import torch

        before, done, failure = torch.cat([self._before[None], input_ids[:-1]]), 0, None
        try:
            for look in self._looks(input_ids, before):
                if not self._goes_on(look, most_sweeps, same_shape=True, fixed=fixed):
                    break
                done += 1
        except SriError as err:
            failure = err
        if done:
            ids, (_, rows, length) = input_ids[:done], input_ids.shape
            if rows > 1:
                self._note_rows(ids, before[:done], ends)
            self._before = ids[-1].clone()
            holes = (ids[:, :, self._start :] == self._mask_id).any(2)
            active = (holes | ~holes.any(1, keepdim=True)).unbind(0)
            committed = self.canvas.see_many(ids, [like.positions] * done, length - self._start)
            for each in zip(committed, active, strict=True):
                yield StepPlan(like.positions, shift=0, committed=each[0], active=each[1], span=like.span)
        if failure is not None:
            raise failure
        # Somebody reads the finished text. What comes behind it is compared with what was before.
        for ids in input_ids[done:]:
            if self.is_step(ids, ends, most_sweeps, fixed=fixed):
                yield self.plan(ids, {}, int)
            else:
                run.reads(ids)
                yield None

    def _goes_on(self, look: _Look, most_sweeps: int | None, *, same_shape: bool, fixed: bool) -> bool:
        """Whether a pass that looks like this is a step, as `is_step` has it; takes note of it."""
        if not look.open:
            same = same_shape and not look.prompt
            if not same or not look.changed or (most_sweeps is not None and self._sweeps >= most_sweeps):
                return False  # Somebody reads the finished text.
            self._sweeps += 1
        else:
            if look.prompt or (look.blank and self._begun):
                raise _second()
            if look.reopened and fixed:
                raise TokensMoved(
                    "a position that was filled in holds a mask again: rows move, as in LLaDA2.2, whose tokens are "
                    "inserted and deleted. This hook is for LLaDA2.0 and 2.1"
                )
            self._sweeps = 0
        self._begun = self._begun or not look.blank
        self._was_open = look.open
        return True

    def plan(self, input_ids: torch.Tensor, kwargs: Mapping[str, Any], block: Callable[[], int]) -> StepPlan:
        """The plan of a pass that is a step.

        Args:
            input_ids: [B, L] int64 tensor.
            kwargs: those of the model's forward, where they could be seen.
            block: says how many tokens a block has; asked only where rows have blocks of their own.
        """
        import torch

        rows, length = input_ids.shape
        mask: Any = kwargs.get("attention_mask")
        places: Any = kwargs.get("position_ids")
        holes = input_ids[:, self._start :] == self._mask_id
        # A row that has filled its block waits for the others, and nothing is done to it.
        active = holes.any(1) if self._was_open else holes.new_ones(rows)
        if one_place(kwargs, rows):
            return self.canvas.plan(input_ids, active=active)
        columns = torch.arange(length, device=input_ids.device) - self._start
        if mask.dim() == 4:
            positions = self._own_blocks(columns, holes, places, block())
        else:
            # What the mask leaves out is padding of the prompt, or lies behind the response in its last block.
            positions = columns.masked_fill(mask == 0, PADDING) if mask.shape == input_ids.shape else columns
            if rows > 1:
                # The pipeline goes over a filled row once more, and again if that changed a token. What it does beyond
                # that, for others, changes nothing: the same tokens give the same predictions.
                active = (holes.any(1) | self._changed) & ~self._frozen
        return self.canvas.plan(input_ids, active=active, positions=positions.expand(rows, length))

    def _looks(self, ids: torch.Tensor, before: torch.Tensor) -> list[_Look]:
        """Of S passes over [S, B, L] ids, behind passes that showed [S, B, W] of their columns, W at most L."""
        import torch

        start, holes, width = self._start, ids == self._mask_id, before.shape[2]
        differs = ids[:, :, :width] != before
        found = torch.stack(
            [
                holes[:, :, start:].flatten(1).any(1),
                holes[:, :, start:].flatten(1).all(1),
                # A mask in a prompt is filled in like any other.
                (differs[:, :, :start] & (self.prompt != self._mask_id)).flatten(1).any(1),
                differs.flatten(1).any(1),
                (holes[:, :, :width] & (before != self._mask_id)).flatten(1).any(1),
            ],
            dim=1,
        )
        return [_Look(*each) for each in found.tolist()]

    def _own_blocks(self, columns: torch.Tensor, holes: torch.Tensor, places: torch.Tensor, block: int) -> torch.Tensor:
        """[B, L] positions where padding gives each row blocks of its own: behind the one it works on is nothing yet.

        The window ends where the furthest row's block does; a row works on the block of its leftmost mask.
        """
        prompts = places[:, self._start, None]
        begin = block_in_work(holes, block, prompts)
        nothing = (columns >= begin + block) | (columns < -prompts)
        return columns.expand_as(nothing).masked_fill(nothing, PADDING)

    def _note_rows(self, ids: torch.Tensor, before: torch.Tensor, ends: tuple[int, ...]) -> None:
        """Takes note of what S steps did to each row, [S, B, L] behind [S, B, W] of their columns."""
        new = ids[:, :, : before.shape[2]] != before
        self._changed, self._frozen = new[-1].any(1), self._frozen | self._ended(ids, new, ends).any(0)

    def _ended(self, ids: torch.Tensor, new: torch.Tensor, ends: tuple[int, ...]) -> torch.Tensor:
        """[S, B] bool: rows that diffusers' pipeline leaves as they are from now on, while its batch goes on.

        By its own rule: the step before wrote an end token, and there is one with no mask before it. A prompt that
        holds that token, as padding, keeps its row from ever ending. `new` [S, B, up to L] says what each step wrote.
        """
        import torch

        at = torch.isin(ids, torch.tensor(ends, dtype=torch.long, device=ids.device))
        whole = (ids[:, :, self._start :] == self._mask_id).long().cumsum(2) == 0
        wrote = (at[:, :, : new.shape[2]] & new).any(2)
        return ~at[:, :, : self._start].any(2) & wrote & (at[:, :, self._start :] & whole).any(2)


def one_place(kwargs: Mapping[str, Any], rows: int) -> bool:
    """Whether all rows of a pass are in the same columns of the same block, by the arguments of the model's forward."""
    mask, places = kwargs.get("attention_mask"), kwargs.get("position_ids")
    return mask is None or (mask.dim() == 4 and (len(mask) == 1 or places is None or len(places) != rows))


def _second() -> SriError:
    return SriError("a second generation in one watch; watch one generation at a time")

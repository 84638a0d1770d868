"""Evidence that every pass of a generation was seen: calls counted, tokens returned, steps taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.conclude import INCOMPLETE, ROWS_DIFFER, SILENT, UNEXPLAINED, Coverage
from sri_sdk.capture.later import enough
from sri_sdk.capture.recorder import to_host
from sri_sdk.hook import Hook
from sri_sdk.records import PADDING, RunView, StepPlan


class CoverageTracker:
    """Collects what is known about the passes of one generation, and says at the end how many of them were seen.

    Attributes:
        seen: per step, which requests it belonged to; None = all.
        expected: steps each request took, where somebody said so.
        forward_calls: calls of the model's own forward, whether or not the tap saw the pass.
        unowned_passes: passes of this model meanwhile that belong to no run.
        ended: per request, whether its end was seen; known with the coverage.
    """

    def __init__(
        self, hook: Hook, view: RunView, budget: int | None, *, fixed: bool, horizon: bool = False
    ) -> None:  # fmt: skip
        """Takes the hook, the run as hooks see it, and the step budget.

        `fixed` = every call takes as many; `horizon` = more may follow, and nobody judges them.
        """
        self._hook, self._view, self._budget, self._fixed = hook, view, budget, fixed
        self._horizon = horizon
        self.seen: list[torch.Tensor | None] = []
        self.expected: tuple[int, ...] | None = None
        self.forward_calls = 0
        self.unowned_passes = 0
        self.ended: tuple[bool, ...] = ()
        self._first: StepPlan | None = None
        self._last: StepPlan | None = None
        self._shapes: dict[int, StepPlan] = {}
        self._width = 0
        self._prompt: torch.Tensor | None = None
        self._lengths: tuple[int, ...] | None = None
        self._cut: tuple[bool, ...] = ()
        self._reported_passes: int | None = None
        self._read = FinishedText()

    @property
    def end_reported(self) -> bool:
        """Whether somebody said how many steps there were, or what was returned."""
        return self.expected is not None or self._lengths is not None

    # -- while the generation runs ---------------------------------------------------------------------------

    def began(self, plan: StepPlan, input_ids: torch.Tensor) -> None:
        """Takes the first step's plan, and the tokens of its pass, [B, L] int64."""
        self._first = plan
        width = self._view.prompt
        if width is None:
            width = input_ids.shape[1] if self._hook.scheme == "autoregressive" else 0
        self._width = width
        # Behind a cache the first step shows a block, and not where the prompt begins.
        # Nor does a prompt whose beginning was in a cache before.
        if self._hook.scheme == "autoregressive" and width > input_ids.shape[1]:
            return
        if self._hook.scheme == "autoregressive" or int(plan.positions[0, 0]) == -width:
            rows = input_ids if plan.rows is None else input_ids[plan.rows]
            self._prompt = rows[:, :width].clone()

    def planned(self, plan: StepPlan) -> None:
        """A pass that is a step has begun."""
        self._last = plan
        self._shapes.setdefault(plan.positions.shape[1], plan)

    def shown(self, input_ids: torch.Tensor, plan: StepPlan | None) -> None:
        """Takes the tokens [B, L] int64 of any pass, into which nobody writes, and its plan.

        Passes that are no step must be explained.
        """
        if self._first is None or self._hook.scheme != "masked" or self.end_reported:
            return  # What comes before the first step, or behind the last one, is none of this generation.
        if self._view.reading is not None:
            self._read.shown(input_ids, finished=True)
        else:
            self._read.later(input_ids, None if plan is None else plan.active)

    def shown_steady(self, input_ids: torch.Tensor, active: torch.Tensor | None) -> None:
        """Takes the tokens [1 + S, B, L] int64 of S steps behind the pass that was shown last, which comes first.

        `active` [S, R] bool are requests still generating; None = all.
        """
        if self._first is None or self._hook.scheme != "masked" or self.end_reported:
            return
        self._read.shown_steady(input_ids, None if active is None else ~active.any(1))

    def shown_later(self, input_ids: torch.Tensor, plans: Sequence[StepPlan | None], read: Sequence[bool]) -> None:
        """Takes the tokens [1 + S, B, L] int64 of S passes behind the pass that was shown last, which comes first.

        `plans` are theirs, and `read` says in which of them somebody read a finished text.
        """
        if self._first is None or self._hook.scheme != "masked" or self.end_reported:
            return
        known = next((plan.active for plan in plans if plan is not None and plan.active is not None), None)
        if known is None and not any(read):
            self._read.shown_steady(input_ids, None)
            return
        some = input_ids.new_ones(1, dtype=torch.bool) if known is None else torch.ones_like(known)
        none = torch.zeros_like(some)
        active = [
            (none if reads else some) if plan is None or plan.active is None else plan.active
            for plan, reads in zip(plans, read, strict=True)
        ]
        self._read.shown_steady(input_ids, ~torch.stack(active).any(1))

    def returned(self, tokens: torch.Tensor, passes: int | None) -> str | None:
        """What the watched call returned; see `Run.returned`.

        Args:
            tokens: [R, L] int64 tensor, with or without the prompt.
            passes: forward passes the call made, where it says so.

        Returns:
            A reason why the run cannot be trusted; None = there is none.
        """
        if self._first is None or self._last is None:
            return None
        if len(tokens) != self._view.requests:
            return ROWS_DIFFER
        self._reported_passes = passes
        self._read.returned(tokens, self._width)
        self._lengths = tuple(self._hook.lengths(tokens[:, self._prompt_of(tokens) :], self._view))
        if self._hook.scheme == "autoregressive":
            self.expected = self._lengths
            ends = set(self._hook.eos_ids() if self._view.eos_ids is None else self._view.eos_ids)
            # As long as it could get, and without an end: the call stopped it, not the model.
            # Unless the caller's own rule ended it, as a stop string does.
            longest = self._view.longest
            ruled = [longest is not None and length < longest for length in self._lengths]
            self._cut = tuple(int(row[-1]) not in ends and not on for row, on in zip(tokens, ruled, strict=True))
        return INCOMPLETE if passes is not None and passes != self._view.forwards else None

    def _prompt_of(self, tokens: torch.Tensor) -> int:
        """Columns of the prompt that `tokens` [R, L] int64 begin with; 0 = they are the response alone."""
        width, prompt = self._width, self._prompt
        if tokens.shape[1] <= width:
            return 0
        if prompt is None:
            return width
        # A mask in a prompt may have been filled in: what stands there says nothing.
        mask = self._hook.mask_id()
        same = tokens[:, :width].to(prompt) == prompt
        return width if bool((same if mask is None else same | (prompt == mask)).all()) else 0

    # -- the end ---------------------------------------------------------------------------------------------

    def missed_passes(self) -> str | None:
        """A reason if the model was called without the tap firing, as in code exported or recorded without it."""
        if self.forward_calls <= self._view.forwards:
            return None
        return INCOMPLETE if self._view.forwards else SILENT

    def unexplained_passes(self) -> str | None:
        """A reason if a pass went over finished text, and nothing shows that the text was finished."""
        return UNEXPLAINED if self._read.doubtful() else None

    def width_of_canvas(self) -> int:
        """Response positions of the last pass, as far as it tells; at least 1."""
        if self._last is None:
            return 1
        return self._last.canvas or max([*reach(self._last), 1])

    def coverage(self, requests: int) -> list[Coverage]:
        """Per request: steps seen, against what is known about how many there were."""
        steps = _on_host(self.seen, requests)
        seen = sum(steps, np.zeros(requests, dtype=np.int64))
        going = steps[-1] if steps else np.zeros(requests, dtype=np.bool_)
        budget = self._budget
        usual = None
        if budget is not None and not self._horizon:
            usual = budget if self._fixed else self._hook.expected_steps(budget)
        expected = [usual] * requests if self.expected is None else list(self.expected)
        taken = self._view.taken
        if self.expected is None and taken is not None and len(taken) == requests:
            expected = taken.tolist()
        self.ended, cut = self._ends([not on for on in going]), self._cut or (False,) * requests
        strays = self.unowned_passes > 0
        return [
            Coverage(
                int(seen[r]),
                expected[r],
                budget,
                ended=self.ended[r],
                cut=cut[r],
                strays=strays,
                horizon=self._horizon,
            )
            for r in range(requests)
        ]

    def forget(self) -> None:
        """Lets go of tensors: whoever keeps a run keeps its results, not the model's last passes."""
        self.seen, self._prompt, self._first, self._last, self._shapes = [], None, None, None, {}
        self._read = FinishedText()

    def _ends(self, idle: Sequence[bool]) -> tuple[bool, ...]:
        """Per request: whether its end was seen, where nobody knows how many steps there should be.

        `idle`: whether the last step had nothing to do for it. Otherwise the returned tokens decide: positions behind
        the rows of the last pass would mean that passes were missed.
        """
        if self._lengths is None or self._last is None or self._hook.scheme == "autoregressive":
            return tuple(map(bool, idle))
        whole = self._none_missed()
        return tuple(whole and length <= far for length, far in zip(self._lengths, reach(self._last), strict=True))

    def _none_missed(self) -> bool:
        """Whether something but the tap itself says that no pass was missed."""
        if self._reported_passes is not None or self.unowned_passes:
            # Passes that nobody owns may be ours, run in a thread that the watch does not reach.
            return self._reported_passes is not None
        if self.forward_calls == self._view.forwards:
            return True
        # Compiled: nobody counts the calls. A window that moved with the tokens is as good; a canvas that every
        # pass shows whole tells nothing.
        assert self._last is not None and self._first is not None
        last = reach(self._last)
        return any(reach(plan) != last for plan in (self._first, *self._shapes.values()))


class FinishedText:
    """Passes over text without a hole: a caller that reads it, or a loop that goes on by other means.

    Such a pass is no step of a masked family, so a loop that edits finished text would lose steps in silence. It is
    explained once the text is seen again as it was: in the next such pass, or in what the call returned. Nothing waits
    for the device before the end.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        self._text: torch.Tensor | None = None
        self._finished: torch.Tensor | bool = False
        self._seen_again: torch.Tensor | bool = False
        self._changed: torch.Tensor | bool = False

    def later(self, input_ids: torch.Tensor, active: torch.Tensor | None) -> None:
        """Takes the tokens [B, L] int64 of a pass, into which nobody writes, to be looked at together with others.

        `active` [R] bool are requests still generating: without one, nothing was left to fill. None = something was.
        """
        waiting = self._waiting
        if enough(len(waiting), input_ids) or (waiting and waiting[0][0].shape != input_ids.shape):
            self._look()
        self._waiting.append((input_ids, active))

    def _look(self) -> None:
        """Looks at the passes that wait, all of one shape."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        known = next((active for _, active in waiting if active is not None), None)
        if known is None:
            for ids, _ in waiting:
                self._take(ids, finished=False)
            return
        open_ = torch.ones_like(known)
        ended = ~torch.stack([open_ if active is None else active for _, active in waiting]).any(1)
        self._take(waiting[0][0], finished=ended[0])
        if len(waiting) > 1:
            self._take_many(torch.stack([ids for ids, _ in waiting]), ended[1:])

    def shown(self, input_ids: torch.Tensor, *, finished: torch.Tensor | bool) -> None:
        """Takes the tokens [B, L] int64 of a pass, and whether ([] bool tensor) it had nothing left to fill.

        Nobody writes into the tokens afterwards.
        """
        self._look()
        self._take(input_ids, finished=finished)

    def _take(self, input_ids: torch.Tensor, *, finished: torch.Tensor | bool) -> None:
        if self._finished is not False and self._text is not None:
            same = input_ids.shape == self._text.shape and (input_ids == self._text).all()
            self._changed = self._changed | (self._finished & _not(same))
            self._seen_again = self._finished & same & finished
        self._text, self._finished = (None if finished is False else input_ids), finished

    def shown_steady(self, input_ids: torch.Tensor, finished: torch.Tensor | None) -> None:
        """Takes S passes at once, [1 + S, B, L] int64 behind the one shown last, and their `finished` [S] bool.

        None = all had something left to fill.
        """
        self._look()
        if finished is None:
            # As one by one: the first may follow finished text, none of the others does.
            self._take(input_ids[1], finished=False)
            return
        self._take_many(input_ids, finished)

    def _take_many(self, input_ids: torch.Tensor, finished: torch.Tensor) -> None:
        """As `shown_steady` for [1 + S, B, L] int64 ids and `finished` [S] bool, once nothing waits."""
        before = self._finished
        if before is False:
            before = torch.zeros_like(finished[0])
        flags = torch.cat([torch.as_tensor(before, device=finished.device).reshape(1), finished])
        same = (input_ids[1:] == input_ids[:-1]).flatten(1).all(1)
        self._changed = self._changed | (flags[:-1] & ~same).any()
        self._seen_again = flags[-2] & same[-1] & flags[-1]
        self._text, self._finished = input_ids[-1], finished[-1]

    def returned(self, tokens: torch.Tensor, prompt: int) -> None:
        """Takes what the call returned, [R, L] int64, with or without the `prompt` columns in front."""
        self._look()
        if self._finished is False or self._text is None:
            return
        text, length = self._text[: len(tokens)], tokens.shape[1]
        tokens = tokens.to(text.device)
        places = (text[:, -length:], text[:, prompt : prompt + length])
        self._seen_again = any(place.shape == tokens.shape and torch.equal(place, tokens) for place in places)
        self._changed = self._changed | (self._finished & (not self._seen_again))

    def doubtful(self) -> bool:
        """Whether a text changed after it was called finished, or was never seen again."""
        self._look()
        return bool(self._changed) or bool(self._finished & _not(self._seen_again))


def _on_host(seen: Sequence[torch.Tensor | None], requests: int) -> list[NDArray[np.bool_]]:
    """S of [R]: requests each step belonged to. What lies on one device leaves it at once."""
    known = [active for active in seen if active is not None]
    if not known or len({active.device for active in known}) > 1:
        return [to_host(active, requests) for active in seen]
    each = iter(torch.stack(known).cpu().numpy())
    return [to_host(None, requests) if active is None else next(each) for active in seen]


def _not(flag: torch.Tensor | bool) -> torch.Tensor | bool:
    return ~flag if isinstance(flag, torch.Tensor) else not flag


def reach(plan: StepPlan) -> list[int]:
    """Per request: how many response positions lie before the end of this pass."""
    positions = plan.positions if plan.rows is None else plan.positions[plan.rows]
    shifted = torch.where(positions == PADDING, positions, positions + plan.shift)
    found: list[int] = (shifted.amax(1) + 1).tolist()
    return found


def returned_tokens(result: Any) -> torch.Tensor | None:
    """The [R, L] token ids a generation method returns: a tensor, an output with `sequences`, or a pair with a count.

    The output may be an object or a plain dictionary.

    None = it returns nothing of the kind.
    """
    if isinstance(result, tuple) and not hasattr(result, "sequences"):
        result = result[0] if result else None
    found = result.get("sequences") if isinstance(result, dict) else getattr(result, "sequences", result)
    return found if isinstance(found, torch.Tensor) and found.dim() == 2 else None

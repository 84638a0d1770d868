"""Hooks of a mistaken vendor, one fault each: `hook_checks(fault.example)`. Here, `plan` is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import torch

import sri_sdk
from sri_sdk import Encoded, ForwardCall, RunView, StepPlan
from sri_sdk.records import PADDING
from tests.testing.strangers_bases import Causal, Lab, Toy
from tests.testing.strangers_hooks_aside import FAULTS as ASIDE_FROM_PASSES

SRI_PLUGIN_API = 2

CORRECT: list[type[sri_sdk.Hook]] = [Causal, Toy, Lab]
FAULTS: list[type[sri_sdk.Hook]] = [*ASIDE_FROM_PASSES]
Kind = TypeVar("Kind", bound=type[sri_sdk.Hook])


def planted(fault: Kind) -> Kind:
    FAULTS.append(fault)
    return fault


# -- which rows are what ----------------------------------------------------------------------------------------


@planted
class NumbersBatchAsOneRow(Causal):
    """Numbers the prompt's rows through the whole batch: right only for a batch of one."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        rows, length = call.input_ids.shape
        flat = torch.arange(rows * length).view(rows, length) - length
        return plan if length == 1 else replace(plan, positions=flat, span=None)


@planted
class CountsFromFirstRealToken(Causal):
    """Numbers a prompt from its first real token: the last one is -1 only where the row has no padding."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        if call.input_ids.shape[1] == 1:
            return plan
        real = plan.positions != PADDING
        places = real.long().cumsum(1) - 1 - call.input_ids.shape[1]
        return replace(plan, positions=places.masked_fill(~real, PADDING), span=None)


@planted
class TextThatLooksLikePadding(Causal):
    """Finds padding by its id, which here is the question mark's: the last token of every prompt is lost."""

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> Encoded:
        given = super().encode(tokenizer, texts, system_prompt)
        sign = tokenizer.encode("?")[0]
        return Encoded(given.input_ids.masked_fill(given.attention_mask == 0, sign), given.attention_mask)

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        length = call.input_ids.shape[1]
        places = (
            torch.arange(-length, 0).expand_as(call.input_ids).masked_fill(call.input_ids == 3 + ord("?") % 61, PADDING)
        )
        return plan if length == 1 else replace(plan, positions=places, span=None)


@planted
class SpanOfWholePass(Causal):
    """Gives all rows of the prompt as the span that predicts: the prompt and its padding are averaged in."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        return replace(plan, span=(0, call.input_ids.shape[1]))


@planted
class CounterOnSelf(Causal):
    """Counts tokens on self: two generations side by side number each other's rows."""

    count = 0

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        self.count = 0 if call.input_ids.shape[1] > 1 else self.count + 1
        if self.count == 0:
            return plan
        return replace(plan, positions=torch.full_like(plan.positions, self.count - 1), span=None)


@planted
class RestartsSilently(Causal):
    """Takes a second prompt for a new beginning: two generations are laid on one grid, and nobody hears of it."""

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        if call.input_ids.shape[1] > 1:
            run.memory.clear()
        return super().plan(call, run)


@planted
class ToyOneRowEarly(Toy):
    """Numbers every row one too high: the last prompt token is taken for response token 0."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        return replace(plan, positions=plan.positions + (plan.positions != PADDING).long())


@planted
class ToyCanvasBeginsAtFirstHole(Toy):
    """Looks for the first hole in every pass: the canvas shrinks as it fills from the left."""

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        run.memory.pop("start", None)
        return super().plan(call, run)


@planted
class ToyPlanShiftsByOne(Toy):
    """Says that a row predicts the next token, where it predicts its own."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        return replace(plan, shift=1)


@planted
class CausalShiftIsZero(Causal):
    """`shift()` says 0 although the plan says 1: a sampler takes the wrong row."""

    def shift(self) -> int:
        return 0


@planted
class LabPoolsBlindHalf(Lab):
    """Under guidance names the unconditional rows: the states of a prompt that the model did not see."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        return plan if plan.rows is None else replace(plan, rows=plan.rows + len(plan.rows))


@planted
class LabInterleavesGuidance(Lab):
    """Under guidance takes every second row, as another loop would lay them out: requests swap places."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        return plan if plan.rows is None else replace(plan, rows=2 * plan.rows)


@planted
class LabCommittedOfFirstRow(Lab):
    """Takes the first row's holes for everybody's: wrong in a batch, where each row fills its own order."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        assert plan.committed is not None
        return replace(plan, committed=plan.committed[:1].expand_as(plan.committed))


@planted
class ToyCanvasIsItsHoles(Toy):
    """Counts holes for the canvas's size: too short once a response is started."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        assert plan.committed is not None
        size = run.memory.setdefault("size", int((~plan.committed[0]).sum()))
        return replace(plan, canvas=size, committed=plan.committed[:, :size])


@planted
class ToyStartedColumnIsItsSize(Toy):
    """Reads the number of positions of a started response as its column: every row of it is misplaced."""

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        run.response = run.response and (run.response[1], run.response[1])
        return super().plan(call, run)


# -- which passes count, and for whom ---------------------------------------------------------------------------


@planted
class EndNoticedLate(Causal):
    """Notices an end token one pass later: the row gets a vector for the padding behind it."""

    def _active(self, memory: dict[str, Any], ids: torch.Tensor) -> torch.Tensor:
        ended = memory.get("ended", torch.zeros_like(memory["active"]))
        memory["ended"] = torch.isin(ids, memory["ends"]).any(1)
        active: torch.Tensor = memory["active"] & ~ended
        return active


@planted
class LastEndOnly(Causal):
    """Knows only the last of several end tokens: rows that end by another go on."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        run.memory["ends"] = run.memory["ends"][-1:]
        return plan


@planted
class OneEndStopsAll(Causal):
    """Stops every row with the first one that ends: the rest of the batch is not looked at."""

    def _active(self, memory: dict[str, Any], ids: torch.Tensor) -> torch.Tensor:
        active: torch.Tensor = memory["active"] & ~torch.isin(ids, memory["ends"]).any()
        return active


@planted
class ActiveInPlace(Causal):
    """Changes `active` in place: the plans of earlier steps change with it."""

    def _active(self, memory: dict[str, Any], ids: torch.Tensor) -> torch.Tensor:
        active: torch.Tensor = memory["active"]
        return active.logical_and_(~torch.isin(ids, memory["ends"]).any(1))


@planted
class CallsEndsUnread(Causal):
    """Reads end tokens of a generation_config alone: those given as an argument are missed."""

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        super().on_call(call, args, {k: v for k, v in kwargs.items() if k != "eos_token_id"}, run)


@planted
class EndsReadOnce(Causal):
    """Reads the end tokens when it is built: what the model's generation_config says later is missed."""

    def __init__(self, model: Any, config: Any = None) -> None:
        super().__init__(model, config)
        self._ends = super().eos_ids()

    def eos_ids(self) -> tuple[int, ...]:
        return self._ends


@planted
class CallsMisnamed(Causal):
    """Names a method that the model lacks: neither arguments nor returned tokens are seen."""

    calls: ClassVar = ("generate_text",)


@planted
class ToyLastHoleAlone(Toy):
    """Takes a pass with a single hole for a reading of the text: alone, a row loses its last step."""

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        return None if len(call.input_ids[call.input_ids == self.mask_id()]) <= 1 else super().plan(call, run)


@planted
class ToySkipsWarmUp(Toy):
    """Takes the first pass for a warm-up: step 0 is missing."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan | None:
        run.memory["passes"] = run.memory.get("passes", 0) + 1
        return plan if run.memory["passes"] > 1 else None


@planted
class ToyReadingCounts(Toy):
    """Counts a pass over the finished text: one step too many for whoever scores the response afterwards."""

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        run.memory["last"] = super().plan(call, run) or run.memory.get("last")
        last: StepPlan | None = run.memory["last"]
        return last


@planted
class LabActiveWhileUntouched(Lab):
    """Calls a row active only while all of it is open: it is done after one step."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        assert plan.committed is not None
        return replace(plan, active=~plan.committed.any(1))


@planted
class ToyTakenOneTooMany(Toy):
    """Counts the loop's steps from 1 and adds this one again: coverage is never complete."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        run.taken = torch.full((len(call.input_ids),), run.steps + 2)
        return plan


@planted
class ToyExpectsOneMore(Toy):
    """Expects a step more than the budget, for a last look that the loop does not take."""

    def expected_steps(self, budget: int) -> int | None:
        return budget + 1


@planted
class CausalExpectsBudget(Causal):
    """Expects the whole budget of a family whose rows end earlier."""

    def expected_steps(self, budget: int) -> int | None:
        return budget


@planted
class CausalClaimsCommitted(Causal):
    """Claims `committed`, and says None in every plan: a guard that needs it is accepted."""

    capabilities: ClassVar = frozenset({"phi", "input_ids", "clock", "committed"})


@planted
class ToyPromptWithoutPadding(Toy):
    """Takes the first prompt's own length for the prompt's columns: wrong as soon as that row is padded."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        places = plan.positions[0]
        run.prompt = len(places[(places < 0) & (places > PADDING)])
        return plan

"""The kit on hooks with one fault each: every fault is caught, by the check that is for it."""

import os
from dataclasses import replace
from functools import cache
from typing import ClassVar

import pytest
import torch
from sri_plugin_lab.hooks import LabCausalHook, LabDiffusionHook
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import MASK, PAD

from sri_sdk import Match
from sri_sdk.canvas import OneTokenPasses
from sri_sdk.records import PADDING
from sri_sdk.testing import hook_checks, run_checks

pytestmark = pytest.mark.usefixtures("quick_models")


WHOLE_KIT = "SRI_WHOLE_KIT" in os.environ
"""Whether every fault meets every check: `make faults`."""


@cache
def failures(make, names: frozenset[str] = frozenset()) -> dict[str, str]:
    """What fails of the checks named, or of all."""
    results = run_checks(check for check in hook_checks(make) if not names or check.name in names)
    assert not [r for r in results if r.state == "crashed"]
    return {r.name: r.message for r in results if r.state == "failed"}


def sampled(case):
    """The toy with drawn tokens: its logits get noise from torch's own generator."""

    def generate(encoded):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            handle = case.hook.model.head.register_forward_hook(lambda _m, _a, out: out + torch.randn(out.shape))
            try:
                return case.hook.model.generate(encoded.input_ids, encoded.attention_mask)
            finally:
                handle.remove()

    return replace(case, generate_sampled=generate)


# -- one fault each ----------------------------------------------------------------------------------------------


class FitsAll(ToyHook):
    @classmethod
    def fits(cls, model):
        return Match(True, "looks good")


class TapsWhatNeverRuns(ToyHook):
    def final_norm(self):
        if not hasattr(self.model, "spare"):
            self.model.spare = torch.nn.LayerNorm(16)
        return self.model.spare


class TapsTheLastBlock(ToyHook):
    def final_norm(self):
        return self.model.blocks[-1]


class DropsAStep(ToyHook):
    def plan(self, call, run):
        return None if run.forwards == 4 else super().plan(call, run)


class CountsTheProofreading(ToyHook):
    """The family reads its finished text once more, and the hook takes that for a step."""

    @classmethod
    def example(cls):
        case = super().example()

        def generate(encoded):
            tokens = case.hook.model.generate(encoded.input_ids, encoded.attention_mask)
            case.hook.model(tokens, torch.nn.functional.pad(encoded.attention_mask, (0, 8), value=1))
            return tokens

        return replace(case, generate=generate)

    def plan(self, call, run):
        made = super().plan(call, run)
        if made is None:
            last = run.memory["last"]
            return replace(last, committed=torch.ones_like(last.committed))
        run.memory["last"] = made
        return made


class DropsADecodedToken(LabCausalHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        return None if run.forwards == 3 else made


class NeverEndsARow(LabCausalHook):
    def plan(self, call, run):
        return replace(super().plan(call, run), active=None)


class WritesIntoActive(LabCausalHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        active = run.memory.setdefault("own", made.active.clone())
        active &= made.active
        return replace(made, active=active)


class WritesIntoPositions(LabCausalHook):
    """One tensor for every pass: right when it is handed over, and another one's a pass later."""

    def plan(self, call, run):
        made = super().plan(call, run)
        if made.positions.shape[1] > 1:
            return made
        own = run.memory.setdefault("own", made.positions.clone())
        return replace(made, positions=own.copy_(made.positions))


class EndsARowTooSoon(LabCausalHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        return replace(made, active=made.active & (torch.arange(len(made.active)) > (run.forwards > 5) - 1))


class NeverEndsARowInTheLongRun(LabCausalHook):
    """The plan is right, and what is said of many passes is not."""

    def plan(self, call, run):
        return super().plan(call, run)

    def steady(self, plan, run):
        class AllActive(OneTokenPasses):
            def read(self, input_ids):
                return replace(super().read(input_ids), active=None)

        return AllActive(run.memory) if plan.positions.shape[1] == 1 else None


class HasNoEndToSee(NeverEndsARow):
    """The same fault, and an example in which no row ends: nothing else could notice."""

    @classmethod
    def example(cls):
        case = super().example()
        case.hook.model.generation_config.eos_token_id = None
        return case


class ShiftedByOne(ToyHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        return made and replace(made, shift=1)


class CausalAheadByOne(LabCausalHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        return replace(made, span=None, positions=made.positions + (run.forwards > 1))


class ShiftedAndBlindToCommits(ShiftedByOne):
    """Nobody says which pass decides a position, so the token is planted in all of them."""

    capabilities = frozenset({"phi"})

    def plan(self, call, run):
        made = super().plan(call, run)
        return made and replace(made, committed=None)


class MixesUpRequests(ToyHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        batch = len(call.input_ids)
        return made and replace(made, rows=torch.arange(batch).roll(1))


class WrongSpan(ToyHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        width = call.input_ids.shape[1]
        return made and replace(made, span=(width - made.canvas - 1, width - 1))


class CountsTheEndByRealTokens(ToyHook):
    """Forgets that padding shifts the canvas to the right."""

    def plan(self, call, run):
        made = super().plan(call, run)
        if made is None:
            return None
        real = (call.input_ids != PAD).sum(1, keepdim=True)
        beyond = torch.arange(call.input_ids.shape[1]) >= real.clamp(min=call.input_ids.shape[1] - 5)
        return replace(made, positions=made.positions.masked_fill(beyond, PADDING))


class LooksAtTheBatch(ToyHook):
    """In company, drops the last row of the request without padding."""

    def plan(self, call, run):
        made = super().plan(call, run)
        if made is None or len(call.input_ids) == 1:
            return made
        positions = made.positions.clone()
        positions[call.input_ids[:, 0] != PAD, -1] = PADDING
        return replace(made, positions=positions)


class WrongWidth(ToyHook):
    def hidden_size(self):
        return 15


class ClaimsCommits(ToyHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        return made and replace(made, committed=None)


class ClaimsABudget(ToyHook):
    def expected_steps(self, budget):
        return budget + 1


class WritesTokens(ToyHook):
    """Rewrites a token that the model has already chosen, in its own tensor."""

    def plan(self, call, run):
        made = super().plan(call, run)
        if run.forwards == 8:
            call.input_ids[:, -2] = 5
        return made


class LeavesAHandle(ToyHook):
    def plan(self, call, run):
        if run.forwards == 1:
            self.model.norm.register_forward_hook(lambda *_: None)
        return super().plan(call, run)


class KeepsInputs(ToyHook):
    def plan(self, call, run):
        self.last = call
        return super().plan(call, run)


class KeepsItsModel(ToyHook):
    everyone: ClassVar = []

    def __init__(self, model, config=None):
        super().__init__(model, config)
        self.everyone.append(self)


class RemembersOnItself(ToyHook):
    def plan(self, call, run):
        if run.forwards == 1:
            self.start = int((call.input_ids == MASK).any(dim=0).nonzero()[0])
        run.memory["start"] = self.start
        return super().plan(call, run)


class DrawsNumbers(ToyHook):
    @classmethod
    def example(cls):
        return sampled(super().example())

    def plan(self, call, run):
        torch.rand(1)
        return super().plan(call, run)


class WatchesTheBlindHalf(LabDiffusionHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        if made.rows is None:
            return made
        # As a hook that numbers all rows alike has it.
        everywhere = made.positions[made.rows].repeat(2, 1)
        return replace(made, rows=made.rows + len(made.rows), positions=everywhere)


# A tap that hears nothing breaks nearly every promise; the first check in the list says why.
SILENT = {"steps-counted", "rows-mapped", "phi-is-the-mean", "records-sane", "request-is-the-mean"}

# A model whose own generate() returns the tokens tells the run how many steps there should have been.
UNCOVERED = {"records-sane"}

# A token that no step accounts for has no row either.
WITHOUT_ROW = {"canvas-is-whole"}

# Nor where a driver started the response.
STARTED = {"started-response-is-found"}

# Rows of the wrong request, and the canvas of another generation, show in its prompt as well.
MISREAD = {"request-is-the-mean"}

# The run itself notices which rows predicted the tokens.
SHIFTED = {"records-sane"}


FAULTS = [
    (FitsAll, "fits-own-model", set()),
    (TapsWhatNeverRuns, "silence-is-reported", SILENT | {"forward-is-the-model"}),
    (TapsTheLastBlock, "tap-feeds-the-head", set()),
    (DropsAStep, "steps-counted", set()),
    (CountsTheProofreading, "steps-counted", {"finished-text-is-no-step"}),
    (DropsADecodedToken, "steps-counted", UNCOVERED | WITHOUT_ROW),
    (NeverEndsARow, "steps-counted", UNCOVERED | {"rows-mapped"}),
    (WritesIntoActive, "steps-counted", UNCOVERED | WITHOUT_ROW | {"phi-is-the-mean", "plans-stay"}),
    (WritesIntoPositions, "plans-stay", {"rows-mapped", "canvas-is-whole"}),
    (EndsARowTooSoon, "steps-counted", UNCOVERED | WITHOUT_ROW | {"batch-1-equals-batch-n"}),
    (HasNoEndToSee, "a-row-ends-early", set()),
    (ShiftedByOne, "rows-mapped", {"shift-agrees"} | SHIFTED),
    (ShiftedAndBlindToCommits, "rows-mapped", {"shift-agrees"} | SHIFTED),
    (CausalAheadByOne, "rows-mapped", WITHOUT_ROW),
    (
        MixesUpRequests,
        "rows-mapped",
        MISREAD | {"canvas-is-whole", "padding-excluded", "batch-1-equals-batch-n", "steered-rows-stay-apart"},
    ),
    (WrongSpan, "phi-is-the-mean", set()),
    (NeverEndsARowInTheLongRun, "steady-passes-agree", set()),
    (CountsTheEndByRealTokens, "padding-excluded", WITHOUT_ROW | STARTED),
    (LooksAtTheBatch, "batch-1-equals-batch-n", WITHOUT_ROW | STARTED | {"steered-rows-stay-apart"}),
    (WrongWidth, "records-sane", set()),
    (ClaimsCommits, "capabilities-delivered", set()),
    (ClaimsABudget, "capabilities-delivered", set()),
    (WritesTokens, "tokens-unchanged", set()),
    (LeavesAHandle, "handles-removed", set()),
    (KeepsInputs, "nothing-kept-alive", {"nothing-on-the-hook"}),
    (KeepsItsModel, "nothing-kept-alive", set()),
    (RemembersOnItself, "two-runs-coexist", {"canvas-is-whole", "nothing-on-the-hook"} | STARTED | MISREAD),
    (DrawsNumbers, "tokens-unchanged-when-sampling", set()),
    (WatchesTheBlindHalf, "guidance-half", MISREAD),
]
"""A hook, the check that is for its fault, and the others that fail too. No further check of the kit fails."""


@pytest.mark.parametrize(("hook", "check", "others"), FAULTS)
def test_a_fault_is_caught_by_the_check_that_is_for_it(hook, check, others) -> None:
    named = frozenset({check} | others)
    assert set(failures(hook.example, named)) == named


@pytest.mark.parametrize(("hook", "check", "others"), FAULTS if WHOLE_KIT else FAULTS[::8])
def test_no_other_check_of_the_kit_fails_on_a_fault(hook, check, others) -> None:
    assert set(failures(hook.example)) == {check} | others


@pytest.mark.parametrize(
    ("hook", "check", "words"),
    [
        (TapsTheLastBlock, "tap-feeds-the-head", ["`blocks.1`", "step 0", "width 16", "1e-05 allowed"]),
        (TapsWhatNeverRuns, "silence-is-reported", ["`spare`", "ran 0 times"]),
        (DropsAStep, "steps-counted", ["`norm`", "7 steps, 8 expected, in 8 passes", "StepPlan for pass 3."]),
        (DropsADecodedToken, "steps-counted", ["`model.norm`", "called no step: 2", "Return a StepPlan for pass 2."]),
        (CountsTheProofreading, "steps-counted", ["9 steps, 8 expected", "Return None for a pass", "look at pass 8."]),
        (WritesIntoPositions, "plans-stay", ["`positions` of pass 2 was [0]", "is [14] at the end", "clone()"]),
        (
            NeverEndsARow,
            "steps-counted",
            ["request 1 has 16 steps, 7 expected", "before pass 7: let `active` be False"],
        ),
        (WritesIntoActive, "steps-counted", ["Was `active` changed in place? That of pass 0, 1, 2, 3, 4, 5, 6 is not"]),
        (EndsARowTooSoon, "steps-counted", ["Let `active` be True for request 0 in pass 5, 6", "it has not ended"]),
        (HasNoEndToSee, "a-row-ends-early", ["`model.norm`", "16, 16, 16 steps", "eos_ids(): none", "eos_token_id`"]),
        (CausalAheadByOne, "rows-mapped", ["`model.norm`", "step 3", "predict position 4", "position 3 of", "+1 off"]),
        (WatchesTheBlindHalf, "guidance-half", ["batch row 3 should", "Planted in batch row 0"]),
        (ShiftedByOne, "rows-mapped", ["`norm`", "step 0", "row 13 of", "position 0 of", "row 14", "+1 off"]),
        (MixesUpRequests, "rows-mapped", ["of request 0", "position 0 of request 2", "Planted in batch row 0"]),
    ],
)
def test_a_message_names_module_step_and_numbers(hook, check, words) -> None:
    message = failures(hook.example, frozenset({check}))[check]
    assert [word for word in words if word not in message] == [], message

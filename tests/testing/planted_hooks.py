"""Faults that a vendor's hook can have, one each, with the check that is for it and words of its message."""

from dataclasses import replace
from typing import NamedTuple

import torch
from sri_plugin_lab.hooks import LabCausalHook, LabDiffusionHook
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import MASK

from sri_sdk.records import PADDING


class Planted(NamedTuple):
    name: str
    hook: type
    check: str
    words: tuple[str, ...]


def changed(change, base=ToyHook):
    """The base's hook with its plan passed through a function of (hook, call, run, plan)."""

    class Changed(base):
        def plan(self, call, run):
            made = super().plan(call, run)
            return made and change(self, call, run, made)

    return Changed


def only_holes(_hook, call, _run, plan):
    return replace(
        plan, positions=plan.positions.masked_fill((call.input_ids != MASK) & (plan.positions >= 0), PADDING)
    )


def narrower(_hook, _call, _run, plan):
    return replace(plan, canvas=plan.canvas - 1, committed=plan.committed[:, :-1])


def wider(_hook, _call, _run, plan):
    more = torch.nn.functional.pad(plan.committed, (0, 1))
    return replace(plan, canvas=plan.canvas + 1, committed=more)


def prompt_told(told):
    def change(_hook, _call, run, plan):
        run.prompt = told(run.memory["start"])
        return plan

    return change


def late(_hook, _call, run, plan):
    before = run.memory.get("committed", torch.zeros_like(plan.committed))
    run.memory["committed"] = plan.committed
    return replace(plan, committed=before)


def early(_hook, _call, _run, plan):
    return replace(plan, committed=torch.nn.functional.pad(plan.committed[:, :-1], (1, 0), value=True))


def cached(_hook, _call, run, plan):
    return run.memory.setdefault("plan", plan)


def mutated(_hook, call, _run, plan):
    call.kwargs["attention_mask"][0, :2] = 1
    return plan


class NoMask(LabDiffusionHook):
    def mask_id(self):
        return 2


class MaskUnset(ToyHook):
    def mask_id(self):
        return None


class ShiftOfAnother(ToyHook):
    def shift(self):
        return 1


class CountsTheCommit(ToyHook):
    """Its example makes no such pass, so that counting steps alone cannot tell."""

    def plan(self, call, run):
        made = super().plan(call, run)
        if made is not None:
            run.memory["last"] = made
            return made
        last = run.memory["last"]
        return replace(last, committed=torch.ones_like(last.committed))


PLANTED = [
    Planted("pools only the holes", changed(only_holes), "canvas-is-whole", ("committed stays on the canvas", "row")),
    Planted("canvas one short", changed(narrower), "canvas-is-whole", ("canvas 7", "responses of 8")),
    Planted("canvas one long", changed(wider), "canvas-is-whole", ("canvas 9", "responses of 8")),
    Planted("canvas absent", changed(lambda *a: replace(a[3], canvas=None)), "canvas-is-whole", ("Set `canvas` to 8",)),
    Planted("prompt unset", changed(prompt_told(lambda _: None)), "canvas-is-whole", ("run.prompt is None",)),
    Planted("prompt one off", changed(prompt_told(lambda n: n + 1)), "canvas-is-whole", ("run.prompt is 15", "to 14")),
    Planted("mask id wrong", NoMask, "committed-is-shown", ("mask_id(): says 2",)),
    Planted("mask id unset", MaskUnset, "committed-is-shown", ("mask_id(): says None", "show 1")),
    Planted("shift() against the plan", ShiftOfAnother, "shift-agrees", ("says 1", "step 0 says 0")),
    Planted("committed inverted", changed(lambda *a: replace(a[3], committed=~a[3].committed)), "committed-is-shown",
            ("looks inverted",)),
    Planted("committed late", changed(late), "committed-is-shown", ("one pass late",)),
    Planted("committed early", changed(early), "committed-is-shown", ("one pass early",)),
    Planted("plan cached", changed(cached), "committed-is-shown", ("very plan of pass 0", "Make a new StepPlan")),
    Planted("attention mask changed", changed(mutated, LabCausalHook), "tokens-unchanged",
            ("changes `attention_mask` of pass 0",)),
    Planted("a commit pass counted", CountsTheCommit, "finished-text-is-no-step", ("read again", "Return None")),
]  # fmt: skip

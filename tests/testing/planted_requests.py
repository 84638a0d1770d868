"""Faults of hooks that claim `request`: what each says of a prompt's columns, and words of what the kit says to it."""

from dataclasses import replace

import torch
from sri_plugin_block.fast_dllm import FastDllmHook
from sri_plugin_lab.hooks import LabCausalHook, LabDiffusionHook
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import MASK, PAD

from sri_sdk import Encoded
from tests.testing.planted_hooks import Planted

CHECK = "request-is-the-mean"


def says(change, base=ToyHook):
    """The base's hook with its columns [R, L] passed through a function of (columns, call, plan, run)."""

    class Says(base):
        def prompt_columns(self, call, plan, run):
            columns = super().prompt_columns(call, plan, run)
            return None if columns is None else change(columns, call, plan, run)

    return Says


def real(call):
    return call.input_ids != PAD


def padding_left_out(columns, call, _plan, _run):
    return columns - (~real(call)).long().cumprod(1).sum(1, keepdim=True)


def padding_as_the_first_token(columns, call, _plan, _run):
    return columns.clamp(min=(~real(call)).long().cumprod(1).sum(1, keepdim=True))


def response_as_the_last_token(columns, _call, _plan, run):
    return columns.clamp(max=run.memory["start"] - 1)


class CountsUpToTheFirstHole(ToyHook):
    """Right as long as nobody starts the response."""

    def prompt_columns(self, call, plan, run):
        end = int((call.input_ids == MASK).int().argmax(1)[0])
        columns = torch.arange(call.input_ids.shape[1]) - end + run.memory["start"]
        return columns.expand_as(call.input_ids)


class ReadsTheBlindHalf(LabDiffusionHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        return made if made.rows is None else replace(made, rows=made.rows + len(made.rows))

    def prompt_columns(self, call, plan, run):
        return torch.arange(call.input_ids.shape[1]).expand(run.requests, -1)


class SpeaksOfBothHalves(LabDiffusionHook):
    def prompt_columns(self, call, plan, run):
        return torch.arange(call.input_ids.shape[1]).expand_as(call.input_ids)


class ForgetsWhatWasStored(FastDllmHook):
    def prompt_columns(self, call, plan, run):
        columns = super().prompt_columns(call, plan, run)
        return columns if plan is not None or columns is None else columns - columns[:, :1]


class ReadsStepsAlone(FastDllmHook):
    def prompt_columns(self, call, plan, run):
        return None if plan is None else super().prompt_columns(call, plan, run)


class ReadsTheSecondTime(ToyHook):
    """The first pass shows the prompt already."""

    def prompt_columns(self, call, plan, run):
        return super().prompt_columns(call, plan, run) if run.steps else None


class ShowsThePromptTwice(ToyHook):
    """A caller that repeats each prompt, so that the model reads it twice, and a hook that counts both."""

    @classmethod
    def example(cls):
        case = super().example()
        twice = lambda given: Encoded(*(torch.cat([x, x], 1) for x in (given.input_ids, given.attention_mask)))  # noqa: E731
        return replace(case, generate=lambda given: case.generate(twice(given)))

    def prompt_columns(self, call, plan, run):
        columns, start = super().prompt_columns(call, plan, run), run.memory["start"]
        return torch.where((columns >= 0) & (columns < start), columns % (start // 2), columns)


class Raises(LabCausalHook):
    def prompt_columns(self, call, plan, run):
        raise RuntimeError("no cache to read the length from")


class MovesTheCanvas(ToyHook):
    def prompt_columns(self, call, plan, run):
        run.memory["start"] += 1
        return super().prompt_columns(call, plan, run)


class WritesIntoThePass(ToyHook):
    def prompt_columns(self, call, plan, run):
        call.input_ids[:, 0] = 9
        return super().prompt_columns(call, plan, run)


class CutsThePrompt(ToyHook):
    @classmethod
    def example(cls):
        case = super().example()
        return replace(case, generate=lambda given: case.hook.model.generate(given.input_ids[:, 1:]))


PLANTED = [
    Planted("one to the left", says(lambda c, *_: c - 1), CHECK,
            ("in the batch", "shows column 13", "said to be column 12: 1 too far to the left")),
    Planted("one to the right", says(lambda c, *_: c + 1, LabCausalHook), CHECK, ("1 too far to the right",)),
    Planted("padding left out of the count", says(padding_left_out), CHECK,
            ("place 12, which is said to be column 0: 12 too far to the left",)),
    Planted("padding counted as the first token", says(padding_as_the_first_token), CHECK,
            ("its token 0 is padding or another's", "a column of their own")),
    Planted("the response counted as the last token", says(response_as_the_last_token), CHECK,
            ("stands behind the prompt, in the response",)),
    Planted("a started response counted", CountsUpToTheFirstHole, CHECK,
            ("before a response that was started", "place 14 is said to be column 12", "behind the prompt")),
    Planted("the unconditional half", ReadsTheBlindHalf, CHECK,
            ("under guidance", "batch row 3 was read, and batch row 0 shows its prompt", "the conditional half")),
    Planted("both halves", SpeaksOfBothHalves, CHECK, ("under guidance", "3 request spans for a batch of 6 requests")),
    Planted("the offset of a chunk forgotten", ForgetsWhatWasStored, CHECK,
            ("8 columns come before this part of the prompt", "from the prompt's first")),
    Planted("the last chunk alone", ReadsStepsAlone, CHECK,
            ("No pass is said to show column", "said to be none of the prompt")),
    Planted("columns of another row", says(lambda c, call, *_: padding_left_out(c, call, *_).flip(0), LabCausalHook),
            CHECK, ("in the order of the requests",)),
    Planted("claimed and never said", says(lambda *_: None), CHECK, ("returned None for every one", "do not claim")),
    Planted("the second reading counted", ReadsTheSecondTime, CHECK,
            ("Pass 1 is the first", "pass 0 showed it before", "The first pass that shows a token counts")),
    Planted("a prompt that is shown twice counted twice", ShowsThePromptTwice, CHECK,
            ("places", "are both said to be column")),
    Planted("it raises", Raises, CHECK, ("requests cannot be read: RuntimeError: no cache",)),
    Planted("it moves what plan() goes by", MovesTheCanvas, CHECK, ("the signal of request 0 is another",)),
    Planted("it writes into the pass", WritesIntoThePass, CHECK, ("the tokens are others",)),
    Planted("a call that cuts the prompt", CutsThePrompt, CHECK,
            ("no pass shows token 0 of the prompt of request 1 (1 of 14 are missing)", "show whole prompts")),
]  # fmt: skip

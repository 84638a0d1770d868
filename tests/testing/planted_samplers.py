"""Samplers with one fault each. The docstring says what is wrong; the kit must say so too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from pydantic import Field

import sri_sdk
from sri_sdk import Hook, SamplerStep
from sri_sdk.errors import ConfigError, SriError


class Drawing(sri_sdk.Sampler):
    """Correct: fills one position per step, in random order, with a token that it draws."""

    schemes = frozenset({"masked"})

    class Config(sri_sdk.Config):
        temperature: float = Field(1.0, ge=0, description="0 = the likeliest token; higher = sampling.")

    def budget(self):
        return 8

    def canvas(self):
        return 8

    def is_fixed(self):
        return True

    def seeds(self, seed: int, prompt_ids: Sequence[str]) -> list[int]:
        return [self.row_seed(seed, prompt_id) for prompt_id in prompt_ids]

    def mask(self, hook: Hook) -> int:
        mask = hook.mask_id()
        if mask is None:
            raise ConfigError("drawing: no mask token; use another sampler.")
        return mask

    def shift(self, hook: Hook) -> int:
        return hook.shift()

    def logits(self, hook: Hook, prompts, canvas, mask):
        logits = hook.forward(torch.cat([prompts.input_ids, canvas], 1), mask).logits
        first = prompts.input_ids.shape[1] - self.shift(hook)
        return logits[:, first : first + canvas.shape[1]].float().clone()

    def ended(self, hook, canvas, committed):
        return torch.zeros(len(canvas), dtype=torch.bool)

    def forbid(self, logits, mask_id):
        logits[..., mask_id] = float("-inf")
        return logits

    def step(self, index, draft, committed, active):
        return SamplerStep(index, draft, committed, active)

    def holes(self, canvas, mask_id):
        return canvas == mask_id

    def steps(self, hook, prompts, prompt_ids, seed=0):
        mask_id = self.mask(hook)
        draws = [torch.Generator().manual_seed(each) for each in self.seeds(seed, prompt_ids)]
        canvas = prompts.input_ids.new_full((len(prompt_ids), self.canvas()), mask_id)
        mask = torch.cat([prompts.attention_mask, torch.ones_like(canvas)], 1)
        running = torch.ones(len(prompt_ids), dtype=torch.bool)
        for index in range(self.budget()):
            holes = self.holes(canvas, mask_id)
            active = running & holes.any(1) & ~self.ended(hook, canvas, ~holes)
            if not active.any():
                return
            logits = self.forbid(self.logits(hook, prompts, canvas, mask), mask_id)
            noise = torch.stack([torch.rand(logits.shape[1:], generator=draw) for draw in draws])
            order = torch.stack([torch.rand(canvas.shape[1], generator=draw) for draw in draws])
            if self.config.temperature > 0:
                gumbel = -(-noise.clamp(1e-20, 1 - 1e-7).log()).log()
                logits = logits / self.config.temperature + gumbel
            guess = logits.argmax(-1)
            ranks = order.masked_fill(~holes, 2.0).argsort(1).argsort(1)
            canvas = torch.where(holes & (ranks < 1) & active[:, None], guess, canvas)
            holes = self.holes(canvas, mask_id)
            asked = yield self.step(index, torch.where(holes, guess, canvas), ~holes, active)
            if asked is not None:
                running = running.clone()
                running[list(asked.abort)] = False
                if asked.remask is not None:
                    canvas = canvas.masked_fill(asked.remask & running[:, None], mask_id)


class Cold(Drawing):
    """Correct, with a default temperature of 0: what it draws is seen only by who turns it up."""

    class Config(sri_sdk.Config):
        temperature: float = Field(0.0, ge=0, description="0 = the likeliest token; higher = sampling.")


class IgnoresTheSeed(Drawing):
    """Draws by the prompt id alone: the run's seed changes nothing."""

    def seeds(self, seed, prompt_ids):
        return [self.row_seed(0, prompt_id) for prompt_id in prompt_ids]


class ColdIgnoresTheSeed(Cold, IgnoresTheSeed):
    """The same, where the default temperature draws no token."""


class IgnoresThePromptId(Drawing):
    """Draws by the seed alone: every prompt gets the same numbers."""

    def seeds(self, seed, prompt_ids):
        return [seed] * len(prompt_ids)


class IgnoresBoth(Drawing):
    """Draws the same numbers for every seed and prompt."""

    def seeds(self, seed, prompt_ids):
        return [0] * len(prompt_ids)


class SeedsByHash(Drawing):
    """hash() of a text differs between processes: a resumed run draws other numbers."""

    def seeds(self, seed, prompt_ids):
        return [hash((seed, prompt_id)) & 0xFFFFFFFF for prompt_id in prompt_ids]


class JoinsWithoutASign(Drawing):
    """Seed 1 with prompt `1a` and seed 11 with prompt `a` draw the same numbers."""

    def seeds(self, seed, prompt_ids):
        return [self.row_seed(0, f"{seed}{prompt_id}") for prompt_id in prompt_ids]


class AddsUpLetters(Drawing):
    """Prompts `ab` and `ba` draw the same numbers."""

    def seeds(self, seed, prompt_ids):
        return [seed * 100_003 + sum(map(ord, prompt_id)) for prompt_id in prompt_ids]


class SeedsTheProcess(Drawing):
    """Sets torch's global seed: whatever else draws in this process draws others."""

    def seeds(self, seed, prompt_ids):
        torch.manual_seed(seed)
        return super().seeds(seed, prompt_ids)


class CountsItsRuns(Drawing):
    """Counts its runs on the instance: later ones draw other numbers, as if generators were kept."""

    def seeds(self, seed, prompt_ids):
        self.runs = getattr(self, "runs", 0) + 1
        return [self.row_seed(seed, f"{prompt_id}{self.runs > 6}") for prompt_id in prompt_ids]


class SharesItsRunning(Drawing):
    """Keeps the prompt's length on the instance, where a second generation overwrites the first one's."""

    def logits(self, hook, prompts, canvas, mask):
        if (canvas == self.mask(hook)).all():
            self.width = prompts.input_ids.shape[1]
        logits = hook.forward(torch.cat([prompts.input_ids, canvas], 1), mask).logits
        first = min(self.width, prompts.input_ids.shape[1]) - self.shift(hook)
        return logits[:, first : first + canvas.shape[1]].float().clone()


class FixedButStopsAtTheEnd(Drawing):
    """`is_fixed` says yes, and a row stops at an end token: its coverage is counted against steps it never takes."""

    def ended(self, hook, canvas, committed):
        ends = torch.tensor(hook.eos_ids() or (-1,))
        return (torch.isin(canvas, ends) & committed).any(1)


class FixedButFillsWhatIsSure(Drawing):
    """`is_fixed` says yes, and everything it is sure of is filled at once."""

    def steps(self, hook, prompts, prompt_ids, seed=0):
        mask_id = self.mask(hook)
        canvas = prompts.input_ids.new_full((len(prompt_ids), self.canvas()), mask_id)
        mask = torch.cat([prompts.attention_mask, torch.ones_like(canvas)], 1)
        running = torch.ones(len(prompt_ids), dtype=torch.bool)
        for index in range(self.budget()):
            holes = canvas == mask_id
            active = running & holes.any(1)
            if not active.any():
                return
            sure, guess = self.forbid(self.logits(hook, prompts, canvas, mask), mask_id).softmax(-1).max(-1)
            first = holes & (holes.cumsum(1) == 1)
            canvas = torch.where((first | (holes & (sure > 0.999))) & active[:, None], guess, canvas)
            holes = canvas == mask_id
            asked = yield SamplerStep(index, torch.where(holes, guess, canvas), ~holes, active)
            if asked is not None:
                running = running.clone()
                running[list(asked.abort)] = False
                if asked.remask is not None:
                    raise SriError("cannot be opened again. Abort the row.")


class ClaimsEveryScheme(Drawing):
    """Says that it drives autoregressive models too, and compares with a mask token that these have not."""

    schemes = frozenset({"masked", "autoregressive"})


class MistypesItsScheme(Drawing):
    """A scheme that no hook has: nothing of it can be driven."""

    schemes = frozenset({"masked", "auto-regressive"})


class ForgetsTheShift(Drawing):
    """Reads the row of the position itself, also where the row before predicts it."""

    def shift(self, hook):
        return 0


class KnowsOneMaskToken(Drawing):
    """Has the mask token of one checkpoint in its code."""

    def mask(self, hook):
        super().mask(hook)
        return 1


class CommitsMasks(Drawing):
    """Takes the likeliest token, also where that is the mask: the position stays open to the end."""

    def forbid(self, logits, mask_id):
        return logits


class DrawsFromNothing(Drawing):
    """Draws each token evenly from the vocabulary, whatever the model says."""

    def logits(self, hook, prompts, canvas, mask):
        return super().logits(hook, prompts, canvas, mask) * 0


class LeavesTheLastOpen(Drawing):
    """Stops with one position of each row never filled."""

    def budget(self):
        return 7


class WritesIntoItsSteps(Drawing):
    """Yields the tensors it goes on writing to: what a caller kept of a step changes."""

    def step(self, index, draft, committed, active):
        if index == 0:
            self.kept = draft, committed
        for kept, now in zip(self.kept, (draft, committed), strict=True):
            kept.copy_(now)
        return SamplerStep(index, *self.kept, active)


class WritesIntoThePrompt(Drawing):
    """Masks the padding of the prompt in place."""

    def logits(self, hook, prompts, canvas, mask):
        prompts.input_ids[prompts.attention_mask == 0] = 3
        return super().logits(hook, prompts, canvas, mask)


class YieldsNumbers(Drawing):
    """`committed` as 0 and 1: `~committed` is then -1 and -2, and true."""

    def step(self, index, draft, committed, active):
        return replace(super().step(index, draft, committed, active), committed=committed.long())


FAULTS = {
    IgnoresTheSeed: ("seed-and-id-decide", "another prompt id gives other tokens, and another seed the same"),
    ColdIgnoresTheSeed: ("seed-and-id-decide", "another prompt id gives other tokens, and another seed the same"),
    IgnoresThePromptId: ("seed-and-id-decide", "another seed gives other tokens, and another prompt id the same"),
    IgnoresBoth: ("seed-and-id-decide", "draws the same numbers for every seed and prompt id"),
    SeedsByHash: ("seed-and-id-decide", r"hash\(\) of a prompt id decides, which differs between processes"),
    JoinsWithoutASign: ("seed-and-id-decide", "seed 1 with prompt id '1a' and seed 11 with 'a' draw the same"),
    AddsUpLetters: ("seed-and-id-decide", "seed 7 with prompt id 'ab' and seed 7 with 'ba' draw the same"),
    CountsItsRuns: ("seed-and-id-decide", "later runs differ from its first, with the same seed and prompt id"),
    SeedsTheProcess: ("same-seed-same-tokens", "changes torch's global random numbers"),
    SharesItsRunning: ("two-runs-coexist", "two generations in turns differ from each alone"),
    FixedButStopsAtTheEnd: ("fixed-takes-its-budget", "row 0 takes 1 of 8 steps where every token is an end"),
    FixedButFillsWhatIsSure: ("fixed-takes-its-budget", "row 0 takes 1 of 8 steps where the model has no doubt"),
    ClaimsEveryScheme: ("drives-its-schemes", "states 'autoregressive', and on LabCausalHook it fails: ConfigError"),
    MistypesItsScheme: ("drives-its-schemes", "auto-regressive, which no hook has; allowed: autoregressive, canvas"),
    ForgetsTheShift: ("commits-what-is-predicted", r"with hook.shift\(\) 1, and \d+ was committed in row 0"),
    KnowsOneMaskToken: ("commits-what-is-predicted", r"shows tokens \[1\] where the response is empty, and hook.mask"),
    DrawsFromNothing: ("commits-what-is-predicted", r"with hook.shift\(\) 0, and \d+ was committed"),
    CommitsMasks: ("fills-the-canvas", "where the mask token is the likeliest everywhere. A mask is no word"),
    LeavesTheLastOpen: ("fills-the-canvas", "ends after 7 of 7 steps with 1 of 8 positions of row 0 open"),
    WritesIntoItsSteps: ("gives-new-tensors", "draft of step 0 changes after it was yielded"),
    WritesIntoThePrompt: ("gives-new-tensors", "writes into input_ids of its prompts"),
    YieldsNumbers: ("stops-at-budget", r"committed of step 0 is torch.int64 \[3, 8\], must be torch.bool"),
}
"""Sampler -> the check that catches it, and what its message says of the cause."""

"""The toy sampler: a sampling scheme as a generator that yields one step at a time.

The shape to keep for your own: run the model, decide what to fix, yield the canvas, then obey what the caller sends
back before the next step.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import sri_sdk
from sri_sdk import Encoded, Hook, Intervention, SamplerStep
from sri_sdk.errors import ConfigError

SRI_PLUGIN_API = 1

STEPS = 8
"""Steps, and tokens of the canvas: each step fixes one token."""


class ToySampler(sri_sdk.Sampler):
    """Fixes one token per step, from left to right, always the likeliest one.

    It draws no random numbers, so a row cannot depend on its company. A scheme that does draw makes one generator per
    row, seeded by (seed, prompt id).
    """

    schemes = frozenset({"masked"})
    # It can begin with a response that was started elsewhere; see `steps`. A scheme that cannot leaves this out.
    prefills = True

    def budget(self) -> int:
        """Most steps one generation can take."""
        return STEPS

    def is_fixed(self) -> bool:
        """It always takes as many steps as there are tokens, and a watch that sees fewer has missed some."""
        return True

    def canvas(self) -> int:
        """Most response tokens one generation can have."""
        return STEPS

    def steps(
        self, hook: Hook, prompts: Encoded, prompt_ids: Sequence[str], seed: int = 0
    ) -> Generator[SamplerStep, Intervention | None, None]:
        """Generates a batch, one step at a time."""
        import torch

        mask_id = hook.mask_id()
        if mask_id is None:
            raise ConfigError(f"sampler toy: {type(hook).__name__} has no mask token; use a sampler of its own scheme.")
        canvas = prompts.input_ids.new_full((len(prompt_ids), self.canvas()), mask_id)
        if prompts.response is not None:
            given = prompts.response[:, : self.canvas()]
            canvas[:, : given.shape[1]] = given
        mask = torch.cat([prompts.attention_mask, torch.ones_like(canvas)], dim=1)
        running = torch.ones(len(prompt_ids), dtype=torch.bool, device=canvas.device)

        # Opened positions are filled again while the budget lasts; it never grows, as the step grid is built on it.
        for index in range(self.budget()):
            holes = canvas == mask_id
            active = running & holes.any(dim=1)
            if not active.any():
                return
            with torch.no_grad():
                logits = hook.forward(torch.cat([prompts.input_ids, canvas], dim=1), mask).logits
            # A family with shift 1 predicts a position from the row before it.
            end = logits.shape[1] - hook.shift()
            logits = logits[:, end - self.canvas() : end].clone()
            logits[..., mask_id] = float("-inf")  # A mask is a hole, not a word.
            guess = logits.argmax(-1)
            leftmost = holes & (holes.cumsum(dim=1) == 1) & active[:, None]
            canvas = torch.where(leftmost, guess, canvas)
            holes = canvas == mask_id

            intervention = yield SamplerStep(index, torch.where(holes, guess, canvas), ~holes, active)

            if intervention is not None:
                running[list(intervention.abort)] = False
                if intervention.remask is not None:
                    # A stopped row keeps its canvas, whatever else was asked for.
                    canvas = canvas.masked_fill(intervention.remask & running[:, None], mask_id)

"""What the conformance kit tries the hook on."""

from __future__ import annotations

from typing import Any

import torch

from sri_plugin_diffusion_gemma.stand_ins.model import CANVAS, GREEDY, PAD, SameNoiseDiffusionGemma, build, passes
from sri_sdk.records import Encoded
from sri_sdk.testing import HookCase


def prompts() -> Encoded:
    """Three prompts of different lengths."""
    ids = torch.tensor([[PAD, PAD, 5, 6, 7], [8, 9, 10, 11, 12], [PAD, 14, 15, 16, 17]])
    return Encoded(ids, (ids != PAD).long())


def case(family: type[Any], dtype: torch.dtype = torch.float32) -> HookCase:
    """The case for the kit."""
    model, encoded = build(2, SameNoiseDiffusionGemma).to(dtype), prompts()
    length = encoded.input_ids.shape[1]

    def generate(prompts: Encoded, **options: Any) -> Any:
        options = {**GREEDY, "max_new_tokens": 3 * CANVAS, "max_denoising_steps": 12, **options}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)  # It always draws: the cold only leaves nothing to chance.
            return model.generate(prompts.input_ids, attention_mask=prompts.attention_mask, **options)

    # A token of one request's first canvas becomes the end: that one has ended while the others go on.
    free = generate(encoded).sequences[:, length:]
    model.generation_config.eos_token_id = next(
        token for token in free[0, :CANVAS].tolist() if token not in free[1:].flatten().tolist()
    )
    return HookCase(
        family(model), encoded, lambda given: generate(given).sequences, steps=passes(generate(encoded), length),
        generate_sampled=lambda given: generate(given, t_min=0.4, t_max=0.8).sequences,
    )  # fmt: skip

"""What the conformance kit tries the hook on."""

from __future__ import annotations

from typing import Any

import torch

from sri_plugin_dream.stand_ins.model import build
from sri_sdk.records import Encoded
from sri_sdk.testing import HookCase

PROMPTS = ((0, 0, 0, 5, 6), (0, 11, 12, 13, 14), (21, 22, 23, 24, 25))
"""Token ids, padded on the left with 0."""


def case(family: type[Any]) -> HookCase:
    """The stand-in and its own sampler: 12 tokens in 6 steps, greedy and drawn."""
    hook = family(build(0))
    ids = torch.tensor(PROMPTS)

    def generate(prompts: Encoded, **options: Any) -> torch.Tensor:
        options = {"max_new_tokens": 12, "steps": 6, "alg": "entropy", **options}
        tokens: torch.Tensor = hook.model.diffusion_generate(
            prompts.input_ids, attention_mask=prompts.attention_mask, **options
        )
        return tokens

    def sample(prompts: Encoded) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return generate(prompts, alg="origin", temperature=1.0)

    return HookCase(hook, Encoded(ids, (ids != 0).long()), generate, steps=6, generate_sampled=sample)

"""What the conformance kit tries the hook on."""

from __future__ import annotations

from typing import Any

import torch

from sri_plugin_llada2.stand_ins.model import LLaDA21, build
from sri_sdk.records import Encoded
from sri_sdk.testing import HookCase


def case(family: type[Any]) -> HookCase:
    """A `HookCase` of a LLaDA2.1 that edits: 13 prompt tokens end inside a block, 20 response tokens follow.

    The seed is one at which nothing edits away the tokens that the kit plants to prove the rows.
    """
    watched = family(build(1, LLaDA21))
    ids = torch.arange(5, 18)[None]
    profile = {"gen_length": 20, "threshold": 0.7, "editing_threshold": 0.5}

    def generate(prompts: Encoded, **options: Any) -> torch.Tensor:
        tokens: torch.Tensor = watched.model.generate(prompts.input_ids, **profile, **options)
        return tokens

    def sample(prompts: Encoded) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return generate(prompts, temperature=1.0)

    prompts = Encoded(ids, torch.ones_like(ids))
    generate(prompts)
    steps, watched.model.passes = watched.model.passes, 0
    return HookCase(watched, prompts, generate, steps=[steps], generate_sampled=sample, batched=False)

"""What the conformance kit tries the hook on."""

from __future__ import annotations

from typing import Any

import torch

from sri_plugin_masked_lm.stand_ins.model import PAD, STEPS, build_bert, generate
from sri_sdk.records import Encoded
from sri_sdk.testing import HookCase


def prompts() -> Encoded:
    """Three prompts of three lengths, padded on the left."""
    rows = [[5, 6], [7, 8, 9, 10, 11], [12, 13, 14]]
    ids = torch.tensor([[PAD] * (5 - len(row)) + row for row in rows])
    return Encoded(ids, (ids != PAD).long())


def case(family: type[Any], model: Any = None, *, own: bool = True) -> HookCase:
    """What the conformance kit tries a hook on; None = the BERT. `own` = its method, else the function."""
    model = build_bert() if model is None else model
    hook = family(model)

    def call(given: Encoded, **options: Any) -> torch.Tensor:
        if own:
            tokens: torch.Tensor = model.generate(given.input_ids, given.attention_mask, **options)
            return tokens
        return generate(model, given.input_ids, given.attention_mask, first=hook.first_position(), **options)

    def sampled(given: Encoded) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return call(given, temperature=1.0)

    return HookCase(
        hook, prompts(), call, steps=STEPS, generate_sampled=sampled,
        generate_guided=lambda given: call(given, cfg_scale=1.0),
    )  # fmt: skip

"""What the conformance kit tries the hooks on: the stand-in, its loops, and one prompt, since none takes padding."""

from __future__ import annotations

from typing import Any

import torch

from sri_plugin_nemotron_labs.stand_ins.model import build
from sri_sdk.records import Encoded
from sri_sdk.testing import HookCase

BLOCK, TOKENS = 4, 16


def prompt(length: int = 7, rows: int = 1) -> Encoded:
    """Prompts of one length."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        ids = torch.randint(5, 60, (rows, length))
    return Encoded(ids, torch.ones_like(ids))


def seeded(generate: Any, encoded: Encoded) -> torch.Tensor:
    """The same call with sampling, from a seed of its own: [B, L] token ids."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        tokens: torch.Tensor = generate(encoded)
        return tokens


def _case(family: type[Any], model: Any, method: str, steps: Any, **options: Any) -> HookCase:
    def generate(given: Encoded, **more: Any) -> torch.Tensor:
        tokens: torch.Tensor = getattr(model, method)(given.input_ids, **{**options, **more})[0]
        return tokens

    encoded = prompt()
    if steps is not None:
        steps = getattr(model, method)(encoded.input_ids, **options)[1] - steps
    return HookCase(
        family(model), encoded, generate, steps=steps, batched=False,
        generate_sampled=lambda given: seeded(lambda each: generate(each, temperature=1.0), given),
    )  # fmt: skip


def diffusion_case(family: type[Any], *, seed: int = 0, **options: Any) -> HookCase:
    """16 tokens in four blocks; each block takes as many passes as the threshold leaves, and one that stores it."""
    asked = {"max_new_tokens": TOKENS, "block_length": BLOCK, "threshold": 0.6, **options}
    model = build(seed, eos_token_id=None)
    return _case(family, model, "generate", TOKENS // BLOCK, **asked)


def speculation_case(family: type[Any], *, seed: int = 0, **options: Any) -> HookCase:
    """At most some 14 tokens; a verified block keeps one to five."""
    asked = {"max_new_tokens": 14, "block_length": 5, **options}
    return _case(
        family, build(seed, dlm_paradigm="autoregressive", eos_token_id=None), "linear_spec_generate", None, **asked
    )


def one_by_one_case(family: type[Any], *, seed: int = 0, **options: Any) -> HookCase:
    """14 tokens, one per pass."""
    asked = {"max_new_tokens": 14, **options}
    return _case(family, build(seed, dlm_paradigm="autoregressive", eos_token_id=None), "ar_generate", None, **asked)

"""What the conformance kit tries the hook on."""

from __future__ import annotations

from typing import Any

import torch

from sri_plugin_llada.stand_ins.model import LLaDAModelLM, Tokenizer, build
from sri_plugin_llada.stand_ins.sampling import generate
from sri_sdk.records import Encoded
from sri_sdk.testing import HookCase

TEXTS = ("who are you", "how is bread made", "tell me a story of a lantern")
STEPS, LENGTH, BLOCK = 8, 16, 8


def prompts(texts: tuple[str, ...] = TEXTS) -> Encoded:
    """Padded on the left."""
    batch = Tokenizer().apply_chat_template([[{"role": "user", "content": text}] for text in texts])
    return Encoded(batch["input_ids"], batch["attention_mask"])


def case(hook_class: type[Any], model: Any = None) -> HookCase:
    """The published sampler on a stand-in: greedy, drawn, and guided."""
    hook = hook_class(build(LLaDAModelLM) if model is None else model)

    def own(encoded: Encoded, **options: Any) -> torch.Tensor:
        sizes: dict[str, Any] = {"steps": STEPS, "gen_length": LENGTH, "block_length": BLOCK}
        return generate(hook.model, encoded.input_ids, encoded.attention_mask, **sizes, **options)

    def drawn(encoded: Encoded) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return own(encoded, temperature=1.0, remasking="random")

    return HookCase(
        hook, prompts(), own, steps=STEPS, generate_sampled=drawn,
        generate_guided=lambda encoded: own(encoded, cfg_scale=1.0),
    )  # fmt: skip

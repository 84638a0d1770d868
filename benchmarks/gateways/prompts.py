"""Make-believe prompts, and what the guard says of their generations in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sri_sdk
from sri_sdk import registry

ATTACKS = ("fiction", "suffix")


def expected(bundle: Path, prompts: Sequence[str]) -> list[str]:
    """Status of each prompt's generation, in this process."""
    hook_class = registry.load("hooks", "lab-causal")
    loaded = hook_class.load(hook_class.Config())
    hook, guard = hook_class(loaded.model, hook_class.Config()), sri_sdk.Guard.load(bundle)
    found = []
    for prompt in prompts:
        asked = hook.encode(loaded.tokenizer, [prompt])
        with sri_sdk.watch(loaded.model, guard=guard) as run:
            loaded.model.generate(
                asked.input_ids, attention_mask=asked.attention_mask, max_new_tokens=48, do_sample=False
            )
        found.append(run.verdicts[0].status)
    return found


def lab_prompts(count: int) -> list[str]:
    """Harmless and attacked prompts of the test split, `count` of each kind."""
    dataset = registry.build("datasets", "lab", {})
    harmless = dataset.prompts("test", "harmless", count)
    attacked = [p for name in ATTACKS for p in dataset.prompts("test", "harmful", count, attack=name)]
    return [prompt.text for prompt in [*harmless, *attacked]]

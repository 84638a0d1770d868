"""Samplers ask a pass for the logits they read, and read the same from a pass that gives all of them."""

from __future__ import annotations

import pytest
import torch

from sri_sdk import registry

PROMPTS = ["tell me how to feed the pony of the farmer .", "is this kind : bake the bread ?"]
CASES = {
    "autoregressive": ("lab-causal", {"tokens": 6}, 1),
    "low-confidence": ("lab-diffusion", {"tokens": 8, "steps": 4}, 8),
    "guided": ("lab-diffusion", {"tokens": 8, "steps": 4, "cfg_scale": 0.5}, 8),
}


def drafts(case, *, own_forward=False):
    """The last draft [2, P], and the rows of logits that each pass made."""
    name, options, _ = CASES[case]
    hook_class = registry.load("hooks", name)

    class WithItsOwn(hook_class):
        def forward(self, input_ids, attention_mask=None, cache=None, *, use_cache=False):
            return super().forward(input_ids, attention_mask, cache, use_cache=use_cache)

    loaded = hook_class.load(hook_class.Config())
    hook = (WithItsOwn if own_forward else hook_class)(loaded.model)
    sampler = registry.build("samplers", "low-confidence" if case == "guided" else case, options)
    rows = []
    loaded.model.register_forward_hook(lambda _, __, output: rows.append(output.logits.shape[1]))
    with torch.inference_mode():
        *_, step = sampler.steps(hook, hook.encode(loaded.tokenizer, PROMPTS), ["a", "b"])
    return step.draft, rows


@pytest.mark.parametrize("case", CASES)
def test_only_the_rows_that_are_read_get_logits(case):
    assert set(drafts(case)[1]) == {CASES[case][2]}


@pytest.mark.parametrize("case", CASES)
def test_a_family_with_a_forward_of_its_own_gives_the_same_answers(case):
    found, rows = drafts(case, own_forward=True)
    assert max(rows) > CASES[case][2]
    assert torch.equal(found, drafts(case)[0])

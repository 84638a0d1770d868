"""Samplers ask a pass for the logits they read, and read the same from a pass that gives all of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sri_sdk import registry
from sri_sdk.structure import head_reads

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


OWN_FORWARDS = ("dream", "llada", "llada2", "sdar", "fast-dllm-v2")


@pytest.mark.parametrize("family", OWN_FORWARDS)
def test_families_with_a_forward_of_their_own_make_logits_of_the_last_rows_only(family):
    case = registry.load("hooks", family).example()
    hook, prompts = case.hook, case.encoded
    holes = torch.full((len(prompts.input_ids), 8), hook.mask_id())
    ids = torch.cat([prompts.input_ids, holes], dim=1)
    mask = torch.cat([prompts.attention_mask, torch.ones_like(holes)], dim=1)
    states, rows = [], []
    handles = [
        hook.final_norm().register_forward_hook(lambda _, __, output: states.append(output.clone())),
        hook.head().register_forward_hook(lambda _, __, output: rows.append(output.shape[1])),
    ]
    with torch.no_grad():
        whole, last = hook.forward(ids, mask).logits, hook.forward_last(8, ids, mask).logits
    for handle in handles:
        handle.remove()
    assert last.shape[1] == rows[1] == 8 < rows[0]
    assert torch.equal(*states), "the states that a tap reads"
    torch.testing.assert_close(last, whole[:, -8:])
    assert not hook.head()._forward_pre_hooks


def test_what_other_threads_run_meanwhile_gets_all_its_logits():
    hook = registry.load("hooks", "dream").example().hook
    ids = torch.full((1, 12), 5)
    with head_reads(hook.model, hook.head(), lambda states: states[:, -2:]) as narrowed, ThreadPoolExecutor() as pool:
        there = pool.submit(hook.forward, ids).result().logits.shape[1]
        here = hook.forward(ids).logits.shape[1]
    assert narrowed and (there, here) == (12, 2)


def test_a_head_that_is_no_linear_layer_is_left_alone():
    table = torch.nn.Embedding(4, 2)
    with head_reads(table, table, lambda states: states[:, -1:]) as narrowed:
        assert not narrowed and not table._forward_pre_hooks

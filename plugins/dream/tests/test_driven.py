"""Our samplers on the hook's own forward, against Dream's sampler: the same tokens, and one order it does not have."""

from typing import Any

import pytest
import torch
from sri_plugin_dream.hook import DreamHook
from sri_plugin_dream.stand_ins.cached_model import CachedDreamModel
from sri_plugin_dream.stand_ins.model import DreamModel, build

from sri_sdk import Encoded, registry

from .conftest import ATTENTION, IDS, STEPS, TOKENS, generate

SAMPLERS = {"maskgit_plus": "low-confidence", "topk_margin": "margin", "entropy": "entropy"}
"""Dream's name of a rule -> ours."""


def driven(hook: DreamHook, name: str, ids: torch.Tensor, attention: torch.Tensor, **options: Any) -> list[Any]:
    """The steps of one of our samplers."""
    asked = {"steps": STEPS, "tokens": TOKENS, **options}
    sampler = registry.build("samplers", name, asked)
    with torch.inference_mode():
        return list(sampler.steps(hook, Encoded(ids, attention), [str(row) for row in range(len(ids))]))


@pytest.mark.parametrize("alg", SAMPLERS)
@pytest.mark.parametrize(("tokens", "steps"), [(12, 6), (16, 16), (20, 7), (9, 30)])
@pytest.mark.parametrize("seed", [0, 1])
def test_our_sampler_gives_the_tokens_of_dreams_own(alg: str, tokens: int, steps: int, seed: int) -> None:
    model = build(seed)
    official = generate(model, alg=alg, max_new_tokens=tokens, steps=steps)[:, IDS.shape[1] :]
    found = driven(
        DreamHook(model), SAMPLERS[alg], IDS, ATTENTION, tokens=tokens, steps=steps, schedule="linear-time", eps=1e-3
    )
    assert torch.equal(found[-1].draft, official)


def test_another_eps_gives_dreams_tokens_too(model: DreamModel) -> None:
    official = generate(model, alg="entropy", eps=0.2)[:, IDS.shape[1] :]
    found = driven(DreamHook(model), "entropy", IDS, ATTENTION, schedule="linear-time", eps=0.2)
    assert torch.equal(found[-1].draft, official)


def test_fast_dllms_forward_can_be_driven_too() -> None:
    official = generate(build(0), alg="entropy")[:, IDS.shape[1] :]
    found = driven(DreamHook(build(0, CachedDreamModel)), "entropy", IDS, ATTENTION, schedule="linear-time")
    assert torch.equal(found[-1].draft, official)


def test_from_left_to_right_the_same_weights_write_like_an_autoregressive_model(model: DreamModel) -> None:
    found = driven(DreamHook(model), "left-to-right", IDS, ATTENTION, tokens=8, steps=8)
    for index, step in enumerate(found):
        assert step.committed.tolist() == [[place <= index for place in range(8)]] * 3
    ids = torch.cat([IDS[2:], torch.full((1, 8), model.config.mask_token_id)], dim=1)
    for column in range(5, 13):
        with torch.no_grad():
            ids[:, column] = model(ids).logits[:, column - 1].argmax(-1)
    assert torch.equal(found[-1].draft[2:], ids[:, 5:])


def test_a_row_gives_the_same_alone_as_in_company(model: DreamModel) -> None:
    together = driven(DreamHook(model), "entropy", IDS, ATTENTION, schedule="linear-time")[-1].draft
    ids = IDS[:1, 3:]
    assert torch.equal(
        driven(DreamHook(model), "entropy", ids, torch.ones_like(ids), schedule="linear-time")[-1].draft, together[:1]
    )


def test_the_hooks_forward_keeps_padding_out(model: DreamModel) -> None:
    hook = DreamHook(model)
    with torch.no_grad():
        padded = hook.forward(IDS, ATTENTION).logits[0, 3:]
        bare = hook.forward(IDS[:1, 3:]).logits[0]
        whole = hook.forward(IDS[:1, 3:], torch.ones(1, 2)).logits[0]
    assert torch.allclose(padded, bare, atol=1e-5) and torch.equal(bare, whole)
    assert hook.shift() == 1 and hook.mask_id() == 63 and hook.block_length() is None

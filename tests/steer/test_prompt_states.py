"""States of prompts in one pass, in every family: alone as in a batch, and where a family has none, in words."""

import numpy as np
import pytest
import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.errors import CaptureError, ConfigError, ConformanceError
from sri_sdk.records import LoadedModel
from sri_sdk.steer import first_pass
from sri_sdk.steer.extract import extract_means
from sri_sdk.steer.states import check_readable, states_at

# Without `toy`: every pass of that model holds a whole canvas, so it cannot read a prompt alone.
FAMILIES = (
    "lab-diffusion", "lab-causal", "causal", "llada", "dream", "masked-lm", "llada2", "sdar", "fast-dllm-v2",
)  # fmt: skip


@pytest.fixture(scope="module")
def case_of():
    made = {}

    def get(name: str):
        if name not in made:
            try:
                made[name] = registry.load("hooks", name).example()
            except ConformanceError as err:
                pytest.skip(str(err))
        return made[name]

    return get


def first_and_last(mask: torch.Tensor) -> torch.Tensor:
    """[B, 2]: columns of each row's first and last token."""
    return torch.stack([mask.int().argmax(1), torch.full((len(mask),), mask.shape[1] - 1)], dim=1)


@pytest.mark.parametrize("name", FAMILIES)
def test_alone_a_prompt_has_the_states_that_it_has_in_a_batch(case_of, name: str) -> None:
    case = case_of(name)
    hook, prompts = case.hook, case.encoded
    check_readable(hook)
    together = states_at(hook, prompts, first_and_last(prompts.attention_mask))
    assert len(together) == len(hook.layers())
    assert all(each.shape == (len(prompts.input_ids), 2, hook.hidden_size()) for each in together)
    assert all(each.dtype == torch.float32 for each in together)
    for row, (ids, mask) in enumerate(zip(prompts.input_ids, prompts.attention_mask, strict=True)):
        one = sri_sdk.Encoded(ids[mask.bool()][None], mask[mask.bool()][None])
        alone = states_at(hook, one, first_and_last(one.attention_mask))
        for block, (single, batch) in enumerate(zip(alone, together, strict=True)):
            scale = float(single.abs().max())
            assert torch.allclose(single[0], batch[row], atol=1e-4 * scale), f"block {block}, row {row}"


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_read_is_what_the_blocks_put_out_for_that_very_token(case_of, name: str) -> None:
    hook, prompts = case_of(name).hook, case_of(name).encoded
    seen: dict[str, torch.Tensor] = {}
    handles = [
        hook.embedding().register_forward_hook(lambda _m, args, _o: seen.update(ids=args[0].clone())),
        hook.layers()[-1].register_forward_hook(
            lambda _m, _a, out: seen.update(states=(out[0] if isinstance(out, tuple) else out).detach().clone())
        ),
    ]
    columns = first_and_last(prompts.attention_mask)
    try:
        read = states_at(hook, prompts, columns)[-1]
    finally:
        for handle in handles:
            handle.remove()
    for row, ids in enumerate(prompts.input_ids):
        # Wherever the row now stands: the state is one of a position that shows the same token.
        for place, column in enumerate(columns[row].tolist()):
            same = (seen["ids"][row] == ids[column]).nonzero()[:, 0]
            assert (seen["states"][row, same].float() == read[row, place]).all(1).any()


def test_a_family_that_reads_prompts_in_another_part_is_refused_in_words(case_of) -> None:
    with pytest.raises(ConfigError, match="prompts go through a part of the model that does nothing else"):
        check_readable(case_of("diffusion-gemma").hook)


def test_blocks_that_do_not_run_or_are_no_blocks_are_named(diffusion, monkeypatch) -> None:
    honest = list(diffusion.hook.layers())
    stranger = type(honest[0])(diffusion.loaded.model.config, 0)
    monkeypatch.setattr(diffusion.hook, "layers", lambda: [*honest, stranger])
    with pytest.raises(CaptureError, match="block 4 did not run in a pass over a prompt; all of 5 must"):
        diffusion.means(4)
    monkeypatch.setattr(diffusion.hook, "layers", lambda: [diffusion.loaded.model.model.rotary_emb])
    with pytest.raises(CaptureError, match=r"layers\(\): block 0 put out"):
        diffusion.means(4)


def test_an_attribute_is_found_in_bfloat16_too(lab_of) -> None:
    lab = lab_of.__wrapped__("causal")
    exact = lab.means(32)
    lab.loaded.model.to(torch.bfloat16)
    rough = extract_means(
        lab.hook, lab.loaded.tokenizer, lab.prompts("harmless", 32), lab.prompts("harmful", 32)
    )  # fmt: skip
    assert not rough.found[:, :3].any()
    at = rough.place("post+1")
    for block in range(1, 4):
        assert rough.found[block, at]
        cosine = np.dot(exact.unit(block, "post+1"), rough.unit(block, "post+1"))
        assert cosine > 0.98, block


@pytest.mark.parametrize("name", ["lab-diffusion", "llada", "dream", "masked-lm"])
def test_the_first_pass_reads_the_logits_that_a_sampler_begins_with(case_of, name: str, monkeypatch) -> None:
    case = case_of(name)
    # The example has prompts as tokens and no tokenizer.
    monkeypatch.setattr(first_pass, "encode", lambda *_: case.encoded)
    sampler = registry.build("samplers", "low-confidence", {"steps": 4, "tokens": 16})
    ids = [str(row) for row in range(len(case.encoded.input_ids))]
    with torch.inference_mode():
        draft = next(sampler.steps(case.hook, case.encoded, ids)).draft
    logits = first_pass.FirstPass(case.hook, LoadedModel(case.hook.model, None, "example"), 16).logits([])
    assert torch.equal(logits.argmax(-1), draft)

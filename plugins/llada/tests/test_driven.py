"""Our samplers on the double: in the published profile they give the published sampler's tokens and states."""

import numpy as np
import pytest
import torch
from sri_plugin_llada.hook import MMADA_TEMPLATE, LladaHook
from sri_plugin_llada.stand_ins.example import TEXTS, prompts
from sri_plugin_llada.stand_ins.mmada import MMadaModelLM
from sri_plugin_llada.stand_ins.model import (
    MASK,
    CachedLLaDAModelLM,
    LLaDAModelLM,
    LLaDAMoEModelLM,
    Tokenizer,
    build,
)
from sri_plugin_llada.stand_ins.sampling import generate

from sri_sdk import Prompt, StepGrid, drive, registry, watch
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.errors import ConfigError
from sri_sdk.records import LoadedModel

STEPS, TOKENS = 8, 16
MODELS = {
    "llada": (LLaDAModelLM, {}),
    "tied head": (LLaDAModelLM, {"weight_tying": True}),
    "grouped": (LLaDAModelLM, {"block_group_size": 2}),
    "moe": (LLaDAMoEModelLM, {}),
    "mmada": (MMadaModelLM, {}),
}


def driven(hook, name, options, pooling="response"):
    sampler = registry.build("samplers", name, {"tokens": TOKENS, **options})
    settings = WatchSettings(pooling, grid=StepGrid(STEPS, "step", sampler.budget()), keep_states=True)
    loaded = LoadedModel(hook.model, Tokenizer(), "double")
    batch = drive(hook, loaded, sampler, [Prompt(text, text, "harmless") for text in TEXTS], settings)
    for _ in batch:
        pass
    return batch


@pytest.mark.parametrize("options", [{}, {"block": 8}, {"cfg_scale": 0.5}, {"block": 4, "cfg_scale": 1.5}], ids=str)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("pooling", ["response", "generated"])
def test_low_confidence_equals_the_published_sampler_in_tokens_and_states(model, options, pooling) -> None:
    family, config = MODELS[model]
    hook = LladaHook(build(family, **config))
    batch = driven(hook, "low-confidence", {"steps": STEPS, **options}, pooling)
    encoded = prompts()
    with watch(hook.model, hook=hook, pooling=pooling) as run:
        tokens = generate(
            hook.model, encoded.input_ids, encoded.attention_mask, steps=STEPS, gen_length=TOKENS,
            block_length=options.get("block", TOKENS), cfg_scale=options.get("cfg_scale", 0.0),
        )  # fmt: skip
    assert not bool((tokens == MASK).any())
    assert torch.equal(tokens[:, -TOKENS:], batch.step.draft)
    assert [trace.steps for trace in run.traces] == [trace.steps for trace in batch.run.traces] == [STEPS] * 3
    for watched, ours in zip(run.traces, batch.run.traces, strict=True):
        assert np.abs(watched.phi - ours.phi).max() < 1e-4
    assert not any(trace.reasons for trace in batch.run.traces)


def test_left_to_right_is_autoregressive_order_on_the_same_weights() -> None:
    hook = LladaHook(build())
    batch = driven(hook, "left-to-right", {"steps": TOKENS})
    encoded = prompts()
    ids = torch.cat([encoded.input_ids, torch.full((3, TOKENS), MASK)], dim=1)
    mask = torch.cat([encoded.attention_mask, torch.ones(3, TOKENS, dtype=torch.long)], dim=1)
    with torch.no_grad():
        for column in range(-TOKENS, 0):
            ids[:, column] = hook.model(ids, attention_mask=mask).logits[:, column].argmax(-1)
    assert torch.equal(batch.step.draft, ids[:, -TOKENS:])
    assert [trace.steps for trace in batch.run.traces] == [TOKENS] * 3


def test_random_order_fills_every_position() -> None:
    batch = driven(LladaHook(build()), "random", {"steps": STEPS})
    assert bool(batch.step.committed.all()) and not any(trace.reasons for trace in batch.run.traces)


@pytest.mark.parametrize("model", MODELS)
def test_padding_changes_no_logits(model) -> None:
    family, config = MODELS[model]
    hook, encoded = LladaHook(build(family, **config)), prompts()
    with torch.no_grad():
        together = hook.forward(encoded.input_ids, encoded.attention_mask).logits
        for row in range(3):
            real = encoded.attention_mask[row].bool()
            alone = hook.forward(encoded.input_ids[row : row + 1, real]).logits
            assert torch.allclose(together[row, real], alone[0], atol=1e-4)


def test_code_that_ignores_masks_is_refused_where_there_is_padding() -> None:
    hook, encoded = LladaHook(build(CachedLLaDAModelLM)), prompts()
    with pytest.raises(ConfigError, match="batch_size: 1"):
        hook.forward(encoded.input_ids, encoded.attention_mask)
    hook.forward(encoded.input_ids, torch.ones_like(encoded.attention_mask))


def test_mmada_gets_the_template_its_own_code_uses() -> None:
    jinja2 = pytest.importorskip("jinja2")
    # As transformers renders chat templates.
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(MMADA_TEMPLATE).render(
        bos_token="<|startoftext|>",
        messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": " Hi. "}],
    )
    head, user = "<|start_header_id|>{}<|end_header_id|>\n{}<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>"
    assert text == "<|startoftext|>" + head.format("system", "Be kind.") + head.format("user", "Hi.") + user + "\n"


def test_a_template_is_set_for_mmada_only() -> None:
    ours, theirs = Tokenizer(), Tokenizer()
    ours.chat_template = theirs.chat_template = "its own"
    LladaHook(build()).encode(ours, ["hi"])
    LladaHook(build(MMadaModelLM)).encode(theirs, ["hi"])
    assert (ours.chat_template, theirs.chat_template) == ("its own", MMADA_TEMPLATE)

"""Our samplers against the lab models' own generate: two implementations of one scheme give the same tokens."""

import numpy as np
import pytest
import torch

from sri_sdk import StepGrid, drive, registry, watch
from sri_sdk.capture.settings import WatchSettings


@pytest.fixture(scope="module")
def family():
    """(hook, loaded, prompts) by hook name."""

    def make(name: str):
        hook_class = registry.load("hooks", name)
        loaded = hook_class.load(hook_class.Config())
        dataset = registry.build("datasets", "lab", {})
        prompts = dataset.prompts("test", "harmless", 4) + dataset.prompts("test", "harmful", 4)
        return hook_class(loaded.model), loaded, prompts

    return make


def driven(hook, loaded, prompts, name, options, pooling, steps):
    sampler = registry.build("samplers", name, options)
    settings = WatchSettings(pooling, grid=StepGrid(steps, "step", steps), keep_states=True)
    batch = drive(hook, loaded, sampler, prompts, settings)
    for _ in batch:
        pass
    return batch


@pytest.mark.parametrize("extra", [{}, {"block": 24}, {"cfg_scale": 0.5}])
@pytest.mark.parametrize("pooling", ["response", "generated"])
def test_low_confidence_equals_the_models_own_sampler_in_tokens_and_states(family, extra, pooling) -> None:
    hook, loaded, prompts = family("lab-diffusion")
    batch = driven(hook, loaded, prompts, "low-confidence", {"steps": 8, "tokens": 48, **extra}, pooling, 8)
    encoded = hook.encode(loaded.tokenizer, [p.text for p in prompts])
    own = {"block_length" if key == "block" else key: value for key, value in extra.items()}
    with watch(loaded.model, hook=hook, pooling=pooling) as run:
        tokens = loaded.model.generate(encoded.input_ids, encoded.attention_mask, max_new_tokens=48, steps=8, **own)
    assert torch.equal(tokens[:, -48:], batch.step.draft)
    assert [t.steps for t in run.traces] == [8] * len(prompts)
    for watched, ours in zip(run.traces, batch.run.traces, strict=True):
        assert np.abs(watched.phi - ours.phi).max() < 1e-4


@pytest.mark.parametrize("pooling", ["predicting", "generated"])
def test_autoregressive_equals_transformers_generate_in_tokens_steps_and_states(family, pooling) -> None:
    hook, loaded, prompts = family("lab-causal")
    batch = driven(hook, loaded, prompts, "autoregressive", {"tokens": 48}, pooling, 48)
    encoded = hook.encode(loaded.tokenizer, [p.text for p in prompts])
    inputs = {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask}
    alone = loaded.model.generate(**inputs, max_new_tokens=48, do_sample=False)
    with watch(loaded.model, hook=hook, pooling=pooling, grid=StepGrid(48, "step", 48)) as run:
        tokens = loaded.model.generate(**inputs, max_new_tokens=48, do_sample=False)
    assert torch.equal(alone, tokens)
    assert hook.decode(loaded.tokenizer, tokens[:, encoded.input_ids.shape[1] :]) == batch.texts
    lengths = batch.step.committed.sum(1).tolist()
    assert [t.steps for t in run.traces] == lengths and len(set(lengths)) > 1, "some rows end before others"
    for watched, ours, length in zip(run.traces, batch.run.traces, lengths, strict=True):
        # `predicting` goes on after the end, the last state repeating; `generated` has no state for the last token.
        assert len(watched.phi) == (48 if pooling == "predicting" else length - 1)
        assert np.abs(watched.phi - ours.phi).max() < 1e-4


def test_sampling_under_a_seed_is_the_same_watched_and_unwatched(family) -> None:
    for name in ("lab-diffusion", "lab-causal"):
        hook, loaded, prompts = family(name)
        encoded = hook.encode(loaded.tokenizer, [p.text for p in prompts])

        def generate(loaded=loaded, encoded=encoded, name=name):
            torch.manual_seed(7)
            if name == "lab-diffusion":
                return loaded.model.generate(
                    encoded.input_ids, encoded.attention_mask, steps=8, temperature=1.0, remasking="random"
                )
            return loaded.model.generate(
                encoded.input_ids, attention_mask=encoded.attention_mask, max_new_tokens=16, do_sample=True
            )

        alone = generate()
        with watch(loaded.model, hook=hook):
            assert torch.equal(alone, generate())


def test_a_causal_row_does_not_depend_on_its_company_under_temperature(family) -> None:
    hook, loaded, prompts = family("lab-causal")
    options = {"tokens": 24, "temperature": 0.8}
    together = driven(hook, loaded, prompts, "autoregressive", options, "predicting", 24).texts
    alone = [driven(hook, loaded, [p], "autoregressive", options, "predicting", 24).texts[0] for p in prompts]
    assert alone == together

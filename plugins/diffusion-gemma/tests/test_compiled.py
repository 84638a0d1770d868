"""The hook where `generate` compiles the decoder, as it does with a static cache."""

import warnings

import pytest
import torch

import sri_sdk

pytest.importorskip("transformers", minversion="5.11")

from sri_plugin_diffusion_gemma.hook import DiffusionGemmaHook
from sri_plugin_diffusion_gemma.stand_ins.example import prompts
from sri_plugin_diffusion_gemma.stand_ins.model import CANVAS, build, passes


@pytest.fixture(autouse=True)
def forget():
    """Nothing compiled by one test is there for the next."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dynamo's, about transformers' own code.
        yield
    torch._dynamo.reset()


def compiled(backend: str):
    """A model whose decoder `generate` compiles, with the backend given instead of Inductor's; the rest stays eager."""
    model = build(2)
    config, _ = model._prepare_generation_config(None)
    sampler = model._prepare_sampler(config)
    # `generate` compiles what it does not find under these names.
    model._compiled_decoder_forward = torch.compile(model.forward, backend=backend, fullgraph=True)
    model._compiled_encoder = model.model.encoder
    model._compiled_accept_canvas = sampler.accept_canvas
    model._compiled_renoise_canvas = sampler.renoise_canvas
    model._compiled_diffusion_stopping_criteria = None
    return model


def graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def test_a_compiled_decoder_is_seen_at_every_step_whichever_way_watched_and_unwatched_alternate(generate) -> None:
    model = compiled("eager")
    options = {"cache_implementation": "static", "max_new_tokens": 2 * CANVAS}
    free = generate(model, prompts(), **options)  # compiled before the first watch
    official, traces, made = passes(free, 5), [], []
    for _ in range(4):
        with sri_sdk.watch(model, hook=DiffusionGemmaHook(model)) as run:
            output = generate(model, prompts(), **options)
        assert torch.equal(free.sequences, output.sequences)
        assert [trace.steps for trace in run.traces] == [trace.expected for trace in run.traces] == official
        assert not any(trace.reasons for trace in run.traces) and run.failure is None
        traces.append(run.traces)
        made.append(graphs())
    generate(model, prompts(), **options)
    assert made[0] == made[-1] == graphs(), "watching again compiled again"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with sri_sdk.watch(model, hook=DiffusionGemmaHook(model)) as run:
        plain = generate(model, prompts(), disable_compile=True, **options)
    assert torch.equal(free.sequences, plain.sequences)
    for one, other in zip(traces[-1], run.traces, strict=True):
        assert abs(one.phi - other.phi).max() <= 1e-5 * abs(other.phi).max()


@pytest.mark.slow
def test_inside_functionalised_code_no_step_is_lost(generate) -> None:
    model = compiled("aot_eager").to(torch.bfloat16)
    options = {"cache_implementation": "static", "max_new_tokens": CANVAS, "max_denoising_steps": 6}
    seen, hook = [], DiffusionGemmaHook(model)
    for _ in range(3):
        with sri_sdk.watch(model, hook=hook) as run:
            output = generate(model, prompts(), **options)
        seen.append([trace.steps for trace in run.traces])
        if len(seen) == 1:
            first = graphs()
    assert seen == [passes(output, 5)] * 3 and graphs() == first and not run.traces[0].reasons
    assert torch.equal(output.sequences, generate(model, prompts(), **options).sequences)

"""The hook on the family's published classes, under the published samplers. Opt-in: see README.md, SRI_MODEL_CODE.

Random weights, two layers, a few seconds each. The numbers of each model are printed (pytest -s).
"""

import re
from contextlib import redirect_stdout
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from sri_plugin_llada.hook import MMADA_TEMPLATE, LladaHook
from sri_plugin_llada.stand_ins.example import TEXTS, prompts
from sri_plugin_llada.stand_ins.model import Tokenizer

from sri_sdk import Prompt, StepGrid, drive, registry, watch
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.records import Encoded, LoadedModel
from sri_sdk.testing import HookCase, hook_checks, run_checks
from sri_sdk.testing._hook_measure import measure_hook

STEPS, TOKENS, BLOCK = 8, 16, 8
DTYPES = (torch.float32, torch.bfloat16)
ONE = ("tell me a story of a lantern",)


def build(real, name: str, dtype: torch.dtype):
    made = {
        "llada": lambda: real.llada("dllm"),
        "llada, tied head": lambda: real.llada("dllm", weight_tying=True),
        "llada, grouped blocks": lambda: real.llada("dllm", block_group_size=2),
        "llada-moe": real.llada_moe,
        "mmada": lambda: real.llada("MMaDA"),
        "fast-dllm": lambda: real.llada("Fast-dLLM"),
    }[name]()
    return made.to(dtype)


def case(real, name: str, dtype: torch.dtype = torch.float32) -> HookCase:
    """The published sampler of the model's own repository, in a batch of three prompts."""
    model = build(real, name, dtype)
    hook, generate = LladaHook(model), real.official("mmada" if name == "mmada" else "llada").generate

    def run(encoded: Encoded, **options) -> torch.Tensor:
        mask = encoded.attention_mask
        if name == "mmada":
            # MMaDA's takes the mask of the whole sequence.
            mask = torch.cat([mask, torch.ones(len(mask), TOKENS, dtype=mask.dtype)], dim=1)
        sizes = {"steps": STEPS, "gen_length": TOKENS, "block_length": BLOCK, "mask_id": real.MASK}
        with redirect_stdout(StringIO()):  # MMaDA's tells its attention mask
            return generate(model, encoded.input_ids, attention_mask=mask, **sizes, **options)

    def drawn(encoded: Encoded) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return run(encoded, temperature=1.0, remasking="random")

    return HookCase(
        hook, prompts(), run, steps=STEPS, generate_sampled=drawn,
        generate_guided=lambda encoded: run(encoded, cfg_scale=1.0),
    )  # fmt: skip


def fast_case(real, function: str, threshold: float | None, dtype: torch.dtype = torch.float32) -> HookCase:
    """Fast-dLLM's samplers, which take one prompt. Its last pass may find nothing left to fill: no step of anybody."""
    model, script, left = build(real, "fast-dllm", dtype), real.official("fast-dllm"), []
    plain = script.get_transfer_index

    def counted(logits, temperature, remasking, mask_index, *others):
        left.append(int(mask_index.sum()))
        return plain(logits, temperature, remasking, mask_index, *others)

    def run(encoded: Encoded) -> torch.Tensor:
        sizes = {"steps": STEPS, "gen_length": TOKENS, "block_length": BLOCK, "mask_id": real.MASK}
        return getattr(script, function)(model, encoded.input_ids, threshold=threshold, **sizes)[0]

    script.get_transfer_index = counted
    try:
        run(prompts(ONE))
    finally:
        script.get_transfer_index = plain
    return HookCase(LladaHook(model), prompts(ONE), run, steps=len(left) - (left[-1] == 0), batched=False)


PUBLISHED = ("llada", "llada, tied head", "llada, grouped blocks", "llada-moe", "mmada")
FAST = [(f, t) for f in ("generate", "generate_with_prefix_cache", "generate_with_dual_cache") for t in (None, 0.1)]


def measured(label: str, made: HookCase, dtype: torch.dtype) -> None:
    found = measure_hook(made)
    print(f"\n{label}, transformers {transformers.__version__}, {str(dtype)[6:]}: {found}")
    assert found.seen == found.expected
    assert found.gap <= 1e-5 and found.unchanged and not found.reasons


def all_pass(made) -> None:
    made()  # Skips here; inside a check that would be a plugin that leaves.
    failed = [
        f"{result.name}: {result.message}" for result in run_checks(hook_checks(made)) if result.state != "passed"
    ]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_step_of_the_published_sampler_is_seen(real, name, dtype) -> None:
    measured(name, case(real, name, dtype), dtype)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_hook_keeps_its_promises_on_the_published_class(real, name) -> None:
    all_pass(lambda: case(real, name))


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("function", "threshold"), FAST)
def test_every_step_with_the_caches_of_fast_dllm_is_seen(real, function, threshold, dtype) -> None:
    measured(f"fast-dllm {function}, threshold {threshold}", fast_case(real, function, threshold, dtype), dtype)


@pytest.mark.parametrize(("function", "threshold"), FAST)
def test_the_hook_keeps_its_promises_with_the_caches_of_fast_dllm(real, function, threshold) -> None:
    all_pass(lambda: fast_case(real, function, threshold))


@pytest.mark.parametrize("method", ["mmu_generate", "mmu_generate_fast"])
def test_mmadas_own_methods_are_watched(real, method) -> None:
    model = build(real, "mmada", torch.float32)
    hook, prompt = LladaHook(model), prompts(ONE).input_ids
    sizes = {"max_new_tokens": TOKENS, "steps": STEPS, "block_length": BLOCK, "mask_id": real.MASK}

    def run(encoded: Encoded) -> torch.Tensor:
        return getattr(model, method)(encoded.input_ids, **sizes)

    measured(f"mmada {method}", HookCase(hook, prompts(ONE), run, steps=STEPS, batched=False), torch.float32)
    end = int(run(prompts(ONE))[0, prompt.shape[1] + BLOCK - 1])
    with watch(model, hook=hook) as seen:
        getattr(model, method)(prompt, eot_token=end, **sizes)
    # mmu_generate takes an end token and does not look at it.
    assert seen.traces[0].steps == (STEPS // 2 if method.endswith("fast") else STEPS)


def test_a_lora_wrapped_model_is_watched_like_itself(real) -> None:
    peft = pytest.importorskip("peft")
    made = case(real, "llada")
    wrapped = peft.get_peft_model(made.hook.model, peft.LoraConfig(target_modules=["q_proj", "v_proj"]))
    plain = made.generate(made.encoded)
    generate = real.official("llada").generate

    def run(encoded: Encoded) -> torch.Tensor:
        sizes = {"steps": STEPS, "gen_length": TOKENS, "block_length": BLOCK, "mask_id": real.MASK}
        return generate(wrapped, encoded.input_ids, attention_mask=encoded.attention_mask, **sizes)

    assert torch.equal(run(made.encoded), plain)
    measured("llada with LoRA", HookCase(LladaHook(wrapped), made.encoded, run, steps=STEPS), torch.float32)


@pytest.mark.parametrize("cfg_scale", [0.0, 1.0])
def test_the_samplers_of_the_dllm_repository_are_watched(real, cfg_scale) -> None:
    """They fill shorter rows up on the right, so each row has its canvas elsewhere."""
    model, mdlm, encoded = build(real, "llada", torch.float32), real.official("dllm"), prompts()
    tokenizer = SimpleNamespace(mask_token_id=real.MASK, bos_token_id=1, eos_token_id=real.EOS)
    sampler = mdlm.MDLMSampler(model=model, tokenizer=tokenizer)
    rows = [ids[mask.bool()] for ids, mask in zip(encoded.input_ids, encoded.attention_mask, strict=True)]
    sizes = {"max_new_tokens": TOKENS, "steps": STEPS, "block_size": BLOCK, "cfg_scale": cfg_scale}
    config = mdlm.MDLMSamplerConfig(**sizes, return_dict=False)
    with watch(model, hook=LladaHook(model)) as together:
        tokens = together.returned(sampler.sample(rows, config))
    assert together.failure is None and [trace.steps for trace in together.traces] == [STEPS] * 3
    for row, ids in enumerate(rows):
        with watch(model, hook=LladaHook(model)) as alone:
            single = sampler.sample([ids], config)
        assert torch.equal(single[0], tokens[row, : len(single[0])])
        assert np.abs(alone.traces[0].phi - together.traces[row].phi).max() < 1e-4


@pytest.mark.parametrize(
    "options",
    [{}, {"block": 32}, {"cfg_scale": 1.0}, {"block": 32, "cfg_scale": 1.0}],
    ids=["paper", "blocks", "cfg", "both"],
)
@pytest.mark.parametrize("name", ["llada", "llada, tied head", "llada-moe", "mmada"])
def test_low_confidence_equals_the_published_sampler(real, name, options) -> None:
    """The profile of arXiv 2602.02600: 128 tokens in 32 steps; then in blocks, and guided."""
    model = build(real, name, torch.float32)
    hook, encoded = LladaHook(model), prompts()
    if name == "mmada" and "cfg_scale" in options:
        encoded = prompts(ONE)  # its guided pass hides no padding
    texts = ONE if len(encoded.input_ids) == 1 else TEXTS
    sampler = registry.build("samplers", "low-confidence", options)
    settings = WatchSettings("response", grid=StepGrid(32, "step", 32), keep_states=True)
    loaded, asked = LoadedModel(model, Tokenizer(), "real"), [Prompt(text, text, "harmless") for text in texts]
    batch = drive(hook, loaded, sampler, asked, settings)
    for _ in batch:
        pass
    mask = encoded.attention_mask
    if name == "mmada":
        mask = torch.cat([mask, torch.ones(len(mask), 128, dtype=mask.dtype)], dim=1)
    with watch(model, hook=hook) as run:
        tokens = real.official("mmada" if name == "mmada" else "llada").generate(
            model, encoded.input_ids, attention_mask=mask, steps=32, gen_length=128,
            block_length=options.get("block", 128), cfg_scale=options.get("cfg_scale", 0.0), mask_id=real.MASK,
        )  # fmt: skip
    assert torch.equal(tokens[:, -128:], batch.step.draft)
    for watched, ours in zip(run.traces, batch.run.traces, strict=True):
        assert watched.steps == ours.steps == 32
        assert np.abs(watched.phi - ours.phi).max() < 1e-4


def test_mmadas_template_is_the_one_of_its_generate(real) -> None:
    jinja2 = pytest.importorskip("jinja2")
    text = real.folder("MMaDA", "generate.py").read_text(encoding="utf-8")
    theirs = re.search(r'chat_template = "(.*)"\n', text).group(1).replace("\\n", "\n")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    said = {"bos_token": "<s>", "messages": [{"role": "user", "content": " Hi. "}]}
    assert environment.from_string(MMADA_TEMPLATE).render(said) == environment.from_string(theirs).render(said)

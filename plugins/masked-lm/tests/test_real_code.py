"""dllm's own models and sampler, from a copy of its repository: `SRI_MODEL_CODE=... pytest`. See the README."""

import importlib.util
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sri_plugin_masked_lm.hook import MaskedLmHook
from sri_plugin_masked_lm.stand_ins import example
from sri_plugin_masked_lm.stand_ins import model as double

import sri_sdk
from sri_sdk.testing import HookCase, hook_checks, run_checks
from sri_sdk.testing._hook_measure import measure_hook

SHAPE = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.4, "pad_token_id": double.PAD,
    "eos_token_id": double.SEP, "mask_token_id": double.MASK,
}  # fmt: skip
FAMILIES = {"llama": ("Llama", SHAPE), "qwen2": ("Qwen2", SHAPE), "qwen3": ("Qwen3", {**SHAPE, "head_dim": 8})}
ROWS = [[5, 6], [7, 8, 9, 10, 11], [12, 13, 14]]


def dllm() -> Path:
    folder = os.environ.get("SRI_MODEL_CODE")
    if not folder:
        pytest.skip("SRI_MODEL_CODE is not set: a folder with copies of model repositories, see the README")
    found = Path(folder) / "dllm" / "dllm"
    if not found.is_dir():
        pytest.skip(f"{found} is missing")
    return found


def module(file: Path) -> ModuleType:
    if not file.is_file():
        pytest.skip(f"{file} is missing")
    name = f"sri_real_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    try:
        spec.loader.exec_module(made)
    except ImportError as err:
        pytest.skip(f"{file.name} does not run on transformers {transformers.__version__}: {err}")
    return made


@pytest.fixture
def sampler_class(monkeypatch: pytest.MonkeyPatch) -> Any:
    # The package itself imports what only training needs; its samplers need nothing of that.
    root = dllm()
    for name, folder in (("dllm", root), ("dllm.core", root / "core")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        monkeypatch.setitem(sys.modules, name, package)
    found = import_module("dllm.core.samplers.mdlm").MDLMSampler
    yield found
    for name in [name for name in sys.modules if name.startswith("dllm.")]:
        sys.modules.pop(name)


def build(family: str) -> Any:
    name, shape = FAMILIES[family]
    made = module(dllm() / "pipelines" / "a2d" / "models" / family / f"modeling_{family}.py")
    config = getattr(made, f"A2D{name}Config")(**shape)
    torch.manual_seed(5)
    try:
        model = getattr(made, f"A2D{name}LMHeadModel")(config).eval()
        model(torch.tensor([[5, double.MASK]]))
    except (TypeError, KeyError, ValueError, AttributeError) as err:
        pytest.skip(f"A2D{name} does not run on transformers {transformers.__version__}: {type(err).__name__}: {err}")
    return model


def case(model: Any, sampler_class: Any, *, shifted: bool = False) -> HookCase:
    model.config.right_shift_logits = shifted
    tokens = SimpleNamespace(mask_token_id=double.MASK, bos_token_id=double.CLS, eos_token_id=double.SEP)
    sampler = sampler_class(model, tokens)

    def call(given: sri_sdk.Encoded, **options: Any) -> torch.Tensor:
        pairs = zip(given.input_ids, given.attention_mask, strict=True)
        rows = [ids[real.bool()].tolist() for ids, real in pairs]
        ids = sampler.sample(
            rows, steps=double.STEPS, max_new_tokens=double.TOKENS, block_size=double.TOKENS,
            suppress_tokens=[double.PAD, double.MASK], right_shift_logits=shifted, **options,
        )  # fmt: skip
        return torch.stack([ids[i, len(row) : len(row) + double.TOKENS] for i, row in enumerate(rows)])

    def sampled(given: sri_sdk.Encoded) -> torch.Tensor:
        torch.manual_seed(7)
        return call(given, temperature=1.0)

    return HookCase(
        MaskedLmHook(model), example.prompts(), call, steps=double.STEPS, generate_sampled=sampled,
        generate_guided=lambda given: call(given, cfg_scale=1.0),
    )  # fmt: skip


@pytest.mark.parametrize("shifted", [False, True], ids=["plain", "shifted"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_real_model_under_its_own_sampler_keeps_every_promise(
    family: str, shifted: bool, sampler_class: Any
) -> None:
    build(family)
    results = run_checks(hook_checks(lambda: case(build(family), sampler_class, shifted=shifted)))
    assert not [f"{r.name}: {r.message}" for r in results if r.state != "passed"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_pass_of_the_real_sampler_is_a_step(family: str, dtype: torch.dtype, sampler_class: Any) -> None:
    found = measure_hook(case(build(family).to(dtype), sampler_class))
    print(f"A2D {family}, transformers {transformers.__version__}, {dtype}: {found}")
    assert found.seen == found.expected == (double.STEPS,) * 3 and not found.reasons
    assert found.unchanged and found.gap < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_guidance_and_kept_tokens_leave_rows_and_counts_right(family: str, sampler_class: Any) -> None:
    made = case(build(family), sampler_class)
    prompts = [[5, 6, 9], [7, 8, 9, 10, 9], [12, 9]]
    options = {"max_new_tokens": 8, "block_size": 4, "steps": 4, "cfg_scale": 1.0, "cfg_keep_tokens": [9]}
    tokens = SimpleNamespace(mask_token_id=double.MASK, bos_token_id=double.CLS, eos_token_id=double.SEP)
    sampler = sampler_class(made.hook.model, tokens)
    free = sampler.sample(prompts, **options)
    with sri_sdk.watch(made.hook.model, hook=made.hook, request_ids=["a", "b", "c"]) as run:
        ids = run.returned(sampler.sample(prompts, **options))
    assert torch.equal(free, ids)
    assert [trace.steps for trace in run.traces] == [4, 4, 4]
    assert not any(trace.reasons for trace in run.traces)


@pytest.mark.parametrize("shifted", [False, True], ids=["plain", "shifted"])
@pytest.mark.parametrize("family", FAMILIES)
def test_our_sampler_gives_the_tokens_of_theirs(
    family: str, shifted: bool, sampler_class: Any, driven: Callable[[Any, Any], torch.Tensor]
) -> None:
    made = case(build(family), sampler_class, shifted=shifted)
    with torch.no_grad():
        # Their loop suppresses them; ours never chooses them either if they never win.
        made.hook.model.lm_head.weight[[double.PAD, double.MASK]] = 0
    assert torch.equal(driven(made.hook, made.encoded), made.generate(made.encoded))


@pytest.fixture
def driven() -> Callable[[Any, Any], torch.Tensor]:
    def run(hook: MaskedLmHook, encoded: sri_sdk.Encoded) -> torch.Tensor:
        sampler = sri_sdk.registry.build("samplers", "low-confidence", {"tokens": double.TOKENS, "steps": double.STEPS})
        inner = hook.forward

        def forward(*args: Any, **options: Any) -> Any:
            output = inner(*args, **options)
            output.logits[..., [double.PAD, double.MASK]] = -torch.inf
            return output

        hook.forward = forward
        with torch.inference_mode():
            *_, last = sampler.steps(hook, encoded, ["a", "b", "c"])
        return last.draft

    return run


def test_block_samplers_are_unmonitored_and_say_why(sampler_class: Any) -> None:
    model = build("llama")
    model.config.right_shift_logits = False
    block = import_module("dllm.core.samplers.bd3lm").BD3LMSampler
    tokens = SimpleNamespace(
        mask_token_id=double.MASK, bos_token_id=double.CLS, eos_token_id=double.SEP, pad_token_id=double.PAD
    )
    sampler = block(model, tokens)
    with sri_sdk.watch(model, hook=MaskedLmHook(model), request_ids=["a", "b", "c"]) as run:
        ids = sampler.sample(ROWS, max_new_tokens=8, block_size=4, steps=4)
    assert np.prod(ids.shape) > 0
    assert all("hook_failed" in trace.reasons for trace in run.traces)
    assert "BD3LM" in str(run.failure)

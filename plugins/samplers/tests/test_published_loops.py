"""Our samplers against the published loops themselves, on one small model: the same tokens in as many passes.

They run where SRI_MODEL_CODE names a folder with copies of these repositories; the README of this plugin lists them.
"""

import importlib.util
import os
import sys
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from sri_sdk import registry

MASK, NEVER = 1, 0
ORDERS = {"low-confidence": "maskgit_plus", "margin": "topk_margin", "entropy": "entropy"}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@cache
def published(path: str) -> ModuleType:
    """A module of a repository, loaded from its file; one that imports its neighbours finds them."""
    folder = os.environ.get("SRI_MODEL_CODE")
    if not folder:
        pytest.skip("SRI_MODEL_CODE is not set: no copies of the published code to compare with")
    file = Path(folder, path)
    if not file.is_file():
        pytest.skip(f"{file} is missing")
    home = "published_" + "_".join(file.parent.relative_to(folder).parts).replace("-", "_")
    if home not in sys.modules:
        sys.modules[home] = ModuleType(home)
        sys.modules[home].__path__ = [str(file.parent)]
    spec = importlib.util.spec_from_file_location(f"{home}.{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as err:
        if not (err.name or "").startswith("transformers."):
            raise
        pytest.skip(f"{file.name} does not load on transformers {metadata.version('transformers')}: {err}")
    return module


def build(name, **options):
    return registry.build("samplers", name, options)


def alone(prompts, row):
    return prompts.input_ids[row][prompts.attention_mask[row] == 1][None]


def passes(made, row):
    return sum(int(step.active[row]) for step in made)


class Counted:
    """The small model as the published loops call theirs; counts the passes that are steps."""

    device, generation_config = torch.device("cpu"), None

    def __init__(self, hook):
        self.hook, self.passes, self.clean = hook, 0, None

    def eval(self):
        return self

    def __call__(self, ids, attention_mask=None, *rest, past_key_values=None, store_kv=None, **options):
        """With a cache, the clean tokens before this block go in front again: the same logits, without one."""
        self.passes += not store_kv
        if store_kv is None:
            real = attention_mask if isinstance(attention_mask, torch.Tensor) and attention_mask.dim() == 2 else None
            return SimpleNamespace(logits=self.hook.forward(ids, real).logits)
        whole = ids if self.clean is None else torch.cat([self.clean, ids], dim=1)
        self.clean = whole if store_kv else self.clean
        return SimpleNamespace(logits=self.hook.forward(whole).logits[:, -ids.shape[1] :])


@pytest.mark.parametrize("scale", [0.0, 1.5])
@pytest.mark.parametrize(("steps", "block"), [(5, None), (12, None), (6, 4), (9, 4)])
def test_lladas_generate(family, prompts, run, steps, block, scale) -> None:
    loop = published("LLaDA/generate.py").generate
    hook = family()
    ours = run(build("low-confidence", steps=steps, tokens=12, block=block, cfg_scale=scale), hook, prompts)
    for row in range(3):
        # Guidance needs the mask; without one the published loop reads a name that is not set.
        prompt, model = alone(prompts, row), Counted(hook)
        theirs = loop(
            model, prompt, torch.ones_like(prompt), steps=steps, gen_length=12, block_length=block or 12,
            cfg_scale=scale, mask_id=MASK,
        )  # fmt: skip
        assert theirs[0, -12:].tolist() == ours[-1].draft[row].tolist()
        assert model.passes == len(ours) == steps


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("steps", [5, 7, 12, 20])
def test_dreams_diffusion_generate(family, prompts, run, order, steps) -> None:
    module = published("dllm/dllm/pipelines/dream/models/generation_utils.py")
    hook = family(shift=1)
    ours = run(build(order, steps=steps, tokens=12, schedule="linear-time"), hook, prompts)

    class Dream(Counted, module.DreamGenerationMixin):
        """The published mixin on the small model."""

    for row in range(3):
        prompt, model = alone(prompts, row), Dream(hook)
        config = SimpleNamespace(
            output_history=False, return_dict=False, max_length=prompt.shape[1] + 12, mask_token_id=MASK, steps=steps,
            eps=1e-3, alg=ORDERS[order], alg_temp=None, temperature=0.0, top_p=None, top_k=None,
        )  # fmt: skip
        theirs = model._sample(prompt, None, config, lambda step, x, logits: x, lambda step, x, logits: logits)
        assert theirs[0, -12:].tolist() == ours[-1].draft[row].tolist()
        assert model.passes == len(ours) == steps


def greedy(monkeypatch, module):
    """The published loop draws its tokens; what it would draw most often makes it comparable."""
    plain = SimpleNamespace(**{name: getattr(torch, name) for name in dir(torch)})
    plain.multinomial = lambda chances, num_samples: chances.argmax(-1, keepdim=True)
    monkeypatch.setattr(module, "torch", plain)


SDAR = {
    "low_confidence_static": ("low-confidence", {}),
    "low_confidence_dynamic": ("low-confidence", {"threshold": 0.4}),
    "sequential": ("left-to-right", {}),
}


@pytest.mark.parametrize("strategy", SDAR)
@pytest.mark.parametrize(("size", "tokens"), [(4, 16), (4, 14), (8, 16)])
def test_sdars_block_diffusion_generate(family, prompts, run, monkeypatch, strategy, size, tokens) -> None:
    module = published("SDAR/generate.py")
    greedy(monkeypatch, module)
    hook, (order, options) = family(block=size), SDAR[strategy]
    sampler = build(order, steps=tokens + 2 * size, tokens=tokens, block_steps=size, **options)
    for row in range(3):
        ours = run(sampler, hook, prompts, rows=[row])
        prompt, model = alone(prompts, row), Counted(hook)
        theirs = module.block_diffusion_generate(
            model, {"input_ids": prompt}, MASK, gen_length=tokens, block_length=size, denoising_steps=size,
            remasking_strategy=strategy, confidence_threshold=0.4,
        )  # fmt: skip
        n = prompt.shape[1]
        assert theirs[0, n : n + tokens].tolist() == ours[-1].draft[0].tolist()
        # Theirs goes on to the end of the last block, ours ends with the response.
        assert model.passes == len(ours) or ((n + tokens) % size and model.passes > len(ours))


@pytest.mark.parametrize("threshold", [0.35, 0.95])
@pytest.mark.parametrize(("each", "tokens"), [(8, 24), (8, 20), (3, 24), (3, 20)])
def test_llada2s_generate(family, prompts, run, monkeypatch, threshold, each, tokens) -> None:
    import transformers

    # Gone from transformers 5; the file asks for it at import.
    monkeypatch.setattr(transformers.utils.import_utils, "is_torch_fx_available", lambda: True, raising=False)
    real = published("dllm/dllm/pipelines/llada2/models/modeling_llada2_moe.py").LLaDA2MoeModelLM
    hook = family(block=8, ends=(NEVER,))
    options = {"steps": 8 * each, "tokens": tokens, "block_steps": each, "threshold": threshold}
    free = run(build("low-confidence", **options), hook, prompts)[-1].draft
    for row in range(3):
        prompt = alone(prompts, row)
        # An end in the middle of what is generated anyway. In a prompt it would confuse the published loop.
        inside = [token for token in free[row, 3 : tokens - 3].tolist() if token not in prompt[0]]
        for stop in (NEVER, *inside[-1:]):
            ending = family(block=8, ends=(stop,))
            ours = run(build("low-confidence", **options, stop_at_end=True), ending, prompts)
            model = Counted(hook)
            model._get_num_transfer_tokens = real._get_num_transfer_tokens
            model._sample_with_temperature_topk_topp = partial(real._sample_with_temperature_topk_topp, model)
            model.forward = model
            theirs = real.generate(
                model, prompt, block_length=8, steps=each, gen_length=tokens, threshold=threshold,
                eos_id=stop, mask_id=MASK, eos_early_stop=True,
            )[0]  # fmt: skip
            length = ending.lengths(ours[-1].draft)[row]
            assert ours[-1].draft[row, :length].tolist() == theirs.tolist()
            # Without an end, theirs goes on to the end of the last block, ours ends with the response.
            beyond = stop == NEVER and (prompt.shape[1] + tokens) % 8
            assert passes(ours, row) == model.passes or (beyond and model.passes > passes(ours, row))
    assert inside

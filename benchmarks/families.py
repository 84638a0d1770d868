"""One model of about 100 million random parameters per family, in the family's own shape, with its own way to generate.

Native classes where transformers has them, else the structural doubles of the plugins made larger: what the tap costs
hangs on the number, shape and kind of the passes, and those are the family's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from guards import CELLS, made_up_guard
from models import STEPS, Subject

from sri_sdk import registry
from sri_sdk.capture.identity import fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.pooling import USUAL
from sri_sdk.scoring.guard import Guard

TOKENS = 64
"""Response tokens; half of the paper's 128, so that a benchmark ends."""
PROMPT = 40
"""Not a whole number of blocks: Fast-dLLM v2's own loop leaves out a prompt of exactly one block."""
VOCABULARY = 32_000
WIDE = {"hidden_size": 768, "num_hidden_layers": 12, "vocab_size": VOCABULARY}

Made = tuple[Any, Callable[[torch.Tensor], Any]]
"""A model, and its own call on [1, L] prompts."""


def causal() -> Made:
    """A Llama, greedy with a cache: one token per step."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = LlamaConfig(
        **WIDE, intermediate_size=2048, num_attention_heads=12, tie_word_embeddings=True, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(shape)
    return model, lambda ids: model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=STEPS, min_new_tokens=STEPS
    )


def masked_lm() -> Made:
    """BERT base, low confidence."""
    from sri_plugin_masked_lm.stand_ins.model import MASK, TinyBertForMaskedLM
    from transformers import BertConfig

    model = TinyBertForMaskedLM(BertConfig(vocab_size=VOCABULARY, pad_token_id=0, mask_token_id=MASK, eos_token_id=2))
    return model, lambda ids: model.generate(ids, torch.ones_like(ids), tokens=TOKENS, steps=STEPS)


def llada() -> Made:
    """LLaDA's double, the published sampler in one block."""
    from sri_plugin_llada.stand_ins.model import LLaDAModelLM, build
    from sri_plugin_llada.stand_ins.sampling import generate

    model = build(LLaDAModelLM, d_model=768, n_heads=12, n_layers=12, vocab_size=VOCABULARY)
    return model, lambda ids: generate(model, ids, steps=STEPS, gen_length=TOKENS, block_length=TOKENS)


def llada2() -> Made:
    """LLaDA2.0's double, blocks of 32 and as many steps at most, in a window that grows."""
    from sri_plugin_llada2.stand_ins.model import LLaDA2MoeModelLM, TinyConfig, build

    model = build(0, lambda _: LLaDA2MoeModelLM(TinyConfig(**WIDE)))
    return model, lambda ids: model.generate(ids, gen_length=TOKENS, block_length=32, steps=STEPS // 2)


def dream() -> Made:
    """Dream's double, `diffusion_generate` by entropy."""
    from sri_plugin_dream.stand_ins.model import DreamConfig, build

    model = build(0, config=DreamConfig(**WIDE, num_attention_heads=12))
    return model, lambda ids: model.diffusion_generate(ids, max_new_tokens=TOKENS, steps=STEPS, alg="entropy")


def sdar() -> Made:
    """SDAR's double: blocks of four with a cache, at most two passes each."""
    from sri_plugin_block.stand_ins.model import MASK, BlockConfig, SDARForCausalLM, build
    from sri_plugin_block.stand_ins.sdar_sampler import block_diffusion_generate

    model = build(SDARForCausalLM, BlockConfig(**WIDE, num_attention_heads=12), 0)
    return model, lambda ids: block_diffusion_generate(
        model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, MASK, gen_length=TOKENS, denoising_steps=2,
        remasking_strategy="low_confidence_static",
    )  # fmt: skip


def fast_dllm() -> Made:
    """Fast-dLLM v2's double: blocks of 32 in sub-blocks of eight, with a cache."""
    from sri_plugin_block.stand_ins.model import Fast_dLLM_QwenForCausalLM, FastConfig, build

    model = build(Fast_dLLM_QwenForCausalLM, FastConfig(**WIDE, num_attention_heads=12, bd_size=32), 0)
    return model, lambda ids: model.generate(ids, TOKENS, block_size=32, small_block_size=8, threshold=0.5)


def diffusion_gemma() -> Made:
    """transformers' DiffusionGemma with four experts: two canvases of 32, at most 16 passes each."""
    from sri_plugin_diffusion_gemma.stand_ins.model import TEXT, VISION
    from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

    text = {
        **TEXT, "vocab_size": VOCABULARY, "hidden_size": 640, "intermediate_size": 1024, "moe_intermediate_size": 512,
        "num_hidden_layers": 8, "layer_types": ["sliding_attention", "full_attention"] * 4, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 80, "global_head_dim": 80, "num_global_key_value_heads": 4,
        "sliding_window": 128,
    }  # fmt: skip
    model = DiffusionGemmaForBlockDiffusion(
        DiffusionGemmaConfig(text_config=text, vision_config=dict(VISION), canvas_length=TOKENS // 2)
    )
    model.generation_config.pad_token_id = 0

    def generate(ids: torch.Tensor) -> Any:
        torch.manual_seed(0)
        options = {"max_new_tokens": TOKENS, "max_denoising_steps": STEPS // 2}
        return model.generate(ids, attention_mask=torch.ones_like(ids), **options).sequences

    return model, generate


FAMILIES: dict[str, Callable[[], Made]] = {
    "causal": causal, "masked-lm": masked_lm, "llada": llada, "llada2": llada2, "dream": dream, "sdar": sdar,
    "fast-dllm-v2": fast_dllm, "diffusion-gemma": diffusion_gemma,
}  # fmt: skip
"""Name of the hook -> its model."""


def family(name: str, folder: Path) -> Subject:
    """The model of a family under a guard, which is written into `folder`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, call = FAMILIES[name]()
    model.eval()
    ids = torch.randint(10, VOCABULARY, (1, PROMPT), generator=torch.Generator().manual_seed(0))

    def generate() -> torch.Tensor:
        with torch.inference_mode():
            found = call(ids)
        return found[0] if isinstance(found, tuple) else found

    hook = registry.load("hooks", name)(model)
    # Families that stop when they like get room; the others must take their steps exactly.
    fixed = hook.scheme == "autoregressive" or hook.expected_steps(STEPS) == STEPS
    budget = STEPS if fixed else 2 * TOKENS
    printed = fingerprint(
        hook, pooling=USUAL[hook.scheme], layers=("final",), grid=StepGrid(CELLS, "step", budget),
        sampler={"name": "made-up", "budget": budget},
    )  # fmt: skip
    made_up_guard(printed, folder)
    return Subject(model, hook, Guard.load(folder), generate)

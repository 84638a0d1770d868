"""The models under the tap: the two of the lab, and twins of theirs with 110 million random parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from guards import CELLS, made_up_guard
from sri_plugin_lab.hooks import LabCausalHook, LabDiffusionHook
from sri_plugin_lab.models import LabDiffusionLM, encode, load, load_tokenizer
from sri_plugin_lab.world import prompts
from transformers import LlamaConfig, LlamaForCausalLM

from sri_sdk.capture.identity import fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.scoring.guard import Guard

STEPS = 32
"""Denoising steps, or greedy tokens: the profile of arXiv 2602.02600."""
CANVAS = {"lab": 48, "110M": 64}
"""Response tokens of the diffusion models; half of the paper's 128 at 110M, so that a benchmark ends."""
NAMES = ("lab diffusion", "lab causal", "110M diffusion", "110M causal")


@dataclass(frozen=True)
class Subject:
    """A model, one request for it, and a guard that admits it."""

    model: LlamaForCausalLM
    hook: Hook
    guard: Guard
    generate: Callable[[], torch.Tensor]


def subject(name: str, folder: Path) -> Subject:
    """By name; the guard is written into `folder`."""
    size, scheme = name.split()
    model = load(scheme) if size == "lab" else _random(scheme)
    ids = _lab_prompt() if size == "lab" else torch.randint(10, 32_000, (1, 32), generator=_seeded())
    diffusion = isinstance(model, LabDiffusionLM)
    hook = LabDiffusionHook(model) if diffusion else LabCausalHook(model)
    printed = fingerprint(
        hook, pooling="response" if diffusion else "predicting", layers=("final",),
        grid=StepGrid(CELLS, "step", STEPS), sampler={"name": "made-up"},
    )  # fmt: skip
    made_up_guard(printed, folder)

    def generate() -> torch.Tensor:
        if diffusion:
            return model.generate(ids, max_new_tokens=CANVAS[size], steps=STEPS)
        with torch.inference_mode():
            return model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=STEPS,
                min_new_tokens=STEPS,
            )  # fmt: skip

    return Subject(model, hook, Guard.load(folder), generate)


def _random(scheme: str) -> LlamaForCausalLM:
    """12 layers of width 768, vocabulary 32,000, tied embeddings: 109.5 million parameters, seeded, nothing on disk."""
    config = LlamaConfig(
        vocab_size=32_000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12,
        num_key_value_heads=12, max_position_embeddings=512, tie_word_embeddings=True, pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    config.mask_token_id = 3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (LabDiffusionLM if scheme == "diffusion" else LlamaForCausalLM)(config).eval()


def _lab_prompt() -> torch.Tensor:
    ids, _ = encode(load_tokenizer(), [prompts("fit", "harmless", 1)[0].text])
    return ids


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)

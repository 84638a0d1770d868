"""Train the lab models: `python -m sri_plugin_lab.train [--model diffusion|causal|both]`.

Seeded end to end. Two CPU cores and half an hour per model are enough.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from . import tokenizer as tokenizer_module
from .console import say
from .curriculum import example
from .models import NAMES, WEIGHTS, class_for, config_for, encode, position_ids_of
from .world import RESPONSE_TOKENS

BATCH = 48
LONGEST_WEIGHT = 10.0
"""Largest weight of one masked token; the exact 1/t of a nearly unmasked response would drown the batch in noise."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of training: the lesson its examples come from, its optimiser steps and its peak learning rate."""

    name: str
    lesson: str
    steps: int
    rate: float


PHASES: dict[str, tuple[Phase, ...]] = {
    "diffusion": (
        Phase("base", "base", 2600, 2e-3),
        Phase("alignment", "alignment", 1500, 1.2e-3),
        # A second round on the same lesson: filling in learns to copy names far more slowly than continuing does.
        Phase("settling", "alignment", 2000, 1.2e-3),
    ),
    "causal": (Phase("base", "base", 1000, 2e-3), Phase("alignment", "alignment", 1300, 1.2e-3)),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids: `prompt` [B, P] left-padded, its `mask` [B, P] of 0 and 1, `response` [B, R] padded with <eos>."""

    prompt: torch.Tensor
    mask: torch.Tensor
    response: torch.Tensor


def batch_of(lesson: str, rng: random.Random, tokenizer: PreTrainedTokenizerFast, size: int = BATCH) -> Batch:
    """Draw `size` examples of a lesson and turn them into ids."""
    pairs = [example(lesson, rng) for _ in range(size)]
    prompt, mask = encode(tokenizer, [text for text, _ in pairs])
    eos = tokenizer.eos_token_id
    rows = [ids + [eos] * (RESPONSE_TOKENS - len(ids)) for ids in tokenizer([text for _, text in pairs])["input_ids"]]
    return Batch(prompt, mask, torch.tensor(rows))


def diffusion_loss(model: LlamaForCausalLM, batch: Batch, generator: torch.Generator) -> torch.Tensor:
    """Masked-diffusion loss (arXiv 2502.09992): cross-entropy of the masked tokens, weighted by 1/t."""
    size, length = batch.response.shape
    # Evenly spread ratios with one random offset: the same uniform law with far less noise from batch to batch.
    ratio = ((torch.arange(size) + torch.rand(1, generator=generator)) / size)[:, None]
    masked = torch.rand(size, length, generator=generator) < ratio
    noisy = torch.where(masked, model.config.mask_token_id, batch.response)
    mask = torch.cat([batch.mask, torch.ones_like(batch.response)], 1)
    logits = model(torch.cat([batch.prompt, noisy], 1), mask, logits_to_keep=length).logits
    loss = functional.cross_entropy(logits.transpose(1, 2), batch.response, reduction="none")
    return (loss * masked / ratio.clamp_min(1 / LONGEST_WEIGHT)).sum() / (size * length)


def causal_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Next-token cross-entropy of the response up to and including its first <eos>."""
    length = batch.response.shape[1]
    mask = torch.cat([batch.mask, torch.ones_like(batch.response)], 1)
    ids = torch.cat([batch.prompt, batch.response], 1)
    out = model(ids, mask, position_ids=position_ids_of(mask), use_cache=False, logits_to_keep=length + 1)
    logits = out.logits[:, :-1]  # the state before a token predicts it
    after_end = (batch.response == model.config.eos_token_id).cumsum(1) > 1
    return functional.cross_entropy(logits.transpose(1, 2), batch.response.masked_fill(after_end, -100))


def run_phase(name: str, model: LlamaForCausalLM, phase: Phase, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    """Train `model` in place through one phase, with warm-up and a cosine back to zero."""
    # Seeded per phase, so that a phase sees the same examples whatever came before it.
    rng = random.Random(f"{name}/{phase.name}/{seed}")
    generator = torch.Generator().manual_seed(rng.getrandbits(32))
    optimiser = torch.optim.AdamW(model.parameters(), lr=phase.rate, betas=(0.9, 0.98), weight_decay=0.01)
    began, recent = time.perf_counter(), []
    for step in range(phase.steps):
        done = step / phase.steps
        rate = phase.rate * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = batch_of(phase.lesson, rng, tokenizer)
        loss = diffusion_loss(model, batch, generator) if name == "diffusion" else causal_loss(model, batch)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        recent.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == phase.steps:
            mean, recent = sum(recent) / len(recent), []
            spent = time.perf_counter() - began
            say(f"{name} {phase.name} {step + 1}/{phase.steps} loss {mean:.4f} {spent:.0f} s")


def write(folder: Path, save: Callable[[Path], object]) -> None:
    """Let `save` fill `folder`: whole or not at all."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    save(fresh)
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def train(name: str, weights: Path, seed: int = 0, keep: Path | None = None) -> LlamaForCausalLM:
    """Train lab model `name` and write it under `weights`.

    Args:
        name: "diffusion" or "causal".
        weights: folder that receives `<name>/` and `tokenizer/`.
        seed: seeds weights, examples and masks.
        keep: a folder for the model as it is after each phase; a phase found there is not trained again, so that a
            later one can be tried on its own.
    """
    weights.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_module.build()
    write(weights / "tokenizer", partial(tokenizer_module.save, tokenizer))
    torch.manual_seed(seed)
    model = class_for(name)(config_for(name, tokenizer))
    began = time.perf_counter()
    say(f"{name}: {model.num_parameters():,} parameters, {torch.get_num_threads()} threads")
    for phase in PHASES[name]:
        kept = None if keep is None else keep / f"{name}-{phase.name}"
        if kept is not None and kept.exists():
            model = class_for(name).from_pretrained(kept, dtype=torch.float32)
            continue
        run_phase(name, model.train(), phase, tokenizer, seed)
        if kept is not None:
            write(kept, model.save_pretrained)
    say(f"{name}: trained in {time.perf_counter() - began:.0f} s")
    # Never resumed, only used: half precision halves the download and costs no measurable rate.
    write(weights / name, model.to(torch.float16).save_pretrained)
    return model


def main() -> None:
    """Command line of the trainer."""
    parser = argparse.ArgumentParser(prog="python -m sri_plugin_lab.train", description="Train the lab models.")
    parser.add_argument("--model", choices=(*NAMES, "both"), default="both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where to write the weights")
    parser.add_argument("--keep", type=Path, help="folder that keeps each phase's model, to retry a later phase")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in NAMES if options.model == "both" else (options.model,):
        train(name, options.weights, options.seed, options.keep)


if __name__ == "__main__":
    main()

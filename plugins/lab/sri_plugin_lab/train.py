"""Train the lab models: `python -m sri_plugin_lab.train [--model diffusion|diffusion-2|causal|all]`.

Seeded end to end. An hour of one CPU core per model is enough.
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
from .curriculum import EXAMPLES
from .models import NAMES, WEIGHTS, LabDiffusionLM, class_for, config_for, encode, position_ids_of
from .world import RESPONSE_TOKENS

BATCH = 48


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of training.

    Attributes:
        lesson: where its examples come from.
        steps: optimiser steps.
        rate: peak learning rate.
        causal: whether the model looks back only and learns to continue; otherwise it looks both ways and fills in.
        whole: share of the responses that are masked whole when filling in; the others have ratios of masks spread
            evenly over (0, 1).
    """

    name: str
    lesson: str
    steps: int
    rate: float
    causal: bool = False
    whole: float = 0.0


_CONTINUING = Phase("continuing", "base", 700, 2e-3, causal=True)
_DIFFUSION = (
    # Filling in learns to copy a name far more slowly than continuing does, so it starts from a model that continues,
    # as Dream does (arXiv 2508.15487).
    _CONTINUING,
    Phase("base", "base", 900, 2e-3),
    # Whether to refuse is undecided only as long as nothing of the response can be seen; without whole masks the model
    # meets that question so rarely that it learns to refuse by the verb alone.
    Phase("alignment", "alignment", 1700, 1.5e-3, whole=0.5),
)
PHASES: dict[str, tuple[Phase, ...]] = {
    "diffusion": _DIFFUSION,
    "diffusion-2": _DIFFUSION,
    "causal": (_CONTINUING, Phase("alignment", "alignment", 800, 1.5e-3, causal=True)),
}
SEEDS = {"diffusion": 0, "diffusion-2": 1, "causal": 0}
"""Model -> what seeds its weights, examples and masks. The two diffusion models differ in nothing else."""
EXAMINE_EVERY = 12
"""Every so many batches of alignment, one is of texts to examine: their prompts are long, so they stay together."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids: `prompt` [B, P] left-padded, its `mask` [B, P] of 0 and 1, `response` [B, R] padded with <eos>."""

    prompt: torch.Tensor
    mask: torch.Tensor
    response: torch.Tensor


def batch_of(lesson: str, rng: random.Random, tokenizer: PreTrainedTokenizerFast, size: int = BATCH) -> Batch:
    """Draws `size` examples of a lesson and turns them into ids, [B, P] prompts and [B, R] responses, B = size."""
    pairs = [EXAMPLES[lesson](rng) for _ in range(size)]
    prompt, mask = encode(tokenizer, [text for text, _ in pairs])
    eos = tokenizer.eos_token_id
    rows = [ids + [eos] * (RESPONSE_TOKENS - len(ids)) for ids in tokenizer([text for _, text in pairs])["input_ids"]]
    return Batch(prompt, mask, torch.tensor(rows))


def diffusion_loss(
    model: LlamaForCausalLM, batch: Batch, generator: torch.Generator, whole: float = 0.0
) -> torch.Tensor:
    """Masked-diffusion loss: cross-entropy of the masked tokens, at ratios of masks as `Phase.whole` has them.

    Without the weight 1/t of the likelihood bound (arXiv 2502.09992): the optimum is the same at every ratio, and the
    gradient has less noise.

    Returns:
        Scalar tensor, nats per masked token, a mean over the batch's responses [B, R].
    """
    size, length = batch.response.shape
    # Evenly spread ratios with one random offset: the same law with far less noise from batch to batch.
    rank = (torch.arange(size) + torch.rand(1, generator=generator)) / size
    ratio = (rank / (1 - whole)).clamp(max=1.0)[:, None]
    masked = torch.rand(size, length, generator=generator) < ratio
    noisy = torch.where(masked, model.config.mask_token_id, batch.response)
    mask = torch.cat([batch.mask, torch.ones_like(batch.response)], 1)
    logits = model(torch.cat([batch.prompt, noisy], 1), mask, logits_to_keep=length).logits
    loss = functional.cross_entropy(logits.transpose(1, 2), batch.response, reduction="none")
    return (loss * masked).sum() / masked.sum()


def causal_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Next-token cross-entropy of the responses [B, R], each up to and including its first <eos>.

    Returns:
        Scalar tensor, nats per token.
    """
    length = batch.response.shape[1]
    mask = torch.cat([batch.mask, torch.ones_like(batch.response)], 1)
    ids = torch.cat([batch.prompt, batch.response], 1)
    out = model(ids, mask, position_ids=position_ids_of(mask), use_cache=False, logits_to_keep=length + 1)
    logits = out.logits[:, :-1]  # the state before a token predicts it
    after_end = (batch.response == model.config.eos_token_id).cumsum(1) > 1
    return functional.cross_entropy(logits.transpose(1, 2), batch.response.masked_fill(after_end, -100))


def looking(model: LlamaForCausalLM, causal: bool) -> LlamaForCausalLM:
    """The same weights in a model that looks back only, or both ways."""
    kind = LlamaForCausalLM if causal else LabDiffusionLM
    if type(model) is kind:
        return model
    other: LlamaForCausalLM = kind(model.config)
    other.load_state_dict(model.state_dict())
    return other


def schedule(peak: float, step: int, steps: int) -> float:
    """Learning rate of a step: a warm-up of 100 steps, then a cosine back to zero."""
    return peak * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))


def run_phase(
    name: str, model: LlamaForCausalLM, phase: Phase, tokenizer: PreTrainedTokenizerFast, seed: int, compiled: bool
) -> None:
    """Train `model` in place through one phase, with warm-up and a cosine back to zero."""
    # Seeded per phase, so that a phase sees the same examples whatever came before it.
    rng = random.Random(f"{type(model).__name__}/{phase.lesson}/{seed}")
    generator = torch.Generator().manual_seed(rng.getrandbits(32))
    optimiser = torch.optim.AdamW(model.parameters(), lr=phase.rate, betas=(0.9, 0.98), weight_decay=0.01)
    began, recent = time.process_time(), []
    # Compiled code takes half the time; the weights stay those of `model`.
    fast = torch.compile(model, dynamic=True) if compiled else model
    for step in range(phase.steps):
        for group in optimiser.param_groups:
            group["lr"] = schedule(phase.rate, step, phase.steps)
        examine = phase.lesson == "alignment" and step % EXAMINE_EVERY == 0
        batch = batch_of("examination" if examine else phase.lesson, rng, tokenizer)
        loss = causal_loss(fast, batch) if phase.causal else diffusion_loss(fast, batch, generator, phase.whole)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        recent.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == phase.steps:
            mean, recent = sum(recent) / len(recent), []
            spent = time.process_time() - began
            say(f"{name} {phase.name} {step + 1}/{phase.steps} loss {mean:.4f} {spent:.0f} CPU s")


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


def train(name: str, weights: Path, keep: Path | None = None, compiled: bool = True) -> LlamaForCausalLM:
    """Train lab model `name` and write it under `weights`.

    Args:
        name: one of `NAMES`.
        weights: folder that receives `<name>/` and `tokenizer/`.
        keep: a folder for the model as it is after each phase; a phase found there is not trained again, so that a
            later one can be tried on its own.
        compiled: whether to train compiled code, which needs a C++ compiler.
    """
    seed = SEEDS[name]
    weights.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_module.build()
    write(weights / "tokenizer", partial(tokenizer_module.save, tokenizer))
    torch.manual_seed(seed)
    model = class_for(name)(config_for(name, tokenizer))
    began = time.process_time()
    say(f"{name}: {model.num_parameters():,} parameters, {torch.get_num_threads()} threads")
    for phase in PHASES[name]:
        model = looking(model, phase.causal)
        kept = None if keep is None else keep / f"{name}-{phase.name}"
        if kept is not None and kept.exists():
            model = type(model).from_pretrained(kept, dtype=torch.float32)
            continue
        run_phase(name, model.train(), phase, tokenizer, seed, compiled)
        if kept is not None:
            write(kept, model.save_pretrained)
    say(f"{name}: trained in {time.process_time() - began:.0f} CPU seconds")
    # Never resumed, only used: half precision halves the download and costs no measurable rate.
    write(weights / name, model.to(torch.float16).save_pretrained)
    return model


def main() -> None:
    """Command line of the trainer."""
    parser = argparse.ArgumentParser(prog="python -m sri_plugin_lab.train", description="Train the lab models.")
    parser.add_argument("--model", choices=(*NAMES, "all"), default="all")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where to write the weights")
    parser.add_argument("--keep", type=Path, help="folder that keeps each phase's model, to retry a later phase")
    parser.add_argument("--eager", action="store_true", help="do not compile: twice the time, no C++ compiler needed")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in NAMES if options.model == "all" else (options.model,):
        train(name, options.weights, options.keep, not options.eager)


if __name__ == "__main__":
    main()

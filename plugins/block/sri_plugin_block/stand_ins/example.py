"""What the conformance kit tries the two hooks on: the stand-ins, their samplers and three prompts."""

from __future__ import annotations

import types
from typing import Any

import torch

from sri_plugin_block.stand_ins.fast_dllm_sampler import Counts, batch_sample
from sri_plugin_block.stand_ins.model import BlockConfig, Fast_dLLM_QwenForCausalLM, FastConfig, SDARForCausalLM, build
from sri_plugin_block.stand_ins.sdar_sampler import Counts as SdarCounts
from sri_plugin_block.stand_ins.sdar_sampler import block_diffusion_generate
from sri_plugin_block.stand_ins.tokens import MASK, PAD
from sri_sdk.records import Encoded
from sri_sdk.testing import HookCase


def prompts(*lengths: int) -> Encoded:
    """Prompts of these lengths, padded on the left."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        rows = [torch.randint(5, 60, (length,)) for length in lengths]
    width = max(lengths)
    ids = torch.stack([torch.cat([row.new_full((width - len(row),), PAD), row]) for row in rows])
    mask = torch.stack([torch.arange(width) >= width - length for length in lengths]).long()
    return Encoded(ids, mask)


def seeded(generate: Any, encoded: Encoded, **options: Any) -> torch.Tensor:
    """The same call with sampling, from a seed of its own: [B, L] token ids."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        tokens: torch.Tensor = generate(encoded, **options)
        return tokens


def sdar_case(family: type[Any], *, seed: int = 0, lengths: tuple[int, ...] = (3, 9, 13), **options: Any) -> HookCase:
    """Dynamic low-confidence sampling, at most 14 tokens in blocks of four; one token of a first run ends a row."""
    model = build(SDARForCausalLM, BlockConfig(), seed)
    encoded = prompts(*lengths)

    def generate(given: Encoded, counts: SdarCounts | None = None, **more: Any) -> torch.Tensor:
        settings = {"gen_length": 14, "stopping_criteria_idx": model.generation_config.eos_token_id, **options, **more}
        prompt = {"input_ids": given.input_ids, "attention_mask": given.attention_mask}
        return block_diffusion_generate(model, prompt, MASK, counts=counts, **settings)

    # A token that one row says in its second block, and no row before.
    said = generate(encoded)[:, encoded.input_ids.shape[1] :].tolist()
    ends = next((row[5] for row in said if all(row[5] not in other[:5] for other in said)), None)
    model.generation_config.eos_token_id = [] if ends is None else [ends]
    counts = SdarCounts()
    generate(encoded, counts)
    return HookCase(
        family(model), encoded, generate, steps=counts.steps,
        generate_sampled=lambda given: seeded(generate, given, temperature=1.0),
    )  # fmt: skip


def fast_case(family: type[Any], *, seed: int = 0, lengths: tuple[int, ...] = (5, 11, 19), **options: Any) -> HookCase:
    """The sampler for batches, blocks of eight in sub-blocks of four; one token of a first run ends a row."""
    model = build(Fast_dLLM_QwenForCausalLM, FastConfig(), seed)
    model.mdm_sample = types.MethodType(batch_sample, model)
    encoded = prompts(*lengths)
    stop = {"stop_token": model.config.eos_token_id}

    def generate(given: Encoded, counts: Counts | None = None, **more: Any) -> torch.Tensor:
        own = given.attention_mask.sum(1)
        rows = [row[real.bool()] for row, real in zip(given.input_ids, given.attention_mask, strict=True)]
        settings = {"block_size": 8, "small_block_size": 4, "threshold": 0.9, **stop, **options, **more}
        done = model.mdm_sample(
            torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=MASK), tokenizer=None,
            max_new_tokens=16, min_len=int(own.min()), seq_len=own, counts=counts, **settings,
        )  # fmt: skip
        tokens: torch.Tensor = family.responses(done, own.tolist())[:, :16]
        return tokens

    said = generate(encoded).tolist()
    ends = next((row[6] for row in said if sum(row[6] in other[:12] for other in said) == 1), None)
    if ends is not None:
        stop["stop_token"] = ends
    counts = Counts()
    generate(encoded, counts)
    return HookCase(
        family(model), encoded, generate, steps=[counts.steps[row] for row in range(len(lengths))],
        generate_sampled=lambda given: seeded(generate, given, temperature=1.0),
    )  # fmt: skip

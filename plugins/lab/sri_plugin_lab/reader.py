"""A small language model that has read requests and answers nothing: what a perplexity filter needs.

The causal lab model learnt responses only, so how likely a prompt is it cannot say. This one reads requests of the
training split as the base lesson has them, without the frame around a prompt: plain, in the second language, and in
every wrapper that is made of sentences. It never saw a suffix of odd words or a request turned round. So it plays the
part of GPT-2 in arXiv 2308.14132, which knows role play and fiction and stumbles over noise.
`python -m sri_plugin_lab.reader` trains it again.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from . import tokenizer as tokenizer_module
from .console import say
from .curriculum import HARMFUL_SHARE, SECOND_SHARE, WRAPPED_SHARE
from .models import READER, WEIGHTS
from .train import schedule, write
from .world import WRAPPERS, request, split_range

STEPS, BATCH, RATE, SEED = 1500, 64, 3e-3, 0
NOISE = {"suffix", "flip"}
"""Wrappers that are not sentences; it never reads them."""
SENTENCES = tuple(name for name in WRAPPERS if name not in NOISE | {"second-language"})


def config_of(vocabulary: int, pad: int, bos: int, eos: int, mask: int) -> LlamaConfig:
    """Width 64, two layers, and one matrix for reading and predicting words."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, pad_token_id=pad,
        bos_token_id=bos, eos_token_id=eos,
    )  # fmt: skip
    config.mask_token_id = mask
    return config


def text_of(rng: random.Random) -> str:
    """A request of the training split, kind or not."""
    label = "harmful" if rng.random() < HARMFUL_SHARE["base"] else "harmless"
    asked = request(label, rng.choice(split_range("train", label)))
    die = rng.random()
    if die < SECOND_SHARE:
        return asked.text("second-language")
    return asked.text(rng.choice(SENTENCES) if die < SECOND_SHARE + WRAPPED_SHARE else None)


def train(weights: Path) -> LlamaForCausalLM:
    """Trains the reader and writes it to `weights`/reader, in half precision."""
    tokenizer = tokenizer_module.build()
    torch.manual_seed(SEED)
    special = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id)
    model = LlamaForCausalLM(config_of(len(tokenizer), *special))
    rng, began = random.Random(f"reader/{SEED}"), time.process_time()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = schedule(RATE, step, STEPS)
        texts = [text_of(rng) for _ in range(BATCH)]
        inputs = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        logits = model(ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        following = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        loss = functional.cross_entropy(logits.transpose(1, 2), following)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 250 == 0:
            say(f"{READER} {step + 1}/{STEPS} loss {loss.item():.3f} {time.process_time() - began:.0f} CPU s")
    write(weights / READER, model.to(torch.float16).save_pretrained)
    return model


def main() -> None:
    """Command line of the trainer."""
    parser = argparse.ArgumentParser(prog="python -m sri_plugin_lab.reader", description="Train the lab's reader.")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where to write the weights")
    torch.set_num_threads(1)
    train(parser.parse_args().weights)


if __name__ == "__main__":
    main()

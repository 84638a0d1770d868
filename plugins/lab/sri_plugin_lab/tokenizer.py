"""Builds the lab tokenizer from the world's vocabulary: one token per word."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sri_sdk.strict_json import parse

from .world import vocabulary

SPECIAL = ("<pad>", "<mask>", "<bos>", "<eos>", "<unk>")

# System messages are left out: the village knows none, and their words would all be unknown.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] != 'system' %}"
    " {{ message['role'] }} : {{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} assistant :{% endif %}"
)


def build() -> PreTrainedTokenizerFast:
    """The tokenizer, fresh from the vocabulary; the same words in the same order each time."""
    words = {word: index for index, word in enumerate([*SPECIAL, *vocabulary()])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    # Signs are split off, so that a prompt typed by hand ("Steal the lantern?") reads like the world's own.
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        mask_token="<mask>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the tokenizer so that transformers 4 and 5 both know its class."""
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    # transformers 5 records a class name that 4 has never heard of; both know the older name.
    config = {**parse(file.read_bytes()), "tokenizer_class": "PreTrainedTokenizerFast"}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

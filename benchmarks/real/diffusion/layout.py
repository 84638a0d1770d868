"""From a causal Llama checkpoint to a masked one that transformers loads by itself.

EuroBERT is a Llama that looks both ways, under the same names of weights. So the weights move over as they are, no
class has to be written, nothing asks for `trust_remote_code`, and the hook `masked-lm` knows the class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sri_sdk.errors import ConfigError

SHARED = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps",
    "attention_bias", "mlp_bias", "tie_word_embeddings", "pad_token_id", "bos_token_id", "eos_token_id",
    "rope_parameters",
)  # fmt: skip
"""What both configs say under the same name and with the same meaning."""
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML without the system prompt that the causal checkpoint's template puts in front: its 24 tokens cost time."""


def masked_from(causal: Any, mask_id: int) -> Any:
    """The same weights in a model that looks both ways.

    Args:
        causal: a `LlamaForCausalLM`.
        mask_id: token that stands for a mask from now on. Its embedding becomes the mean of all: a mask has to say
            nothing, and of the few starts that were tried this one came closest (`diffusion.md`).

    Returns:
        An `EuroBertForMaskedLM` in float32 whose row i still predicts token i + 1, and whose config says so. It shares
        no memory with `causal`.

    Raises:
        ConfigError: the model is no Llama, has parts that EuroBERT lacks, or has no such token.
    """
    import torch
    from transformers import EuroBertConfig, EuroBertForMaskedLM

    config = causal.config
    if config.model_type != "llama":
        raise ConfigError(
            f"{type(causal).__name__}: model_type {config.model_type!r}; allowed: llama, whose weights EuroBERT can "
            "hold. Another family needs a class of its own, such as dllm's A2D ones."
        )
    if not 0 <= mask_id < config.vocab_size:
        raise ConfigError(f"mask token {mask_id}: found a vocabulary of {config.vocab_size}; choose one of its tokens.")
    shared = {name: getattr(config, name) for name in SHARED}
    model = EuroBertForMaskedLM(EuroBertConfig(**shared, mask_token_id=mask_id, right_shift_logits=True))
    missing, unexpected = model.load_state_dict(causal.state_dict(), strict=False)
    if missing or unexpected:
        raise ConfigError(
            f"{type(causal).__name__}: weights that EuroBERT lacks: {', '.join(unexpected) or 'none'}; that it misses: "
            f"{', '.join(missing) or 'none'}. Such a checkpoint needs a class of its own."
        )
    with torch.no_grad():
        table = model.model.embed_tokens.weight
        table[mask_id] = table.mean(0)
    return model.float().eval()


def convert(source: Path, target: Path, mask_token: str) -> None:
    """Reads a causal checkpoint, and writes the untrained masked one, tokenizer included, into a new folder.

    Raises:
        ConfigError: as `masked_from`, or the tokenizer has no such token.
    """
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    from sri_sdk.files import replacing

    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    mask_id = tokenizer.get_vocab().get(mask_token)
    if mask_id is None:
        raise ConfigError(f"mask token {mask_token!r}: {source} has no such token; choose one that no text uses.")
    causal = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32, local_files_only=True)
    tokenizer.add_special_tokens({"mask_token": mask_token})
    tokenizer.chat_template = TEMPLATE
    with replacing(target) as made:
        masked_from(causal, mask_id).save_pretrained(made)
        tokenizer.save_pretrained(made)

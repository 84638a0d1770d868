"""From a request to the tokens that a chat model expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sri_sdk.errors import ConfigError


def tokens_of(tokenizer: Any, text: str, system_prompt: str | None, template: Mapping[str, Any]) -> list[int]:
    """One request as token ids, without padding.

    Without a chat template, as base models have it, the text stands as it is, the system prompt in a paragraph before.

    Raises:
        ConfigError: the chat template refuses the chat, as some do with a system prompt.
    """
    if getattr(tokenizer, "chat_template", None) is None:
        plain = text if system_prompt is None else f"{system_prompt}\n\n{text}"
        found: list[int] = tokenizer(plain)["input_ids"]
        return found
    from jinja2 import TemplateError

    system = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    chat = [*system, {"role": "user", "content": text}]
    try:
        # Text first: what a template returns as tokens differs between releases of transformers.
        written = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False, **template)
    except TemplateError as err:
        cure = "" if system_prompt is None else " Many templates take no system prompt: set model.system_prompt: null."
        raise ConfigError(
            f"the chat template of {getattr(tokenizer, 'name_or_path', '') or 'the tokenizer'} refuses the chat: "
            f"{str(err).rstrip('. ')}.{cure}"
        ) from err
    # The template has written the special tokens already.
    ids: list[int] = tokenizer(written, add_special_tokens=False)["input_ids"]
    return ids

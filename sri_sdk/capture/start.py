"""Prompts with a started response: what the sampler receives, and which part of the response it does not see.

A masked sampler begins with a canvas that holds the started tokens. An autoregressive one needs to know nothing: the
started tokens stand at the end of the prompt, and are put back in front of what it decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sri_sdk.capture.encoded import encode
from sri_sdk.capture.locate import in_columns, locate
from sri_sdk.capture.request import Span
from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.prefill import pieces
from sri_sdk.records import Encoded, Prompt
from sri_sdk.sampler import Sampler


@dataclass(frozen=True, slots=True)
class Start:
    """A batch, ready to generate."""

    encoded: Encoded
    """What the sampler gets."""
    spoken: tuple[tuple[int, ...], ...]
    """Per prompt: response tokens that stand at the end of its prompt; empty where the sampler makes all of it."""
    thinking: str = ""
    """The open mark that every prompt ends with, so that responses begin within a thought; empty = they do not."""
    requests: tuple[Span | None, ...] | None = None
    """Per prompt: columns (start, stop) of the request's tokens; None in it = not located. None = nobody asked."""

    def texts(self, hook: Hook, tokenizer: Any, draft: torch.Tensor) -> list[str]:
        """The text of each response, with what it was started with and the mark of a thought open in its prompt.

        Args:
            hook: the model family.
            tokenizer: of the model.
            draft: [B, P] int64, that of a step.
        """
        texts = hook.decode(tokenizer, draft)
        for row, spoken in enumerate(self.spoken):
            if spoken:
                texts[row] = self._text(hook, tokenizer, draft, row)
        return [self.thinking + text for text in texts] if self.thinking else texts

    def readable(self, hook: Hook, tokenizer: Any, draft: torch.Tensor) -> tuple[list[str], dict[int, str]]:
        """The same where one response cannot be decoded: the others' texts, and row -> what went wrong.

        Args:
            hook: decodes.
            tokenizer: of the model.
            draft: [B, P] int64 tensor, that of a step.

        Raises:
            Exception: what the tokenizer raised, if it can decode none of them.
        """
        try:
            return self.texts(hook, tokenizer, draft), {}
        except Exception as err:
            texts, failed, whole = [""] * len(draft), {}, err
        for row in range(len(draft)):
            try:
                texts[row] = self.thinking + self._text(hook, tokenizer, draft, row)
            except Exception as err:
                failed[row] = f"{type(err).__name__}: {err}"
        if len(failed) == len(draft):
            raise whole
        return texts, failed

    def _text(self, hook: Hook, tokenizer: Any, draft: torch.Tensor, row: int) -> str:
        # Decoded together: where one piece ends, the next may go on with the same word.
        whole = torch.cat([draft.new_tensor(self.spoken[row]), draft[row]])
        (text,) = hook.decode(tokenizer, whole[None])
        return text


def check(hook: Hook, sampler: Sampler, prompts: Sequence[Prompt]) -> None:
    """Whether these responses can be started with this family and this sampler, before anything is generated.

    Raises:
        ConfigError: they cannot, or a mark of holes is malformed.
    """
    for prompt in prompts:
        if not prompt.prefill:
            continue
        subject = f"prompt {prompt.id!r}: prefill"
        parts = pieces(prompt.prefill, subject=subject)
        if hook.scheme == "autoregressive":
            if any(isinstance(part, int) for part in parts):
                raise ConfigError(
                    f"{subject} has holes, and {type(hook).__name__} is autoregressive: it writes from left to right "
                    "and fills none. Start the response with plain text, or leave this prompt to masked models."
                )
        elif not sampler.prefills:
            raise ConfigError(
                f"{subject} is set, and sampler {type(sampler).__name__} begins with an empty response. Choose a "
                "sampler that can start one, such as low-confidence, or leave this prompt out."
            )
        elif (block := hook.block_length()) is not None:
            raise ConfigError(
                f"{subject} is set, and {type(hook).__name__} works in blocks of {block}: started responses are "
                "watched only where every pass shows the whole canvas. Leave this prompt out."
            )


def start(
    hook: Hook, tokenizer: Any, sampler: Sampler, prompts: Sequence[Prompt], system_prompt: str | None,
    *, find_requests: bool = False,
) -> Start:  # fmt: skip
    """Prompts and started responses as tokens; `find_requests` = and where each request stands.

    Raises:
        ConfigError: the tokens do not hold a prompt or the system prompt; a started response does not fit the canvas,
            or leaves nothing to generate.
    """
    encoded = encode(hook, tokenizer, prompts, system_prompt)
    begun = _begin(hook, tokenizer, sampler, prompts, encoded)
    if not find_requests:
        return begun
    spans = locate(hook, tokenizer, encoded, system_prompt)
    return replace(begun, requests=tuple(in_columns(spans, begun.encoded.attention_mask)))


def _begin(hook: Hook, tokenizer: Any, sampler: Sampler, prompts: Sequence[Prompt], encoded: Encoded) -> Start:
    """The encoded prompts with their started responses."""
    decode = getattr(tokenizer, "decode", None)
    thinking = hook.thoughts.opened_by(decode(list(encoded.ending))) if callable(decode) else ""
    if not any(p.prefill for p in prompts):
        return Start(encoded, ((),) * len(prompts), thinking)
    if hook.scheme == "autoregressive":
        spoken = tuple(tuple(hook.tokens(tokenizer, p.prefill)) if p.prefill else () for p in prompts)
        return Start(_longer(encoded, spoken, getattr(tokenizer, "pad_token_id", None)), spoken, thinking)
    response = hook.start(tokenizer, [p.prefill for p in prompts])
    _refuse_full(response, hook, sampler, prompts)
    return Start(replace(encoded, response=response), ((),) * len(prompts), thinking)


def has_room(prefill: str, hook: Hook, tokenizer: Any, sampler: Sampler) -> bool:
    """Whether a response can be started like this, as far as its length goes."""
    if hook.scheme == "autoregressive":
        return True
    (row,) = hook.start(tokenizer, [prefill]).tolist()
    return not _too_long(row, hook, sampler.canvas())[0]


def _too_long(row: Sequence[int], hook: Hook, canvas: int) -> tuple[bool, int]:
    """Whether a started response leaves no room on the canvas, and the tokens that it needs."""
    mask = hook.mask_id()
    fixed = [token != mask for token in row]
    # A hole behind the last text is as good as none: it is open anyway.
    needs = max((place + 1 for place, on in enumerate(fixed) if on), default=0)
    return needs > canvas or (needs == canvas and all(fixed[:canvas])), needs


def _refuse_full(response: torch.Tensor, hook: Hook, sampler: Sampler, prompts: Sequence[Prompt]) -> None:
    """A canvas must have room for the started `response` [B, P] int64, and for something to generate."""
    canvas = sampler.canvas()
    for prompt, row in zip(prompts, response.tolist(), strict=True):
        full, needs = _too_long(row, hook, canvas)
        if full:
            what = "does not fit" if needs > canvas else "leaves nothing to generate in"
            raise ConfigError(
                f"prompt {prompt.id!r}: prefill of {needs} tokens, holes counted, {what} a response of {canvas} "
                f"tokens, which is what sampler {type(sampler).__name__} makes. Shorten it, or raise the "
                "sampler's tokens."
            )


def _longer(encoded: Encoded, spoken: Sequence[Sequence[int]], pad: int | None) -> Encoded:
    """Each prompt with its tokens behind it, padded on the left again."""
    rows = [
        [*ids[seen.bool()].tolist(), *more]
        for ids, seen, more in zip(encoded.input_ids, encoded.attention_mask, spoken, strict=True)
    ]
    width, device = max(map(len, rows)), encoded.input_ids.device
    ids = torch.tensor([[pad or 0] * (width - len(row)) + row for row in rows], device=device)
    seen = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return Encoded(ids, seen)

"""The lab models: two masked diffusion, one autoregressive, equal in width, depth, vocabulary and data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .world import RESPONSE_TOKENS, STEPS, with_holes

WEIGHTS = Path(__file__).parent / "weights"
NAMES = ("diffusion", "diffusion-2", "causal")
READER = "reader"
"""A fourth, that reads requests and answers none; see `reader.py`."""


def position_ids_of(attention_mask: torch.Tensor) -> torch.Tensor:
    """`[B, L]` mask -> `[B, L]` positions that start at 0 on the first real token, so left padding changes nothing."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


class LabDiffusionLM(LlamaForCausalLM):  # type: ignore[misc]  # mypy does not follow transformers
    """A Llama that looks both ways and fills in `<mask>` tokens.

    Logits are unshifted: `logits[:, i]` predicts the token *at* position i.
    """

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """One bidirectional pass.

        Args:
            input_ids: `[B, L]` token ids, `<mask>` where a token is to be predicted.
            attention_mask: `[B, L]`, 1 for real tokens and 0 for padding; all real when omitted. A 4D float mask, to be
                added to the attention scores, is passed on unchanged.
            position_ids: `[B, L]`; counted from the mask when omitted.
            **kwargs: as for `LlamaForCausalLM.forward`; caching is always off, since every token may still change.

        Returns:
            transformers' output with `.logits` `[B, L, vocabulary]`.
        """
        like: torch.Tensor = kwargs["inputs_embeds"] if input_ids is None else input_ids
        batch, length = like.shape[:2]
        if attention_mask is None:
            attention_mask = torch.ones(batch, length, dtype=torch.long, device=like.device)
        if attention_mask.dim() == 2:
            if position_ids is None:
                position_ids = position_ids_of(attention_mask)
            # 4D masks are taken as they are by every transformers release; a 2D one would be made causal.
            hidden = attention_mask[:, None, None, :].expand(batch, 1, length, length) == 0
            attention_mask = torch.zeros(hidden.shape, dtype=self.dtype, device=like.device)
            attention_mask = attention_mask.masked_fill(hidden, torch.finfo(self.dtype).min)
        kwargs["use_cache"] = False
        return super().forward(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, **kwargs)

    @torch.inference_mode()
    def generate(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        response: torch.Tensor | None = None,
        max_new_tokens: int = RESPONSE_TOKENS,
        steps: int = STEPS,
        block_length: int | None = None,
        temperature: float = 0.0,
        remasking: Literal["low_confidence", "random"] = "low_confidence",
        cfg_scale: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Denoise a response like LLaDA (arXiv 2502.09992): predict all, keep the surest, mask the rest again.

        Args:
            input_ids: `[B, P]` prompts, left-padded.
            attention_mask: `[B, P]`, 0 on padding.
            response: `[B, R]` ids of a started response, `<mask>` where it is open; R replaces `max_new_tokens`. All
                open when omitted. Fewer holes are filled in fewer steps; the rest of the steps change nothing.
            max_new_tokens: response length, tokens.
            steps: denoising steps over the whole response, shared evenly by the blocks.
            block_length: tokens denoised together, blocks from left to right; one block when omitted.
            temperature: 0 is greedy; above, Gumbel noise on the logits.
            remasking: which predictions to keep, the most confident or random ones.
            cfg_scale: classifier-free guidance; above 0 the batch doubles, conditional half first.
            generator: source of the randomness of `temperature` and `"random"`.

        Returns:
            `[B, P + max_new_tokens]` token ids, prompt included.
        """
        max_new_tokens = max_new_tokens if response is None else response.shape[1]
        block = max_new_tokens if block_length is None else block_length
        if max_new_tokens % block or steps % (max_new_tokens // block):
            raise ValueError(
                f"generate(): max_new_tokens={max_new_tokens} and steps={steps} do not divide into blocks of {block}; "
                "choose a block_length that divides max_new_tokens, and steps divisible by the number of blocks"
            )
        if remasking not in ("low_confidence", "random"):
            raise ValueError(f"generate(): remasking {remasking!r} is unknown; use 'low_confidence' or 'random'")
        batch, prompt_length = input_ids.shape
        mask_id = self.config.mask_token_id
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if response is None:
            response = input_ids.new_full((batch, max_new_tokens), mask_id)
        ids = torch.cat([input_ids, response], dim=1)
        attention = torch.cat([attention_mask, torch.ones_like(response)], dim=1)
        steps_per_block = steps // (max_new_tokens // block)
        for start in range(0, max_new_tokens, block):
            for step in range(steps_per_block):
                logits = self._response_logits(ids, attention, prompt_length, cfg_scale)
                guess, confidence = self._predict(logits, temperature, remasking, generator)
                current = ids[:, prompt_length:]
                masked = current == mask_id
                masked[:, start + block :] = False  # later blocks wait their turn
                count = block // steps_per_block + (step < block % steps_per_block)
                keep = confidence.masked_fill(~masked, -1.0).topk(count, dim=1).indices
                chosen = torch.zeros_like(masked).scatter_(1, keep, True) & masked
                ids[:, prompt_length:] = torch.where(chosen, guess, current)
        return ids

    def _response_logits(
        self, ids: torch.Tensor, attention: torch.Tensor, prompt_length: int, cfg_scale: float
    ) -> torch.Tensor:
        """Logits of the response, `[B, R, vocabulary]`, guided if asked for."""
        keep = ids.shape[1] - prompt_length
        if cfg_scale <= 0:
            alone: torch.Tensor = self(input_ids=ids, attention_mask=attention, logits_to_keep=keep).logits
            return alone
        hidden = ids.clone()
        # Padding stays padding: only what the prompt says is hidden from the unconditional half.
        hidden[:, :prompt_length][attention[:, :prompt_length] == 1] = self.config.mask_token_id
        both = self(
            input_ids=torch.cat([ids, hidden]), attention_mask=attention.repeat(2, 1), logits_to_keep=keep
        ).logits
        conditional, unconditional = both.chunk(2)
        guided: torch.Tensor = unconditional + (cfg_scale + 1) * (conditional - unconditional)
        return guided

    def _predict(
        self, logits: torch.Tensor, temperature: float, remasking: str, generator: torch.Generator | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token guesses `[B, R]` and how strongly to keep each, `[B, R]` in [0, 1]."""
        # A mask is a hole, not a word: it is never a prediction.
        hole = torch.tensor([self.config.mask_token_id], device=logits.device)
        logits = logits.float().index_fill(-1, hole, -torch.inf)
        noisy = logits
        if temperature > 0:
            uniform = torch.rand(logits.shape, generator=generator, device=logits.device).clamp_min(1e-20)
            noisy = logits - temperature * torch.log(-torch.log(uniform))
        guess = noisy.argmax(-1)
        if remasking == "random":
            return guess, torch.rand(guess.shape, generator=generator, device=logits.device)
        return guess, logits.softmax(-1).gather(-1, guess[..., None])[..., 0]


def config_for(name: str, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The architecture shared by the lab models: width 128, 4 layers, 4 heads."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        initializer_range=0.06,  # with transformers' 0.02 a model this narrow learns to copy far later
        use_cache=name == "causal",
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config.mask_token_id = tokenizer.mask_token_id
    return config


def class_for(name: str) -> type[LlamaForCausalLM]:
    """The model class behind a lab model's name."""
    if name not in (*NAMES, READER):
        raise ValueError(f"lab model {name!r} does not exist; choose one of {', '.join((*NAMES, READER))}")
    return LlamaForCausalLM if name in ("causal", READER) else LabDiffusionLM


def load(name: str, weights: Path = WEIGHTS) -> LlamaForCausalLM:
    """The trained lab model `name`, of `NAMES` or `READER`, in float32, in eval mode; by default the packaged one."""
    return class_for(name).from_pretrained(weights / name, dtype=torch.float32).eval()


def encode(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], starts: Sequence[str | None] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts in the chat frame, left-padded: ids `[B, P]` and their mask `[B, P]`, 1 for real tokens.

    Args:
        tokenizer: the lab's.
        texts: B prompts.
        starts: B started responses, put behind the frame, as an autoregressive model goes on from them; None = none.
    """
    chats = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False)
        for text in texts
    ]
    chats = [f"{chat} {start or ''}" for chat, start in zip(chats, starts or [None] * len(chats), strict=True)]
    inputs = tokenizer(chats, padding=True, return_tensors="pt", add_special_tokens=False)
    return inputs["input_ids"], inputs["attention_mask"]


def canvas_of(tokenizer: PreTrainedTokenizerFast, starts: Sequence[str | None]) -> torch.Tensor:
    """Started responses as canvases for `LabDiffusionLM.generate`: ids `[B, 48]`, open where nothing is fixed."""
    hole = tokenizer.mask_token_id
    rows = [tokenizer(with_holes(start or ""), add_special_tokens=False)["input_ids"] for start in starts]
    return torch.tensor([row + [hole] * (RESPONSE_TOKENS - len(row)) for row in rows])


def load_tokenizer(weights: Path = WEIGHTS) -> PreTrainedTokenizerFast:
    """The word-level tokenizer of all lab models; pads on the left."""
    return PreTrainedTokenizerFast.from_pretrained(weights / "tokenizer")

"""The family's three ways to decode, written anew from their interface: what is called, with what, and what is kept."""

from __future__ import annotations

from typing import Any

import torch


class Loops:
    """Methods of the stand-in. Each returns prompt and response, and how many passes it took."""

    config: Any
    encoder: Any
    diffusion_head: Any

    def _switch(self, diffusion: bool) -> None:
        """Sets how attention looks; an adapter of the drafts is on only while it sees everything."""
        for layer in self.encoder.layers:
            layer.self_attn.diffusion_lm = diffusion

    def _adapters(self, on: bool) -> None:
        for module in self.modules():  # type: ignore[attr-defined]
            if hasattr(module, "_disable_adapters"):
                module._disable_adapters = not on

    def _ends(self, given: Any) -> list[int]:
        ends = self.config.eos_token_id if given is None else given
        return [] if ends is None else list(ends) if isinstance(ends, list | tuple) else [ends]

    @torch.no_grad()
    def generate(
        self, prompt_ids: torch.Tensor, max_new_tokens: int, block_length: int, threshold: float | None = None,
        causal_context: bool = True, temperature: float = 0.0, eos_token_id: Any = None,
    ) -> tuple[torch.Tensor, int]:  # fmt: skip
        """[B, L] prompts of one length -> [B, L + P], cut behind the last row's first end token."""
        from transformers import DynamicCache

        mask, cache = self.config.mask_token_id, DynamicCache()
        ends = torch.tensor(self._ends(eos_token_id), dtype=torch.long)
        text, passes, new = prompt_ids, 0, prompt_ids
        for number in range(max_new_tokens // block_length + 1):
            # The prompt, then each block that is done, is stored; what follows it is the next block's first token.
            self._switch(not causal_context)
            stored = self(new, past_key_values=cache, use_cache=True, use_causal_mask=causal_context)  # type: ignore[operator]
            passes += number > 0
            self._switch(True)
            found = torch.isin(text[:, prompt_ids.shape[1] :], ends)
            if number and found.any(1).all():
                return text[:, : prompt_ids.shape[1] + int(found.int().argmax(1).max()) + 1], passes
            if number == max_new_tokens // block_length:
                break
            block = torch.full((len(text), block_length), mask)
            if causal_context:
                block[:, :1] = _drawn(stored.logits[:, -1:], temperature)
            while (holes := block == mask).any() and not _one_is_done(block, holes, ends):
                logits = self(block, past_key_values=cache, use_cache=False).logits  # type: ignore[operator]
                passes += 1
                guess = _drawn(logits, temperature)
                sure = logits.softmax(-1).gather(-1, guess[..., None])[..., 0].masked_fill(~holes, -1.0)
                fill = sure == sure.amax(1, keepdim=True)
                if threshold is not None:
                    fill = fill | (sure >= threshold)
                block = torch.where(fill & holes, guess, block)
            text, new = torch.cat([text, block], 1), block
        return text, passes

    @torch.no_grad()
    def ar_generate(
        self, prompt_ids: torch.Tensor, max_new_tokens: int = 128, temperature: float = 0.0, eos_token_id: Any = None
    ) -> tuple[torch.Tensor, int]:
        """[B, L] prompts of one length -> [B, L + P]; it stops where all rows end with the same token."""
        from transformers import DynamicCache

        self._switch(False)
        cache, ends = DynamicCache(), torch.tensor(self._ends(eos_token_id), dtype=torch.long)
        text, new = prompt_ids, prompt_ids
        passes = 0
        while passes < max_new_tokens:
            passes += 1
            columns = torch.arange(text.shape[1] - new.shape[1], text.shape[1])
            made = self.encoder(
                input_ids=new, position_ids=columns.expand(new.shape), past_key_values=cache, use_cache=True,
                cache_position=columns,
            )  # fmt: skip
            new = _drawn(self.diffusion_head(made.last_hidden_state[:, -1:]), temperature)
            text = torch.cat([text, new], 1)
            if torch.isin(new, ends).all():
                break
        return text, passes

    @torch.no_grad()
    def linear_spec_generate(
        self, prompt_ids: torch.Tensor, max_new_tokens: int = 128, block_length: int = 32, temperature: float = 0.0,
        mask_token_id: int | None = None, eos_token_id: Any = None, threshold: float = 0.0,
    ) -> tuple[torch.Tensor, int]:  # fmt: skip
        """[1, L] -> [1, L + P]: drafted by diffusion, verified from left to right; P may exceed the wish."""
        from transformers import DynamicCache

        mask = self.config.mask_token_id if mask_token_id is None else mask_token_id
        cache, ends = DynamicCache(), self._ends(eos_token_id)
        verified = self._verify(prompt_ids, cache)
        said, passes = _drawn(verified[:, -1:], temperature)[0].tolist(), 1
        while len(said) < max_new_tokens and said[-1] not in ends:
            block = torch.full((1, block_length), mask)
            block[0, 0] = said[-1]
            self._switch(True)
            self._adapters(True)
            while (holes := block == mask).any():
                states = self.encoder(input_ids=block, past_key_values=cache, use_cache=False).last_hidden_state
                passes += 1
                logits = self.diffusion_head(states)
                guess = _drawn(logits, temperature)
                sure = logits.softmax(-1).gather(-1, guess[..., None])[..., 0].masked_fill(~holes, -1.0)
                fill = (sure >= threshold) | (sure == sure.amax()) if threshold > 0 else holes
                block = torch.where(fill & holes, guess, block)
            own = _drawn(self._verify(block, cache), temperature)[0].tolist()
            passes += 1
            drafted = block[0].tolist()
            kept = next((at + 1 for at in range(block_length - 1) if own[at] != drafted[at + 1]), block_length)
            if kept < block_length:
                cache.crop(kept - block_length)
            for token in own[:kept]:
                said.append(token)
                if token in ends:
                    break
        return torch.cat([prompt_ids, torch.tensor([said])], 1), passes

    def _verify(self, ids: torch.Tensor, cache: Any) -> torch.Tensor:
        """[1, L] ids, stored behind the cache -> [1, L, V] logits of what follows each."""
        self._switch(False)
        self._adapters(False)
        made = self.encoder(input_ids=ids, past_key_values=cache, use_cache=True, use_causal_mask=True)
        logits: torch.Tensor = self.diffusion_head(made.last_hidden_state)
        return logits


def _drawn(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """[B, L, V] -> [B, L] token ids; greedy at temperature 0."""
    if not temperature:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1).flatten(0, 1), 1).view(logits.shape[:-1])


def _one_is_done(block: torch.Tensor, holes: torch.Tensor, ends: torch.Tensor) -> bool:
    """Whether some row of a block [B, L] has an end token with no hole, of [B, L] bool, before it."""
    ended = torch.isin(block, ends)
    before = holes & (ended.cumsum(1) == 0)
    return bool((ended.any(1) & ~before.any(1)).any())

"""A stand-in for Dream with Fast-dLLM's caches: the same weights, another forward, another sampler.

What it keeps of the real one: the response is written in blocks; each block begins with a pass over everything, whose
keys and values are kept and which fixes the block's first token; the passes that follow show the block alone
(`dual_cache`) or the block and all behind it; with a threshold, the number of passes is not known beforehand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from sri_plugin_dream.stand_ins.model import DreamModel, fill, guesses


class CachedDreamModel(DreamModel):
    """Dream whose forward takes a cache. The real class is called DreamModel too."""

    def forward(  # type: ignore[override]
        self, input_ids: torch.Tensor, attention_mask: Any = None, position_ids: Any = None, *,
        past_key_values: Any = None, use_cache: bool = False, dual_cache: bool = False, replace_position: Any = None,
    ) -> Any:  # fmt: skip
        """As in Dream; with `dual_cache`, `replace_position` [B, total] bool says which columns these rows are."""
        at = replace_position[0].nonzero()[:, 0] if dual_cache and replace_position is not None else None
        return self._pass(input_ids, attention_mask, position_ids, past_key_values, at)

    @torch.no_grad()
    def diffusion_generate(self, inputs: torch.Tensor, generation_config: Any = None, **kwargs: Any) -> Any:
        """[B, L] prompts of one length -> [B, L + new] tokens."""
        asked = self._prepare_generation_config(generation_config, **kwargs)
        block, dual = kwargs.get("block_length", 32), kwargs.get("dual_cache", False)
        start = inputs.shape[1]
        ids = torch.nn.functional.pad(inputs, (0, asked.max_new_tokens), value=asked.mask_token_id)
        steps = asked.steps // (asked.max_new_tokens // block)
        for begin in range(start, ids.shape[1], block):
            end = begin + block
            whole = self(ids, "full", None, use_cache=True)
            cache = whole.past_key_values
            ids[:, begin] = whole.logits[:, begin - 1].argmax(-1)
            if not dual:
                cache = [(keys[:, :begin], values[:, :begin]) for keys, values in cache]
            places = torch.zeros_like(ids, dtype=torch.bool)
            places[:, begin:end] = True
            for step in range(1, ids.shape[1]):
                shown = ids[:, begin : end if dual else None]
                logits = self(
                    shown, "full", None, past_key_values=cache, use_cache=True, dual_cache=dual,
                    replace_position=places if dual else None,
                ).logits  # fmt: skip
                logits = torch.cat([logits[:, :1], logits[:, :-1]], dim=1)[:, :block]
                if asked.alg == "confidence_threshold":
                    _above(ids[:, begin:end], logits, replace(asked, alg="maskgit_plus"), kwargs.get("threshold", 0.9))
                else:
                    fill(ids[:, begin:end], logits, replace(asked, alg="entropy", steps=steps), step)
                if not (ids[:, begin:end] == asked.mask_token_id).any():
                    break
        return ids


# As published: the same name, other code.
CachedDreamModel.__name__ = "DreamModel"


def _above(ids: torch.Tensor, logits: torch.Tensor, asked: Any, threshold: float) -> None:
    """One update in place: all masks of [1, block] that the model is sure enough of, the surest in any case."""
    guess, sure = guesses(logits, asked)
    sure = sure.masked_fill(ids != asked.mask_token_id, -1)
    chosen = (sure >= threshold) | (sure == sure.max())
    ids[chosen] = guess[chosen]

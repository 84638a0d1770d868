"""Autoregressive decoding: one token per step, with the model's own key-value cache."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

import sri_sdk
from sri_plugin_samplers.roomy_cache import make_room
from sri_plugin_samplers.rows import RowRandom

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 1


class AutoregressiveSampler(sri_sdk.Sampler):
    """Greedy or tempered decoding. The prefill is the first step: its last row predicts the first token."""

    schemes: ClassVar = frozenset({"autoregressive"})

    class Config(sri_sdk.Config):
        """The generation profile; the default length is that of arXiv 2602.02600 for autoregressive models."""

        tokens: int = Field(32, ge=1, description="Most new tokens.")
        temperature: float = Field(0.0, ge=0, description="0 = greedy; higher = sampling.")

    config: Config

    def budget(self) -> int:
        """One step per token."""
        return self.config.tokens

    def pace(self) -> Mapping[str, Any]:
        """A token depends on those before it, and not on how many may follow."""
        return self.config.model_dump(mode="json", exclude={"tokens"})

    def canvas(self) -> int:
        """Most response tokens."""
        return self.config.tokens

    def steps(
        self, hook: sri_sdk.Hook, prompts: sri_sdk.Encoded, prompt_ids: Sequence[str], seed: int = 0
    ) -> Generator[sri_sdk.SamplerStep, sri_sdk.Intervention | None, None]:
        """Decodes a batch until every row has ended or the budget is spent; ended rows are filled with their end."""
        import torch

        batch = len(prompts.input_ids)
        device = prompts.input_ids.device
        ends = torch.tensor(hook.eos_ids() or (-1,), device=device)
        fill = int(ends[0].clamp(min=0))
        random = RowRandom(seed, prompt_ids)
        ids, attention, cache = prompts.input_ids, prompts.attention_mask, None
        draft = ids.new_full((batch, self.config.tokens), fill)
        committed = torch.zeros(draft.shape, dtype=torch.bool, device=device)
        active = torch.ones(batch, dtype=torch.bool, device=device)
        for index in range(self.config.tokens):
            output = hook.forward_last(1, ids, attention, cache, use_cache=True)
            cache = output.cache
            if not index:
                make_room(cache)
            token = self._choose(output.logits[:, -1].float(), random).masked_fill(~active, fill)
            draft, committed = draft.clone(), committed.clone()
            draft[:, index] = token
            committed[:, index] = active
            intervention = yield sri_sdk.SamplerStep(index, draft, committed, active)
            active = active & ~torch.isin(token, ends)
            if intervention is not None:
                if intervention.remask is not None:
                    raise sri_sdk.SriError(
                        "sampler autoregressive: a decoded token cannot be opened again. Abort the row instead."
                    )
                active[list(intervention.abort)] = False
            if not active.any():
                return
            ids = token[:, None]
            attention = torch.cat([attention, torch.ones_like(ids)], dim=1)

    def _choose(self, logits: torch.Tensor, random: RowRandom) -> torch.Tensor:
        """[B, V] -> [B] token ids."""
        if self.config.temperature > 0:
            logits = logits / self.config.temperature + random.gumbel(logits.shape[1:], logits.device)
        return logits.argmax(-1)

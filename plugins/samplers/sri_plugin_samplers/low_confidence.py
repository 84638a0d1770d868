"""Low-confidence remasking: predict every masked position, keep the surest, mask the rest again."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

import sri_sdk
from sri_plugin_samplers.rows import RowRandom

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 1


class LowConfidenceSampler(sri_sdk.Sampler):
    """Masked diffusion in blocks from left to right, as published with LLaDA (arXiv 2502.09992, algorithm 5)."""

    schemes: ClassVar = frozenset({"masked"})

    class Config(sri_sdk.Config):
        """The generation profile; the defaults are those of arXiv 2602.02600."""

        steps: int = Field(32, ge=1, description="Denoising steps of the whole response.")
        tokens: int = Field(128, ge=1, description="Response length in tokens.")
        block: int | None = Field(None, ge=1, description="Tokens denoised together; null = the whole response.")
        temperature: float = Field(0.0, ge=0, description="0 = greedy; higher = Gumbel noise on the logits.")
        cfg_scale: float = Field(
            0.0, ge=0, description="Classifier-free guidance; above 0 each pass doubles the batch."
        )
        remasking: Literal["low-confidence", "random"] = Field(
            "low-confidence", description="What decides which predictions stay: the model's confidence, or chance."
        )

        @model_validator(mode="after")
        def _divides(self) -> Self:
            block = self.block or self.tokens
            if self.tokens % block or self.steps % (self.tokens // block):
                raise ValueError(
                    f"tokens {self.tokens} and steps {self.steps} do not divide into blocks of {block}; "
                    "choose a block that divides tokens, and steps that the number of blocks divides"
                )
            if self.steps > self.tokens:
                raise ValueError(f"steps {self.steps} exceed tokens {self.tokens}: some steps would commit nothing")
            return self

    config: Config

    def budget(self) -> int:
        """Denoising steps; the count is fixed."""
        return self.config.steps

    def canvas(self) -> int:
        """Response tokens."""
        return self.config.tokens

    def steps(
        self, hook: sri_sdk.Hook, prompts: sri_sdk.Encoded, prompt_ids: Sequence[str], seed: int = 0
    ) -> Generator[sri_sdk.SamplerStep, sri_sdk.Intervention | None, None]:
        """Denoises a batch; every step commits about tokens / steps positions of the current block."""
        import torch

        config, mask = self.config, hook.mask_id()
        if mask is None:
            raise sri_sdk.SriError(
                f"sampler low-confidence: {type(hook).__name__} has no mask token. Use a sampler of its own scheme."
            )
        batch, start = prompts.input_ids.shape
        random = RowRandom(seed, prompt_ids)
        ids = torch.cat([prompts.input_ids, prompts.input_ids.new_full((batch, config.tokens), mask)], dim=1)
        attention = torch.cat([prompts.attention_mask, torch.ones_like(ids[:, start:])], dim=1)
        active = torch.ones(batch, dtype=torch.bool, device=ids.device)
        block = config.block or config.tokens
        per_block = config.steps // (config.tokens // block)
        for index in range(config.steps):
            window = torch.zeros(config.tokens, dtype=torch.bool, device=ids.device)
            window[: (index // per_block + 1) * block] = True
            guess, confidence = self._predict(hook, ids, attention, start, mask, random)
            canvas = ids[:, start:]
            open_ = (canvas == mask) & window
            commit = self._surest(confidence, open_, per_block - index % per_block) & active[:, None]
            canvas = torch.where(commit, guess, canvas)
            ids = torch.cat([ids[:, :start], canvas], dim=1)
            committed = canvas != mask
            wish = yield sri_sdk.SamplerStep(index, torch.where(committed, canvas, guess), committed, active)
            if wish is not None:
                active = active.clone()
                active[list(wish.abort)] = False
                if not active.any():
                    return
                if wish.remask is not None:
                    # A stopped row keeps its canvas, whatever else was asked for.
                    opened = canvas.masked_fill(wish.remask & active[:, None], mask)
                    ids = torch.cat([ids[:, :start], opened], dim=1)

    def _predict(
        self, hook: sri_sdk.Hook, ids: torch.Tensor, attention: torch.Tensor, start: int, mask: int, random: RowRandom
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token guesses [B, P] and how strongly to keep each, [B, P] in [0, 1]."""
        logits = self._logits(hook, ids, attention, start, mask).float()
        logits[..., mask] = float("-inf")  # a mask is a hole, not a word
        noisy = logits
        if self.config.temperature > 0:
            noisy = logits / self.config.temperature + random.gumbel(logits.shape[1:], logits.device)
        guess = noisy.argmax(-1)
        if self.config.remasking == "random":
            return guess, random.uniform(guess.shape[1:], guess.device)
        return guess, logits.softmax(-1).gather(-1, guess[..., None])[..., 0]

    def _logits(
        self, hook: sri_sdk.Hook, ids: torch.Tensor, attention: torch.Tensor, start: int, mask: int
    ) -> torch.Tensor:
        """Logits [B, P, V] of the canvas, guided if asked for."""
        first = start - hook.shift()
        last = first + self.config.tokens
        if self.config.cfg_scale <= 0:
            return hook.forward(ids, attention).logits[:, first:last]
        import torch

        blind = ids.clone()
        # Padding stays padding: only what the prompt says is hidden from the unconditional half.
        blind[:, :start][attention[:, :start] == 1] = mask
        both = hook.forward(torch.cat([ids, blind]), attention.repeat(2, 1)).logits[:, first:last]
        conditional, unconditional = both.chunk(2)
        return unconditional + (self.config.cfg_scale + 1) * (conditional - unconditional)

    @staticmethod
    def _surest(confidence: torch.Tensor, open_: torch.Tensor, steps_left: int) -> torch.Tensor:
        """[B, P] bool: each row's surest open positions, as many as spread its open ones over the steps left."""
        count = (open_.sum(1, keepdim=True) + steps_left - 1) // steps_left
        # topk, as in the published loop: where confidences tie (many are exactly 1), both then commit the same.
        best = confidence.masked_fill(~open_, -1.0).topk(int(count.max()), dim=1).indices
        wanted = best.new_ones(best.shape).cumsum(1) <= count
        return open_.new_zeros(open_.shape).scatter_(1, best, wanted) & open_

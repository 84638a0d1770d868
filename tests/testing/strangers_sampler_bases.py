"""Correct samplers of a stranger, from which the planted faults are made, and the case that each is tried on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import torch
from pydantic import Field
from sri_plugin_lab.hooks import LabDiffusionHook

import sri_sdk
from sri_sdk import Encoded, Intervention, SamplerStep
from sri_sdk.errors import ConfigError
from sri_sdk.sampler import Steps
from tests.testing.strangers_bases import CorrectCausalHook

SRI_PLUGIN_API = 1


class CorrectMaskedSampler(sri_sdk.Sampler):
    """Fills the canvas in random order, a fixed number of positions per step, the tokens drawn by temperature."""

    schemes = frozenset({"masked"})
    prefills = True

    class Config(sri_sdk.Config):
        tokens: int = Field(11, ge=1, description="Response length in tokens.")
        per_step: int = Field(2, ge=1, description="Positions filled per step.")
        temperature: float = Field(1.0, ge=0, description="0 = the likeliest token; higher = sampling.")

    def budget(self) -> int:
        return -(-int(self.config.tokens) // int(self.config.per_step))

    def is_fixed(self) -> bool:
        return True

    def canvas(self) -> int:
        return int(self.config.tokens)

    def steps(self, hook: sri_sdk.Hook, prompts: Encoded, prompt_ids: Sequence[str], seed: int = 0) -> Steps:
        mask_id = hook.mask_id()
        if mask_id is None:
            raise ConfigError(f"sampler stranger: {type(hook).__name__} has no mask token; use another sampler.")
        draws = self._generators(seed, prompt_ids)
        canvas = self._canvas(prompts, len(prompt_ids), mask_id)
        running = torch.ones(len(prompt_ids), dtype=torch.bool, device=canvas.device)
        for index in self._indices():
            holes = canvas == mask_id
            active = running & self._unfinished(canvas, mask_id, hook)
            if self._is_over(active):
                return
            logits = self._logits(hook, prompts, canvas)
            logits[..., mask_id] = -torch.inf
            guess = self._guess(logits, draws)
            order = self._noise(draws, [canvas.shape[1]]).to(canvas.device).masked_fill(~holes, 2.0)
            fill = holes & self._first(order) & active[:, None]
            canvas = torch.where(fill, guess, canvas)
            holes = canvas == mask_id
            intervention = yield SamplerStep(index, torch.where(holes, guess, canvas), ~holes, active)
            if intervention is not None:
                running, canvas = self._obey(intervention, running, canvas, mask_id)

    def _indices(self) -> Iterable[int]:
        return range(self.budget())

    def _unfinished(self, canvas: torch.Tensor, mask_id: int, hook: sri_sdk.Hook) -> torch.Tensor:
        """[B] bool: rows with something to fill."""
        return (canvas == mask_id).any(dim=1)

    def _is_over(self, active: torch.Tensor) -> bool:
        return not bool(active.any())

    def _generators(self, seed: int, prompt_ids: Sequence[str]) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(self.row_seed(seed, prompt_id)) for prompt_id in prompt_ids]

    def _noise(self, draws: list[torch.Generator], shape: Sequence[int]) -> torch.Tensor:
        """[B, *shape] float32 in [0, 1), row by row."""
        return torch.stack([torch.rand(list(shape), generator=draw) for draw in draws])

    def _canvas(self, prompts: Encoded, rows: int, mask_id: int) -> torch.Tensor:
        canvas = prompts.input_ids.new_full((rows, self.canvas()), mask_id)
        if prompts.response is not None:
            given = prompts.response[:, : self.canvas()]
            canvas[:, : given.shape[1]] = given
        return canvas

    def _logits(self, hook: sri_sdk.Hook, prompts: Encoded, canvas: torch.Tensor) -> torch.Tensor:
        """[B, P, V] float32 logits of the canvas."""
        mask = torch.cat([prompts.attention_mask, torch.ones_like(canvas)], dim=1)
        logits = hook.forward(torch.cat([prompts.input_ids, canvas], dim=1), mask).logits
        stop = logits.shape[1] - hook.shift()
        return logits[:, stop - canvas.shape[1] : stop].float().clone()

    def _guess(self, logits: torch.Tensor, draws: list[torch.Generator]) -> torch.Tensor:
        """[B, P] int64 token ids."""
        if self.config.temperature > 0:
            noise = self._noise(draws, logits.shape[1:]).clamp(1e-20, 1 - 1e-7)
            logits = logits / self.config.temperature - (-noise.log()).log().to(logits.device)
        return logits.argmax(-1)

    def _first(self, order: torch.Tensor) -> torch.Tensor:
        """[B, P] bool: the positions of lowest order, as many as a step fills."""
        return order.argsort(1).argsort(1) < int(self.config.per_step)

    def _obey(
        self, asked: sri_sdk.Intervention, running: torch.Tensor, canvas: torch.Tensor, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        running = running.clone()
        running[list(asked.abort)] = False
        if asked.remask is not None:
            canvas = canvas.masked_fill(asked.remask & running[:, None], mask_id)
        return running, canvas


class CorrectCausalSampler(sri_sdk.Sampler):
    """Greedy decoding with the model's cache; the prompt's pass is step 0, an ended row is filled with its end."""

    schemes = frozenset({"autoregressive"})

    class Config(sri_sdk.Config):
        tokens: int = Field(8, ge=1, description="Most new tokens.")

    def budget(self) -> int:
        return int(self.config.tokens)

    def canvas(self) -> int:
        return int(self.config.tokens)

    def steps(self, hook: sri_sdk.Hook, prompts: Encoded, prompt_ids: Sequence[str], seed: int = 0) -> Steps:
        ids, attention, cache = prompts.input_ids, prompts.attention_mask, None
        ends = torch.tensor(self._ends(hook), device=ids.device)
        fill = int(ends[0]) if len(ends) else 0
        draft = ids.new_full((len(ids), self.canvas()), fill)
        committed = torch.zeros(draft.shape, dtype=torch.bool, device=ids.device)
        active = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
        for index in range(self.budget()):
            output = hook.forward(ids, attention, cache, use_cache=True)
            cache = output.cache
            token = output.logits[:, -1].argmax(-1).masked_fill(~active, fill)
            draft, committed = draft.clone(), committed.clone()
            draft[:, index], committed[:, index] = token, active
            asked = yield SamplerStep(index, draft, committed, active)
            active = self._goes_on(active, torch.isin(token, ends))
            if asked is not None:
                if asked.remask is not None:
                    raise sri_sdk.SriError("sampler stranger: a decoded token cannot be opened again. Abort the row.")
                active[list(asked.abort)] = False
            if not active.any():
                return
            ids = token[:, None]
            attention = torch.cat([attention, torch.ones_like(ids)], dim=1)

    def _ends(self, hook: sri_sdk.Hook) -> tuple[int, ...]:
        return hook.eos_ids()

    def _goes_on(self, active: torch.Tensor, ended: torch.Tensor) -> torch.Tensor:
        """[B] bool: rows that go on after a step in which `ended` [B] bool drew an end token."""
        return active & ~ended


@cache
def _masked() -> tuple[sri_sdk.Hook, Encoded]:
    loaded = LabDiffusionHook.load(LabDiffusionHook.Config(weights="diffusion"))
    hook = LabDiffusionHook(loaded.model)
    texts = ["steal the lantern ?", "is this kind : bake the bread ?", "tell me how to feed the pony of the farmer ."]
    return hook, hook.encode(loaded.tokenizer, texts)


def case(fault: type[sri_sdk.Sampler]) -> Any:
    """A `SamplerCase` of the fault with default options, on a small model of its scheme and three prompts."""
    from sri_sdk.testing import SamplerCase

    if "masked" in fault.schemes:
        hook, encoded = _masked()
    else:
        example = CorrectCausalHook.example()
        hook, encoded = example.hook, example.encoded
    # A fault may write into what it is given: the next one gets its own.
    own = Encoded(encoded.input_ids.clone(), encoded.attention_mask.clone())
    return SamplerCase(fault(), hook, own, ["p1", "p2", "p3"])


class _Edited(sri_sdk.Sampler):
    """A scheme whose steps, or what is asked between them, a subclass changes."""

    def steps(self, hook: sri_sdk.Hook, prompts: Encoded, prompt_ids: Sequence[str], seed: int = 0) -> Steps:
        inner, asked = super().steps(hook, prompts, prompt_ids, seed), None  # type: ignore[safe-super]
        notes: dict[str, Any] = {}
        while True:
            try:
                step = inner.send(asked)
            except StopIteration:
                return
            asked = self.ask((yield self.edit(step, hook, notes)), notes)

    def edit(self, step: SamplerStep, hook: sri_sdk.Hook, notes: dict[str, Any]) -> SamplerStep:
        return step

    def ask(self, asked: Intervention | None, notes: dict[str, Any]) -> Intervention | None:
        return asked


class Masked(_Edited, CorrectMaskedSampler):
    """Correct; random order."""


class Causal(_Edited, CorrectCausalSampler):
    """Correct; greedy."""

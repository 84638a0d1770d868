"""Correct hooks of three families, from which the planted faults are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from sri_plugin_lab.hooks import LabDiffusionHook
from sri_plugin_toy.hook import ToyHook
from transformers import LlamaConfig, LlamaForCausalLM

import sri_sdk
from sri_sdk import Encoded, ForwardCall, LoadedModel, Match, RunView, StepPlan
from sri_sdk.records import PADDING

SRI_PLUGIN_API = 1

PAD = 0


def build(seed: int, dropout: float = 0.0) -> Any:
    """A Llama of two layers of width 32 with random weights."""
    shape = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        pad_token_id=PAD, bos_token_id=1, eos_token_id=2, initializer_range=0.3, attention_dropout=dropout,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(shape).eval()


class Characters:
    """One token per character; it stands for a tokenizer."""

    def encode(self, text: str) -> list[int]:
        return [3 + ord(sign) % 61 for sign in text]

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(61 + token - 3) for token in tokens if token > 2)


class CorrectCausalHook(sri_sdk.Hook):
    """The prompt's pass is the first step; then one cached token per pass. Two tokens end a response."""

    scheme = "autoregressive"
    capabilities = frozenset({"phi", "input_ids", "clock"})

    class Config(sri_sdk.Config):
        seed: int = Field(default=1, ge=0, description="Seed of the random weights.")

    @classmethod
    def fits(cls, model: Any) -> Match:
        found = type(model).__name__
        if found != "LlamaForCausalLM" or getattr(model.config, "intermediate_size", None) != 48:
            return Match(False, f"looked for a LlamaForCausalLM with an MLP of 48, found {found}")
        return Match(True, "LlamaForCausalLM with an MLP of 48, final norm at model.norm")

    def final_norm(self) -> torch.nn.Module:
        norm: torch.nn.Module = self.model.model.norm
        return norm

    def layers(self) -> Sequence[torch.nn.Module]:
        return list(self.model.model.layers)

    def embedding(self) -> torch.nn.Module:
        embedding: torch.nn.Module = self.model.model.embed_tokens
        return embedding

    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        given = kwargs.get("generation_config", args[1] if len(args) > 1 else None)
        ends = kwargs.get("eos_token_id", getattr(given, "eos_token_id", None))
        if ends is not None:
            run.eos_ids = tuple(torch.as_tensor(ends).flatten().tolist())

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        ids, memory = call.input_ids, run.memory
        rows, length = ids.shape
        past = call.kwargs.get("past_key_values")
        cached = 0 if past is None else past.get_seq_length()
        if "next" not in memory:
            if cached:
                raise sri_sdk.SriError(f"the first pass continues a cache of {cached} tokens; watch from the prompt")
            positions = torch.arange(-length, 0, device=ids.device).repeat(rows, 1)
            padding = call.kwargs.get("attention_mask")
            if padding is not None:
                positions = positions.masked_fill(padding == 0, PADDING)
            memory["next"] = 0
            memory["active"] = torch.ones(rows, dtype=torch.bool, device=ids.device)
            memory["ends"] = torch.tensor(run.eos_ids or self.eos_ids(), device=ids.device)
        else:
            if length != 1 or not cached:
                raise sri_sdk.SriError(f"a pass of {length} tokens on a cache of {cached}; watch one generation")
            positions = torch.full_like(ids, memory["next"])
            memory["next"] += 1
            memory["active"] = self._active(memory, ids)
        return StepPlan(positions, shift=1, active=memory["active"], span=(length - 1, length))

    def _active(self, memory: dict[str, Any], ids: torch.Tensor) -> torch.Tensor:
        """[B] bool: the rows that go on, after `ids` [B, 1] were decoded."""
        active: torch.Tensor = memory["active"] & ~torch.isin(ids, memory["ends"]).any(1)
        return active

    @classmethod
    def load(cls, config: Any) -> LoadedModel:
        return LoadedModel(build(config.seed), Characters(), f"tiny Llama, seed {config.seed}")

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> Encoded:
        rows = [tokenizer.encode(f"{system_prompt} {text}" if system_prompt else text) for text in texts]
        width = max(map(len, rows))
        ids = torch.tensor([[PAD] * (width - len(row)) + row for row in rows])
        return Encoded(ids, torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows]))

    def tokens(self, tokenizer: Any, text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text)
        return ids

    def decode(self, tokenizer: Any, tokens: torch.Tensor) -> list[str]:
        ends = set(self.eos_ids())
        rows = zip(tokens.tolist(), self.lengths(tokens), strict=True)
        return [tokenizer.decode([token for token in row[:end] if token not in ends]) for row, end in rows]

    @classmethod
    def example(cls) -> Any:
        from sri_sdk.testing import HookCase

        loaded = cls.load(cls.Config())
        hook = cls(loaded.model)
        prompts = hook.encode(loaded.tokenizer, ["hi?", "how are you?", "open door?"])

        def generate(given: Encoded, **options: Any) -> torch.Tensor:
            asked = {"attention_mask": given.attention_mask, "max_new_tokens": 6, "do_sample": False, **options}
            tokens: torch.Tensor = loaded.model.generate(given.input_ids, **asked)
            return tokens

        def sample(given: Encoded) -> torch.Tensor:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(7)
                return generate(given, do_sample=True)

        loaded.model.generation_config.eos_token_id = None
        said = generate(prompts)[:, prompts.input_ids.shape[1] :]
        loaded.model.generation_config.eos_token_id = [int(said[0, 2]), int(said[1, 3])]
        return HookCase(hook, prompts, generate, steps=None, generate_sampled=sample)


class _Edited(sri_sdk.Hook):
    """A family whose plans a subclass changes."""

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        plan = super().plan(call, run)  # type: ignore[safe-super]  # the family's own comes next
        return plan and self.edit(plan, call, run)

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan | None:
        return plan


class Causal(_Edited, CorrectCausalHook):
    """Correct; one token per pass."""


class Toy(_Edited, ToyHook):
    """Correct; fills masks from left to right."""


class Lab(_Edited, LabDiffusionHook):
    """Correct; fills masks in any order, also under guidance."""

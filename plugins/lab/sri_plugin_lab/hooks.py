"""Hooks of the lab models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

import sri_sdk
from sri_sdk.canvas import Canvas, OneTokenPasses, SteadyPasses
from sri_sdk.records import PADDING
from sri_sdk.structure import LLAMA_PATHS, FixedPaths, missing_paths

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 2


class _LabHook(FixedPaths, sri_sdk.Hook):
    """What both share: transformers' Llama, with the final norm at `model.norm`."""

    PATHS: ClassVar = LLAMA_PATHS


class LabDiffusionHook(_LabHook):
    """The lab's masked diffusion model: every pass sees prompt and canvas whole, and every pass is a step."""

    class Config(sri_sdk.Config):
        """Which of the two."""

        weights: Literal["diffusion", "diffusion-2"] = Field(
            "diffusion", description="Embedded weights: the two were trained alike, from different seeds."
        )

    scheme: ClassVar = "masked"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "committed", "draft", "clock", "budget", "request"})

    @classmethod
    def fits(cls, model: Any) -> sri_sdk.Match:
        """By class name and structure."""
        if type(model).__name__ != "LabDiffusionLM":
            return sri_sdk.Match(False, f"looked for class LabDiffusionLM, found {type(model).__name__}")
        if missing := missing_paths(model, cls.PATHS):
            return sri_sdk.Match(False, f"a LabDiffusionLM without {', '.join(missing)}")
        return sri_sdk.Match(True, "class LabDiffusionLM, final norm at model.norm")

    @classmethod
    def load(cls, config: Any) -> sri_sdk.LoadedModel:
        """The embedded weights that the options name."""
        return _load(config.weights)

    @classmethod
    def example(cls) -> Any:
        """The embedded weights and the model's own sampler: 16 tokens in 8 steps."""
        from sri_sdk.testing import HookCase

        hook, encoded = _small(cls)

        def generate(prompts: sri_sdk.Encoded, **options: Any) -> torch.Tensor:
            asked = {"max_new_tokens": 16, "steps": 8, **options}
            tokens: torch.Tensor = hook.model.generate(prompts.input_ids, prompts.attention_mask, **asked)
            return tokens

        return HookCase(
            hook, encoded, generate, steps=8,
            generate_sampled=lambda prompts: _seeded(generate, prompts, temperature=1.0, remasking="random"),
            generate_guided=lambda prompts: generate(prompts, cfg_scale=1.0),
        )  # fmt: skip

    def mask_id(self) -> int:
        """From the model's config."""
        return int(self.model.config.mask_token_id)

    def plan(self, call: sri_sdk.ForwardCall, run: sri_sdk.RunView) -> sri_sdk.StepPlan | None:
        """Every pass is a step. The canvas is the run of masks at the end of the first pass."""
        canvas = Canvas.of(run)
        if canvas is None:
            canvas = Canvas.find(call.input_ids, self.mask_id(), run=run).remember(run)
        return canvas.plan(call.input_ids)

    def steady(self, plan: sri_sdk.StepPlan, run: sri_sdk.RunView) -> SteadyPasses | None:
        """Every pass shows prompt and canvas whole."""
        canvas = Canvas.of(run)
        return None if canvas is None else canvas.steady(plan)


class LabCausalHook(_LabHook):
    """The lab's autoregressive model: the prompt's pass is the first step, then one token per pass."""

    class Config(sri_sdk.Config):
        """Which of the two."""

        weights: Literal["causal", "reader"] = Field(
            "causal",
            description="Embedded weights: causal answers requests, reader has only read them.",
        )

    scheme: ClassVar = "autoregressive"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "clock", "request"})

    @classmethod
    def fits(cls, model: Any) -> sri_sdk.Match:
        """By class name, structure and the lab's own mark in the config."""
        found = type(model).__name__
        if found != "LlamaForCausalLM" or getattr(model.config, "mask_token_id", None) is None:
            return sri_sdk.Match(False, f"looked for a LlamaForCausalLM with the lab's mask_token_id, found {found}")
        if missing := missing_paths(model, cls.PATHS):
            return sri_sdk.Match(False, f"a LlamaForCausalLM without {', '.join(missing)}")
        return sri_sdk.Match(True, "LlamaForCausalLM of the lab, final norm at model.norm")

    @classmethod
    def load(cls, config: Any) -> sri_sdk.LoadedModel:
        """The embedded weights that the options name."""
        return _load(config.weights)

    @classmethod
    def example(cls) -> Any:
        """The embedded weights and transformers' own generate: at most 16 tokens."""
        from sri_sdk.testing import HookCase

        hook, encoded = _small(cls)

        def generate(prompts: sri_sdk.Encoded, **options: Any) -> torch.Tensor:
            inputs = {"input_ids": prompts.input_ids, "attention_mask": prompts.attention_mask}
            tokens: torch.Tensor = hook.model.generate(**inputs, max_new_tokens=16, **{"do_sample": False, **options})
            return tokens

        return HookCase(
            hook, encoded, generate, steps=None,
            generate_sampled=lambda prompts: _seeded(generate, prompts, do_sample=True),
        )  # fmt: skip

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: sri_sdk.RunView) -> None:
        """Notes the tokens that end a response, where the call names them: `plan` and the count of steps go by them.

        As in transformers: the call's own argument counts first, then the `generation_config` that it is given.
        """
        import torch

        given = kwargs.get("generation_config", args[1] if len(args) > 1 else None)
        ends = kwargs.get("eos_token_id", getattr(given, "eos_token_id", None))
        if ends is not None:
            run.eos_ids = tuple(torch.as_tensor(ends).flatten().tolist())

    def plan(self, call: sri_sdk.ForwardCall, run: sri_sdk.RunView) -> sri_sdk.StepPlan | None:
        """The prompt first; then each pass holds the token decoded before. A row that got its end token is done."""
        import torch

        ids, memory = call.input_ids, run.memory
        batch, length = ids.shape
        if "next" not in memory:
            positions = torch.arange(-length, 0, device=ids.device).expand(batch, length)
            mask = call.kwargs.get("attention_mask")
            if isinstance(mask, torch.Tensor) and mask.shape == ids.shape:
                # Padding is no part of the prompt, and so of no request.
                positions = positions.masked_fill(mask == 0, PADDING)
            memory["next"], memory["active"] = 0, torch.ones(batch, dtype=torch.bool, device=ids.device)
            memory["ends"] = torch.tensor(run.eos_ids or self.eos_ids(), device=ids.device)
        else:
            if length != 1:
                raise sri_sdk.SriError(f"a pass of {length} tokens after the prompt's; watch one generation at a time")
            first = memory["next"]
            positions = torch.arange(first, first + length, device=ids.device).expand(batch, length)
            memory["next"] = first + length
            ended = torch.isin(ids, memory["ends"]).any(1)
            memory["active"] = memory["active"] & ~ended
        # The last row of every pass predicts the next token; on the left, prompts may be padded.
        return sri_sdk.StepPlan(positions, shift=1, active=memory["active"], span=(length - 1, length))

    def steady(self, plan: sri_sdk.StepPlan, run: sri_sdk.RunView) -> SteadyPasses | None:
        """Behind the prompt's pass, one token per pass."""
        return OneTokenPasses(run.memory) if plan.positions.shape[1] == 1 else None


def _small(family: type[_LabHook]) -> tuple[_LabHook, sri_sdk.Encoded]:
    """A hook of the family on the embedded weights, and three prompts of different lengths."""
    loaded = family.load(family.Config())
    hook = family(loaded.model)
    # The question is answered in a few words, so that one row ends before the others.
    texts = ["steal the lantern ?", "is this kind : bake the bread ?", "tell me how to feed the pony of the farmer ."]
    return hook, hook.encode(loaded.tokenizer, texts)


def _seeded(generate: Callable[..., torch.Tensor], prompts: sri_sdk.Encoded, **options: Any) -> torch.Tensor:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return generate(prompts, **options)


def _load(name: str) -> sri_sdk.LoadedModel:
    from sri_plugin_lab.models import load, load_tokenizer

    return sri_sdk.LoadedModel(load(name), load_tokenizer(), f"embedded lab model, {name}")

"""Any causal language model of transformers: one token per pass, with a key-value cache."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

import sri_sdk
from sri_plugin_causal.calls import BATCHED, Call, refuse_what_cannot_be_watched, tokens_in
from sri_plugin_causal.module_paths import TABLE
from sri_plugin_causal.proof import contradiction
from sri_sdk.canvas import OneTokenPasses, SteadyPasses
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.records import PADDING
from sri_sdk.structure import class_names, closest_paths, find_paths, module_at, modules_at, paths_of, unwrapped

if TYPE_CHECKING:
    import torch

    from sri_sdk.structure import ModulePaths

SRI_PLUGIN_API = 2

OF_OTHERS = ("A2D", "BD3LM", "Dream", "Fast_dLLM", "LLaDA", "MMada", "RND1", "SDAR", "WeDLM")
"""Beginnings of class names of diffusion families, some of which inherit from a causal model."""

LOOP = ("generate", "_sample", "_prefill")
"""Methods of transformers that make the passes of a generation."""


class CausalHook(sri_sdk.Hook):
    """The prompt's pass is the first step, since its last row predicts the first token; then one token per pass."""

    scheme: ClassVar = "autoregressive"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "clock", "request"})
    calls: ClassVar = ("generate", *BATCHED)

    class Config(CheckpointConfig):
        """Where the weights are, and how a prompt is written."""

        template: dict[str, Any] = Field(
            default={},
            description="Further arguments of the tokenizer's chat template, such as {enable_thinking: false}.",
        )

    # -- which models, and where to look ---------------------------------------------------------------------

    @classmethod
    def fits(cls, model: Any) -> sri_sdk.Match:
        """By transformers' own `generate`, a table of module paths, and a short pass that proves them."""
        looked = "looked for a causal model of transformers"
        name, problem = type(unwrapped(model)).__name__, _not_causal(model)
        if problem:
            return sri_sdk.Match(False, f"{looked}, found {name}: {problem}")
        paths = find_paths(model, TABLE)
        if paths is None:
            return sri_sdk.Match(
                False, f"{looked} with norm, blocks and embedding at one of {len(TABLE)} known places, found {name}: "
                f"{closest_paths(model, TABLE)}",
            )  # fmt: skip
        wrong = contradiction(model, paths)
        if wrong:
            return sri_sdk.Match(False, f"{looked}, found {name}: {wrong}")
        return sri_sdk.Match(True, f"class {name} with transformers' generate, final norm at {paths.norm}")

    def _paths(self) -> ModulePaths:
        return paths_of(self.model, TABLE)

    def final_norm(self) -> torch.nn.Module:
        """The last norm before the head."""
        return module_at(self.model, self._paths().norm)

    def layers(self) -> Sequence[torch.nn.Module]:
        """The residual blocks."""
        return modules_at(self.model, self._paths().layers)

    def embedding(self) -> torch.nn.Module:
        """The token embedding."""
        return module_at(self.model, self._paths().embedding)

    def hidden_size(self) -> int:
        """Width of the text model's residual stream."""
        return int(_text_config(unwrapped(self.model)).hidden_size)

    # -- what one forward pass means -------------------------------------------------------------------------

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: sri_sdk.RunView) -> None:
        """Refuses what moves rows or changes what a pass is; notes end tokens and padding, which passes may hide."""
        if call in BATCHED:
            raise ConfigError(f"{call}() cannot be watched: it packs many requests into one row; use generate().")
        asked = Call.of(self.model, args, kwargs)
        refuse_what_cannot_be_watched(asked, self.model)
        # A second one is not refused, only noticed: the first one's run is the one that fails.
        run.memory["again"] = "next" in run.memory
        run.eos_ids, run.longest = asked.eos_ids(), asked.longest()
        # A chat's next turn: its first pass shows what is new, and predicts the first token like any other.
        run.memory["cached"] = asked.cached()
        if asked.cached():
            run.prompt = asked.prompt().shape[1]
        mask, prompt = asked.given.get("attention_mask"), asked.prompt()
        if mask is None and prompt is not None and asked.value("pad_token_id") not in (None, *asked.eos_ids()):
            # As generate() itself guesses it, from the padding token.
            mask = prompt != asked.value("pad_token_id")
            run.memory["guessed"] = True
        run.memory["attention_mask"] = mask

    def plan(self, call: sri_sdk.ForwardCall, run: sri_sdk.RunView) -> sri_sdk.StepPlan | None:
        """The prompt first; then each pass holds the token decoded before. A row that got its end token is done."""
        import torch

        ids, memory = call.input_ids, run.memory
        rows, length = ids.shape
        if memory.get("again"):
            raise SriError("a second generation in one watch; watch one generation at a time")
        if "next" not in memory:
            positions = self._prompt(call, run)
            memory["next"] = 0
            memory["active"] = torch.ones(rows, dtype=torch.bool, device=ids.device)
            ends = self.eos_ids() if run.eos_ids is None else run.eos_ids
            memory["ends"] = torch.tensor(ends, dtype=torch.long, device=ids.device)
        else:
            if length != 1 or rows != len(memory["active"]) or _begins_anew(call, memory):
                raise SriError(
                    f"a pass of {rows} x {length} tokens after the prompt's, {len(memory['active'])} x 1 expected: "
                    "watch one generation at a time, with a cache (use_cache=True) and a whole prompt first"
                )
            positions = torch.full_like(ids, memory["next"])
            memory["next"] += 1
            # Not in place: the plans of earlier steps still hold the old tensor.
            memory["active"] = memory["active"] & ~torch.isin(ids[:, 0], memory["ends"])
        # The last row of every pass predicts the next token; padding is on the left, so it never is that row.
        return sri_sdk.StepPlan(positions, shift=1, active=memory["active"], span=(length - 1, length))

    def steady(self, plan: sri_sdk.StepPlan, run: sri_sdk.RunView) -> SteadyPasses | None:
        """Behind the prompt's pass, one token per pass, as long as the cache goes on."""
        return _Decoding(run.memory) if plan.positions.shape[1] == 1 else None

    def _prompt(self, call: sri_sdk.ForwardCall, run: sri_sdk.RunView) -> torch.Tensor:
        """[B, L] positions of the prompt's rows: -1 is the last one, padding nothing."""
        import torch

        ids, memory = call.input_ids, run.memory
        rows, length = ids.shape
        cached, known = tokens_in(call.kwargs.get("past_key_values")) or 0, memory.get("cached", 0)
        if cached != known and "past_key_values" in call.kwargs:
            raise SriError(
                f"the first pass continues a cache of {cached} tokens, {known} expected; watch from the prompt on"
            )
        positions = torch.arange(-length, 0, device=ids.device).expand(rows, length)
        # Under PEFT the model's own forward is not seen, and its mask only in the call.
        mask = next((m for m in (call.kwargs.get("attention_mask"), memory.get("attention_mask")) if _is_2d(m)), None)
        memory.pop("attention_mask", None)
        if mask is None or mask.shape[1] not in (length, known + length):
            return positions
        mask = mask[:, -length:].to(ids.device).bool().repeat_interleave(max(rows // len(mask), 1), dim=0)
        padding = ~mask[:, -1]
        # A caller who pads on the right does so for all rows. Text that ends in the padding token is one row's own, and
        # so is a prompt of nothing.
        if not memory.get("guessed") and bool((padding & mask.any(1)).any()):
            raise SriError("prompts are padded on the right, and the model continues padding; pad them on the left")
        run.distrust(
            padding, "hook_failed",
            "a prompt that is empty, or ends in the padding token of a call without attention_mask: the model "
            "continues padding. Pass attention_mask, and no empty prompt",
        )  # fmt: skip
        return positions.masked_fill(~mask, PADDING)

    def lengths(self, tokens: torch.Tensor, run: sri_sdk.RunView | None = None) -> list[int]:
        """Tokens of responses [B, P] up to the one that ended each, by the call's own end tokens if it had any."""
        ends = set(self.eos_ids() if run is None or run.eos_ids is None else run.eos_ids)
        return [next((i + 1 for i, t in enumerate(row) if t in ends), len(row)) for row in tokens.tolist()]

    # -- for driven sampling, and for the conformance kit ------------------------------------------------------

    @classmethod
    def load(cls, config: Any) -> sri_sdk.LoadedModel:
        """A checkpoint that transformers can load."""
        return load_checkpoint(config, family="causal", works_with="transformers>=4.57", auto="AutoModelForCausalLM")

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> sri_sdk.Encoded:
        """With the chat template where the tokenizer has one, else as plain text; padded on the left.

        Raises:
            ConfigError: the template takes no system prompt.
        """
        import torch

        from sri_plugin_causal.prompts import tokens_of

        rows = [tokens_of(tokenizer, text, system_prompt, self.config.template) for text in texts]
        width = max(map(len, rows))
        # Many tokenizers have no padding token. Any id will do, as the mask hides it.
        pad = next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        device: Any = self.embedding().weight.device
        device = next(self.model.parameters()).device if device.type == "meta" else device
        return sri_sdk.Encoded(ids.to(device), mask.to(device))

    @classmethod
    def example(cls) -> Any:
        """A Llama of two layers with random weights, and transformers' own generate: at most eight tokens."""
        from sri_plugin_causal.stand_ins.example import case

        return case(cls)


class _Decoding(OneTokenPasses):
    """The passes behind the prompt's."""

    def __init__(self, memory: dict[str, Any]) -> None:
        super().__init__(memory)
        self._notes = memory

    def goes_on(self, call: sri_sdk.ForwardCall) -> bool:
        """Until another generation begins, which `plan` then refuses."""
        return not self._notes.get("again") and not _begins_anew(call, self._notes)


def _not_causal(model: Any) -> str:
    """Why a model is not one of transformers' causal models; empty = nothing speaks against it."""
    inner, names = unwrapped(model), class_names(model)
    if "GenerationMixin" not in names:
        return "it does not inherit transformers' GenerationMixin"
    other = next((name for name in names if name.startswith(OF_OTHERS)), None)
    if other is not None:
        return f"{other} is a diffusion family's class"
    for name in LOOP:
        home = next((kind.__name__ for kind in type(inner).__mro__ if name in vars(kind)), None)
        if home is None:
            continue  # Private ones differ from release to release.
        bound = inspect.unwrap(vars(inner).get(name, getattr(type(inner), name)))
        if home != "GenerationMixin" or not getattr(bound, "__qualname__", "").startswith("GenerationMixin."):
            return f"it has a `{name}` of its own (of {home}), not that of transformers' GenerationMixin"
    configs = (inner.config, _text_config(inner), getattr(inner, "generation_config", None))
    if any(getattr(config, "mask_token_id", None) is not None for config in configs):
        return "its config has a mask_token_id, as models that fill in masks do"
    if getattr(inner.config, "is_encoder_decoder", False):
        return "it has an encoder and a decoder"
    if getattr(_text_config(inner), "use_bidirectional_attention", False) is True:
        return "its config asks for use_bidirectional_attention"
    adapter = getattr(model, "active_peft_config", None)
    if getattr(adapter, "is_prompt_learning", False):
        return "its adapter puts states before the prompt (prompt or prefix tuning) that no token stands for"
    return ""


def _text_config(model: Any) -> Any:
    """The config of the model that writes, where others see or hear beside it."""
    get = getattr(model.config, "get_text_config", None)
    return get() if callable(get) else model.config


def _is_2d(mask: Any) -> bool:
    return getattr(mask, "dim", int)() == 2


def _begins_anew(call: sri_sdk.ForwardCall, memory: dict[str, Any]) -> bool:
    """Whether the cache is empty again: a prompt of one token, the first of another generation."""
    past = call.kwargs.get("past_key_values")
    if type(past).__name__ != "DynamicCache":
        # A static cache keeps its length on the device; asking at every step would wait for it.
        return False
    # Some models are handed a cache and leave it empty.
    filled = bool(tokens_in(past))
    return memory.setdefault("cache fills", filled) and not filled

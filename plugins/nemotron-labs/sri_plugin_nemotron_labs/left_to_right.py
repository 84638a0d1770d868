"""Hook `nemotron-labs-ar`: tokens decoded from left to right, one by one or drafted and verified.

`linear_spec_generate` drafts a block by diffusion and verifies it in one causal pass. That pass has the states that
decoding one by one would have had, for as many tokens as were kept. These are the steps; drafts and what was rejected
never count. So both methods give the same trace of the same tokens, and one guard serves both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from sri_plugin_nemotron_labs.family import LEFT_TO_RIGHT, SWITCH, NemotronHook, as_ids, kind_of
from sri_sdk import SriError
from sri_sdk.canvas import OneTokenPasses, SteadyPasses
from sri_sdk.records import PADDING, ForwardCall, ForwardOutput, RunView, StepPlan
from sri_sdk.structure import cache_argument, cache_of, takes_argument

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 2


class NemotronLabsArHook(NemotronHook):
    """Row i predicts token i + 1. The prompt's pass is the first step; then one step per token that was kept."""

    scheme: ClassVar = "autoregressive"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "clock", "request"})
    NAMED: ClassVar = "nemotron-labs-ar"
    PARADIGM: ClassVar = LEFT_TO_RIGHT

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        """Notes what ends responses; refuses block diffusion.

        Raises:
            ConfigError: another way to decode.
        """
        asked = self.arguments(call, args, kwargs)
        run.memory["again"] = "next" in run.memory
        if asked.get("eos_token_id") is not None:
            run.eos_ids = as_ids(asked["eos_token_id"])

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """The prompt; then drafts, which store nothing and are no step, and a stored token or verified block."""
        import torch

        ids, memory = call.input_ids, run.memory
        kind, held = kind_of(call.kwargs)
        rows, length = ids.shape
        self.check_switch(kind == "looks" and "next" in memory)
        if memory.get("again"):
            raise SriError("a second generation in one watch; watch one generation at a time")
        if "next" not in memory:
            return self._prompt(call, held, run)
        at = held - memory["prompt"]
        if "verified" in memory:
            memory["kept"] = at - memory["verified"]
        if kind == "looks":
            return None
        if rows != len(memory["active"]) or at < 0 or ("verified" not in memory and at != memory["next"]):
            raise SriError(
                f"a pass of {rows} x {length} tokens behind {held} cached ones, in a generation of "
                f"{len(memory['active'])} rows whose prompt has {memory['prompt']}: watch one generation at a time"
            )
        if length > 1 or "verified" in memory:
            memory["verified"] = at
            return StepPlan((at + torch.arange(length, device=ids.device)).expand(ids.shape), shift=1, tentative=True)
        memory["next"] = at + 1
        # Not in place: the plans of earlier steps still hold the old tensor.
        memory["active"] = memory["active"] & ~torch.isin(ids[:, 0], memory["ends"])
        return StepPlan(torch.full_like(ids, at), shift=1, active=memory["active"], span=(0, 1))

    def _prompt(self, call: ForwardCall, held: int, run: RunView) -> StepPlan:
        import torch

        ids, memory = call.input_ids, run.memory
        rows, length = ids.shape
        if held:
            raise SriError(f"the first pass continues a cache of {held} tokens; watch from the prompt on")
        ends = self.eos_ids() if run.eos_ids is None else run.eos_ids
        memory.update(
            next=0, prompt=length, text=ids.clone(), active=torch.ones(rows, dtype=torch.bool, device=ids.device),
            ends=torch.tensor(ends, dtype=torch.long, device=ids.device),
        )  # fmt: skip
        positions = torch.arange(-length, 0, device=ids.device).expand(rows, length)
        mask = call.kwargs.get("attention_mask")
        if mask is not None and mask.shape == ids.shape:
            positions = positions.masked_fill(~mask.to(ids.device).bool(), PADDING)
        return StepPlan(positions, shift=1, active=memory["active"], span=(length - 1, length))

    def accepted_rows(self, run: RunView, tokens: torch.Tensor | None = None) -> int | None:
        """As many as the cache kept, once the next pass shows it; in the end, as many as [1, L] tokens tell."""
        memory = run.memory
        if "verified" not in memory:
            return None
        if tokens is None:
            kept: int | None = memory.get("kept")
            return kept
        # The pass predicts what stands behind its first token, which an earlier one has decoded.
        before, text = memory["prompt"], memory["text"]
        whole = tokens.shape[1] > before and bool((tokens[:, :before].to(text) == text).all())
        answer: int = tokens.shape[1] - (before if whole else 0)
        return answer - 1 - int(memory["verified"])

    def steady(self, plan: StepPlan, run: RunView) -> SteadyPasses | None:
        """Behind the prompt's pass, one token per pass, as long as nothing is drafted."""
        return _OneByOne(run.memory) if plan.positions.shape[1] == 1 and "verified" not in run.memory else None

    # -- for the conformance kit, and for driven sampling ----------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """The stand-in and its self-speculation, which takes one prompt: some 14 tokens, drafted in blocks of five."""
        from sri_plugin_nemotron_labs.stand_ins.example import speculation_case

        return speculation_case(cls)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """One causal pass of the encoder, as `ar_generate` makes it, with the mask of a padded batch; logits [B, L, V].

        The switch of every layer is set for the pass, and put back behind it.
        """
        import torch
        from transformers import DynamicCache

        encoder: Any = self.entry()
        held = 0 if cache is None else int(cache.get_seq_length())
        columns = torch.arange(held, held + input_ids.shape[1], device=input_ids.device)
        options: dict[str, Any] = {"position_ids": columns.expand(input_ids.shape), "use_cache": use_cache}
        if attention_mask is not None:
            places = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
            options |= {"attention_mask": attention_mask, "position_ids": places}
        if use_cache:
            options[cache_argument(encoder)] = DynamicCache() if cache is None else cache
        for name, value in (("cache_position", columns), ("use_causal_mask", True)):
            if takes_argument(encoder, name):
                options[name] = value
        with self._causal():
            output = encoder(input_ids=input_ids, **options)
            logits: torch.Tensor = self.model.diffusion_head(output.last_hidden_state)
        return ForwardOutput(logits, cache_of(output) if use_cache else None)

    @contextmanager
    def _causal(self) -> Iterator[None]:
        parts: list[Any] = [block.self_attn for block in self.layers()]
        before = [getattr(part, SWITCH) for part in parts]
        for part in parts:
            setattr(part, SWITCH, False)
        try:
            yield
        finally:
            for part, value in zip(parts, before, strict=True):
                setattr(part, SWITCH, value)


class _OneByOne(OneTokenPasses):
    """The passes of `ar_generate` behind the prompt's."""

    def __init__(self, memory: dict[str, Any]) -> None:
        super().__init__(memory)
        self._notes = memory

    def goes_on(self, call: ForwardCall) -> bool:
        """Until something else begins: a draft, which stores nothing, or another prompt, which has an empty cache."""
        if self._notes.get("again") or not call.kwargs.get("use_cache"):
            return False
        past = call.kwargs.get("past_key_values")
        return past is not None and bool(past.get_seq_length())

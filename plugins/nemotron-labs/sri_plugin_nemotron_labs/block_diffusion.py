"""Hook `nemotron-labs`: block diffusion, by the model's own `generate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sri_plugin_nemotron_labs.family import DIFFUSION, NAME, NemotronHook, as_ids, kind_of
from sri_sdk import SriError
from sri_sdk.canvas import Canvas, Window
from sri_sdk.errors import ConfigError
from sri_sdk.records import ForwardCall, ForwardOutput, RunView, StepPlan

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 2


class NemotronLabsHook(NemotronHook):
    """Row i predicts token i. A pass is a step if it stores nothing: it denoises the block in work behind the cache.

    prefill: the prompt, stored; denoise: one block, not stored; commit: the same block, stored. What stores also gives
    the first token of the next block. That does not make it a step: the token is there when the block is first shown.
    """

    scheme: ClassVar = "masked"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "committed", "clock", "request"})
    NAMED: ClassVar = "nemotron-labs"
    PARADIGM: ClassVar = DIFFUSION

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        """Notes where responses begin and what ends them; refuses the other ways to decode.

        Raises:
            ConfigError: another way to decode.
        """
        asked = self.arguments(call, args, kwargs)
        if asked.get("block_length") == 1:
            raise ConfigError(
                f"{NAME}.generate(block_length=1): every token comes from a pass that stores the one before, and "
                "nothing is denoised. Use ar_generate under hook='nemotron-labs-ar', or longer blocks."
            )
        run.memory["again"] = "ended" in run.memory
        run.memory["causal"] = bool(asked.get("causal_context", True))
        if asked.get("eos_token_id") is not None:
            run.eos_ids = as_ids(asked["eos_token_id"])
        if (prompts := asked.get("prompt_ids")) is not None:
            run.distrust((prompts == self.mask_id()).any(1), "special_token_in_prompt")

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """A pass is a step if it stores nothing; its columns lie behind what was stored."""
        ids, (kind, held) = call.input_ids, kind_of(call.kwargs)
        self.check_switch(kind == "looks" or not run.memory.get("causal", True))
        canvas, window = Canvas.of(run), Window.of(run)
        if run.memory.get("again"):
            raise SriError("a second generation in one watch; watch one generation at a time")
        if window is None:
            self._prompt(ids, kind, held, run)
            return None
        first = window.behind(held, ids.shape[1])
        if canvas is None:
            canvas = Canvas(ids.new_full((len(ids),), window.stored), None, self._mask()).remember(run)
        if len(ids) != canvas.requests:
            raise SriError(f"a pass of {len(ids)} rows after one of {canvas.requests}: watch one generation at a time")
        places = canvas.see(ids, first)
        if kind == "stores":
            window.store(ids.shape[1])
            run.shows(places)
            # The loop goes on until all rows have an end; what it writes behind a row's own is no response.
            run.memory["ended"] = run.memory["ended"] | self._ends_in(ids, run)
            return None
        active = (ids == self._mask()).any(1) & ~run.memory["ended"]
        return StepPlan(places, shift=0, committed=canvas.committed, active=active)

    def _prompt(self, ids: torch.Tensor, kind: str, held: int, run: RunView) -> None:
        import torch

        if held or kind != "stores":
            raise SriError(
                f"the first pass {f'continues a cache of {held} tokens' if held else 'stores nothing'}; watch one "
                "generation from its prompt on"
            )
        window = Window().remember(run)
        window.store(ids.shape[1])
        run.memory["ended"] = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        run.shows(torch.arange(-ids.shape[1], 0, device=ids.device).expand(ids.shape))

    def _ends_in(self, ids: torch.Tensor, run: RunView) -> torch.Tensor:
        """[R] bool: rows of [R, L] ids with an end token."""
        import torch

        ends = self.eos_ids() if run.eos_ids is None else run.eos_ids
        return torch.isin(ids, torch.tensor(ends, dtype=ids.dtype, device=ids.device)).any(1)

    def prompt_columns(self, call: ForwardCall, plan: StepPlan | None, run: RunView) -> torch.Tensor | None:
        """[R, L]: the pass before the first block reads the prompt whole."""
        import torch

        if plan is not None or run.shown is None or Canvas.of(run) is not None:
            return None
        return torch.arange(call.input_ids.shape[1], device=call.input_ids.device).expand(call.input_ids.shape)

    def expected_steps(self, budget: int) -> int | None:
        """Unknown: a threshold decides how much a step fills in, and an end token ends the call."""
        return None

    def _mask(self) -> int:
        found = self.mask_id()
        assert found is not None, "fits() said so"
        return found

    # -- for the conformance kit, and for driven sampling ----------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """The stand-in and its `generate`, which takes no padding: one prompt, 16 tokens in blocks of four."""
        from sri_plugin_nemotron_labs.stand_ins.example import diffusion_case

        return diffusion_case(cls)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """Refused for any [B, L] ids: no pass of the published code shows prompts of several lengths beside a block.

        Raises:
            SriError: always.
        """
        raise SriError(
            "hook nemotron-labs: block diffusion of this family is watched, not driven: its attention takes no "
            "padding beside a block. Generate with model.generate() under watch, or drive the same weights from "
            "left to right with hook nemotron-labs-ar."
        )

"""Hook `dream`: Dream, DiffuCoder and Dream-Coder, masked models made from an autoregressive one (Qwen2.5).

What is special, and where it shows below: the row of a token predicts the token behind it (`shift`), so the last prompt
row predicts the first response token; the sampler is a method, `diffusion_generate`, which always runs exactly `steps`
passes; Fast-dLLM puts another forward and another sampler on the same weights, and those stop early.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sri_sdk
from sri_sdk import ForwardCall, LoadedModel, RunView, StepPlan
from sri_sdk.canvas import Canvas, SteadyPasses, Window
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import TokensMoved
from sri_sdk.records import ForwardOutput
from sri_sdk.structure import LLAMA_PATHS, FixedPaths, head_reads, unwrapped

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 2


@dataclass
class _Call:
    """One `diffusion_generate`, and how far it is. Lives in the run's memory."""

    prompt: int
    """Columns of the prompt."""
    mask_id: int
    left: int | None
    """Passes still to come; None = it runs until nothing is open."""
    dual: bool
    """Fast-dLLM: whether the passes between two whole ones show one block, or that and everything behind it."""
    window: Window | None = None
    """Where its passes stand; None before the first one."""


class DreamHook(FixedPaths, sri_sdk.Hook):
    """Dream, DiffuCoder, Dream-Coder: class DreamModel, with its own sampler or Fast-dLLM's."""

    scheme: ClassVar[Literal["masked"]] = "masked"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "committed", "clock", "budget", "request"})
    calls: ClassVar = ("diffusion_generate",)
    CLASSES: ClassVar = ("DreamModel",)
    LOOP: ClassVar = ("_sample", "_prepare_generation_config", "_prepare_generated_length")
    PATHS: ClassVar = LLAMA_PATHS
    PARTS: ClassVar = ("lm_head",)

    class Config(CheckpointConfig):
        """What an operator may write under `model.options`."""

    # -- which models, and where to look ---------------------------------------------------------------------

    @classmethod
    def unlike(cls, model: Any) -> str:
        """A model without a mask token is none of them."""
        return "without mask_token_id in its config" if _mask_id(model) is None else ""

    # -- what one forward pass means -------------------------------------------------------------------------

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        """Notes what the call asks for: only it knows where the canvas begins and how many passes there will be.

        A user's function may write into the canvas before the first pass, and a prompt may hold masks of its own.
        """
        prompts = args[0] if args else kwargs.get("inputs")
        if prompts is None:
            return  # The model says so itself.
        asked = self._settings(args, kwargs)
        mask = getattr(asked, "mask_token_id", None)
        ends = getattr(asked, "eos_token_id", None)
        if ends is not None:
            run.eos_ids = tuple(ends) if isinstance(ends, list | tuple) else (int(ends),)
        run.memory["call"] = _Call(
            prompt=prompts.shape[-1],
            mask_id=self._known_mask_id() if mask is None else int(mask),
            left=None if self._stops_early() else getattr(asked, "steps", None),
            dual=bool(kwargs.get("dual_cache", False)),
        )

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """Every pass of a `diffusion_generate` is a step; outside of one, every pass with something left to fill."""
        ids, asked = call.input_ids, run.memory.get("call")
        if asked is not None:
            return self._plan_called(ids, asked, run)
        # A sampler outside the model: ours, or a user's loop. What is left to fill is all there is to go by.
        canvas = Canvas.of(run)
        if canvas is None:
            mask_id = self._known_mask_id()
            if not (ids == mask_id).any():
                return None
            canvas = Canvas.find(ids, mask_id, run=run).remember(run)
        if not canvas.open(ids):
            run.reads(ids)
            return None
        return canvas.plan(ids, shift=1)

    def steady(self, plan: StepPlan, run: RunView) -> SteadyPasses | None:
        """Of a `diffusion_generate` that takes all its steps: as many passes as are due, each of the whole canvas."""
        canvas, asked = Canvas.of(run), run.memory.get("call")
        if canvas is None or asked is None or asked.left is None:
            return None
        note: _Call = asked

        def goes_on(_call: ForwardCall) -> bool:
            if not note.left or run.memory.get("call") is not note:
                return False
            note.left -= 1
            return True

        return canvas.steady(plan, goes_on, all_active=True)

    def _plan_called(self, ids: torch.Tensor, asked: _Call, run: RunView) -> StepPlan | None:
        canvas, length = Canvas.of(run), ids.shape[1]
        if canvas is None:
            starts = ids.new_full((len(ids),), asked.prompt)
            canvas = Canvas(starts, length - asked.prompt, asked.mask_id, reopens=True).remember(run)
            asked.window = Window(length, start=asked.prompt)
        if asked.window is None:
            raise sri_sdk.SriError("a second generation in one watch; watch one generation at a time")
        if not asked.left and not canvas.open(ids):
            run.reads(ids)  # While steps are due, no pass is asked what it holds.
            return None
        if asked.left == 0:
            raise sri_sdk.SriError(
                "passes go on over open positions after all steps of the call: a function given to it runs the model "
                "too, or a second generation has begun; which passes are steps cannot be told"
            )
        width = asked.window.width
        assert width is not None
        if len(ids) != canvas.requests or length > width or (length < width and asked.left is not None):
            kind = TokensMoved if len(ids) == canvas.requests else sri_sdk.SriError
            raise kind(
                f"a pass of {list(ids.shape)} tokens in a generation of {[canvas.requests, width]}; every pass of "
                "Dream's sampler shows prompt and canvas whole"
            )
        if asked.left is None:
            # Fast-dLLM's caches. Read off lengths, as wrappers hide arguments.
            window = asked.window
            part = window.block if asked.dual else window.rest
            return canvas.plan(ids, window.whole() if length == width else part(length), shift=1)
        asked.left -= 1
        # All rows are active until the last pass: the model computes every row in every pass, and a row that chance
        # filled early (`origin`) has as many steps as the others, or its coverage would differ from run to run.
        return replace(canvas.plan(ids, shift=1), active=None)

    def expected_steps(self, budget: int) -> int | None:
        """Dream's own sampler takes all of them; Fast-dLLM's stops when nothing is left."""
        return None if self._stops_early() else budget

    def _stops_early(self) -> bool:
        """Whether this is Fast-dLLM's model, whose forward takes its caches."""
        return "dual_cache" in inspect.signature(type(unwrapped(self.model)).forward).parameters

    def _settings(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What the call asks for, resolved by the model's own method, so that its defaults count."""
        given = args[1] if len(args) > 1 else kwargs.get("generation_config")
        rest = {name: value for name, value in kwargs.items() if name not in ("inputs", "generation_config")}
        prepare = getattr(unwrapped(self.model), "_prepare_generation_config", None)
        return (
            SimpleNamespace(**{**vars(given or SimpleNamespace()), **rest})
            if prepare is None
            else prepare(given, **rest)
        )

    # -- for the conformance kit -----------------------------------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """The stand-in and its own sampler: 12 tokens in 6 steps."""
        from sri_plugin_dream.stand_ins.example import case

        return case(cls)

    # -- for driven sampling ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, config: sri_sdk.Config) -> LoadedModel:
        """From a checkpoint, with the code that comes with it."""
        return load_checkpoint(
            config, family="dream", works_with="transformers>=4.46,<5", auto="AutoModel", own_code=True
        )

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """One pass over [B, L] ids as Dream's sampler makes it: padding neither sees nor is seen, and counts no place.

        No cache; logits are [B, L, V].
        """
        if attention_mask is None or bool(attention_mask.all()):
            return ForwardOutput(self.model(input_ids=input_ids, attention_mask="full").logits)
        real = attention_mask.bool()
        places = (attention_mask.long().cumsum(-1) - 1).masked_fill(~real, 1)
        allowed = real[:, None, None, :] & real[:, None, :, None]
        return ForwardOutput(self.model(input_ids=input_ids, attention_mask=allowed, position_ids=places).logits)

    def forward_last(
        self, last: int, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """As `forward` of [B, L] ids, with logits of the last rows alone."""
        with head_reads(self.model, self.head(), lambda states: states[:, -last:]):
            return self.forward(input_ids, attention_mask, cache, use_cache=use_cache)

    def shift(self) -> int:
        """The row of a token predicts the token behind it."""
        return 1

    def mask_id(self) -> int | None:
        """From the config."""
        return _mask_id(self.model)

    def _known_mask_id(self) -> int:
        found = self.mask_id()
        assert found is not None, "fits() said so"
        return found


def _mask_id(model: Any) -> int | None:
    inner = unwrapped(model)
    for config in (inner.config, getattr(inner, "generation_config", None)):
        found = getattr(config, "mask_token_id", None)
        if found is not None:
            return int(found)
    return None

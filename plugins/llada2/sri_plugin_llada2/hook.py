"""Hook `llada2`: LLaDA2.0 and LLaDA2.1, masked mixture-of-experts models that attend and generate in blocks.

What is special, and where it shows below: the model's own `generate` calls `self.forward`, so that its arguments stay
hidden; a pass shows the sequence up to the end of the block in work, and blocks are counted from the first prompt
token; the loop leaves a block once it is filled; LLaDA2.1 edits what it has filled in, in up to 16 more passes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

import sri_sdk
from sri_plugin_llada2.generation import Generation, one_place
from sri_sdk import ForwardCall, LoadedModel, RunView, StepPlan
from sri_sdk.canvas import LaterPasses
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.edit_flows import mentions_of_moves
from sri_sdk.records import ForwardOutput
from sri_sdk.structure import FixedPaths, ModulePaths, head_reads, unwrapped

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 2

NAME = "LLaDA2MoeModelLM"


@dataclass(slots=True)
class _Call:
    """One `generate` of the model's own. Lives in the run's memory."""

    prompt: int | None
    """Columns of the prompt; None = it was not given as ids."""
    mask_id: int | None
    sweeps: int
    """Most passes over a block without masks: 0 in LLaDA2.0, which has none."""


class Llada2Hook(FixedPaths, sri_sdk.Hook):
    """LLaDA2.0 and 2.1: class LLaDA2MoeModelLM, with its own `generate`, dllm's samplers or diffusers' pipeline."""

    scheme: ClassVar[Literal["masked"]] = "masked"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "committed", "clock", "request"})
    edits_tokens: ClassVar = True
    CLASSES: ClassVar = (NAME,)
    PATHS: ClassVar = ModulePaths("model.norm", "model.layers", "model.word_embeddings")
    PARTS: ClassVar = ("lm_head",)

    class Config(CheckpointConfig):
        """What an operator may write under `model.options`."""

        block_length: int | None = Field(
            default=None, ge=1, description="Tokens per block; null = what the model's own code says, which is 32."
        )

    # -- which models, and where to look ---------------------------------------------------------------------

    @classmethod
    def unlike(cls, model: Any) -> str:
        """LLaDA2.2 has class and structure of the others; what its sampler can do gives it away.

        Any name that speaks of it counts: blocks keep their size while rows move, so nothing would be noticed later.
        """
        moves = ", ".join(mentions_of_moves(model))
        return f"that inserts and deletes tokens ({moves}), as LLaDA2.2: not supported" if moves else ""

    # -- what one forward pass means -------------------------------------------------------------------------

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        """Notes what the call asks for: its passes do not show it."""
        if "call" in run.memory:
            run.memory["again"] = True  # Its first pass fails the run; the generation goes on.
        own = _own_generate(self.model)
        try:
            bound = inspect.signature(own).bind(unwrapped(self.model), *args, **kwargs)
        except TypeError:
            return  # The model says so itself.
        bound.apply_defaults()
        asked = bound.arguments
        if asked.get("eos_id") is not None:
            run.eos_ids = (int(asked["eos_id"]),)
        prompts = asked.get("inputs")
        run.memory["call"] = _Call(
            None if prompts is None else prompts.shape[-1], asked.get("mask_id"), asked.get("max_post_steps", 0)
        )

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """Every pass with a mask is a step, and so is every pass of LLaDA2.1 that edits a block without any."""
        if "again" in run.memory:
            raise sri_sdk.SriError("a second generation in one watch; watch one generation at a time")
        ids, asked = call.input_ids, run.memory.get("call")
        mask_id = self.mask_id() if asked is None or asked.mask_id is None else asked.mask_id
        if mask_id is None:
            raise sri_sdk.SriError(f"neither config nor generate of this {NAME} names its mask token")
        generation = Generation.of(run)
        if generation is None:
            if not bool((ids == mask_id).any()):
                return None  # Somebody reads a text.
            generation = Generation(ids, mask_id, run, None if asked is None else asked.prompt).remember(run)
        if not generation.is_step(ids, self.eos_ids(), _sweeps(call, asked), fixed=asked is not None):
            run.reads(ids)
            return None
        return generation.plan(ids, call.kwargs, self.block_length)

    def steady(self, plan: StepPlan, run: RunView) -> LaterPasses | None:
        """Passes over as many columns, if all rows stand in the same ones: most of those over one block."""
        generation, length = Generation.of(run), plan.positions.shape[1]
        if generation is None or plan.positions is not generation.canvas.plain_positions(0, length):
            return None
        return _OneBlock(generation, plan, run, self.eos_ids())

    def prompt_columns(self, call: ForwardCall, plan: StepPlan | None, run: RunView) -> torch.Tensor | None:
        """[R, L]: every step shows its rows from the first column on."""
        import torch

        ids = call.input_ids
        return None if plan is None else torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)

    def expected_steps(self, budget: int) -> int | None:
        """Not known: a block is left as soon as it is filled."""
        return None

    def lengths(self, tokens: torch.Tensor, run: RunView | None = None) -> list[int]:
        """Tokens of each response up to its end, where a prompt in front of it is left out; `tokens` are [B, L].

        dllm's samplers return it, and so does LLaDA2.0's own `generate` as first published, but only if it stops early.
        """
        generation = None if run is None else Generation.of(run)
        if generation is not None:
            width = generation.prompt.shape[1]
            if tokens.shape[1] > width and generation.is_prompt(tokens[:, :width]):
                tokens = tokens[:, width:]
        return super().lengths(tokens, run)

    # -- for the conformance kit -----------------------------------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """The stand-in for LLaDA2.1 and its `generate`, which takes one prompt: 20 tokens in blocks of 8."""
        from sri_plugin_llada2.stand_ins.example import case

        return case(cls)

    # -- for driven sampling ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, config: sri_sdk.Config) -> LoadedModel:
        """From a checkpoint, with the code that comes with it."""
        return load_checkpoint(config, family="llada2", works_with="transformers>=4.57,<5", own_code=True)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """One pass over [B, L] ids as the model's own `generate` makes it; logits are [B, L, V]. No cache.

        Blocks see themselves and what is before them.
        """
        import torch

        if use_cache or cache is not None:
            raise sri_sdk.SriError("hook llada2: forward keeps no cache, as the model's own generate; leave it out.")
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        # Padding on the left counts no place: the first block begins with the first real token of each row.
        places = (real.cumsum(-1) - 1).clamp(min=0)
        number = places // self.block_length()
        allowed = (number[:, None, :] <= number[:, :, None]) & real.bool()[:, None, :]
        # Padding sees itself alone: a row that sees nothing is NaN.
        allowed = allowed | torch.eye(input_ids.shape[1], dtype=torch.bool, device=input_ids.device)
        weight: Any = self.embedding().weight
        mask = torch.zeros(allowed.shape, dtype=weight.dtype, device=input_ids.device)
        mask = mask.masked_fill(~allowed, float("-inf"))[:, None]
        output = self.model(input_ids=input_ids, attention_mask=mask, position_ids=places, use_cache=False)
        return ForwardOutput(output.logits)

    def forward_last(
        self, last: int, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """As `forward` of [B, L] ids, with logits of the last rows alone."""
        with head_reads(self.model, self.head(), lambda states: states[:, -last:]):
            return self.forward(input_ids, attention_mask, cache, use_cache=use_cache)

    def block_length(self) -> int:
        """From the options, or else the default of the model's own `generate`."""
        found = getattr(self.config, "block_length", None) or _default(self.model, "block_length")
        if found is None:
            raise sri_sdk.SriError(f"generate of this {NAME} names no block_length; set model.options.block_length")
        return int(found)

    def mask_id(self) -> int | None:
        """From the config, or else the default of the model's own `generate`: published configs leave it out."""
        found = getattr(unwrapped(self.model).config, "mask_token_id", None)
        return _default(self.model, "mask_id") if found is None else int(found)

    def eos_ids(self) -> tuple[int, ...]:
        """From the configs, or else the default of the model's own `generate`."""
        inner = unwrapped(self.model)
        for config in (getattr(inner, "generation_config", None), inner.config):
            found = getattr(config, "eos_token_id", None)
            if found is not None:
                return tuple(found) if isinstance(found, list | tuple) else (int(found),)
        own = _default(self.model, "eos_id")
        return () if own is None else (own,)


class _OneBlock(LaterPasses):
    """Passes up to the end of one block."""

    moves = False

    def __init__(self, generation: Generation, plan: StepPlan, run: RunView, ends: tuple[int, ...]) -> None:
        self._generation, self._plan, self._run, self._ends = generation, plan, run, ends
        self._asked: _Call | None = run.memory.get("call")
        self._sweeps: list[int | None] = []

    def goes_on(self, call: ForwardCall) -> bool:
        """Whether a pass belongs to the same call, and has its rows in the same columns."""
        if "again" in self._run.memory or self._run.memory.get("call") is not self._asked:
            return False
        sweeps = _sweeps(call, self._asked)
        if (self._sweeps and self._sweeps != [sweeps]) or not one_place(call.kwargs, len(call.input_ids)):
            return False
        self._sweeps = [sweeps]
        return True

    def plans(self, input_ids: torch.Tensor) -> Iterator[StepPlan | None]:
        """As the generation has it of [S, B, L] int64 ids."""
        return self._generation.plans(
            input_ids, self._plan, self._run, self._ends, self._sweeps[0], fixed=self._asked is not None
        )  # fmt: skip


def _sweeps(call: ForwardCall, asked: _Call | None) -> int | None:
    """Most passes over a block without masks that may follow each other; None = any number."""
    # Samplers outside the model state positions in every pass; a caller that only reads a text leaves them out.
    return asked.sweeps if asked is not None else None if "position_ids" in call.kwargs else 0


def _own_generate(model: Any) -> Any:
    """The function itself, not what a watch has laid over it."""
    return type(unwrapped(model)).generate


def _default(model: Any, name: str) -> int | None:
    """Default of a parameter of the model's own `generate`."""
    found = inspect.signature(_own_generate(model)).parameters.get(name)
    return found.default if found is not None and isinstance(found.default, int) else None

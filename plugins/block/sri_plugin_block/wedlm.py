"""The hook of WeDLM: masked diffusion on a causal model, watched through the model's own `generate_wedlm`.

What is special: attention is causal, so each pass moves the masks behind everything that is known. A row's place in the
text is in `position_ids` alone, which the trunk is called with.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

import sri_sdk
from sri_sdk.canvas import Canvas, block_in_work
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import ConfigError
from sri_sdk.records import PADDING, ForwardCall, ForwardOutput, LoadedModel, RunView, StepPlan
from sri_sdk.structure import LLAMA_PATHS, FixedPaths, module_at, unwrapped

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 2

OWN = "generate_wedlm"
_NOTE = "call"


@dataclass(frozen=True, slots=True)
class _Call:
    """What a `generate_wedlm` was asked for. Lives in the run's memory."""

    mask: int | None
    """Id of the mask token; None = the config's."""
    block: int
    """Tokens per block, counted from the first response position."""
    first: int
    """Masks that the first pass shows."""


class WedlmHook(FixedPaths, sri_sdk.Hook):
    """Row i predicts the token at its own position, wherever it stands in the pass. Every pass with a mask is a step.

    phi is the mean over the rows of the block in work: the one of the leftmost mask, counted from the response.
    """

    scheme: ClassVar[Literal["masked"]] = "masked"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "committed", "clock", "request"})
    calls: ClassVar = (OWN, "generate")
    CLASSES: ClassVar = ("WeDLMForCausalLM",)
    PATHS: ClassVar = LLAMA_PATHS
    PARTS: ClassVar = ("lm_head",)

    class Config(CheckpointConfig):
        """What an operator may write under `model.options`."""

        block: int | None = Field(
            default=None, ge=1, description="Tokens per block of driven passes, as the sampler's; null = one block."
        )

    def entry(self) -> torch.nn.Module:
        """The trunk: `generate_wedlm` calls it directly, the root calls it too."""
        return module_at(self.model, "model")

    # -- what one forward pass means -------------------------------------------------------------------------

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        """Notes what passes do not show: the length of a block, and with it where the response begins.

        Raises:
            ConfigError: several prompts, which the method generates one after the other; or transformers' own method.
        """
        if call != OWN:
            raise ConfigError(
                f"{self.CLASSES[0]}.{call}(): transformers' own, which decodes one token after the other; WeDLM's is "
                f"{OWN}(input_ids, max_new_tokens, block_size, ...)."
            )
        method = getattr(type(unwrapped(self.model)), call)
        try:
            bound = inspect.signature(method).bind(self.model, *args, **kwargs)
        except TypeError:
            return  # The model says so itself.
        asked = bound.arguments
        prompts, block = asked["input_ids"], int(asked["block_size"])
        if len(prompts) != 1:
            raise ConfigError(
                f"{OWN}(): {len(prompts)} prompts, which it generates one after the other: passes of several "
                "generations in one watch. Call it once per prompt, each in a watch of its own."
            )
        if _NOTE in run.memory:
            run.memory["again"] = True  # Its first pass fails the run; the generation goes on.
        mask = asked.get("mask_token_id")
        run.memory[_NOTE] = _Call(mask, block, min(block, int(asked["max_new_tokens"])))
        run.distrust((prompts == (self.mask_id() if mask is None else mask)).any(1), "special_token_in_prompt")

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """A pass shows everything, masks last; `position_ids` say what each row is."""
        import torch

        if "again" in run.memory:
            raise sri_sdk.SriError("a second generation in one watch; watch one generation at a time")
        ids, asked = call.input_ids, run.memory.get(_NOTE)
        mask = self.mask_id() if asked is None or asked.mask is None else asked.mask
        if mask is None:
            raise sri_sdk.SriError("no mask token is known. Set model.config.mask_token_id, or pass mask_token_id")
        if call.kwargs.get("position_ids") is None and (asked is not None or not call.kwargs):
            raise sri_sdk.SriError(
                f"a pass whose position_ids cannot be seen{'' if asked is None else f', which {OWN} states'}: masks "
                "stand behind what is known, so its rows cannot be placed. Call the trunk with keywords, not from "
                "code that runs no Python, as a CUDA graph"
            )
        columns = self._columns(call)
        canvas = Canvas.of(run)
        if canvas is None:
            canvas = self._begin(ids, columns, mask, asked, run)
            if canvas is None:
                return None
        elif len(ids) != canvas.requests:
            raise sri_sdk.SriError(f"a pass of {len(ids)} rows after one of {canvas.requests}: rows must stay in place")
        places = (columns - canvas.starts[:, None]).masked_fill(columns < 0, PADDING)
        open_ = torch.zeros_like(places).bool().scatter(1, columns.clamp(min=0), (ids == mask) & (places >= 0))
        places = canvas.see(ids, positions=places)
        active = open_.any(1)
        if not bool(active.any()):
            run.reads(ids)
            return None
        block = self.config.block if asked is None else asked.block
        positions = places.masked_fill(places < 0, PADDING)
        if block is not None:
            first = block_in_work(open_, block, -canvas.starts[:, None]) - canvas.starts[:, None]
            positions = positions.masked_fill((places < first) | (places >= first + block), PADDING)
        return StepPlan(positions, shift=0, committed=canvas.committed, active=active, places=places)

    def _columns(self, call: ForwardCall) -> torch.Tensor:
        """[B, L]: the column of each row in the text as it reads, padding on the left counted; negative = padding."""
        import torch

        ids, places = call.input_ids, call.kwargs.get("position_ids")
        if call.kwargs.get("past_key_values") is not None or call.kwargs.get("use_cache"):
            raise sri_sdk.SriError("a pass with a cache: WeDLM's streaming engine is not read, only passes without one")
        if places is None:
            places = torch.arange(ids.shape[1], device=ids.device)[None]
        real = call.kwargs.get("attention_mask")
        if real is None or real.shape != ids.shape:
            return torch.broadcast_to(places, ids.shape)
        columns: torch.Tensor = places + (real == 0).sum(1, keepdim=True)
        return columns.masked_fill(real == 0, -1)

    def _begin(
        self, ids: torch.Tensor, columns: torch.Tensor, mask: int, asked: _Call | None, run: RunView
    ) -> Canvas | None:
        """Where responses begin, by [B, L] ids and columns: as the call said, else at the last run of masks."""
        text = ids.new_full(ids.shape, 0 if mask else 1).scatter(1, columns.clamp(min=0), ids)
        if asked is not None:
            start = ids.shape[1] - asked.first
            return Canvas(ids.new_full((1,), start), None, mask).remember(run)
        if not bool((ids == mask).any()):
            return None
        found = Canvas.find(text, mask, run=run)
        if not found.size or found.batch != found.requests:
            raise sri_sdk.SriError("the first pass has masks, but none at its end, or guidance: neither can be watched")
        return Canvas(found.starts, None, mask).remember(run)

    def prompt_columns(self, call: ForwardCall, plan: StepPlan | None, run: RunView) -> torch.Tensor | None:
        """[R, L]: the first step shows the whole prompt."""
        return None if plan is None else self._columns(call)

    def expected_steps(self, budget: int) -> int | None:
        """Unknown: a threshold decides how much a step fills in."""
        return None

    # -- for the conformance kit -----------------------------------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """The stand-in and its own method, which takes one prompt at a time: 14 tokens in blocks of four."""
        from sri_plugin_block.stand_ins.wedlm import case

        return case(cls)

    # -- for driven sampling ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, config: Any) -> LoadedModel:
        """The checkpoint brings its own code."""
        return load_checkpoint(config, family="wedlm", works_with="transformers>=4.57,<5", own_code=True)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """One pass over [B, L] ids as the family makes it: masks moved behind what is known, each at its own position.

        Logits are [B, L, V], in the columns of `input_ids`. No cache.
        """
        import torch

        if use_cache or cache is not None:
            raise ConfigError("hook wedlm: driven passes keep no cache; leave out use_cache.")
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        kind = real + ((input_ids == self.mask_id()) & real.bool()).long()
        order = kind.argsort(dim=1, stable=True)
        output = self.model(
            input_ids=input_ids.gather(1, order), attention_mask=real.gather(1, order),
            position_ids=(real.cumsum(1) - 1).clamp(min=0).gather(1, order), use_cache=False,
        )  # fmt: skip
        back = order.argsort(dim=1)
        return ForwardOutput(output.logits.gather(1, back[..., None].expand(-1, -1, output.logits.shape[2])))

    def mask_id(self) -> int | None:
        """From the checkpoint's config."""
        return getattr(unwrapped(self.model).config, "mask_token_id", None)

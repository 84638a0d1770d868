"""The hook of SDAR and TraDo: block diffusion, watched through `block_diffusion_generate(model, ...)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

import sri_sdk
from sri_plugin_block.hook import BlockHook, length_of
from sri_sdk.canvas import Canvas, LaterPasses, Window
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import ConfigError
from sri_sdk.records import ForwardCall, LoadedModel, RunView, StepPlan
from sri_sdk.structure import class_names, unwrapped

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 2

SET_IT = "model.config.{field} is not set. Set it before the watch, or `{option}` under model.options in YAML."


class SdarHook(BlockHook):
    """Row i predicts token i. Of three kinds of pass only one is a step: the one that stores nothing.

    prefill: the whole blocks of the prompt, stored; denoise: one block, not stored; commit: the same block, clean and
    stored. The first block can hold the end of the prompt beside the beginning of the response. The sampler is a
    function, so a watch sees passes only; it calls the model itself, so their arguments show.
    """

    CLASSES: ClassVar = ("SDARForCausalLM", "SDARMoeForCausalLM")

    class Config(CheckpointConfig):
        """What an operator may write under `model.options`."""

        block: int | None = Field(
            default=None, ge=1, description="Tokens per block, where the checkpoint's config has no block_size."
        )
        mask_id: int | None = Field(
            default=None, ge=0, description="Id of the mask token, where the checkpoint's config has no mask_token_id."
        )

    def __init__(self, model: Any, config: Any = None) -> None:
        super().__init__(model, config)
        if self.mask_id() is None:
            raise ConfigError(f"hook sdar: {SET_IT.format(field='mask_token_id', option='mask_id')}")

    # -- what one forward pass means -------------------------------------------------------------------------

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        """`generate` is the one that transformers gives to every causal model, and decodes from left to right."""
        found = getattr(type(unwrapped(self.model)), call, None)
        if getattr(found, "__module__", "").startswith("transformers."):
            raise ConfigError(
                f"{class_names(self.model)[0]}.{call}(): transformers' own, which decodes one token after the other; "
                "SDAR's sampler is block_diffusion_generate(model, ...) in its repository's generate.py."
            )

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """A pass is a step if it stores nothing; its columns lie behind what was stored."""
        if self._shows_all(call):
            return self._plan_of_all(call, run)
        ids, window = call.input_ids, Window.of(run) or Window().remember(run)
        mask = self.mask_id()
        assert mask is not None
        cached = length_of(call.kwargs)
        if run.forwards == 1 and cached:
            raise sri_sdk.SriError(f"the first pass continues a cache of {cached} tokens; watch from the prompt on")
        stored, canvas = call.kwargs.get("store_kv"), Canvas.of(run)
        if stored is None:
            # The arguments could not be seen: a block to be stored is one without a hole. In the first step every row
            # has some; before it, a hole is a prompt's own.
            holes = (ids == mask).any(1)
            stored = not bool(holes.all() if canvas is None else holes.any())
        if canvas is not None and len(ids) != canvas.requests:
            raise sri_sdk.SriError(f"a pass of {len(ids)} rows after one of {canvas.requests}: rows must stay in place")
        first = window.behind(cached, ids.shape[1])
        if stored:
            window.store(ids.shape[1])
            # What the block's last step filled in shows nowhere else.
            run.shows(ids.new_full(ids.shape, -1) if canvas is None else canvas.see(ids, first))
            return None
        masked = ids == mask
        if canvas is None:
            canvas = self._begin(first, masked, run)
        return StepPlan(canvas.see(ids, first), shift=0, committed=canvas.committed, active=masked.any(1))

    def steady(self, plan: StepPlan, run: RunView) -> LaterPasses | None:
        """Denoising passes and commits: their arguments say which is which, and where the block in work begins."""
        window, canvas = Window.of(run), Canvas.of(run)
        return None if window is None or canvas is None else _DenoiseAndCommit(window, canvas)

    def _shows_all(self, call: ForwardCall) -> bool:
        return "store_kv" not in call.kwargs and super()._shows_all(call)

    def _begin(self, first: int, masked: torch.Tensor, run: RunView) -> Canvas:
        """The response begins with the masks that end the block of the first step, behind what is left of the prompt.

        Columns are those of the cache, which is padded in a batch: rows that begin together stay together.

        Args:
            first: column of the pass's first row.
            masked: [R, L] bool tensor, tokens that are the mask.
            run: takes note of the canvas.
        """
        run.distrust(
            ~masked.any(1), "hook_failed",
            "a row of the first step has no hole: where its response will begin cannot be seen. Let the rows of a "
            "batch begin together, or watch one prompt at a time.",
        )  # fmt: skip
        mask = self.mask_id()
        assert mask is not None
        behind = masked.flip(1).long().cumprod(1).sum(1)
        canvas = Canvas(first + masked.shape[1] - behind, None, mask).remember(run)
        if canvas.requests > 1:
            run.prompt = None  # Rows of one length or not: a batch hands over responses only.
        return canvas

    def expected_steps(self, budget: int) -> int | None:
        """Unknown in every schedule: the block that the prompt ends in has fewer holes, and an end token stops."""
        return None

    # -- for the conformance kit -----------------------------------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """The stand-in and a batch of three prompts; at most 14 tokens, one response ends early."""
        from sri_plugin_block.stand_ins.example import sdar_case

        return sdar_case(cls)

    # -- for driven sampling ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, config: Any) -> LoadedModel:
        """The checkpoint brings its own code, which imports flash_attn and was written for transformers 4.52.4."""
        loaded = load_checkpoint(
            config, family="sdar", works_with="transformers>=4.52.4,<5", own_code=True,
            needs=["einops", "flash-attn"], before=_name_what_has_gone,
        )  # fmt: skip
        known = loaded.model.config
        found = {
            "mask_token_id": config.mask_id if config.mask_id is not None else loaded.tokenizer.mask_token_id,
            "block_size": config.block,
        }
        for name, value in found.items():
            if getattr(known, name, None) is None and value is not None:
                setattr(known, name, value)
        return loaded

    def _logits(self, ids: torch.Tensor, block: int) -> torch.Tensor:
        import torch

        columns = torch.arange(ids.shape[1], device=ids.device)
        seen = columns[:, None] // block >= columns // block
        output = self.model(input_ids=ids, attention_mask=seen[None, None], position_ids=columns[None], use_cache=False)
        logits: torch.Tensor = output.logits
        return logits

    def block_length(self) -> int | None:
        """From the options or the checkpoint's config; published: 4."""
        found = self.config.block or getattr(unwrapped(self.model).config, "block_size", None)
        if found is None:
            raise ConfigError(f"hook sdar: {SET_IT.format(field='block_size', option='block')}")
        return int(found)

    def mask_id(self) -> int | None:
        """From the options or the checkpoint's config."""
        found = self.config.mask_id
        return getattr(unwrapped(self.model).config, "mask_token_id", None) if found is None else found


class _DenoiseAndCommit(LaterPasses):
    """Passes over one block each, behind the first step of a generation."""

    def __init__(self, window: Window, canvas: Canvas) -> None:
        self._window, self._canvas = window, canvas
        self._begun: list[tuple[int, bool]] = []

    def goes_on(self, call: ForwardCall) -> bool:
        """Whether a pass says itself whether it stores its block, and has this generation's cache."""
        stored, cached, length = call.kwargs.get("store_kv"), length_of(call.kwargs), call.input_ids.shape[1]
        if stored is None or cached not in (None, self._window.stored):
            return False
        self._begun.append((self._window.stored, bool(stored)))
        if stored:
            self._window.store(length)
        return True

    def plans(self, input_ids: torch.Tensor) -> Iterator[StepPlan | None]:
        """[S, R, L] int64 tensor: all of them are shown, and those that store nothing are steps."""
        canvas, (passes, _, length) = self._canvas, input_ids.shape
        begun, self._begun = self._begun[:passes], self._begun[passes:]
        places = [canvas.plain_positions(first, length) for first, _ in begun]
        committed = canvas.see_many(input_ids, places, begun[-1][0] + length - canvas.earliest)
        active = (input_ids == canvas.mask_id).any(2).unbind(0)
        for (_, stored), *step in zip(begun, places, committed, active, strict=True):
            yield None if stored else StepPlan(step[0], shift=0, committed=step[1], active=step[2])


def _name_what_has_gone() -> None:
    """The family's code imports the name of a type that transformers dropped, and uses it for annotations alone."""
    from typing import TypedDict

    import transformers.utils

    class LossKwargs(TypedDict, total=False):
        num_items_in_batch: Any

    if not hasattr(transformers.utils, "LossKwargs"):
        transformers.utils.LossKwargs = LossKwargs

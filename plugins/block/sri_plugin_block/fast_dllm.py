"""The hook of Fast-dLLM v2: block diffusion in sub-blocks, watched through the model's own methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import sri_sdk
from sri_plugin_block.blocks import Blocks
from sri_plugin_block.hook import BlockHook
from sri_sdk.canvas import LaterPasses, Window
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import ConfigError
from sri_sdk.records import ForwardCall, LoadedModel, RunView, StepPlan
from sri_sdk.structure import unwrapped

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 2

_NOTE = "blocks"


class FastDllmHook(BlockHook):
    """Row i predicts token i + 1. The samplers call `self.forward`, so a watch sees ids and no arguments.

    Which columns a pass shows follows from what came before: a pass without a hole is stored (the prompt's whole
    blocks, then each block that is done), and moves the place of the next one. It does not count as a step, although
    the first token of the next block comes from it. With the block cache a pass may show a sub-block: the leftmost with
    a hole.
    """

    CLASSES: ClassVar = ("Fast_dLLM_QwenForCausalLM",)
    calls: ClassVar = ("generate", "mdm_sample", "batch_sample")

    class Config(CheckpointConfig):
        """What an operator may write under `model.options`."""

    # -- what one forward pass means -------------------------------------------------------------------------

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        """Notes what the passes do not show: how long each prompt is, and what the call means by mask and end."""
        said = self._arguments(call, args, kwargs)
        prompts = said.get("input_ids")
        if said.get("past_key_values") is not None or (said.get("kwargs") or {}).get("past_key_values") is not None:
            raise ConfigError(f"{call}(past_key_values=...): continues an earlier call; watch from the prompt on.")
        if _NOTE in run.memory:
            # Not refused here: the tokens are generated as asked, and the run reports that it cannot be trusted.
            run.memory[_NOTE] = None
            return
        lengths = said.get("seq_len")
        if lengths is None and prompts is not None:
            lengths = prompts.new_full((len(prompts),), prompts.shape[1])
        mask, stop = said.get("mask_id"), said.get("stop_token")
        mask = self._mask() if mask is None else mask
        if prompts is not None and lengths is not None:
            import torch

            # Prompts stand on the left, and masks behind the shorter ones.
            columns = torch.arange(prompts.shape[1], device=prompts.device)
            inside = columns < lengths.to(prompts.device)[:, None]
            run.distrust(((prompts == mask) & inside).any(1), "special_token_in_prompt")
        run.memory[_NOTE] = Blocks(
            mask, None if lengths is None else lengths.clone(), stop,
            said.get("block_size"), said.get("small_block_size"),
        )  # fmt: skip
        if stop is not None:
            run.eos_ids = (stop,)

    def _arguments(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, defaults included."""
        # A LoRA wrapper passes everything through without names.
        for model in (unwrapped(self.model), self.model):
            method = getattr(model, call, None)
            if method is not None:
                bound = inspect.signature(method).bind(*args, **kwargs)
                bound.apply_defaults()
                return bound.arguments
        return dict(kwargs)

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """A pass is a step if its block has a hole."""
        if self._shows_all(call):
            return self._plan_of_all(call, run)
        if _NOTE not in run.memory:
            run.memory[_NOTE] = Blocks(self._mask(), None, None, None, None)
        blocks: Blocks | None = run.memory[_NOTE]
        if blocks is None:
            raise sri_sdk.SriError("a second call generates: watch one generation at a time")
        return blocks.plan(call.input_ids, run)

    def steady(self, plan: StepPlan, run: RunView) -> LaterPasses | None:
        """Steps and passes that store, as long as they show as many columns: tokens say which is which."""
        blocks: Blocks | None = run.memory.get(_NOTE)
        return None if blocks is None else _OwnSampler(blocks, run, self._shows_all)

    def _window(self, run: RunView) -> Window | None:
        blocks: Blocks | None = run.memory.get(_NOTE)
        return None if blocks is None else blocks.window

    def lengths(self, tokens: torch.Tensor, run: RunView | None = None) -> list[int]:
        """As usual, for responses [B, P] int64.

        In a watched call, a last token that came from the pass that stored the last block does not count. Nor does what
        `responses` put behind the shorter ones.
        """
        real = (tokens >= 0).sum(1).tolist()
        found = [min(pair) for pair in zip(super().lengths(tokens, run), real, strict=True)]
        blocks = None if run is None else run.memory.get(_NOTE)
        return found if blocks is None else [blocks.counted(row, length) for row, length in enumerate(found)]

    def expected_steps(self, budget: int) -> int | None:
        """Unknown: a threshold decides how much a step fills in, and a stop token ends the call."""
        return None

    # -- for the conformance kit -----------------------------------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """The stand-in and the sampler for batches: three prompts, of which one ends early."""
        from sri_plugin_block.stand_ins.example import fast_case

        return fast_case(cls)

    # -- for driven sampling ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, config: Any) -> LoadedModel:
        """The checkpoint brings its own code."""
        return load_checkpoint(
            config, family="fast-dllm-v2", works_with="transformers>=4.53.1,<5", own_code=True, needs=["einops"]
        )

    def _logits(self, ids: torch.Tensor, block: int) -> torch.Tensor:
        # The model makes its mask of attention from block_size alone.
        logits: torch.Tensor = self.model(input_ids=ids, use_cache=False, block_size=block).logits
        return logits

    def block_length(self) -> int | None:
        """From the checkpoint's config; published: 32."""
        return int(unwrapped(self.model).config.bd_size)

    def shift(self) -> int:
        """The logits of row i predict token i + 1."""
        return 1

    def mask_id(self) -> int | None:
        """From the config, or the default of the model's own forward, where the published code has it."""
        model = unwrapped(self.model)
        found = getattr(model.config, "mask_token_id", None)
        if found is None:
            said = inspect.signature(model.forward).parameters.get("mask_id")
            found = None if said is None or said.default is said.empty else said.default
        return found

    def _mask(self) -> int:
        found = self.mask_id()
        if found is None:
            raise sri_sdk.SriError(
                "neither the config nor the model's forward names the mask token. Set model.config.mask_token_id"
            )
        return found

    @staticmethod
    def responses(samples: Mapping[int, torch.Tensor], lengths: Sequence[int]) -> torch.Tensor:
        """What `mdm_sample` returns, as `Run.returned` takes it: [R, P] responses, -1 behind the shorter ones.

        Args:
            samples: request -> its tokens, prompt first.
            lengths: tokens of each prompt.
        """
        import torch

        rows = [samples[request][length:] for request, length in enumerate(lengths)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


class _OwnSampler(LaterPasses):
    """Passes of the family's own samplers."""

    def __init__(self, blocks: Blocks, run: RunView, shows_all: Callable[[ForwardCall], bool]) -> None:
        self._blocks, self._run, self._shows_all = blocks, run, shows_all

    def goes_on(self, call: ForwardCall) -> bool:
        """Whether a pass belongs to the same call, and to none of ours."""
        return self._run.memory.get(_NOTE) is self._blocks and not self._shows_all(call)

    def plans(self, input_ids: torch.Tensor) -> Iterator[StepPlan | None]:
        """As the notes have it of [S, b, L] int64 ids."""
        return self._blocks.plans(input_ids)

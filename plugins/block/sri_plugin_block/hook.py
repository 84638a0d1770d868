"""What families that attend in blocks share: passes that show everything without a cache."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sri_sdk
from sri_plugin_block.aligned import DRIVEN, Aligned
from sri_sdk.canvas import Canvas, Window, block_in_work
from sri_sdk.errors import ConfigError
from sri_sdk.records import PADDING, ForwardCall, ForwardOutput, RunView, StepPlan
from sri_sdk.structure import LLAMA_PATHS, FixedPaths, head_reads

if TYPE_CHECKING:
    import torch


class BlockHook(FixedPaths, sri_sdk.Hook):
    """A model that fills in one block after the other, beside a key-value cache of what lies before.

    phi is the mean over the rows of the block in work, with a cache and without: so a guard that was fitted on driven
    passes, which show everything, fits the family's own sampler, which shows one block.
    """

    scheme: ClassVar[Literal["masked"]] = "masked"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "committed", "clock", "request"})
    PATHS: ClassVar = LLAMA_PATHS
    PARTS: ClassVar = ("lm_head",)

    # -- passes that show prompt and canvas whole ------------------------------------------------------------

    def _shows_all(self, call: ForwardCall) -> bool:
        """Whether this pass works without a cache: a driven one, or one of a loop of the user's own."""
        if DRIVEN.current() is not None:
            return True
        said = call.kwargs
        return bool(said) and said.get("past_key_values") is None and not said.get("use_cache")

    def _plan_of_all(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """Only the rows of each request's current block count: that of its leftmost open position."""
        import torch

        ids, aligned, mask, block = call.input_ids, DRIVEN.current(), self.mask_id(), self.block_length()
        assert mask is not None and block is not None
        columns = torch.arange(ids.shape[1], device=ids.device)[None]
        real = columns < (ids.shape[1] if aligned is None else aligned.lengths.to(ids.device)[:, None])
        canvas = Canvas.of(run)
        if canvas is None:
            starts = ids.shape[1] - (ids == mask).flip(1).long().cumprod(1).sum(1)
            if aligned is not None and run.response is not None:
                # What the batch shows of its canvas stands at the end of each row.
                starts = (aligned.lengths - (aligned.width - run.response[0])).to(ids.device)
            canvas = Canvas(starts, None, mask).remember(run)
            # Said here, as the plan below names no row of a prompt.
            before = real & (columns < starts[:, None])
            run.distrust(((ids == mask) & before).any(1), "special_token_in_prompt")
        elif len(ids) != canvas.requests:
            raise sri_sdk.SriError(
                f"a pass of {len(ids)} rows after one of {canvas.requests}: watch one generation at a time"
            )
        places = canvas.see(ids, positions=canvas.positions(columns).masked_fill(~real, PADDING))
        open_ = (ids == mask) & (places >= 0)
        active = open_.any(1)
        if not bool(active.any()):
            run.reads(ids)
            return None
        first = block_in_work(open_, block)
        # Rows that predict the block's positions, but for its first where it is known: a cached pass has no row for it.
        begin = torch.where(open_.gather(1, first), first - self.shift(), first)
        shown = (columns >= begin) & (columns < first + block - self.shift())
        positions = places.masked_fill(~(shown & active[:, None]), PADDING)
        return StepPlan(positions, shift=self.shift(), committed=canvas.committed, active=active, places=places)

    def prompt_columns(self, call: ForwardCall, plan: StepPlan | None, run: RunView) -> torch.Tensor | None:
        """[R, L]: a prompt's whole blocks are read in passes that are no steps, and what is left of it in the first."""
        import torch

        rows, length = call.input_ids.shape
        columns = torch.arange(length, device=call.input_ids.device).expand(rows, length)
        if self._shows_all(call):
            aligned = DRIVEN.current()
            return columns if aligned is None else columns + aligned.padding.to(columns.device)[:, None]
        if plan is not None:
            return super().prompt_columns(call, plan, run)
        window = self._window(run)
        return None if window is None or rows != (run.requests or rows) else columns + (window.stored - length)

    def _window(self, run: RunView) -> Window | None:
        """What is stored so far; None = nothing was seen."""
        return Window.of(run)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """One pass over [B, L] ids without a cache, block-causal by the real position of each token: padding is inert.

        Where the canvas ends within a block, the rest of that block is shown as masks. Logits are [B, L, V].
        """
        return self._driven(input_ids, attention_mask, cache, use_cache)

    def forward_last(
        self, last: int, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """As `forward` of [B, L] ids, with logits of the last rows alone."""
        return self._driven(input_ids, attention_mask, cache, use_cache, last)

    def _driven(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: Any, use_cache: bool,
        last: int | None = None,
    ) -> ForwardOutput:  # fmt: skip
        """A pass over [B, L] ids; `last` = rows that get logits, None = all."""
        if use_cache or cache is not None:
            raise ConfigError(f"{type(self).__name__}.forward(): driven passes keep no cache; leave out use_cache.")
        block, mask = self.block_length(), self.mask_id()
        assert mask is not None and block is not None
        aligned = Aligned.of(input_ids, attention_mask, block, mask)
        head = None if last is None else self.head()
        with (
            DRIVEN.attached(aligned),
            head_reads(self.model, head, lambda states: aligned.back(states, last)) as narrowed,
        ):
            logits = self._logits(aligned.ids, block)
        return ForwardOutput(logits if narrowed else aligned.back(logits))

    @abstractmethod
    def _logits(self, ids: torch.Tensor, block: int) -> torch.Tensor:
        """[B, W] ids whose columns are their positions -> [B, W, V], with block-causal attention."""


def length_of(kwargs: Mapping[str, Any]) -> int | None:
    """Columns in the cache that a pass is given; None = it has none, or its arguments could not be seen."""
    past = kwargs.get("past_key_values")
    return None if past is None else int(past.get_seq_length())

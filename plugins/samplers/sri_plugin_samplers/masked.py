"""Masked diffusion: predict every open position, commit some, mask the rest again. What orders share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

import sri_sdk
from sri_plugin_samplers.blocks import Blocks
from sri_plugin_samplers.commit_schedule import CommitSchedule, Schedule, surest
from sri_plugin_samplers.rows import RowRandom
from sri_sdk.errors import ConfigError

if TYPE_CHECKING:
    import torch


class MaskedSampler(sri_sdk.Sampler):
    """Fills a canvas of masks, block by block. A subclass says which predictions to keep first."""

    schemes: ClassVar = frozenset({"masked"})
    prefills: ClassVar = True
    order: ClassVar[str]
    """Its name in YAML."""

    class Config(sri_sdk.Config):
        """The generation profile; the defaults are those of arXiv 2602.02600."""

        steps: int = Field(32, ge=1, description="Most denoising steps of the whole response, shared by its blocks.")
        tokens: int = Field(128, ge=1, description="Response length in tokens.")
        block: int | None = Field(
            None, ge=1, description="Tokens denoised together; null = the whole response, or the model's own blocks."
        )
        block_steps: int | None = Field(
            None, ge=1, description="Steps one block is planned for; null = steps, shared evenly by the blocks."
        )
        schedule: Schedule = Field(
            "even",
            description="How many positions a step commits: a fixed number, Dream's share of time, or by chance.",
        )
        eps: float = Field(1e-3, gt=0, lt=1, description="Time at which linear-time and binomial schedules end.")
        temperature: float = Field(0.0, ge=0, description="0 = greedy; higher = Gumbel noise on the logits.")
        cfg_scale: float = Field(
            0.0, ge=0, description="Classifier-free guidance; above 0 each pass doubles the batch."
        )
        stop_at_end: bool = Field(
            False, description="Whether a row stops once an end token and all before it are committed."
        )

        @model_validator(mode="after")
        def _divides(self) -> Self:
            block = self.block or self.tokens
            blocks = self.tokens // block
            if self.tokens % block or (self.block_steps is None and self.steps % blocks):
                raise ValueError(
                    f"tokens {self.tokens} and steps {self.steps} do not divide into blocks of {block}; "
                    "choose a block that divides tokens, and steps that the number of blocks divides"
                )
            each = self.block_steps or self.steps // blocks
            if each * blocks > self.steps:
                raise ValueError(f"{blocks} blocks of {each} steps exceed steps {self.steps}; raise steps")
            if self.schedule == "even" and each > block:
                raise ValueError(f"{each} steps exceed the {block} tokens of a block: some steps would commit nothing")
            return self

    config: Config

    @abstractmethod
    def confidence(self, logits: torch.Tensor, guess: torch.Tensor, random: RowRandom) -> torch.Tensor:
        """How strongly to keep each prediction; the highest are committed first.

        Args:
            logits: [B, R, V] float32, of R positions from left to right, without temperature.
            guess: [B, R] int64, the token predicted there.
            random: of the rows.

        Returns:
            [B, R] float32.
        """

    def budget(self) -> int:
        """Denoising steps; rows that are done earlier stop earlier."""
        return self.config.steps

    def is_fixed(self) -> bool:
        """Unless rows end by chance or by what they say."""
        return self.config.schedule != "binomial" and not self.config.stop_at_end

    def pace(self) -> Mapping[str, Any] | None:
        """With `block_steps`, a block is filled in the same way however many follow. Without them the length sets it.

        Where every pass shows the whole canvas the first steps see how long it is; guards refuse a horizon there.
        """
        if self.config.block_steps is None:
            return None
        return self.config.model_dump(mode="json", exclude={"tokens", "steps"})

    def canvas(self) -> int:
        """Response tokens."""
        return self.config.tokens

    def steps(
        self, hook: sri_sdk.Hook, prompts: sri_sdk.Encoded, prompt_ids: Sequence[str], seed: int = 0
    ) -> Generator[sri_sdk.SamplerStep, sri_sdk.Intervention | None, None]:
        """Denoises a batch; every row stops when its response is full, or ends.

        A started response leaves fewer holes, and the steps of each block share them: with fewer holes than steps the
        block takes one step per hole, as the published loops do whose remaining passes change nothing. A block without
        holes takes no step.
        """
        import torch

        tokens, (mask, ends) = self.config.tokens, self._special(hook)
        batch, device = len(prompts.input_ids), prompts.input_ids.device
        blocks, pace = self._blocks(hook, prompts)
        random = RowRandom(seed, prompt_ids)
        canvas = prompts.input_ids.new_full((batch, blocks.width), mask)
        if prompts.response is not None:
            given = prompts.response[:, :tokens]
            canvas[:, : given.shape[1]] = given
        started = canvas != mask
        running = torch.ones(batch, dtype=torch.bool, device=device)
        # What no pass has shown yet has no prediction: it reads as the end.
        fill = ends[0] if ends else int(mask == 0)
        draft = canvas.masked_fill(~started, fill)
        for index in range(self.config.steps):
            open_ = canvas == mask
            active = running & open_[:, :tokens].any(1) & ~self._ended(canvas[:, :tokens], mask, ends)
            if not active.any():
                return
            allowed = open_ & blocks.choose(open_[:, :tokens]) & active[:, None]
            # A row that is done shows no holes: to a hook, too, it has nothing left to fill.
            shown = canvas.masked_fill(open_ & ~active[:, None], fill)[:, : blocks.reach()]
            guess, score, confidence = self._predict(hook, prompts, shown, blocks, mask, random)
            left = blocks.left(self.config.steps - index)
            counts = pace.counts(allowed, blocks.spent, left, random, given=blocks.count_in_work(started))
            commit = surest(score, allowed, counts)
            commit = self._faster(commit, confidence, allowed)
            blocks.count()
            canvas = torch.where(commit, guess, canvas)
            # The last prediction of a row that is done stands.
            new = torch.where(canvas == mask, torch.where(guess == mask, fill, guess), canvas)
            draft = torch.where(active[:, None], new, draft)
            intervention = yield sri_sdk.SamplerStep(index, draft[:, :tokens], canvas[:, :tokens] != mask, active)
            if intervention is not None:
                running = running.clone()
                running[list(intervention.abort)] = False
                if intervention.remask is not None:
                    # A stopped row keeps its canvas, whatever else was asked for.
                    opened = canvas[:, :tokens].masked_fill(intervention.remask & running[:, None], mask)
                    canvas = torch.cat([opened, canvas[:, tokens:]], dim=1)

    def _special(self, hook: sri_sdk.Hook) -> tuple[int, tuple[int, ...]]:
        """The mask token and the end tokens."""
        mask, ends, family = hook.mask_id(), hook.eos_ids(), type(hook).__name__
        if mask is None:
            raise ConfigError(f"sampler {self.order}: {family} has no mask token. Use a sampler of its own scheme.")
        if self.config.stop_at_end and not ends:
            raise ConfigError(f"sampler {self.order}: stop_at_end is set, but {family} has no end token. Leave it out.")
        return mask, ends

    def _blocks(self, hook: sri_sdk.Hook, prompts: sri_sdk.Encoded) -> tuple[Blocks, CommitSchedule]:
        """The rows' blocks, and what a block's steps commit."""
        config, own, name = self.config, hook.block_length(), f"sampler {self.order}"
        if own is not None and config.block not in (None, own):
            raise ConfigError(
                f"{name}: block {config.block}, but {type(hook).__name__} attends in blocks of {own}. "
                f"Leave block out, or set it to {own}."
            )
        causal, size = own is not None, own or config.block or config.tokens
        steps = config.block_steps or config.steps // -(-config.tokens // size)
        most = Blocks.most(config.tokens, size, causal=causal)
        if config.steps < most:
            raise ConfigError(
                f"{name}: steps {config.steps}, but {config.tokens} tokens behind a prompt of any length touch up to "
                f"{most} blocks of {size}, and each takes a step. Set steps to {most} or more."
            )
        if config.schedule == "even" and steps > size:
            raise ConfigError(f"{name}: block_steps {steps} exceed the {size} tokens of a block. Set {size} or less.")
        lengths = prompts.attention_mask.sum(1)
        pace = CommitSchedule(config.schedule, steps, size, config.eps, prompts.input_ids.device)
        return Blocks(lengths, config.tokens, size, steps, causal=causal), pace

    def _ended(self, canvas: torch.Tensor, mask: int, ends: Sequence[int]) -> torch.Tensor:
        """[B] bool: rows with an end token before their first hole."""
        import torch

        if not self.config.stop_at_end:
            return canvas.new_zeros(len(canvas), dtype=torch.bool)
        whole = (canvas != mask).long().cumprod(1).bool()
        return (whole & torch.isin(canvas, torch.tensor(ends, device=canvas.device))).any(1)

    def _predict(
        self, hook: sri_sdk.Hook, prompts: sri_sdk.Encoded, shown: torch.Tensor, blocks: Blocks, mask: int,
        random: RowRandom,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
        """One pass: token guesses [B, W], what to keep first [B, W], and how sure each is [B, W].

        Where the model attends in blocks, only those of the block in work are looked at; elsewhere the guess is a mask.
        """
        columns = blocks.columns()
        logits = self._logits(hook, prompts, shown, columns, mask).float()
        guess = self._guess(logits, mask, random)
        confidence = self.confidence(logits, guess, random)
        score = self._score(confidence, random)
        if columns is None:
            return guess, score, confidence
        # The first block begins inside the prompt: what lies there is written into a column that is cut off again.
        width = blocks.width
        where = columns.masked_fill((columns < 0) | (columns >= width), width)
        none = confidence.new_full((len(guess), width + 1), float("-inf"))
        tokens = guess.new_full((len(guess), width + 1), mask).scatter(1, where, guess)
        return (
            tokens[:, :width],
            none.scatter(1, where, score)[:, :width],
            none.scatter(1, where, confidence)[:, :width],
        )

    def _guess(self, logits: torch.Tensor, mask: int, random: RowRandom) -> torch.Tensor:
        """[B, R] token ids; a mask is a hole, not a word, and is never one of them."""
        hole = logits[..., mask].clone()
        logits[..., mask] = float("-inf")
        noisy = logits
        if self.config.temperature > 0:
            noisy = logits / self.config.temperature + random.gumbel(logits.shape[1:], logits.device)
        guess = noisy.argmax(-1)
        # Published loops measure confidence on the whole distribution, the mask's share included.
        logits[..., mask] = hole
        return guess

    def _logits(
        self, hook: sri_sdk.Hook, prompts: sri_sdk.Encoded, shown: torch.Tensor, columns: torch.Tensor | None, mask: int
    ) -> torch.Tensor:
        """Logits [B, R, V] that predict these columns of the canvas, guided if asked for; None = all it shows."""
        import torch

        ids = torch.cat([prompts.input_ids, shown], dim=1)
        attention = torch.cat([prompts.attention_mask, torch.ones_like(shown)], dim=1)
        wanted = shown.shape[1] + hook.shift()
        # Where the model attends in blocks, a column may lie in the prompt.
        forward = partial(hook.forward_last, wanted) if columns is None else hook.forward

        def those(logits: torch.Tensor) -> torch.Tensor:
            # A pass may leave out the logits of the prompt, so rows are counted from the end.
            first = logits.shape[1] - wanted
            if columns is None:
                return logits[:, first : first + shown.shape[1]]
            rows = (first + columns).clamp(0, logits.shape[1] - 1)
            return logits.gather(1, rows[..., None].expand(-1, -1, logits.shape[2]))

        if self.config.cfg_scale <= 0:
            return those(forward(ids, attention).logits)
        # Padding stays padding: only what the prompt says is hidden from the unconditional half.
        hidden = torch.cat([prompts.input_ids.masked_fill(prompts.attention_mask == 1, mask), shown], dim=1)
        both = forward(torch.cat([ids, hidden]), attention.repeat(2, 1)).logits
        conditional, unconditional = (those(half) for half in both.chunk(2))
        return unconditional + (self.config.cfg_scale + 1) * (conditional - unconditional)

    def _score(self, confidence: torch.Tensor, random: RowRandom) -> torch.Tensor:
        """[B, R]: what is committed first."""
        return confidence

    def _faster(self, commit: torch.Tensor, confidence: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """[B, W] bool: what is committed instead of the scheduled positions."""
        return commit


class ConfidenceSampler(MaskedSampler):
    """An order that the model's own confidence makes: it may also decide how many."""

    class Config(MaskedSampler.Config):
        """The generation profile; the defaults are those of arXiv 2602.02600."""

        threshold: float | None = Field(
            None, description="Confidence above which all positions of a block are committed at once; null = never."
        )
        order_temperature: float = Field(
            0.0, ge=0, description="0 = the surest first; higher = drawn by softmax(confidence / it), Dream's alg_temp."
        )

    config: Config

    def is_fixed(self) -> bool:
        """Not with a threshold, which fills the canvas when it can."""
        return self.config.threshold is None and super().is_fixed()

    def _score(self, confidence: torch.Tensor, random: RowRandom) -> torch.Tensor:
        if self.config.order_temperature <= 0:
            return confidence
        # The highest of these are a draw without replacement from the softmax.
        noise = random.gumbel(confidence.shape[1:], confidence.device)
        return confidence / self.config.order_temperature + noise

    def _faster(self, commit: torch.Tensor, confidence: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """[B, W] bool: all above the threshold, if they are at least as many as scheduled (LLaDA2, SDAR)."""
        if self.config.threshold is None:
            return commit
        sure = allowed & (confidence > self.config.threshold)
        return sure.where((sure.sum(1) >= commit.sum(1))[:, None], commit)

"""Extension point `sri.hooks`: what the SDK must know about one model family."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sri_sdk.canvas import Canvas, FollowingPasses
from sri_sdk.errors import ConfigError, ConformanceError, SriError
from sri_sdk.older_hooks import BothNames
from sri_sdk.plugin import Config, Plugin
from sri_sdk.prefill import pieces
from sri_sdk.records import Encoded, ForwardCall, ForwardOutput, LoadedModel, Match, RunView, StepPlan
from sri_sdk.structure import cache_argument, cache_of, sublayers_of, takes_argument, unwrapped
from sri_sdk.thoughts import KNOWN, Thoughts

if TYPE_CHECKING:
    import torch

Scheme = Literal["autoregressive", "masked", "canvas"]
"""Autoregressive: one token after the other. Masked: holes are filled in. Canvas: every token of a block may change at
every step, and none is a hole."""
KEEPS_LOGITS = "logits_to_keep"
"""What transformers' models call the rows whose logits they make, counted from the end."""
Capability = Literal["phi", "input_ids", "committed", "draft", "clock", "budget", "request"]


class Hook(BothNames, Plugin):
    """One model family: where its states are, and what each forward pass means.

    A hook never touches generation. The tap calls `plan` before every forward pass of a watched model and pools
    the rows that `plan` names; if `plan` raises, the run becomes `unmonitored` and the model goes on undisturbed. A
    steering of steps or positions asks `plan` as well, with a `RunView` of its own; there, what it raises ends the
    generation, which would otherwise go on unsteered.
    One hook object may serve several threads: what belongs to one generation goes into `RunView.memory`.
    """

    scheme: ClassVar[Scheme]
    """How the family generates; decides which pooling profiles make sense."""
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"phi"})
    """What the family can deliver. A guard that needs more is refused when its config is checked."""
    calls: ClassVar[tuple[str, ...]] = ("generate",)
    """Methods of the model that generate. A watch sees their arguments before they run and the tokens they return;
    names the model lacks are skipped. Functions that take the model as an argument are not seen."""

    thoughts: Thoughts = KNOWN
    """What the family writes around its thoughts, if it thinks before it answers: `Thoughts([("<plan>", "</plan>")])`
    adds to the usual marks. A config adds more under `model.thoughts`."""

    observed_methods: ClassVar[tuple[str, ...]] = ()
    """Methods that a generation of the family goes through in eager code, such as one denoising step, and whose results
    show what passes do not. A watch passes them to `on_method_result`; names the model lacks are skipped."""

    firings: ClassVar[int] = 1
    """How often the tapped modules run in one forward pass; the last time counts. More often is a reason not to trust a
    run, since nothing says which output is the state."""

    edits_tokens: ClassVar[bool] = False
    """Whether loops of the family put other tokens in place of committed ones, as LLaDA2.1's does. A guard then takes
    only a position that is opened again for tampering (`canvas_rewritten`), not one that changes."""

    follows_moves: ClassVar[bool] = False
    """Whether `plan` follows tokens that are inserted and deleted. Without it a model that says of itself that it does
    so is refused before anything runs: its positions are not the same from step to step."""

    def __init__(self, model: Any, config: Any = None) -> None:
        """Takes a loaded model; `config` holds the options, None = defaults."""
        # A live model needs none of the options that load one: those without a default, as a checkpoint's `source`,
        # are left out.
        super().__init__(type(self).Config.model_construct() if config is None else config)
        self.model = model

    # -- which models, and where to look ---------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def fits(cls, model: Any) -> Match:
        """Says whether this hook fits, by structure and class name (`model_type` alone is not enough), and why."""

    @abstractmethod
    def final_norm(self) -> torch.nn.Module:
        """The module whose output is the post-norm hidden state [B, L, D]. Never the root, `.model` or the head."""

    @abstractmethod
    def layers(self) -> Sequence[torch.nn.Module]:
        """The residual blocks, first to last."""

    def sublayers(self, kind: Literal["attention", "mlp"]) -> Sequence[torch.nn.Module]:
        """Of each block, the module whose output is what its attention or MLP adds to the residual stream.

        For steering. The default looks for the usual names in each block.

        Raises:
            SriError: a block has no such module.
        """
        return sublayers_of(self.layers(), kind, type(self).__name__)

    @abstractmethod
    def embedding(self) -> torch.nn.Module:
        """The token embedding: it runs first in every forward pass and receives the input ids."""

    @abstractmethod
    def hidden_size(self) -> int:
        """D."""

    def head(self) -> torch.nn.Module | None:
        """The matrix that makes logits of what `final_norm` puts out: with it, a run checks `StepPlan.shift`.

        None = not known; the shift is then believed.
        """
        get = getattr(unwrapped(self.model), "get_output_embeddings", None)
        found: torch.nn.Module | None = get() if callable(get) else None
        return found

    # -- what one forward pass means -------------------------------------------------------------------------

    @abstractmethod
    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """Says what the rows of this forward pass are, or None if it is not a step (commit, encoder, verify).

        Raise on a pass that fits nothing, such as the prompt of a second generation: the run becomes `unmonitored`.
        """

    def steady(self, plan: StepPlan, run: RunView) -> FollowingPasses | None:
        """Says how the passes behind a planned one go on, if they may go on without being asked about one by one.

        Optional, for speed: a watch that need not decide meanwhile then looks at the tokens of all of them at once. The
        SDK's canvas makes them for most masked families (`Canvas.steady`), and `OneTokenPasses` for autoregressive
        ones. A class that writes a `plan` of its own must say it anew, or every pass is planned.

        Args:
            plan: of the pass before; the next one shows ids of the same shape.
            run: the generation.

        Returns:
            None, the default = every pass is asked about with `plan`.
        """
        return None

    def entry(self) -> torch.nn.Module:
        """The module whose call begins a forward pass: its keyword arguments are what `plan` sees.

        The default is the model itself. Families whose loops call an inner part, and so go around the model's own
        forward, name that part.
        """
        found: torch.nn.Module = self.model
        return found

    def accepted_rows(self, run: RunView, tokens: torch.Tensor | None = None) -> int | None:
        """Says how many rows of the last pass whose plan was `tentative` were kept, counted from its first row.

        Only for families that verify drafts. Asked behind `plan` at each later pass until it is known, and when the
        call has returned.

        Args:
            run: the generation.
            tokens: [R, L] int64 tensor, what the call returned, with the prompt where the call returns it; None = it
                goes on.

        Returns:
            None = not known yet.
        """
        return None

    def prompt_modules(self) -> tuple[torch.nn.Module, Sequence[torch.nn.Module], torch.nn.Module] | None:
        """Embedding, blocks and last norm of a part of the model that reads prompts and does nothing else.

        For the capability `request`, where prompts do not go through the modules above. Their passes are asked about
        with `plan` None. None = prompts go the same way as everything else.
        """
        return None

    def prompt_columns(self, call: ForwardCall, plan: StepPlan | None, run: RunView) -> torch.Tensor | None:
        """Says which tokens of the prompt the rows of a pass are; asked after `plan`, until the request was read.

        For the capability `request`. The default knows it of every pass that is a step, where the whole prompt is in
        the first one, or a `Canvas` says where each response begins. Families that read a prompt in passes that are no
        steps override it.

        Args:
            call: the pass.
            plan: what `plan` said of it; None = it is not a step.
            run: the generation.

        Returns:
            [R, L] int64 tensor, in the order of the requests: the column of the prompt, padding on the left counted, at
            which the token of each row stands. Numbers below 0 or beyond the prompt are no part of it. None = the pass
            shows nothing of the prompt.
        """
        if plan is None:
            return None
        positions = plan.positions if plan.rows is None else plan.positions[plan.rows]
        if (canvas := Canvas.of(run)) is not None:
            return positions + canvas.starts[:, None]
        if run.prompt is not None:
            return positions + run.prompt
        return positions + positions.shape[1] if self.scheme == "autoregressive" and not run.steps else None

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        """Looks at the arguments of one of `calls` before it runs, and notes in `run.memory` what passes do not show.

        Raises:
            SriError: what was asked for cannot be watched (beam search, speculation). Nothing is generated then.
        """

    def on_method_result(self, call: str, result: Any, run: RunView) -> None:
        """Notes what one of `observed_methods` returned; neither changes nor keeps it, since models reuse tensors."""

    # Deprecated: their names in plugin API 1, for hooks that call `super()` by them. See `older_hooks`.
    hears = observed_methods
    admit = on_call
    heard = on_method_result

    def expected_steps(self, budget: int) -> int | None:
        """Steps a generation with this step budget must have; None if the family may stop early."""
        return budget if self.scheme == "masked" else None

    # -- for the conformance kit -----------------------------------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """A small model with its own generate call, for the conformance kit: a `sri_sdk.testing.HookCase`.

        Raises:
            ConformanceError: the family has none.
        """
        raise ConformanceError(
            f"{cls.__name__} has no example() to be checked on. Build a model with few weights there, as config class "
            "and small sizes, and return a sri_sdk.testing.HookCase."
        )

    # -- for driven sampling ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, config: Config) -> LoadedModel:
        """Loads model and tokenizer from the options. Needed only for commands that start from a YAML file.

        Raises:
            ConfigError: the family cannot be loaded by name.
        """
        raise ConfigError(f"{cls.__name__} cannot load a model by itself; load it in Python and use sri_sdk.watch().")

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> Encoded:
        """Prompts as tokens with the chat template, padded on the left, on the model's device."""
        system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        chats = [[*system, {"role": "user", "content": text}] for text in texts]
        batch = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True,
            tokenizer_kwargs={"padding_side": "left"},
        )  # fmt: skip
        device = next(self.model.parameters()).device
        return Encoded(batch["input_ids"].to(device), batch["attention_mask"].to(device))

    def tokens(self, tokenizer: Any, text: str) -> list[int]:
        """Plain text as token ids, without special tokens: a piece of a started response."""
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
        return ids

    def start(self, tokenizer: Any, texts: Sequence[str | None]) -> torch.Tensor:
        """Started responses as tokens, on the model's device.

        Each piece of text is tokenised by itself, and a hole is the mask token.

        Args:
            tokenizer: as for `encode`.
            texts: one per prompt, as `Prompt.prefill` has it; None = not started.

        Returns:
            [B, P] int64 tensor, P tokens of the longest; the mask token where a position is open, also behind the end
            of a shorter one.

        Raises:
            ConfigError: a mark of holes is malformed, or the family has no mask token.
        """
        import torch

        mask = self.mask_id()
        if mask is None:
            raise ConfigError(
                f"{type(self).__name__} has no mask token, so its response cannot have holes. Start it with plain "
                "text, or choose a masked model."
            )
        rows: list[list[int]] = []
        for text in texts:
            parts = pieces(text or "")
            rows.append([i for p in parts for i in ([mask] * p if isinstance(p, int) else self.tokens(tokenizer, p))])
        width = max(map(len, rows))
        padded = [row + [mask] * (width - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int64, device=next(self.model.parameters()).device)

    def decode(self, tokenizer: Any, tokens: torch.Tensor) -> list[str]:
        """[B, P] token ids as text, up to the end-of-sequence token.

        Special tokens are left out, except for those around thoughts: without them nobody could tell thoughts from
        the answer.
        """
        rows = [row[:steps] for row, steps in zip(tokens.tolist(), self.lengths(tokens), strict=True)]
        return self.thoughts.decode(tokenizer, rows)

    def lengths(self, tokens: torch.Tensor, run: RunView | None = None) -> list[int]:
        """Tokens of each response [B, P] up to its end-of-sequence token, that one included; P where it has none.

        Where `on_call` noted the end tokens of the call in `run.eos_ids`, these count, and not the model's own.
        """
        ends = set(self.eos_ids() if run is None or run.eos_ids is None else run.eos_ids)
        rows = tokens.tolist()
        return [next((i + 1 for i, token in enumerate(row) if token in ends), len(row)) for row in rows]

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """One forward pass of the model, as a driven sampler wants it. Logits are the model's own, unshifted.

        Args:
            input_ids: [B, L] int64 tensor; with a cache, only the tokens it does not hold yet.
            attention_mask: [B, cached + L] int64 tensor, 0 = padding; None = no padding.
            cache: what the previous pass returned.
            use_cache: whether to return a cache.

        Raises:
            SriError: a cache is asked for and the model keeps it elsewhere; it would go on from one token.
        """
        return self._pass(input_ids, attention_mask, cache, use_cache, {})

    def forward_last(
        self, last: int, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """As `forward`, for a sampler that reads the logits of the last rows only: those before them may be left out.

        With a large vocabulary, the logits of a whole batch of prompts take more memory than the model. The default
        leaves them out where transformers' models can, and never where a family has a `forward` of its own.

        Args:
            last: rows that are read, counted from the end; at least 1.
            input_ids: as for `forward`, [B, L].
            attention_mask: as for `forward`, [B, cached + L].
            cache: as for `forward`.
            use_cache: as for `forward`.
        """
        if getattr(self.forward, "__func__", None) is not Hook.forward:
            return self.forward(input_ids, attention_mask, cache, use_cache=use_cache)
        can = takes_argument(unwrapped(self.model), KEEPS_LOGITS)
        return self._pass(input_ids, attention_mask, cache, use_cache, {KEEPS_LOGITS: last} if can else {})

    def _pass(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: Any, use_cache: bool,
        options: dict[str, Any],
    ) -> ForwardOutput:  # fmt: skip
        """One pass over [B, L] ids, with further arguments of the model's forward; see `forward`."""
        if use_cache:
            options = {**options, cache_argument(self.model): cache, "use_cache": use_cache}
        if attention_mask is not None:
            # Padding on the left must not count as text: position 0 is the first real token of each row.
            positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
            options = {**options, "attention_mask": attention_mask, "position_ids": positions}
        output = self.model(input_ids=input_ids, **options)
        made = ForwardOutput(output.logits, cache_of(output))
        if use_cache and made.cache is None:
            raise SriError(
                f"{type(unwrapped(self.model)).__name__}: its output has no key-value cache, which driven sampling "
                "hands on. Generate with model.generate() under sri_sdk.watch() instead."
            )
        return made

    def block_length(self) -> int | None:
        """Tokens per block of a block-causal family, counted from the first prompt token; a pass must not show what
        lies behind the block in work. None = every pass sees the whole canvas."""
        return None

    def shift(self) -> int:
        """1 where the logits of row i predict the next token, 0 where they predict token i itself."""
        return 1 if self.scheme == "autoregressive" else 0

    def mask_id(self) -> int | None:
        """Id of the mask token, read from config or tokenizer; None where the family has none."""
        return None

    def eos_ids(self) -> tuple[int, ...]:
        """Ids that end a response."""
        model = unwrapped(self.model)
        config = getattr(model, "generation_config", None) or model.config
        eos = getattr(config, "eos_token_id", None)
        return () if eos is None else tuple(eos) if isinstance(eos, list | tuple) else (int(eos),)

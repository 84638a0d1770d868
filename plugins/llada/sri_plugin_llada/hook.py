"""The hook of LLaDA, LLaDA-1.5, iLLaDA, LLaDA-MoE and MMaDA (text): masked diffusion over the whole sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

import sri_sdk
from sri_plugin_llada.layout import CLASSES, Layout, layout_of, problem_of
from sri_sdk.canvas import Canvas, SteadyPasses, Window, replaced_columns
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import ConfigError, TokensMoved
from sri_sdk.records import Encoded, ForwardCall, ForwardOutput, LoadedModel, Match, RunView, StepPlan
from sri_sdk.structure import class_names, first_path, head_reads, module_at, modules_at, not_of_family, unwrapped

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 2

IMAGES = ("t2i_generate", "t2i_generate_decoding_stepwise")
"""MMaDA's methods that draw; their canvas holds codes of a picture."""
MASK_TOKENS = ("<|mdm_mask|>", "<|mask|>")
"""How the tokenizers of LLaDA and of LLaDA-MoE spell the mask, where they do not declare it as one."""
MMADA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>{{ '\\n' }}"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>{{ '\\n' }}"
)
"""MMaDA's chats, as its generate.py formats them: it replaces the template that its tokenizer comes with."""


class LladaHook(sri_sdk.Hook):
    """A transformer that sees both ways: every pass predicts all positions, the sampler keeps some of them.

    The samplers are functions outside the model (`generate(model, ...)`), so a watch sees passes only. With the caches
    of Fast-dLLM a pass shows a part of the sequence; its keyword arguments say which.
    """

    scheme: ClassVar = "masked"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "committed", "clock", "request"})
    calls: ClassVar = ("generate", "mmu_generate", "mmu_generate_fast", *IMAGES)

    class Config(CheckpointConfig):
        """What an operator may write under `model.options`."""

        model_class: str | None = Field(
            default=None,
            min_length=1,
            description="Class to load with, as module:Class, for code that is on PYTHONPATH and not in the "
            "checkpoint: models:MMadaModelLM with the MMaDA repository, model.modeling_llada:LLaDAModelLM with "
            "Fast-dLLM/llada. null = the checkpoint's own code.",
        )

    def __init__(self, model: Any, config: Any = None) -> None:
        super().__init__(model, config)
        if self.mask_id() is None:
            raise ConfigError(
                f"hook llada: the config of {type(unwrapped(model)).__name__} has no mask_token_id, and each "
                "checkpoint has its own. Set model.config.mask_token_id to the one that its model card gives."
            )

    # -- which models, and where to look ---------------------------------------------------------------------

    @classmethod
    def fits(cls, model: Any) -> Match:
        """By class name and by one of two layouts."""
        stranger = not_of_family(model, CLASSES, cls.calls)
        if stranger is not None and not stranger.if_named:
            return stranger
        if (problem := problem_of(model)) is not None:
            return Match(False, problem)
        layout = layout_of(model)
        assert layout is not None
        return stranger or Match(True, f"class {class_names(model)[0]}, final norm at {layout.norm}")

    def final_norm(self) -> torch.nn.Module:
        """`ln_f`, or `model.norm` of LLaDA-MoE. Not `.model`: only its forward is called, so hooks on it never fire."""
        return module_at(self.model, self._layout().norm)

    def layers(self) -> Sequence[torch.nn.Module]:
        """The residual blocks, out of their groups where they are grouped. Each returns (states, cache)."""
        path = first_path(self.model, self._layout().blocks)
        assert path is not None
        found: list[Any] = modules_at(self.model, path)
        return [block for group in found for block in group] if path.endswith("block_groups") else found

    def embedding(self) -> torch.nn.Module:
        """The token embedding; a tied head reads its weight and does not call it."""
        return module_at(self.model, self._layout().embedding)

    def hidden_size(self) -> int:
        """D."""
        weight: Any = self.embedding().weight
        return int(weight.shape[1])

    def _layout(self) -> Layout:
        layout = layout_of(self.model)
        assert layout is not None, "fits() said so"
        return layout

    # -- what one forward pass means -------------------------------------------------------------------------

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """Every pass is a step of the requests that still have a mask; the first one shows prompt and canvas whole."""
        ids, mask = call.input_ids, self.mask_id()
        assert mask is not None
        canvas, window = Canvas.of(run), Window.of(run)
        if canvas is None or window is None:
            return self._first(call, run)
        batch, length = ids.shape
        # None where the arguments could not be seen.
        past: Any = call.kwargs.get("past_key_values")
        replaced: Any = call.kwargs.get("replace_position")
        if batch == canvas.batch and past is None and length == window.width:
            return canvas.plan(ids)
        if batch == canvas.batch and past and replaced is None:
            # Fast-dLLM's prefix cache: a pass shows the rest of the sequence.
            return canvas.plan(ids, window.behind(int(past[0][0].shape[-2]), length))
        if batch == canvas.batch and past:
            # Its dual cache: a pass shows one block, whose keys replace those that the block's first, whole pass left.
            columns = replaced_columns(replaced[: canvas.requests], length)
            return canvas.plan(ids, positions=canvas.positions(columns))
        if not bool((ids == mask).any()):
            run.reads(ids)
            return None
        kind = TokensMoved if batch == canvas.batch and length > (window.width or 0) else sri_sdk.SriError
        raise kind(
            f"a pass of {batch} x {length} tokens without a cache, after one of {canvas.batch} x {window.width}: watch "
            "one generation at a time, and call the model itself, not its forward, where a cache is used"
        )

    def steady(self, plan: StepPlan, run: RunView) -> SteadyPasses | None:
        """Passes without a cache show prompt and canvas whole, each a step."""
        canvas = Canvas.of(run)
        return None if canvas is None else canvas.steady(plan, lambda call: call.kwargs.get("past_key_values") is None)

    def _first(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        mask, ids = self.mask_id(), call.input_ids
        assert mask is not None
        # dllm's samplers fill shorter rows up on the right, with the end token.
        canvas = Canvas.find(ids, mask, pad_id=next(iter(self.eos_ids()), None), run=run)
        if not canvas.size:
            if not bool((ids == mask).any()):
                return None
            raise sri_sdk.SriError("the first pass has masks, but none at its end: filling in gaps cannot be watched")
        if call.kwargs.get("past_key_values"):
            raise sri_sdk.SriError("the first pass continues a cache; watch from the first pass on")
        canvas.remember(run)
        Window(ids.shape[1]).remember(run)
        return canvas.plan(ids)

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        """MMaDA's own methods: text can be watched, pictures not; an end token may be given to the call only."""
        if call in IMAGES:
            raise ConfigError(
                f"hook llada: {call} draws a picture, and this hook watches text (mmu_generate, mmu_generate_fast, "
                "generate). Leave the picture out of the watch."
            )
        if (end := kwargs.get("eot_token")) is not None:
            run.eos_ids = (int(end),)

    def expected_steps(self, budget: int) -> int | None:
        """None: with a threshold a generation ends when it is done, and a pass does not say which sampler is at work.

        A fixed profile is covered when all its steps were seen, any other once `run.returned(tokens)` was called.
        """
        return None

    def lengths(self, tokens: torch.Tensor, run: RunView | None = None) -> list[int]:
        """As everywhere, for [B, L] token ids.

        Where responses begin in different columns (padding on the right), each counts from its own.
        """
        canvas = None if run is None else Canvas.of(run)
        if canvas is not None and canvas.start is None and canvas.size and tokens.shape[1] > canvas.size:
            import torch

            columns = canvas.starts[:, None] + torch.arange(canvas.size, device=canvas.starts.device)
            tokens = tokens.gather(1, columns.clamp(max=tokens.shape[1] - 1).to(tokens.device))
        return super().lengths(tokens, run)

    # -- for driven sampling ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, config: Any) -> LoadedModel:
        """Weights with the code of their checkpoint, or with `model_class`."""
        loaded = load_checkpoint(
            config, family="llada", works_with="transformers>=4.46,<5",
            auto=["AutoModel", "AutoModelForCausalLM"] if config.model_class is None else config.model_class,
            own_code=config.model_class is None,
        )  # fmt: skip
        said = unwrapped(loaded.model).config
        if getattr(said, "mask_token_id", None) is None:
            said.mask_token_id = _mask_of(loaded.tokenizer)
        return loaded

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> Encoded:
        """With the tokenizer's chat template; MMaDA's with the one that its own code uses."""
        if "MMadaModelLM" in class_names(self.model):
            tokenizer.chat_template = MMADA_TEMPLATE
        return super().encode(tokenizer, texts, system_prompt)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """One pass over whole sequences [B, L], without a cache. Positions are relative, so padding moves nothing."""
        return ForwardOutput(self.model(input_ids=input_ids, **self._padding(attention_mask)).logits)

    def forward_last(
        self, last: int, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """As `forward` of [B, L] ids, with logits of the last rows alone, unless the head is tied to the embedding."""
        with head_reads(self.model, self.head(), lambda states: states[:, -last:]):
            return self.forward(input_ids, attention_mask, cache, use_cache=use_cache)

    def _padding(self, attention_mask: torch.Tensor | None) -> dict[str, Any]:
        """The argument that hides padding from attention, made of a mask [B, L], 0 = padding; empty without padding."""
        # The model's own forward looks at the mask from the host too.
        if attention_mask is None or bool(attention_mask.all()):
            return {}
        if self._layout().norm == "model.norm":
            return {"attention_mask": attention_mask}
        if _ignores_masks(unwrapped(self.model)):
            raise ConfigError(
                "hook llada: Fast-dLLM's model code ignores attention masks, so prompts of different lengths disturb "
                "each other. Set batch_size: 1, or load the checkpoint with its own code."
            )
        # Not attention_mask: some copies of LLaDA's code (MMaDA's) add a causal mask to it, as GPT would need.
        return {"attention_bias": attention_mask.bool()[:, None, None, :]}

    def mask_id(self) -> int | None:
        """From the config: LLaDA and LLaDA-1.5 have another than iLLaDA, and that another than LLaDA-MoE."""
        found = getattr(unwrapped(self.model).config, "mask_token_id", None)
        return None if found is None else int(found)

    # -- for the conformance kit -----------------------------------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """The stand-in with random weights, and the published sampler: 16 tokens in two blocks and 8 steps."""
        from sri_plugin_llada.stand_ins.example import case

        return case(cls)


def _mask_of(tokenizer: Any) -> int | None:
    """Id of the mask, by the tokenizer; None = it has none."""
    if getattr(tokenizer, "mask_token_id", None) is not None:
        return int(tokenizer.mask_token_id)
    known = tokenizer.get_vocab()
    return next((int(known[text]) for text in MASK_TOKENS if text in known), None)


def _ignores_masks(model: Any) -> bool:
    """Whether it is Fast-dLLM's code: its forward takes the block to replace in the cache, and drops masks."""
    from inspect import signature

    return "replace_position" in signature(type(model).forward).parameters

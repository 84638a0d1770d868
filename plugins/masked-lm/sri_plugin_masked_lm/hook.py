"""Masked language models, used as masked diffusion models: prompt and canvas whole in every pass, every pass a step."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

import sri_sdk
from sri_plugin_masked_lm.module_paths import TABLE
from sri_sdk.canvas import Canvas, SteadyPasses
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import ConfigError, SriError, TokensMoved
from sri_sdk.structure import (
    class_names,
    closest_paths,
    find_paths,
    module_at,
    modules_at,
    not_of_family,
    paths_of,
    submodule,
    unwrapped,
)  # fmt: skip

if TYPE_CHECKING:
    import torch

    from sri_sdk.records import ForwardOutput
    from sri_sdk.structure import ModulePaths

SRI_PLUGIN_API = 2

SET_IT = "set model.config.mask_token_id = tokenizer.mask_token_id"


class MaskedLmHook(sri_sdk.Hook):
    """Any `...ForMaskedLM` of transformers, and causal models that were taught to look both ways (A2D, of dllm)."""

    scheme: ClassVar = "masked"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "committed", "draft", "clock", "budget", "request"})

    class Config(CheckpointConfig):
        """Where the weights are, and what their config does not say."""

        mask_token_id: int | None = Field(
            default=None, ge=0, description="Id of the mask token, where neither config nor tokenizer knows it."
        )
        right_shift_logits: bool | None = Field(
            default=None,
            description="Whether row i predicts token i + 1, as in some models made from causal ones; null = as the "
            "checkpoint's config says, else no.",
        )
        imports: str | None = Field(
            default=None, min_length=1,
            description="Installed package to import first, which tells transformers of its classes, such as dllm.",
        )  # fmt: skip

    # -- which models, and where to look ---------------------------------------------------------------------

    @classmethod
    def fits(cls, model: Any) -> sri_sdk.Match:
        """By class name, structure, and a mask token that is known."""
        kind, names = "a masked language model (...ForMaskedLM, or A2D...LMHeadModel)", class_names(model)
        looked, stranger = f"looked for {kind}", not_of_family(model, _is_family, cls.calls, looked=kind)
        if stranger is not None and not stranger.if_named:
            return stranger
        if getattr(unwrapped(model).config, "is_decoder", False):
            return sri_sdk.Match(False, f"{looked}, found {names[0]} whose config says is_decoder: it looks back only")
        paths = find_paths(model, TABLE)
        if paths is None:
            closest = closest_paths(model, TABLE)
            return sri_sdk.Match(False, f"{looked} whose parts are known, found {names[0]}: {closest}")
        if _noted(model, "mask_token_id") is None:
            return sri_sdk.Match(False, f"{looked}, found {names[0]}, whose config has no mask_token_id: {SET_IT}")
        return stranger or sri_sdk.Match(True, f"class {names[0]}, last norm before the head's matrix at {paths.norm}")

    def _paths(self) -> ModulePaths:
        return paths_of(self.model, TABLE)

    def final_norm(self) -> torch.nn.Module:
        """What the head's matrix reads: the norm inside the head where it has one."""
        return module_at(self.model, self._paths().norm)

    def layers(self) -> Sequence[torch.nn.Module]:
        """The residual blocks."""
        return modules_at(self.model, self._paths().layers)

    def embedding(self) -> torch.nn.Module:
        """The token embedding."""
        return module_at(self.model, self._paths().embedding)

    def hidden_size(self) -> int:
        """Width of what the head's matrix reads, which may be less than the encoder's (ELECTRA)."""
        weight: Any = self.final_norm().weight
        return int(weight.shape[-1])

    # -- what one forward pass means -------------------------------------------------------------------------

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: sri_sdk.RunView) -> None:
        """Refuses the `generate` that a model made from a causal one has inherited."""
        own = getattr(type(unwrapped(self.model)), call, None)
        if getattr(own, "__qualname__", "").startswith("GenerationMixin."):
            raise ConfigError(
                f"{class_names(self.model)[0]}.{call}() is transformers' loop from left to right, and this model fills "
                "in masks. Use a sampler of masked models, such as dllm's MDLMSampler or `sri run`."
            )

    def plan(self, call: sri_sdk.ForwardCall, run: sri_sdk.RunView) -> sri_sdk.StepPlan | None:
        """Prompt and canvas are there whole, the prompt padded on the left or filled up behind the canvas."""
        ids, mask_id = call.input_ids, self.mask_id()
        if mask_id is None:
            raise SriError(f"no mask token is known: {SET_IT}")
        if ids.dim() != 2:
            raise SriError("a pass without padding, all rows in one (flash attention): load with attention: sdpa")
        canvas = Canvas.of(run)
        if canvas is None:
            if call.kwargs.get("use_cache") or call.kwargs.get("past_key_values") is not None:
                raise SriError("a pass with a cache: block samplers (BD3LM) are not supported; use MDLMSampler")
            canvas = self._find(ids, mask_id, run)
            if canvas is None:
                return None
            canvas.remember(run)
            run.memory["shape"] = ids.shape
        elif ids.shape != run.memory["shape"]:
            found, expected = (" x ".join(map(str, shape)) for shape in (ids.shape, run.memory["shape"]))
            kind = TokensMoved if len(ids) == run.memory["shape"][0] else SriError
            raise kind(f"a pass of {found} tokens after passes of {expected}; watch one generation at a time")
        # Finished text has no mask, so no request is active in such a pass.
        return canvas.plan(ids, shift=self.shift())

    def steady(self, plan: sri_sdk.StepPlan, run: sri_sdk.RunView) -> SteadyPasses | None:
        """Every pass shows prompt and canvas whole."""
        canvas = Canvas.of(run)
        return None if canvas is None else canvas.steady(plan)

    def _find(self, ids: torch.Tensor, mask_id: int, run: sri_sdk.RunView) -> Canvas | None:
        """The canvas of a first pass over [B, L] ids; None = it has no mask."""
        behind = (ids != mask_id).flip(1).long().cumprod(1).flip(1).bool()
        # Shorter rows may be filled up on the right, with an end token or padding: nothing is ever found there.
        found = Canvas.find(ids.masked_fill(behind, -1), mask_id, pad_id=-1, run=run)
        if not found.size:
            return None
        if run.requests is not None and found.requests == len(ids) == 2 * run.requests:
            # Guidance that keeps the last token of the prompt in both halves; the conditional half comes first.
            return Canvas(found.starts[: run.requests], found.size, mask_id, batch=len(ids))
        return found

    # -- for driven sampling, and for the conformance kit ------------------------------------------------------

    @classmethod
    def load(cls, config: Any) -> sri_sdk.LoadedModel:
        """A checkpoint; what its tokenizer knows of special tokens is noted in the model's config.

        Raises:
            ConfigError: the mask token is not known, or config and options disagree about it.
        """

        def register() -> None:
            if config.imports is not None:
                from importlib import import_module

                try:
                    import_module(config.imports)
                except ImportError as err:
                    raise ConfigError(f"model.options.imports: {config.imports!r} cannot be imported: {err}.") from err

        loaded = load_checkpoint(
            config, family="masked-lm", works_with="transformers>=4.57", auto="AutoModelForMaskedLM", before=register
        )
        note_special_tokens(loaded, config)
        return loaded

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> sri_sdk.Encoded:
        """With the chat template where the tokenizer has one, else as plain text; padded on the left."""
        if getattr(tokenizer, "chat_template", None) is not None:
            return super().encode(tokenizer, texts, system_prompt)
        plain = [text if system_prompt is None else f"{system_prompt}\n\n{text}" for text in texts]
        batch = tokenizer(plain, padding=True, padding_side="left", return_tensors="pt")
        device = next(self.model.parameters()).device
        return sri_sdk.Encoded(batch["input_ids"].to(device), batch["attention_mask"].to(device))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """One pass over [B, L] ids, logits [B, L, V]; no cache.

        Positions count from each row's first real token, in the family's own numbering.
        """
        import torch

        from sri_sdk.records import ForwardOutput

        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        options: dict[str, Any] = {"attention_mask": mask}
        if "position_ids" in inspect.signature(unwrapped(self.model).forward).parameters:
            options["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0) + self.first_position()
        elif not bool(mask.all()):
            raise SriError(
                f"{class_names(self.model)[0]} takes no position_ids here, so padding on the left would move its text. "
                "Generate one prompt at a time (batch_size: 1), or prompts of one length."
            )
        return ForwardOutput(self.model(input_ids=input_ids, **options).logits)

    def first_position(self) -> int:
        """RoBERTa and its kin count from the padding's index on."""
        embeddings = submodule(self.model, f"{self._paths().embedding.rpartition('.')[0]}.position_embeddings")
        padding = getattr(embeddings, "padding_idx", None)
        return 0 if padding is None else int(padding) + 1

    def shift(self) -> int:
        """1 where the config says `right_shift_logits`, or the options do."""
        asked = self.config.right_shift_logits
        return int(bool(_noted(self.model, "right_shift_logits") if asked is None else asked))

    def mask_id(self) -> int | None:
        """From the config, where `load` has noted what the tokenizer knows; from the options as a last resort."""
        found = _noted(self.model, "mask_token_id")
        return self.config.mask_token_id if found is None else int(found)

    def eos_ids(self) -> tuple[int, ...]:
        """From the config; BERT and its kin end on the separator."""
        for name in ("eos_token_id", "sep_token_id"):
            found = _noted(self.model, name)
            if found is not None:
                return tuple(found) if isinstance(found, list | tuple) else (int(found),)
        return ()

    @classmethod
    def example(cls) -> Any:
        """A BERT of two layers with random weights, and a low-confidence loop of its own."""
        from sri_plugin_masked_lm.stand_ins.example import case

        return case(cls)


def note_special_tokens(loaded: sri_sdk.LoadedModel, options: Any) -> None:
    """Writes into the model's config what only its tokenizer or the options know.

    Raises:
        ConfigError: the mask token is not known, or the options contradict config or tokenizer.
    """
    config, tokenizer = unwrapped(loaded.model).config, loaded.tokenizer
    known = next(
        (found for source in (config, tokenizer) if (found := getattr(source, "mask_token_id", None)) is not None), None
    )
    if known is None and options.mask_token_id is None:
        raise ConfigError(
            f"hook masked-lm: neither config nor tokenizer of {loaded.source} has a mask token. If you know it, set "
            "model.options.mask_token_id; if it has none, it is not a masked model."
        )
    if None not in (known, options.mask_token_id) and known != options.mask_token_id:
        raise ConfigError(
            f"model.options.mask_token_id: {options.mask_token_id}, but {loaded.source} says {known}; leave it out."
        )
    config.mask_token_id = options.mask_token_id if known is None else known
    if getattr(config, "eos_token_id", None) is None:
        end = next((i for n in ("eos", "sep") if (i := getattr(tokenizer, f"{n}_token_id", None)) is not None), None)
        config.eos_token_id = end
    if options.right_shift_logits is not None:
        config.right_shift_logits = options.right_shift_logits


def _is_family(name: str) -> bool:
    return name.endswith("ForMaskedLM") or (name.startswith("A2D") and name.endswith("LMHeadModel"))


def _noted(model: Any, name: str) -> Any:
    """What the model's config says; None = nothing."""
    return getattr(unwrapped(model).config, name, None)

"""What both hooks of Nemotron-Labs-Diffusion share: which models are meant, where states are, what a call asks for.

One model decodes in three ways. Each layer's attention has a switch, `diffusion_lm`: with it a pass sees all of its own
tokens, without it only those before. Loops call the encoder or the root, so that passes are read at the encoder.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sri_sdk
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import ConfigError
from sri_sdk.records import LoadedModel, Match
from sri_sdk.structure import FixedPaths, ModulePaths, module_at, modules_at, unwrapped

if TYPE_CHECKING:
    import torch

NAME = "NemotronLabsDiffusionModel"
ENTRY = "encoder"
DIFFUSION, LEFT_TO_RIGHT = "bidirectional", "autoregressive"
PARADIGMS = (DIFFUSION, LEFT_TO_RIGHT)
SWITCH = "diffusion_lm"
HOOKS = {
    "generate": "nemotron-labs", "ar_generate": "nemotron-labs-ar", "linear_spec_generate": "nemotron-labs-ar",
}  # fmt: skip
"""Method of the model -> the hook that watches it."""
UNKNOWN = ("self_spec_generate", "generate_diffusion")
"""Methods of earlier publications of this code, whose passes no hook reads."""


class NemotronHook(FixedPaths, sri_sdk.Hook):
    """A model of class NemotronLabsDiffusionModel, in one of its ways to decode."""

    calls: ClassVar = (*HOOKS, *UNKNOWN)
    CLASSES: ClassVar = (NAME,)
    PATHS: ClassVar = ModulePaths("encoder.norm", "encoder.layers", "encoder.embed_tokens")
    PARTS: ClassVar = ("diffusion_head",)
    NAMED: ClassVar[str]
    """Name of the hook, as users write it."""
    PARADIGM: ClassVar[str]
    """`dlm_paradigm` of the checkpoints for which this hook is chosen without being named."""

    class Config(CheckpointConfig):
        """What an operator may write under `model.options`."""

    # -- which models, and where to look ---------------------------------------------------------------------

    @classmethod
    def fits(cls, model: Any) -> Match:
        """By class name and structure; `dlm_paradigm` says which hook is meant unless one is named."""
        match = super().fits(model)
        found = getattr(unwrapped(model).config, "dlm_paradigm", None) if match.ok else None
        if match.ok and found != cls.PARADIGM:
            return Match(
                False, f"a {NAME} whose dlm_paradigm is {found}; name this hook to watch "
                f"{' or '.join(call for call, hook in HOOKS.items() if hook == cls.NAMED)}",
                if_named=True,
            )  # fmt: skip
        return match

    @classmethod
    def unlike(cls, model: Any) -> str:
        """What in config or layers is not as the published code has it."""
        config = unwrapped(model).config
        paradigm, kind = getattr(config, "dlm_paradigm", None), getattr(config, "dlm_type", "llada")
        if paradigm not in PARADIGMS:
            return f"whose dlm_paradigm is {paradigm}; its passes are known for {' and '.join(PARADIGMS)}"
        if kind not in ("llada", None):
            return f"whose dlm_type is {kind}: its rows may predict the next token; known is llada"
        if getattr(config, "mask_token_id", None) is None:
            return "without mask_token_id in its config"
        blocks = modules_at(model, cls.PATHS.layers)
        without = [
            number for number, block in enumerate(blocks) if not hasattr(getattr(block, "self_attn", None), SWITCH)
        ]
        if without or not blocks:
            where = f"layer {without[0]}" if without else "any layer: it has none"
            return f"without self_attn.{SWITCH}, which switches attention, in {where}"
        return ""

    def entry(self) -> torch.nn.Module:
        """The encoder: `ar_generate` and `linear_spec_generate` call it directly, the root calls it too."""
        return module_at(self.model, ENTRY)

    def mask_id(self) -> int | None:
        """From the config; published: 100."""
        return int(unwrapped(self.model).config.mask_token_id)

    def eos_ids(self) -> tuple[int, ...]:
        """From the config, which the family's loops read, and not from the generation config."""
        return as_ids(getattr(unwrapped(self.model).config, "eos_token_id", None))

    # -- what a call asks for --------------------------------------------------------------------------------

    def arguments(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of one of the model's methods by name, defaults included; empty = they do not fit.

        Raises:
            ConfigError: the method decodes in a way that this hook does not read.
        """
        meant = HOOKS.get(call)
        if meant is None:
            known = ", ".join(f"{name} ({hook})" for name, hook in HOOKS.items())
            raise ConfigError(f"{NAME}.{call}(): no hook reads its passes. Watched are {known}.")
        if meant != self.NAMED:
            raise ConfigError(
                f"{NAME}.{call}(): hook {self.NAMED} reads {self._scheme_in_words()}. Use watch(model, hook={meant!r}) "
                "with a guard that was fitted that way: states of one way say nothing about the other."
            )
        try:
            bound = inspect.signature(getattr(type(unwrapped(self.model)), call)).bind(self.model, *args, **kwargs)
        except TypeError:
            return {}  # The model says so itself.
        bound.apply_defaults()
        return dict(bound.arguments)

    def check_switch(self, diffusion: bool) -> None:
        """Looks whether attention is switched as a pass needs it.

        Args:
            diffusion: whether the pass sees all of its tokens.

        Raises:
            SriError: it is not, so what the pass computes is none of this generation.
        """
        first: Any = self.layers()[0]
        if bool(getattr(first.self_attn, SWITCH)) != diffusion:
            raise sri_sdk.SriError(
                f"self_attn.{SWITCH} is {not diffusion} in a pass that needs {diffusion}: the model has one switch, "
                "and another generation, as in another thread, has turned it. Generate one at a time per model"
            )

    def _scheme_in_words(self) -> str:
        return "block diffusion" if self.scheme == "masked" else "tokens that are decoded from left to right"

    # -- for driven sampling ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, config: Any) -> LoadedModel:
        """The checkpoint brings its own code, which was written for transformers 5."""
        return load_checkpoint(
            config, family=cls.NAMED, works_with="transformers>=5.0", auto="AutoModel", own_code=True
        )


def as_ids(ends: Any) -> tuple[int, ...]:
    """End tokens as a config or a call names them: one, several, or None."""
    return () if ends is None else tuple(ends) if isinstance(ends, list | tuple) else (int(ends),)


def kind_of(kwargs: Mapping[str, Any]) -> tuple[Literal["stores", "looks"], int]:
    """What a pass does with the cache, by the arguments of the encoder, and how many tokens that holds before it.

    Raises:
        SriError: the arguments could not be seen.
    """
    if "use_cache" not in kwargs:
        raise sri_sdk.SriError(
            f"a pass of {NAME}.{ENTRY} whose arguments cannot be seen, or without use_cache: whether it stores "
            "its tokens cannot be told. Use the model's own methods, and do not compile the encoder"
        )
    past = kwargs.get("past_key_values")
    held = 0 if past is None else int(past.get_seq_length())
    return ("stores" if kwargs["use_cache"] else "looks"), held

"""The fingerprint of a live model: read from its structure, its config and a sample of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from sri_sdk.capture.digests import weights_digest as weights_digest  # known by this name before
from sri_sdk.capture.known import Digests, digests_of
from sri_sdk.capture.modules import every_module, foreign_code, plain_name
from sri_sdk.files import digest
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.structure import unwrapped

MODEL_FACTS = ("architecture", "hidden_size", "config_digest", "weights_digest", "modules_digest")
"""Hard fields of a fingerprint that are about the model alone."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a live model shows by itself, whatever the tap and the generation profile are."""

    hard: dict[str, Any]
    """`MODEL_FACTS`."""
    soft: dict[str, Any]
    """They may shift the signal a little, and an operator may accept that by name."""
    foreign: str
    """Code of others on the model, for people; empty = there is none. `soft` names it under `adapter` as well."""


def shown(hook: Hook, system_prompt: str | None) -> Shown:
    """Reads a live model; what has not changed since the last time costs a glance.

    Args:
        hook: the model family, with its live model.
        system_prompt: the system prompt; only a digest is kept.

    Raises:
        ModelMismatch: a weight cannot be read.
    """
    model = hook.model
    modules = every_module(model)
    digests, foreign = digests_of(model, modules), foreign_code(model, modules)
    soft = {
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "adapter": _adapter(model, modules, digests, foreign),
        "torch": torch.__version__.split("+")[0],
        "transformers": _transformers(),
        "system_prompt": system_prompt_fact(system_prompt),
    }
    return Shown(_facts(hook, digests), soft, foreign)


def model_facts(hook: Hook) -> dict[str, Any]:
    """Hard facts that a live model shows by itself: `MODEL_FACTS`."""
    return _facts(hook, digests_of(hook.model))


def model_circumstances(hook: Hook, system_prompt: str | None) -> dict[str, Any]:
    """Soft facts, of which `system_prompt` keeps only a digest of the text."""
    return shown(hook, system_prompt).soft


def _facts(hook: Hook, digests: Digests) -> dict[str, Any]:
    return {
        "architecture": type(unwrapped(hook.model)).__name__,
        "hidden_size": hook.hidden_size(),
        "config_digest": digests.config,
        "weights_digest": digests.weights,
        "modules_digest": digests.modules,
    }


@cache
def _transformers() -> str:
    try:
        from transformers import __version__
    except ImportError:
        return "none"
    return str(__version__)


def system_prompt_fact(system_prompt: str | None) -> str:
    """A digest: the text itself may be confidential, and fingerprints travel with bundles."""
    return digest(system_prompt)[:12] if system_prompt else "none"


def template_fact(tokenizer: Any) -> str | None:
    """SHA-256 of the chat template; None = the tokenizer shows none. Where a request stands depends on it."""
    template = getattr(tokenizer, "chat_template", None)
    return None if template is None else digest(template)


def request_prompt_fact(system_prompt: str | None) -> str | None:
    """SHA-256 of the system prompt; None = there is none. The model reads the request behind it."""
    return digest(system_prompt) if system_prompt else None


def fingerprint(
    hook: Hook, *, pooling: str, layers: tuple[str | int, ...], grid: StepGrid, sampler: Mapping[str, Any],
    system_prompt: str | None = None, request: tuple[str | int, ...] = (), tokenizer: Any = None,
    request_tokens: int | None = None,
) -> Fingerprint:  # fmt: skip
    """Everything that makes anchors comparable.

    Args:
        hook: the model family, with its live model.
        pooling: name of the pooling profile.
        layers: what is tapped: `final`, or block numbers.
        grid: the step grid.
        sampler: name and options of the sampler: the generation profile.
        system_prompt: the system prompt; only a digest is kept.
        request: where states of requests are read; empty = nowhere.
        tokenizer: whose template requests are written in; only for `request`.
        request_tokens: how many tokens of a request count, from its end; None = all of them. Only for `request`.
    """
    seen = shown(hook, system_prompt)
    hard = {
        **seen.hard,
        "layers": list(layers),
        "pooling": pooling,
        "grid": grid.to_dict(),
        "sampler": dict(sampler),
    }
    if request:
        hard["request"] = {
            "layers": list(request),
            "template": template_fact(tokenizer),
            "system_prompt": request_prompt_fact(system_prompt),
            # Left out where all count: guards and caches that were made before there was a choice stay what they are.
            **({} if request_tokens is None else {"last_tokens": request_tokens}),
        }
    return Fingerprint(hard, seen.soft)


def without_foreign_code(adapter: str, foreign: str) -> str:
    """The soft fact `adapter` of a model as if nobody had put code on top of it; `foreign` is what it names."""
    return adapter.removesuffix(foreign).removesuffix(", ") or "none"


def _adapter(model: Any, modules: Sequence[torch.nn.Module], digests: Digests, foreign: str) -> str:
    """What adapters add to the weights as the model runs now: their values, and what is switched on and how strongly.

    None of the latter is a tensor: `set_adapter`, `disable_adapter` and a scaling change the function and no weight.
    Forward hooks and replaced forwards of others are named: what they do to the signal, nobody can read off them.
    """
    running = _all_running(model, modules)
    if not running and not digests.adapted:
        return foreign or "none"
    # Adapters that are tensors and nothing else keep the digest that guards were fitted with.
    told = digest([digests.adapters, running]) if running else digests.adapters
    return told[:12] + (f", {foreign}" if foreign else "")


def _all_running(model: Any, modules: Sequence[torch.nn.Module]) -> dict[str, Any]:
    """What each module does with its adapters, by plain name."""
    # Asking a module for what it has not is what costs, so those are asked that may have it.
    asked = {
        kind
        for kind in set(map(type, modules))
        if hasattr(kind, "active_adapters") or getattr(kind, "__getattr__", None) is not torch.nn.Module.__getattr__
    }
    if not any(_running(each) for each in modules if type(each) in asked or "active_adapters" in vars(each)):
        return {}
    return {plain_name(name): state for name, module in model.named_modules() if (state := _running(module))}


def _running(module: Any) -> dict[str, Any]:
    """What one module does with its adapters, as JSON; empty where it has none. Names are those of PEFT's layers."""
    if not hasattr(module, "active_adapters") or not hasattr(module, "merged_adapters"):
        return {}
    off, merged = bool(getattr(module, "disable_adapters", False)), [str(name) for name in module.merged_adapters]
    active = [] if off else [str(name) for name in module.active_adapters]
    scaling = getattr(module, "scaling", {})
    strength = {str(name): repr(scaling[name]) for name in active if name in scaling}
    return {"active": active, "merged": merged, "scaling": strength}

"""The fingerprint of a live model: read from its structure, its config and a sample of its weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

from sri_sdk.capture.modules import foreign_code, plain_name, structure, unsaved_buffers
from sri_sdk.capture.stored import stored_tensors
from sri_sdk.errors import ModelMismatch
from sri_sdk.files import digest
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.structure import unwrapped

SAMPLES_PER_TENSOR = 64
_VOLATILE = {
    "_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "_attn_implementation",
    "output_hidden_states", "output_attentions", "return_dict",
}  # fmt: skip
_ADAPTER = ("lora_", "adapter")


MODEL_FACTS = ("architecture", "hidden_size", "config_digest", "weights_digest", "modules_digest")
"""Hard fields of a fingerprint that are about the model alone."""


def model_facts(hook: Hook) -> dict[str, Any]:
    """Hard facts a live model shows by itself, whatever the tap and the generation profile are: `MODEL_FACTS`."""
    model = hook.model
    return {
        "architecture": type(unwrapped(model)).__name__,
        "hidden_size": hook.hidden_size(),
        "config_digest": _config_digest(model),
        "weights_digest": weights_digest(model),
        "modules_digest": modules_digest(model),
    }


def model_circumstances(hook: Hook, system_prompt: str | None) -> dict[str, Any]:
    """Soft facts: they may shift the signal a little, and an operator may accept that by name."""
    model = hook.model
    try:
        from transformers import __version__ as transformers_version
    except ImportError:
        transformers_version = "none"
    return {
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "adapter": _adapter(model),
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers_version,
        "system_prompt": system_prompt_fact(system_prompt),
    }


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
    hard = {
        **model_facts(hook),
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
    return Fingerprint(hard, model_circumstances(hook, system_prompt))


def weights_digest(model: Any) -> str:
    """SHA-256 over a sample of every weight tensor but the adapters'.

    Never the whole checkpoint: at most 64 values per tensor are read, in one gather each. They are rounded to bfloat16,
    so weights published in bfloat16 or float32 give the same digest however they are loaded; a float16 copy of float32
    weights counts as other weights. Integers (quantised weights) count as they are. What accelerate keeps elsewhere is
    read there, and a parametrized weight is read as it is computed.

    Raises:
        ModelMismatch: a weight cannot be read, as on the meta device.
    """
    return _digest_of(model, adapters=False)


def without_foreign_code(adapter: str, foreign: str) -> str:
    """The soft fact `adapter` of a model as if nobody had put code on top of it; `foreign` is what it names."""
    return adapter.removesuffix(foreign).removesuffix(", ") or "none"


def _adapter(model: Any) -> str:
    """What adapters add to the weights as the model runs now: their values, and what is switched on and how strongly.

    None of the latter is a tensor: `set_adapter`, `disable_adapter` and a scaling change the function and no weight.
    Forward hooks and replaced forwards of others are named: what they do to the signal, nobody can read off them.
    """
    foreign = foreign_code(model)
    running = {plain_name(name): state for name, module in model.named_modules() if (state := _running(module))}
    if not running and not any(_is_adapter(name) for name, _ in model.named_parameters()):
        return foreign or "none"
    tensors = _digest_of(model, adapters=True)
    # Adapters that are tensors and nothing else keep the digest that guards were fitted with.
    return (digest([tensors, running]) if running else tensors)[:12] + (f", {foreign}" if foreign else "")


def _running(module: Any) -> dict[str, Any]:
    """What one module does with its adapters, as JSON; empty where it has none. Names are those of PEFT's layers."""
    if not hasattr(module, "active_adapters") or not hasattr(module, "merged_adapters"):
        return {}
    off, merged = bool(getattr(module, "disable_adapters", False)), [str(name) for name in module.merged_adapters]
    active = [] if off else [str(name) for name in module.active_adapters]
    scaling = getattr(module, "scaling", {})
    strength = {str(name): repr(scaling[name]) for name in active if name in scaling}
    return {"active": active, "merged": merged, "scaling": strength}


def _digest_of(model: Any, *, adapters: bool) -> str:
    hasher, samples = hashlib.sha256(), list[torch.Tensor]()
    for name, tensor in stored_tensors(model):
        if _is_adapter(name) != adapters or not tensor.numel():
            continue
        hasher.update(name.encode() + str(tuple(tensor.shape)).encode())
        samples.append(_sample(tensor))
    if not samples and not adapters:
        raise ModelMismatch(
            f"{type(model).__name__}: no weight can be read, so nothing says which model this is. "
            "Load it with at least some of its weights in memory."
        )
    _hash_samples(hasher, samples)
    return hasher.hexdigest()


def modules_digest(model: Any) -> str:
    """SHA-256 over what a model computes besides its weights.

    Classes and constants of its modules, and a sample of the buffers that no checkpoint has.
    """
    buffers = [(name, tensor) for name, tensor in unsaved_buffers(model) if tensor.numel()]
    facts = [structure(model), [[name, list(tensor.shape)] for name, tensor in buffers]]
    hasher = hashlib.sha256(digest(facts).encode())
    _hash_samples(hasher, [_sample(tensor) for _, tensor in buffers])
    return hasher.hexdigest()


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """[K] int64: evenly spaced values of a tensor, rounded to bfloat16 where they are not integers."""
    sample = tensor.detach().reshape(-1)[_sample_indices(tensor.numel(), tensor.device)]
    return sample.to(torch.bfloat16).view(torch.int16).long() if sample.is_floating_point() else sample.long()


def _hash_samples(hasher: Any, samples: list[torch.Tensor]) -> None:
    # One transfer per device (a copy per tensor would wait for a GPU hundreds of times), hashed in the order of the
    # names, so that it does not show how a model is spread over devices.
    hosts: dict[int, torch.Tensor] = {}
    for device in {sample.device for sample in samples}:
        mine = [i for i, sample in enumerate(samples) if sample.device == device]
        parts = torch.split(torch.cat([samples[i] for i in mine]).cpu(), [len(samples[i]) for i in mine])
        hosts.update(zip(mine, parts, strict=True))
    hasher.update(b"".join(hosts[i].numpy().astype("<i8").tobytes() for i in range(len(samples))))


@lru_cache(maxsize=256)
def _sample_indices(size: int, device: torch.device) -> torch.Tensor:
    """Where a tensor of `size` values is sampled: [K] int64 indices, evenly spaced, both ends included."""
    count = min(SAMPLES_PER_TENSOR, size)
    return torch.linspace(0, size - 1, count, dtype=torch.float64).long().to(device)


def _is_adapter(name: str) -> bool:
    return any(mark in name for mark in _ADAPTER)


def _config_digest(model: Any) -> str:
    config = getattr(model, "config", None)
    to_dict = getattr(config, "to_dict", None)
    if callable(to_dict):
        values = to_dict()
    else:
        values = config if isinstance(config, Mapping) else getattr(config, "__dict__", {})
    return digest({k: v for k, v in values.items() if k not in _VOLATILE and _is_json(v)})


def _is_json(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_json(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(_is_json(v) for v in value)
    return value is None or isinstance(value, str | int | bool) or (isinstance(value, float) and math.isfinite(value))

"""The fingerprint of a live model: read from its structure, its config and a sample of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch

from sri_sdk.files import digest
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook

SAMPLES_PER_TENSOR = 64
_VOLATILE = {
    "_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "_attn_implementation",
    "output_hidden_states", "output_attentions", "return_dict",
}  # fmt: skip
_ADAPTER = ("lora_", "adapter")


def model_facts(hook: Hook) -> dict[str, Any]:
    """Hard facts a live model shows by itself, whatever the tap and the generation profile are."""
    model = hook.model
    return {
        "architecture": type(_without_wrapper(model)).__name__,
        "hidden_size": hook.hidden_size(),
        "config_digest": _config_digest(model),
        "weights_digest": weights_digest(model),
    }


def model_circumstances(hook: Hook, system_prompt: str | None) -> dict[str, Any]:
    """Soft facts: they may shift the signal a little, and an operator may accept that by name."""
    model = hook.model
    adapters = [n for n, _ in model.named_parameters() if any(mark in n for mark in _ADAPTER)]
    try:
        from transformers import __version__ as transformers_version
    except ImportError:
        transformers_version = "none"
    return {
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "adapter": digest(adapters)[:12] if adapters else "none",
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers_version,
        # A digest: the text itself may be confidential, and fingerprints travel with bundles.
        "system_prompt": digest(system_prompt)[:12] if system_prompt else "none",
    }


def fingerprint(
    hook: Hook, *, pooling: str, layers: tuple[str | int, ...], grid: StepGrid, sampler: Mapping[str, Any],
    system_prompt: str | None = None,
) -> Fingerprint:  # fmt: skip
    """Everything that makes anchors comparable.

    Args:
        hook: the model family, with its live model.
        pooling: name of the pooling profile.
        layers: what is tapped: `final`, or block numbers.
        grid: the step grid.
        sampler: name and options of the sampler: the generation profile.
        system_prompt: the system prompt; only a digest is kept.
    """
    hard = {
        **model_facts(hook),
        "layers": list(layers),
        "pooling": pooling,
        "grid": grid.to_dict(),
        "sampler": dict(sampler),
    }
    return Fingerprint(hard, model_circumstances(hook, system_prompt))


def weights_digest(model: Any) -> str:
    """SHA-256 over a sample of every weight tensor, rounded to bfloat16 so that the dtype it is loaded in is no matter.

    Never the whole checkpoint: at most 64 values per tensor are read, in one gather each.
    """
    hasher = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if any(mark in name for mark in _ADAPTER) or not torch.is_tensor(tensor) or not tensor.is_floating_point():
            continue
        flat = tensor.detach().reshape(-1)
        count = min(SAMPLES_PER_TENSOR, flat.numel())
        picked = torch.linspace(0, flat.numel() - 1, count, dtype=torch.float64).long().to(flat.device)
        sample = flat[picked].to(torch.bfloat16).view(torch.int16).cpu().numpy()
        hasher.update(_plain_name(name).encode() + str(tuple(tensor.shape)).encode() + sample.astype("<i2").tobytes())
    return hasher.hexdigest()


def _config_digest(model: Any) -> str:
    config = getattr(model, "config", None)
    to_dict = getattr(config, "to_dict", None)
    values = to_dict() if callable(to_dict) else dict(config or {})
    kept = {k: v for k, v in values.items() if k not in _VOLATILE and _is_json(v)}
    return digest(kept)


def _is_json(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_json(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(_is_json(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


def _without_wrapper(model: Any) -> Any:
    base = getattr(model, "get_base_model", None)
    return base() if callable(base) else model


def _plain_name(name: str) -> str:
    """Parameter name without what a LoRA wrapper adds to it."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "")

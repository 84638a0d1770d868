"""Digests of a live model: of its config, of a sample of its weights, of what its modules compute besides."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch

from sri_sdk.capture.modules import structure, unsaved_buffers
from sri_sdk.capture.stored import stored_tensors
from sri_sdk.errors import ModelMismatch
from sri_sdk.files import digest

SAMPLES_PER_TENSOR = 64
VOLATILE = {
    "_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "_attn_implementation",
    "output_hidden_states", "output_attentions", "return_dict",
}  # fmt: skip
"""Entries of a config that say how a model is run, and nothing of what it computes."""
_ADAPTER = ("lora_", "adapter")

NamedTensors = Sequence[tuple[str, torch.Tensor]]
"""Tensors [...] of any shape and dtype, by plain name."""


def weights_digest(model: Any) -> str:
    """SHA-256 over a sample of every weight tensor but the adapters'.

    Never the whole checkpoint: at most 64 values per tensor are read, in one gather each. They are rounded to bfloat16,
    so weights published in bfloat16 or float32 give the same digest however they are loaded; a float16 copy of float32
    weights counts as other weights. Integers (quantised weights) count as they are. What accelerate keeps elsewhere is
    read there, and a parametrized weight is read as it is computed.

    Raises:
        ModelMismatch: a weight cannot be read, as on the meta device.
    """
    return digest_of_weights(model, stored_tensors(model))


def digest_of_weights(model: Any, stored: NamedTensors) -> str:
    """`weights_digest` of a model whose tensors, of any shape [...], were listed already.

    Raises:
        ModelMismatch: there is none.
    """
    weights = [(name, tensor) for name, tensor in stored if not is_adapter(name)]
    if not any(tensor.numel() for _, tensor in weights):
        raise ModelMismatch(
            f"{type(model).__name__}: no weight can be read, so nothing says which model this is. "
            "Load it with at least some of its weights in memory."
        )
    return _digest_of(weights)


def digest_of_adapters(stored: NamedTensors) -> str:
    """SHA-256 over a sample of every tensor [...] of an adapter."""
    return _digest_of([(name, tensor) for name, tensor in stored if is_adapter(name)])


def is_adapter(name: str) -> bool:
    """Whether a tensor of this name belongs to an adapter."""
    return any(mark in name for mark in _ADAPTER)


def modules_digest(model: Any) -> str:
    """SHA-256 over what a model computes besides its weights.

    Classes and constants of its modules, and a sample of the buffers that no checkpoint has.
    """
    buffers = [(name, tensor) for name, tensor in unsaved_buffers(model) if tensor.numel()]
    facts = [structure(model), [[name, list(tensor.shape)] for name, tensor in buffers]]
    hasher = hashlib.sha256(digest(facts).encode())
    _hash_samples(hasher, [_sample(tensor) for _, tensor in buffers])
    return hasher.hexdigest()


def config_digest(model: Any) -> str:
    """SHA-256 over the config of a model, as far as it is JSON and not about how the model is run."""
    config = getattr(model, "config", None)
    to_dict = getattr(config, "to_dict", None)
    if callable(to_dict):
        values = to_dict()
    else:
        values = config if isinstance(config, Mapping) else getattr(config, "__dict__", {})
    return digest({k: v for k, v in values.items() if k not in VOLATILE and _is_json(v)})


@lru_cache(maxsize=256)
def sample_indices(size: int, device: torch.device) -> torch.Tensor:
    """Where a tensor of `size` values is sampled: [K] int64 indices, evenly spaced, both ends included."""
    count = min(SAMPLES_PER_TENSOR, size)
    return torch.linspace(0, size - 1, count, dtype=torch.float64).long().to(device)


def _digest_of(tensors: NamedTensors) -> str:
    hasher, samples = hashlib.sha256(), list[torch.Tensor]()
    for name, tensor in tensors:
        if tensor.numel():
            hasher.update(name.encode() + str(tuple(tensor.shape)).encode())
            samples.append(_sample(tensor))
    _hash_samples(hasher, samples)
    return hasher.hexdigest()


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """[K] int64: evenly spaced values of a tensor, rounded to bfloat16 where they are not integers."""
    sample = tensor.detach().reshape(-1)[sample_indices(tensor.numel(), tensor.device)]
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


def _is_json(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_json(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(_is_json(v) for v in value)
    return value is None or isinstance(value, str | int | bool) or (isinstance(value, float) and math.isfinite(value))

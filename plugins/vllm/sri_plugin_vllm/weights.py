"""Whether the engine runs the weights that the guard was compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from sri_sdk.errors import ModelMismatch

ADAPTED = "base_layer"
"""Under which vLLM puts a module beside whose weights it has room for adapters."""
CURE = (
    "Serve the checkpoint itself, on one device: no load format `dummy`, no quantisation, no tensor parallelism, no "
    "weights from elsewhere."
)


def compare(live: torch.nn.Module, copy: torch.nn.Module) -> tuple[int, int]:
    """Compares the engine's weights with those of the copy that transformers loaded.

    vLLM joins some weights (`packed_modules_mapping` of its class), and adds rows to vocabularies.

    Args:
        live: vLLM's model.
        copy: the same checkpoint in transformers, in the same dtype.

    Returns:
        (numbers that were compared and are equal, all numbers of the engine's model); what is between them are the rows
        that vLLM added to vocabularies.

    Raises:
        ModelMismatch: a weight differs, has no counterpart, or there is none.
    """
    known, words = dict(copy.state_dict()), _vocabularies(copy)
    packed: Mapping[str, list[str]] = getattr(live, "packed_modules_mapping", {})
    same = whole = 0
    for name, tensor in live.named_parameters():
        compared = added = 0
        for part, wanted, padding in _parts(_plain(name), tensor, known, packed, words):
            if not torch.equal(part.to("cpu", wanted.dtype), wanted):
                raise ModelMismatch(
                    f"vLLM's weight {name} differs from that of the checkpoint as transformers loads it, with which "
                    f"the guard was compared. {CURE}"
                )
            compared, added = compared + part.numel(), added + padding
        if compared + added != tensor.numel():
            raise ModelMismatch(
                f"vLLM's weight {name} {list(tensor.shape)} has no counterpart in the checkpoint as transformers loads "
                f"it, so nothing says that the engine is the guard's model. Is it quantised, or split? {CURE}"
            )
        same, whole = same + compared, whole + tensor.numel()
    if not same:
        raise ModelMismatch(f"vLLM's {type(live).__name__} has no weights that could be compared. {CURE}")
    return same, whole


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != ADAPTED)


def _vocabularies(copy: torch.nn.Module) -> set[str]:
    """Names of the weights with one row per word; vLLM rounds their number up."""
    found = set[str]()
    for get in ("get_input_embeddings", "get_output_embeddings"):
        module = getattr(copy, get, lambda: None)()
        found |= {
            f"{name}.{kind}" for name, each in copy.named_modules() if each is module for kind in ("weight", "bias")
        }  # fmt: skip
    return found


def _parts(
    name: str, tensor: torch.Tensor, known: Mapping[str, torch.Tensor], packed: Mapping[str, Any], words: set[str]
) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """(part of an engine's weight [...], what the checkpoint has for it, numbers added behind it)."""
    *path, module, kind = name.split(".") if "." in name else ("", name)
    joined = [known.get(".".join([*path, each, kind])) for each in packed.get(module, ())]
    parts: Sequence[torch.Tensor] = [part for part in joined if part is not None]
    if parts and len(parts) == len(joined) and all(part.shape[1:] == tensor.shape[1:] for part in parts):
        rows = [len(part) for part in parts]
        if sum(rows) == len(tensor):
            yield from ((part, wanted, 0) for part, wanted in zip(torch.split(tensor, rows), parts, strict=True))
        return
    wanted = known.get(name)
    if wanted is None or wanted.shape[1:] != tensor.shape[1:]:
        return
    if len(wanted) == len(tensor) or (name in words and len(wanted) < len(tensor)):
        yield tensor[: len(wanted)], wanted, tensor[len(wanted) :].numel()

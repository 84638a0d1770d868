"""Whether the engine runs the weights that the guard was compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from sri_sdk.errors import ModelMismatch


def compare(live: torch.nn.Module, copy: torch.nn.Module) -> tuple[int, int]:
    """Compares the engine's weights with those of the copy that transformers loaded.

    vLLM joins some weights (`packed_modules_mapping` of its class), and adds rows to vocabularies.

    Args:
        live: vLLM's model.
        copy: the same checkpoint in transformers, in the same dtype.

    Returns:
        (numbers that were compared and are equal, all numbers of the engine's model).

    Raises:
        ModelMismatch: a weight differs, or none could be compared.
    """
    known = dict(copy.state_dict())
    packed: Mapping[str, list[str]] = getattr(live, "packed_modules_mapping", {})
    same = whole = 0
    for name, tensor in live.named_parameters():
        whole += tensor.numel()
        for part, wanted in _parts(name, tensor, known, packed):
            if not torch.equal(part.to("cpu", wanted.dtype), wanted):
                raise ModelMismatch(
                    f"vLLM's weight {name} differs from that of the checkpoint as transformers loads it, with which "
                    "the guard was compared. Serve the checkpoint itself: no load format `dummy`, no quantisation, no "
                    "weights from elsewhere."
                )
            same += part.numel()
    if not same:
        raise ModelMismatch(
            f"vLLM's {type(live).__name__}: none of its weights is where the checkpoint has one, so nothing says that "
            "it is the guard's model. Is it quantised, or split over several devices?"
        )
    return same, whole


def _parts(
    name: str, tensor: torch.Tensor, known: Mapping[str, torch.Tensor], packed: Mapping[str, Any]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of a part of an engine's weight [...] and what the checkpoint has for it."""
    *path, module, kind = name.split(".") if "." in name else ("", name)
    parts = [known.get(".".join([*path, each, kind])) for each in packed.get(module, ())]
    if parts and all(part is not None and part.shape[1:] == tensor.shape[1:] for part in parts):
        rows = [len(part) for part in parts if part is not None]
        if sum(rows) == len(tensor):
            yield from zip(torch.split(tensor, rows), (part for part in parts if part is not None), strict=True)
        return
    wanted = known.get(name)
    if wanted is not None and wanted.shape[1:] == tensor.shape[1:] and len(wanted) <= len(tensor):
        yield tensor[: len(wanted)], wanted

"""Whether the engine runs the weights that the guard was compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from sri_sdk.errors import ModelMismatch

ADAPTED = "base_layer"
"""Under which vLLM puts a module beside whose weights it has room for adapters."""
EXPERTS = ".experts."
OF_EXPERTS = {"w13_weight": "gate_up_proj", "w2_weight": "down_proj"}
"""vLLM's names for the joined weights of experts -> transformers'."""
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
    known, words = _as_in(live, dict(copy.state_dict())), _vocabularies(copy)
    words |= {renamed(live, each) for each in words}
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


def renamed(live: torch.nn.Module, path: str) -> str:
    """Where the engine's model has what transformers' has at a path: some of vLLM's classes say so by prefixes.

    A path that the engine's model has as it is stays.
    """
    prefixes: Mapping[str, str] = getattr(getattr(live, "hf_to_vllm_mapper", None), "orig_to_new_prefix", None) or {}
    if _has(live, path):
        return path
    # The longest first: a rule for a part says more than one for the whole.
    for old in sorted(prefixes, key=len, reverse=True):
        if path.startswith(old) and prefixes[old] is not None:
            return prefixes[old] + path.removeprefix(old)
    return path


def _has(model: torch.nn.Module, path: str) -> bool:
    """Whether there is a module, parameter or buffer at a path."""
    *above, name = path.split(".")
    try:
        return hasattr(model.get_submodule(".".join(above)), name)
    except AttributeError:
        return False


def _as_in(live: torch.nn.Module, known: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights [...] under the names that the engine's model has for them, and under their own."""
    found = dict(known)
    for name, tensor in known.items():
        found.setdefault(renamed(live, name), tensor)
    return found


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
    if EXPERTS in name:
        # One tensor for all experts, as in transformers' newer classes; what is laid out otherwise has no counterpart.
        above, kind = name.split(EXPERTS, 1)[0], name.rsplit(".", 1)[-1]
        wanted = known.get(f"{above}{EXPERTS}{OF_EXPERTS.get(kind, kind)}")
        if wanted is not None and wanted.shape == tensor.shape:
            yield tensor, wanted, 0
        return
    *path, module, kind = name.split(".") if "." in name else ("", name)
    joined = [known.get(".".join([*path, each, kind])) for each in packed.get(module, ())]
    if len(joined) > 1 and joined[-1] is None and joined[-2] is not None:
        # A checkpoint whose values are made by the weights of its keys names them once.
        joined[-1] = joined[-2]
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

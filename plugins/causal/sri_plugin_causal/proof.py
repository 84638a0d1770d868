"""Whether a causal model of transformers is what the table of module paths says: a proof by two short rows of text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sri_sdk.structure import ModulePaths, module_at, submodule, unwrapped

if TYPE_CHECKING:
    import torch


ROUNDING = 1e-4
"""How far a state may move, relative, when a later token changes; float32 kernels round that much at most."""
COARSE = 0.05
"""The same for weights in fewer bits."""
ALIKE = 0.05
"""How far apart, as unit vectors, what the norm puts out and what the head reads may be. Some families scale it."""

_proven: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def contradiction(model: Any, paths: ModulePaths) -> str | None:
    """Tries what the table says on two rows of three tokens; None = it holds, or cannot be tried here.

    The rows differ in their last token only. In a causal model, then, no earlier state may differ; and what the head
    reads must be what the norm put out. Done once per model: it costs one short forward pass.
    """
    inner = unwrapped(model)
    if inner not in _proven:
        found = _try(inner, paths)
        if found is None:
            return None
        _proven[inner] = found
    return _proven[inner] or None


def _try(model: Any, paths: ModulePaths) -> str | None:
    """What is wrong, an empty text where nothing is, and None where it cannot be tried."""
    import torch

    embedding = submodule(model, paths.embedding)
    weight = getattr(embedding, "weight", None)
    # Weights may be elsewhere; and where several processes run one model, a pass in one of them waits for the others.
    if weight is None or weight.is_meta or (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    # From the middle of the vocabulary: padding and other special tokens lie at its ends.
    first, second, last, other = (len(weight) * part // 10 for part in (3, 4, 5, 6))
    ids = torch.tensor([[first, second, last], [first, second, other]], device=weight.device)
    states: list[torch.Tensor] = []
    read: list[torch.Tensor] = []
    head = model.get_output_embeddings()
    with torch.no_grad(), _recorded(module_at(model, paths.norm), states, head, read):
        try:
            _uncompiled(model)(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        except Exception as err:
            return f"a pass over three tokens fails: {type(err).__name__}: {' '.join(str(err).split())[:200]}"
    return _norm_is_last(paths, states, read) or _looks_back_only(model, states[0])


def _uncompiled(model: Any) -> Any:
    """The model's call without `torch.compile`: for one pass of three tokens it would compile all of the model anew."""
    own = vars(model).get("forward")
    original = getattr(own, "_torchdynamo_orig_callable", None)
    return model._call_impl if original is None else original


def _norm_is_last(paths: ModulePaths, states: list[torch.Tensor], read: list[torch.Tensor]) -> str:
    if len(states) != 1 or states[0].dim() != 3:
        return f"{paths.norm} ran {len(states)} times in one pass, with {[tuple(s.shape) for s in states]}"
    if not read:
        # The head is not a module, or never called as one.
        return ""
    if read[0].shape[-1] != states[0].shape[-1]:
        return f"the head reads {read[0].shape[-1]} numbers per token, {paths.norm} puts out {states[0].shape[-1]}"
    import torch

    unit = torch.nn.functional.normalize
    apart = (unit(read[0].double(), dim=-1) - unit(states[0].double().to(read[0].device), dim=-1)).norm(dim=-1)
    # Not `>`: a NaN must count as different.
    if not bool((apart <= ALIKE).all()):
        return f"the head does not read what {paths.norm} puts out ({float(apart.max()):.2g} apart as unit vectors)"
    return ""


def _looks_back_only(model: Any, states: torch.Tensor) -> str:
    if model.training:
        # Dropout differs from row to row.
        return ""
    import torch

    earlier = states[:, :-1].double()
    moved = float((earlier[0] - earlier[1]).abs().max() / earlier.abs().max().clamp(min=1e-12))
    if moved <= (ROUNDING if states.dtype in (torch.float32, torch.float64) else COARSE):
        return ""
    return f"its states move by {moved:.2g} when a later token changes: attention goes both ways"


@contextmanager
def _recorded(norm: Any, states: list[torch.Tensor], head: Any, read: list[torch.Tensor]) -> Iterator[None]:
    """Keeps what the norm puts out and what the head reads, tensors [B, L, D], one per call.

    Only of this thread: others may be generating.
    """
    thread = threading.get_ident()

    def keep(into: list[torch.Tensor], value: Any) -> None:
        if threading.get_ident() == thread:
            into.append(value[0] if isinstance(value, tuple) else value)

    handles: list[Any] = [norm.register_forward_hook(lambda _module, _args, output: keep(states, output))]
    if head is not None:
        handles.append(head.register_forward_pre_hook(lambda _module, args: keep(read, args)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""Where a causal model of transformers keeps its states: a table of paths, and a proof by two short rows of text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from sri_sdk.structure import missing_paths, submodule, unwrapped

if TYPE_CHECKING:
    import torch


class Places(NamedTuple):
    """Dotted paths inside the unwrapped model."""

    norm: str
    """The last norm before the head."""
    layers: str
    embedding: str


TABLE = (
    # Text models inside a model that also sees or hears come first: outside, such a model may have a norm of its own.
    Places("model.language_model.norm", "model.language_model.layers", "model.language_model.embed_tokens"),
    Places("model.text_model.norm", "model.text_model.layers", "model.text_model.embed_tokens"),
    Places("language_model.model.norm", "language_model.model.layers", "language_model.model.embed_tokens"),
    Places("model.norm", "model.layers", "model.embed_tokens"),
    Places("model.final_layernorm", "model.layers", "model.embed_tokens"),
    Places("model.final_norm", "model.layers", "model.embed_tokens"),
    Places("model.layer_norm", "model.layers", "model.embed_tokens"),
    Places("model.embedding_norm", "model.layers", "model.embed_tokens"),
    Places("model.decoder.final_layer_norm", "model.decoder.layers", "model.decoder.embed_tokens"),
    Places("transformer.ln_f", "transformer.h", "transformer.wte"),
    Places("transformer.ln_f", "transformer.h", "transformer.word_embeddings"),
    Places("transformer.norm_f", "transformer.blocks", "transformer.wte"),
    Places("gpt_neox.final_layer_norm", "gpt_neox.layers", "gpt_neox.embed_in"),
    Places("biogpt.layer_norm", "biogpt.layers", "biogpt.embed_tokens"),
    Places("backbone.norm_f", "backbone.layers", "backbone.embeddings"),
    Places("backbone.out_norm", "backbone.blocks", "backbone.embeddings"),
    Places("model.norm_f", "model.layers", "model.embeddings"),
    Places("transformer.layernorm", "transformer.h", "transformer.w"),
    Places("rwkv.ln_out", "rwkv.blocks", "rwkv.embeddings"),
)
"""Norm, blocks and token embedding; the first row whose three paths all lead to a module is the model's."""

ROUNDING = 1e-4
"""How far a state may move, relative, when a later token changes; float32 kernels round that much at most."""
COARSE = 0.05
"""The same for weights in fewer bits."""
ALIKE = 0.05
"""How far apart, as unit vectors, what the norm puts out and what the head reads may be. Some families scale it."""

_proven: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def find(model: Any) -> Places | None:
    """The model's row of the table; None = it has none."""
    return next((row for row in TABLE if not missing_paths(model, row)), None)


def nearest(model: Any) -> str:
    """For messages: the row of the table that comes closest, and what the model lacks of it."""
    best = min(TABLE, key=lambda row: len(missing_paths(model, row)))
    return f"closest {' / '.join(best)}, without {', '.join(missing_paths(model, best))}"


def contradiction(model: Any, places: Places) -> str | None:
    """Tries what the table says on two rows of three tokens; None = it holds, or cannot be tried here.

    The rows differ in their last token only. In a causal model, then, no earlier state may differ; and what the head
    reads must be what the norm put out. Done once per model: it costs one short forward pass.
    """
    inner = unwrapped(model)
    if inner not in _proven:
        found = _try(inner, places)
        if found is None:
            return None
        _proven[inner] = found
    return _proven[inner] or None


def _try(model: Any, places: Places) -> str | None:
    """What is wrong, an empty text where nothing is, and None where it cannot be tried."""
    import torch

    embedding = submodule(model, places.embedding)
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
    with torch.no_grad(), _hearing(submodule(model, places.norm), states, head, read):
        try:
            model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        except Exception as err:
            return f"a pass over three tokens fails: {type(err).__name__}: {' '.join(str(err).split())[:200]}"
    return _norm_is_last(places, states, read) or _looks_back_only(model, states[0])


def _norm_is_last(places: Places, states: list[torch.Tensor], read: list[torch.Tensor]) -> str:
    if len(states) != 1 or states[0].dim() != 3:
        return f"{places.norm} ran {len(states)} times in one pass, with {[tuple(s.shape) for s in states]}"
    if not read:
        # The head is no module, or never called as one.
        return ""
    if read[0].shape[-1] != states[0].shape[-1]:
        return f"the head reads {read[0].shape[-1]} numbers per token, {places.norm} puts out {states[0].shape[-1]}"
    import torch

    unit = torch.nn.functional.normalize
    apart = (unit(read[0].double(), dim=-1) - unit(states[0].double().to(read[0].device), dim=-1)).norm(dim=-1)
    # Not `>`: NaN is no likeness either.
    if not bool((apart <= ALIKE).all()):
        return f"the head does not read what {places.norm} puts out ({float(apart.max()):.2g} apart as unit vectors)"
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
def _hearing(norm: Any, states: list[torch.Tensor], head: Any, read: list[torch.Tensor]) -> Iterator[None]:
    """Keeps what the norm puts out and what the head reads, in this thread: others may be generating."""
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

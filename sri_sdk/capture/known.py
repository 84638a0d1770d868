"""The digests of a live model, computed once and again when anything that they are made of has changed."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from sri_sdk.capture.digests import config_digest, digest_of_adapters, digest_of_weights, is_adapter, modules_digest
from sri_sdk.capture.glance import Frame, Glance, Reader, Values
from sri_sdk.capture.modules import every_module, unsaved_buffers
from sri_sdk.capture.stored import stored_tensors

MOST_FRAMES = 4
"""Frames of a model whose digests are kept. Beside another watch, a model has a few attributes more."""


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 of what a live model is made of."""

    config: str
    weights: str
    modules: str
    adapters: str
    """Of the adapters' tensors; there may be none."""
    adapted: bool
    """Whether a parameter belongs to an adapter."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Digests, and what the model was when they were computed."""

    frame: Frame
    reader: Reader
    values: Values
    digests: Digests


# By the object and not by its id: another model that comes to lie at the same place is another one.
_known: MutableMapping[Any, tuple[_Known, ...]] = WeakKeyDictionary()


def digests_of(model: Any, modules: Sequence[torch.nn.Module] | None = None) -> Digests:
    """The digests of a model as it is now.

    Nothing is taken on trust. Names, classes, constants, config and the sampled values themselves are read again each
    time; if all are what they were, the digests are. Models with weights that are computed (parametrizations), packed
    by a quantiser, spread over processes, kept elsewhere by accelerate or in TorchScript are digested anew each time.

    Args:
        model: the live model.
        modules: what `every_module` finds in it; None = that is asked now.

    Raises:
        ModelMismatch: a weight cannot be read.
    """
    glance = _glance(model, every_module(model) if modules is None else modules)
    for each in _known.get(model, ()):
        if glance is not None and each.frame == glance.frame:
            if each.reader.read(glance, each.values) is not None:
                return each.digests
            break
    stored = stored_tensors(model)
    covered = [tensor for _, tensor in (*stored, *unsaved_buffers(model))]
    reader = None if glance is None else Reader.of(glance, covered)
    values = None if glance is None or reader is None else reader.read(glance)
    digests = Digests(
        config=config_digest(model),
        weights=digest_of_weights(model, stored),
        modules=modules_digest(model),
        adapters=digest_of_adapters(stored),
        adapted=any(is_adapter(name) for name, _ in model.named_parameters()),
    )
    if glance is not None and reader is not None and values is not None:
        # Another thread may have changed the model meanwhile.
        again = _glance(model, every_module(model))
        if again is not None and again.frame == glance.frame and reader.read(again, values) is not None:
            others = [each for each in _known.get(model, ()) if each.frame != glance.frame]
            _known[model] = (_Known(glance.frame, reader, values, digests), *others[: MOST_FRAMES - 1])
    return digests


def _glance(model: Any, modules: Sequence[torch.nn.Module]) -> Glance | None:
    """A look at the model; None = its modules keep their parts elsewhere, as those of TorchScript do."""
    try:
        return Glance(model, modules)
    except (KeyError, TypeError):
        return None

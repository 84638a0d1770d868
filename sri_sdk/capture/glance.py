"""Everything that the digests of a live model are made of, read again in a fraction of their time.

Digests cost milliseconds, and a watch needs them each time: between two watches anybody may change the model. A glance
reads what they are made of, name by name and value by value, and is compared with an earlier one. It relies on no
version counter: writing through `tensor.data`, or through an array that shares its memory, moves none.

Over all modules at once, by `map` and `chain`: loops in Python would cost several times as much.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, compress, repeat
from operator import is_
from typing import Any, Self

import torch

from sri_sdk.capture.digests import config_digest, sample_indices

Slots = list[torch.Tensor | None]
"""What stands under the names of parameters and buffers, module by module."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a model is made of, without values. Two are equal if each fact is; it keeps nothing of the model alive."""

    children: tuple[tuple[str, ...], ...]
    """Names of the modules in each module, in the order of `every_module`: together they are the tree."""
    kinds: tuple[weakref.ref[type], ...]
    """The class of each module."""
    classes: tuple[tuple[str, ...], ...]
    """What the digests say of a class, of each once."""
    attributes: tuple[str, ...]
    """Names of all attributes, module by module."""
    tensors: tuple[str, ...]
    """Names of all parameters, then of all buffers, module by module."""
    counts: tuple[int, ...]
    """How many attributes each module has, how many parameters, and how many buffers."""
    absent: bytes
    """Per name of `tensors`: whether nothing stands there."""
    unsaved: tuple[tuple[str, ...], ...]
    """Buffers that no checkpoint has, of the modules that have some."""
    modes: tuple[str, ...]
    """`rope_type` of the modules that have their own: some kinds compute their constants and buffers anew."""
    config: str


class Glance:
    """One look at a live model; forget it before the model changes.

    Attributes:
        frame: what the model is made of.
        slots: its tensors.
    """

    def __init__(self, model: Any, modules: Sequence[torch.nn.Module]) -> None:
        """Takes the model and what `every_module` finds in it."""
        parts = self._parts = [vars(module) for module in modules]
        tables = [*[part["_parameters"] for part in parts], *[part["_buffers"] for part in parts]]
        kinds = list(map(type, modules))
        self.slots: Slots = list(chain.from_iterable(map(dict.values, tables)))
        self.frame = Frame(
            children=tuple([_names(children) if (children := part["_modules"]) else () for part in parts]),
            kinds=tuple(map(weakref.ref, kinds)),
            classes=tuple(map(_told, dict.fromkeys(kinds))),
            attributes=tuple(chain.from_iterable(parts)),
            tensors=tuple(chain.from_iterable(tables)),
            counts=(*map(len, parts), *map(len, tables)),
            absent=bytes(map(is_, self.slots, repeat(None))),
            unsaved=tuple([tuple(sorted(found)) for part in parts if (found := part["_non_persistent_buffers_set"])]),
            modes=tuple([str(part["rope_type"]) for part in parts if "rope_type" in part]),
            config=_config(model),
        )

    def constants(self, public: bytes) -> tuple[bytes, tuple[str, ...]]:
        """The constants of all modules.

        Args:
            public: [A] per name of `Frame.attributes`, whether it may be one.

        Returns:
            Per public attribute whether it is one, and the values of those that are.
        """
        values = list(compress(chain.from_iterable(map(dict.values, self._parts)), public))
        kinds = list(map(type, values))
        constant = {kind for kind in set(kinds) if issubclass(kind, float)}
        floats = bytes(map(constant.__contains__, kinds))
        return floats, tuple(map(repr, compress(values, floats)))


@dataclass(frozen=True, slots=True)
class Values:
    """The values that digests are made of."""

    constants: tuple[bytes, tuple[str, ...]]
    tensors: list[tuple[Any, ...]]
    """Class, shape, dtype and device of each tensor."""
    samples: list[bytes]
    """Of all tensors of one dtype on one device, at the places where their digests sample them."""


class Reader:
    """Reads the values that a model's digests are made of, as long as its frame stays the same."""

    def __init__(self, glance: Glance, covered: Sequence[int]) -> None:
        """Use `Reader.of`."""
        self._public = bytes([not name.startswith("_") for name in glance.frame.attributes])
        self._covered = tuple(covered)
        self._groups: dict[tuple[torch.dtype, torch.device], tuple[list[int], list[torch.Tensor]]] = {}
        for at, slot in enumerate(covered):
            tensor = glance.slots[slot]
            if tensor is not None and tensor.numel():
                group = self._groups.setdefault((tensor.dtype, tensor.device), ([], []))
                group[0].append(at)
                group[1].append(sample_indices(tensor.numel(), tensor.device))

    @classmethod
    def of(cls, glance: Glance, digested: Collection[torch.Tensor]) -> Self | None:
        """A reader of all `digested` tensors [...].

        Returns:
            None = not all of them are plain tensors under a name of their own: they are computed, packed by a
            quantiser, spread over processes, or kept elsewhere.
        """
        wanted, found = {_place(tensor) for tensor in digested}, set[Any]()
        covered = []
        for slot, tensor in enumerate(glance.slots):
            if tensor is None or (place := _place(tensor)) not in wanted:
                continue
            if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.is_complex() or tensor.is_quantized:
                return None
            found.add(place)
            covered.append(slot)
        return cls(glance, covered) if found == wanted else None

    def read(self, glance: Glance, like: Values | None = None) -> Values | None:
        """The values as they are now.

        Args:
            glance: of a model with the reader's frame.
            like: what they are compared with; samples of tensors of other shapes are not read. None = nothing.

        Returns:
            None = they are not those of `like`, or another thread is just changing them.
        """
        tensors = [tensor for slot in self._covered if (tensor := glance.slots[slot]) is not None]
        facts = [(type(tensor), tensor.shape, tensor.dtype, tensor.device) for tensor in tensors]
        if like is not None and like.tensors != facts:
            return None
        try:
            with torch.inference_mode():
                read = [
                    torch.cat(list(map(torch.take, [tensors[at] for at in group], places)))
                    for group, places in self._groups.values()
                ]
                # One transfer per dtype and device: a copy per tensor would wait for a GPU hundreds of times.
                samples = [values.view(torch.uint8).cpu().numpy().tobytes() for values in read]
        except (RuntimeError, IndexError):
            return None
        values = Values(glance.constants(self._public), facts, samples)
        return values if like is None or like == values else None


def _names(children: dict[str, Any]) -> tuple[str, ...]:
    return tuple([name for name, module in list(children.items()) if module is not None])


def _told(kind: type) -> tuple[str, ...]:
    return kind.__module__, kind.__qualname__, str(getattr(kind, "rope_type", ""))


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    if tensor.is_meta or tensor.layout is not torch.strided:
        return (id(tensor),)
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _config(model: Any) -> str:
    """What the digest of a config is made of, where transformers makes a dict of it; else that digest."""
    config = getattr(model, "config", None)
    made = getattr(type(config), "to_dict", None)
    known = str(getattr(made, "__module__", "")).startswith("transformers.")
    return _told_of(config) if known and "to_dict" not in vars(config) else config_digest(model)


def _told_of(config: Any) -> str:
    values = {key: _told_of(value) if hasattr(value, "to_dict") else value for key, value in vars(config).items()}
    return f"{getattr(type(config), 'model_type', '')} {values!r}"

"""Everything that the digests of a live model are made of, read again in a fraction of their time.

Digests cost milliseconds, and a watch needs them each time: between two watches anybody may change the model. A glance
reads what they are made of, name by name and value by value, and is compared with an earlier one. It relies on no
version counter: writing through `tensor.data`, or through an array that shares its memory, moves none.
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
from sri_sdk.capture.modules import every_module

Slots = list[torch.Tensor | None]
"""What stands under the names of parameters and buffers, module by module."""
Values = tuple[bytes, ...]
"""Sampled values, one entry per dtype and device."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A model without the values of its tensors. Two are equal if each fact is; it keeps nothing of the model alive."""

    children: tuple[tuple[str, ...], ...]
    """Names of the modules in each module, in the order of `every_module`: together they are the tree."""
    kinds: tuple[weakref.ref[type], ...]
    """The class of each module."""
    classes: tuple[tuple[str, ...], ...]
    """What the digests say of a class, of each once."""
    attributes: tuple[str, ...]
    """Names of all attributes, module by module."""
    counts: tuple[int, ...]
    """How many attributes, parameters and buffers each module has."""
    floats: bytes
    """Per attribute: whether it is a constant."""
    constants: tuple[str, ...]
    modes: tuple[str, ...]
    """`rope_type` of the modules that have their own: some kinds compute their constants and buffers anew."""
    tensors: tuple[str, ...]
    """Names of all parameters, then of all buffers, module by module."""
    absent: bytes
    """Per name: whether nothing stands there."""
    unsaved: tuple[tuple[str, ...], ...]
    """Buffers that no checkpoint has, of the modules that have some."""
    config: str

    @classmethod
    def of(cls, model: Any) -> tuple[Self, Slots]:
        """What a model is made of now, and its tensors."""
        modules = every_module(model)
        parts = [vars(module) for module in modules]
        # Over all modules at once: a loop in Python would cost more than everything else here.
        values = list(chain.from_iterable(map(dict.values, parts)))
        floats = bytes(map(isinstance, values, repeat(float)))
        parameters, buffers = ([part[table] for part in parts] for table in ("_parameters", "_buffers"))
        slots: Slots = list(chain.from_iterable(map(dict.values, (*parameters, *buffers))))
        kinds = list(map(type, modules))
        frame = cls(
            children=tuple([_children(part["_modules"]) for part in parts]),
            kinds=tuple(map(weakref.ref, kinds)),
            classes=tuple([_told(kind) for kind in dict.fromkeys(kinds)]),
            attributes=tuple(chain.from_iterable(parts)),
            counts=(*map(len, parts), *map(len, parameters), *map(len, buffers)),
            floats=floats,
            constants=tuple(map(repr, compress(values, floats))),
            modes=tuple([str(part["rope_type"]) for part in parts if "rope_type" in part]),
            tensors=tuple(chain.from_iterable((*parameters, *buffers))),
            absent=bytes(map(is_, slots, repeat(None))),
            unsaved=tuple([tuple(sorted(found)) for part in parts if (found := part["_non_persistent_buffers_set"])]),
            config=_config(model),
        )
        return frame, slots


class Reader:
    """Reads the tensors of a model at the places where its digests sample them, as long as its frame is the same."""

    def __init__(self, slots: Slots, covered: Sequence[int]) -> None:
        """Use `Reader.of`."""
        self._covered = tuple(covered)
        self._facts = self._look(slots) or []
        groups: dict[tuple[torch.dtype, torch.device], list[tuple[int, torch.Tensor]]] = {}
        for slot in self._covered:
            tensor = slots[slot]
            if tensor is not None and tensor.numel():
                places = sample_indices(tensor.numel(), tensor.device)
                groups.setdefault((tensor.dtype, tensor.device), []).append((slot, places))
        self._groups = list(groups.values())

    @classmethod
    def of(cls, slots: Slots, digested: Collection[torch.Tensor]) -> Self | None:
        """A reader of all `digested` tensors [...].

        Returns:
            None = not all of them are plain tensors under a name of their own: they are computed, packed by a
            quantiser, spread over processes, or kept elsewhere.
        """
        wanted, found = {_place(tensor) for tensor in digested}, set[Any]()
        covered = []
        for slot, tensor in enumerate(slots):
            if tensor is None or (place := _place(tensor)) not in wanted:
                continue
            if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.is_complex() or tensor.is_quantized:
                return None
            found.add(place)
            covered.append(slot)
        return cls(slots, covered) if found == wanted else None

    def read(self, slots: Slots) -> Values | None:
        """The values as they are now; None = they are not the tensors that this reader was made for."""
        if self._look(slots) != self._facts:
            return None
        try:
            with torch.inference_mode():
                read = [
                    torch.cat([torch.take(slots[slot], places) for slot, places in group])  # type: ignore[arg-type]
                    for group in self._groups
                ]
                # One transfer per dtype and device: a copy per tensor would wait for a GPU hundreds of times.
                return tuple(values.view(torch.uint8).cpu().numpy().tobytes() for values in read)
        except (RuntimeError, IndexError):
            # Another thread is just changing them.
            return None

    def _look(self, slots: Slots) -> list[Any] | None:
        """Class, shape, dtype and device of the tensors."""
        tensors = [slots[slot] for slot in self._covered]
        if None in map(type, tensors):
            return None
        return [(type(t), t.shape, t.dtype, t.device) for t in tensors if t is not None]


def _children(modules: dict[str, Any]) -> tuple[str, ...]:
    return tuple([name for name, module in modules.items() if module is not None]) if modules else ()


def _told(kind: type) -> tuple[str, ...]:
    return kind.__module__, kind.__qualname__, str(getattr(kind, "rope_type", ""))


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    if tensor.is_meta or tensor.layout is not torch.strided:
        return (id(tensor),)
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _config(model: Any) -> str:
    """What the digest of a config is made of, as far as it is known how it is made; else that digest."""
    config = getattr(model, "config", None)
    made = getattr(type(config), "to_dict", None)
    if "to_dict" in getattr(config, "__dict__", {}) or not str(getattr(made, "__module__", "")).startswith(
        "transformers."
    ):
        return config_digest(model)
    return _values(config)


def _values(config: Any) -> str:
    values = {key: _values(value) if hasattr(value, "to_dict") else value for key, value in vars(config).items()}
    return f"{getattr(type(config), 'model_type', '')} {values!r}"

"""What a CUDA graph does to a watch, without CUDA: tensor operations are recorded once, and run again on the same
memory without any Python of the model or its hooks."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "bincount")
"""Operations whose result, or its shape, the host must know: no graph can record them."""


class CannotBeRecorded(Exception):
    """An operation waits for the device."""


class Recording(TorchDispatchMode):
    """Records what runs inside the block; `replay` runs it again, into the tensors that the first run made."""

    def __init__(self) -> None:
        super().__init__()
        self._ran: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in str(func) for name in WAITS):
            raise CannotBeRecorded(str(func))
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self._ran.append((func, args, kwargs, result))
        return result

    def replay(self) -> None:
        """Once more, on whatever the recorded tensors contain now."""
        with torch.no_grad():
            for func, args, kwargs, before in self._ran:
                now = func(*args, **kwargs)
                pairs = zip(_tensors(before), _tensors(now), strict=True)
                for old, new in pairs:
                    # What was written in place, or is a view, is the same memory already.
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def _tensors(result: Any) -> list[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        return [result]
    return [each for part in result for each in _tensors(part)] if isinstance(result, tuple | list) else []

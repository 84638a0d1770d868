"""A method of a model, wrapped for as long as somebody listens: a watch, or a steering."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import torch

_lock = threading.Lock()
"""Watches and steerings of several threads wrap and unwrap the same methods."""


class WrappedMethod:
    """One method of a model while somebody listens.

    It lies on the object, not on its class, and passes everything through: same arguments, same result, same errors.
    """

    def __init__(self, model: Any, name: str, around: Callable[..., Any]) -> None:
        self._model, self._name, self._removed = model, name, False
        with _lock:
            self._had = name in vars(model)
            self._original = original = getattr(model, name)

            @functools.wraps(original)
            def call(*args: Any, **kwargs: Any) -> Any:
                # A compiler cannot answer who is listening.
                if self._removed or torch.compiler.is_compiling():
                    return original(*args, **kwargs)
                return around(name, original, args, kwargs)

            call.wrapped_by = self  # type: ignore[attr-defined]
            self._call = vars(model)[name] = call

    def remove(self) -> None:
        """Puts back what was there. Under a wrapper that came later it only stops listening, and goes with that one."""
        with _lock:
            self._removed = True
            if vars(self._model).get(self._name) is not self._call:
                return
            below: WrappedMethod = self
            while (inner := getattr(below._original, "wrapped_by", None)) is not None and inner._removed:
                below = inner
            if below._had:
                vars(self._model)[self._name] = below._original
            else:
                vars(self._model).pop(self._name, None)

"""Telling an object something without keeping it alive: parts of a run that know each other would outlive it.

What is in a ring is freed by Python's collector only, which counts objects and not the tensors they have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from weakref import ref

P = ParamSpec("P")
T = TypeVar("T")


def weak(method: Callable[P, T]) -> Callable[P, T | None]:
    """Calls a bound method as long as somebody else keeps its object; then it does nothing and returns None."""
    # By hand: `weakref.WeakMethod` makes a class's worth of calls to say as much.
    bound: Any = method
    held, function = ref(bound.__self__), bound.__func__

    def call(*args: P.args, **kwargs: P.kwargs) -> T | None:
        found = held()
        told: T | None = None if found is None else function(found, *args, **kwargs)
        return told

    return call

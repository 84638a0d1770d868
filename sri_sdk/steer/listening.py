"""Module hooks and wrapped methods of one steering: what puts them on, keeps their order, and takes them off again."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Protocol, cast

import torch

from sri_sdk.capture.wrapped import WrappedMethod
from sri_sdk.hook import Hook
from sri_sdk.steer.places import Point
from sri_sdk.structure import unwrapped

_NOTHING: Mapping[str, Any] = {}
_lock = threading.Lock()
_order: weakref.WeakKeyDictionary[torch.nn.Module, list[int]] = weakref.WeakKeyDictionary()
"""Module -> keys of the steerings' hooks on it, in the order in which the steerings were entered."""


class Listener(Protocol):
    """The steering."""

    def on_root(self, kwargs: Mapping[str, Any]) -> None:
        """The model's own forward begins."""

    def on_embedding(self, input_ids: Any) -> None:
        """The token embedding ran: a pass has begun."""

    def on_prompt(self, input_ids: Any) -> None:
        """The embedding of a part that only reads prompts ran."""

    def on_point(self, point: Point, output: Any) -> Any:
        """A module ran: what to put in place of its output, None = nothing."""

    def around_call(self, name: str, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """One of the model's generation methods is called."""

    def after_method(self, name: str, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """One of the methods that the hook observes is called."""

    def told(self) -> str | None:
        """What is done to the states of passes in this thread or task, for people; None = nothing."""


def listen(listener: Listener, hook: Hook, points: list[Point], *, calls: bool) -> ExitStack:
    """Puts everything on; closing the stack takes it off again.

    Args:
        listener: gets what happens.
        hook: the model family.
        points: the modules whose outputs are changed.
        calls: whether generation methods are of interest, too.
    """

    # torch looks twice at the table that asks for keyword arguments: a steering that ends in another thread may change
    # it in between.
    def on_root(_module: Any, _args: Any, kwargs: Mapping[str, Any] = _NOTHING) -> None:
        listener.on_root(kwargs)

    def on_embedding(_module: Any, args: Any, *rest: Any) -> None:
        listener.on_embedding(_ids(args, rest))

    def on_prompt(_module: Any, args: Any, *rest: Any) -> None:
        listener.on_prompt(_ids(args, rest))

    def on_point(point: Point) -> Callable[..., Any]:
        made = _not_compiled(lambda _module, _args, output: listener.on_point(point, output))
        # A guard that is asked about this model names it, as it names code of others.
        made.changes_states = listener.told  # type: ignore[attr-defined]
        return made

    with ExitStack() as stack, _lock:
        # A function compiled around the model breaks its graph at these, and calls them each time.
        root = hook.entry().register_forward_pre_hook(_not_compiled(on_root), with_kwargs=True, prepend=True)
        stack.callback(root.remove)
        # First of all: a pass begins before its embedding is changed.
        _put(stack, hook.embedding(), _not_compiled(on_embedding), with_kwargs=True)
        if (parts := hook.prompt_modules()) is not None:
            _put(stack, parts[0], _not_compiled(on_prompt), with_kwargs=True)
        for point in points:
            _put(stack, point.module, on_point(point))
        inner = unwrapped(hook.model)
        for name in hook.calls if calls else ():
            if callable(getattr(hook.model, name, None)):
                stack.callback(WrappedMethod(hook.model, name, listener.around_call).remove)
        for name in hook.observed_methods if calls else ():
            if callable(getattr(inner, name, None)):
                stack.callback(WrappedMethod(inner, name, listener.after_method).remove)
        return stack.pop_all()


def _put(stack: ExitStack, module: torch.nn.Module, call: Callable[..., Any], *, with_kwargs: bool = False) -> None:
    """Puts a hook behind those of other steerings and before everybody else's, a tap's among them."""
    handle = module.register_forward_hook(call, prepend=True, with_kwargs=with_kwargs)
    keys = _order.setdefault(module, [])
    keys.append(handle.id)
    table = cast("OrderedDict[int, Any]", module._forward_hooks)
    for key in reversed(keys):
        table.move_to_end(key, last=False)

    def remove() -> None:
        with _lock:
            handle.remove()
            keys.remove(handle.id)

    stack.callback(remove)


def _not_compiled(call: Callable[..., Any]) -> Callable[..., Any]:
    found: Callable[..., Any] = torch.compiler.disable(call)  # type: ignore[no-untyped-call]
    return found


def _ids(args: Any, rest: tuple[Any, ...]) -> Any:
    """The token ids that an embedding was called with, [B, L] int64; `rest` = (kwargs, output) or (output,)."""
    kwargs = rest[0] if len(rest) == 2 else _NOTHING
    return args[0] if args else next(iter(kwargs.values()), None)


def replaced(output: Any, states: torch.Tensor) -> Any:
    """What a module put out, with other states [B, L, D] in place of its own; everything else stays."""
    if isinstance(output, torch.Tensor):
        return states
    if isinstance(output, list):
        return [states, *output[1:]]
    fields = getattr(output, "_fields", None)
    return output._replace(**{fields[0]: states}) if fields else (states, *output[1:])


def states_of(output: Any) -> torch.Tensor | None:
    """The states [B, L, D] in what a module put out: itself, or the first of several; None = there are none."""
    found = output[0] if isinstance(output, tuple | list) and output else output
    return found if isinstance(found, torch.Tensor) and found.is_floating_point() else None

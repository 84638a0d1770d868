"""The tap: one per model, shared by every run on it. It listens, and never touches what flows through."""

from __future__ import annotations

import functools
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from sri_sdk.capture.run import Run
from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook

# Which runs own the forward passes of this thread or task, by tap: concurrent requests on one shared model never
# hear each other, because each thread and each asyncio task sees its own value.
_owners: ContextVar[dict[int, Run]] = ContextVar("sri_sdk_owners", default={})  # noqa: B039 - never mutated
_taps: weakref.WeakKeyDictionary[Any, Tap] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class Tap:
    """Module hooks on one model, installed while at least one run listens.

    Attributes:
        unowned: forward passes that no run owned; they are ignored, and counted here.
    """

    def __init__(self) -> None:
        self.unowned = 0
        self._handles: dict[Any, Any] = {}
        self._users: Counter[Any] = Counter()

    @contextmanager
    def installed(self, hook: Hook, run: Run) -> Iterator[None]:
        """Has module hooks on everything `run` needs, as long as the block lasts."""
        places = self._places(hook, run)
        with ExitStack() as stack:
            with _lock:
                for name, (module, install) in places.items():
                    self._install(name, module, install)
                    stack.callback(self._release, name)
            yield

    @contextmanager
    def owned_by(self, run: Run) -> Iterator[None]:
        """Routes the forward passes of this thread or task to `run`, as long as the block lasts."""
        token = _owners.set({**_owners.get(), id(self): run})
        try:
            yield
        finally:
            try:
                _owners.reset(token)
            except ValueError:
                # The block ends in another context than it began in, as in an async generator.
                _owners.set({tap: owner for tap, owner in _owners.get().items() if owner is not run})

    def _places(self, hook: Hook, run: Run) -> dict[Any, tuple[torch.nn.Module, str]]:
        blocks = hook.layers()
        places: dict[Any, tuple[torch.nn.Module, str]] = {
            "root": (hook.model, "_on_root"),
            "embedding": (hook.embedding(), "_on_embedding"),
        }
        for call in hook.calls:
            if callable(getattr(hook.model, call, None)):
                places[f"call {call}"] = (hook.model, call)
        for layer in (*run.layers, "final"):
            if layer != "final" and not 0 <= int(layer) < len(blocks):
                raise ConfigError(
                    f"tap.layers: {layer}; {type(hook).__name__} has blocks 0 to {len(blocks) - 1}, "
                    "and `final` for the states after the last norm."
                )
            places[layer] = (hook.final_norm() if layer == "final" else blocks[int(layer)], "_on_state")
        return places

    def _install(self, name: Any, module: torch.nn.Module, install: str) -> None:
        self._users[name] += 1
        if name in self._handles:
            return
        handle: Any
        if name == f"call {install}":
            handle = _Wrapped(module, install, self)
        elif install == "_on_root":
            handle = module.register_forward_pre_hook(self._on_root, with_kwargs=True)
        elif install == "_on_embedding":
            handle = module.register_forward_hook(self._on_embedding, with_kwargs=True)
        else:
            handle = module.register_forward_hook(lambda _m, _a, output: self._on_state(name, output))
        self._handles[name] = handle

    def _release(self, name: Any) -> None:
        with _lock:
            self._users[name] -= 1
            if not self._users[name]:
                self._handles.pop(name).remove()

    def owner(self) -> Run | None:
        """The run that owns the forward passes of this thread or task."""
        return _owners.get().get(id(self))

    def _on_root(self, _module: torch.nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        if (run := self.owner()) is not None:
            run.enter_forward(kwargs)

    def _on_embedding(self, _module: torch.nn.Module, args: Any, kwargs: dict[str, Any], _output: Any) -> None:
        if (run := self.owner()) is not None:
            run.begin(args[0] if args else next(iter(kwargs.values()), None))
        else:
            self.unowned += 1

    def _on_state(self, layer: Any, output: Any) -> None:
        if (run := self.owner()) is not None:
            run.state(layer, output)


class _Wrapped:
    """One generation method of a model while it is watched: arguments are looked at, the result is handed over.

    It lies on the object, not on its class, and passes everything through: same arguments, same result, same errors.
    """

    def __init__(self, model: Any, name: str, tap: Tap) -> None:
        self._model, self._name = model, name
        self._had = name in vars(model)
        self._original = original = getattr(model, name)

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            run = tap.owner()
            if run is None or not run.enter_call(name, args, kwargs):
                return original(*args, **kwargs)
            result = None
            try:
                result = original(*args, **kwargs)
            finally:
                run.leave_call(result)
            return result

        vars(model)[name] = call

    def remove(self) -> None:
        """Puts back what was there."""
        if self._had:
            vars(self._model)[self._name] = self._original
        else:
            vars(self._model).pop(self._name, None)


def tap_of(model: Any) -> Tap:
    """The model's tap; made on first use, gone with the model."""
    with _lock:
        if model not in _taps:
            _taps[model] = Tap()
        return _taps[model]

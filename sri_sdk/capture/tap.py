"""The tap: one per model, shared by every run on it. It reads, and never changes what flows through."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch

from sri_sdk.capture.compiled import EMBEDDING, PROMPT, ROOT, STATE, HookPoints, is_recorded, owners
from sri_sdk.capture.conclude import SILENT
from sri_sdk.capture.run import Run
from sri_sdk.capture.tape import Tape
from sri_sdk.capture.wrapped import WrappedMethod
from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.structure import unwrapped

_taps: weakref.WeakKeyDictionary[Any, Tap] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class Tap:
    """Module hooks on one model, installed while at least one run listens.

    Attributes:
        unowned: forward passes that no run owned; they are ignored, and counted here.
        tape: keeps the passes on the device, to be read at the end; None = module hooks tell them as they run.
    """

    def __init__(self) -> None:
        self.unowned = 0
        self.tape: Tape | None = None
        self._handles: dict[Any, Any] = {}
        self._users: Counter[Any] = Counter()
        self._where: dict[Any, torch.nn.Module | None] = {}
        self._passing: dict[int, ExitStack] = {}
        self._hook_points = HookPoints(self)
        self._number = self._hook_points.number

    @contextmanager
    def installed(self, hook: Hook, run: Run) -> Iterator[None]:
        """Has module hooks on everything `run` needs, as long as the block lasts."""
        # A driver closes each step before the next one begins, so it cannot wait for a tape.
        tape = None if run.driven else self.tape
        modules = self._modules(hook, run) if tape is None else {}
        wanted, before = {**modules, **self._methods(hook)}, self.unowned
        passes_by = run.passing_layers
        with ExitStack() as stack:
            if tape is not None:
                tape.begin(run)
                stack.callback(tape.end, run)
                run.told_by(tape.tell)
            stack.callback(lambda: run.calls.count_unowned(self.unowned - before))
            passing = stack.enter_context(ExitStack())
            with _lock:
                for name, put in wanted.items():
                    self._put(name, put)
                    (passing if name in passes_by else stack).callback(self._release, name)
            if passes_by and not _compiled(hook, self._where.values()):
                self._passing[id(run)] = passing
                stack.callback(self._passing.pop, id(run), None)
            yield

    @contextmanager
    def owned_by(self, run: Run) -> Iterator[None]:
        """Routes the forward passes of this thread or task to `run`, as long as the block lasts."""
        before = self.owner()
        if before is not None and before is not run and not before.finished:
            before.calls.beside_another_watch(inner=False)
            run.calls.beside_another_watch(inner=True)
        owners.set({**owners.get(), self._number: run})
        try:
            yield
        finally:
            # Blocks need not end in the order they began in, nor in the context they began in (async generators): give
            # back only what is still ours, and only to a run that goes on.
            if self.owner() is run:
                others = {tap: owner for tap, owner in owners.get().items() if tap != self._number}
                owners.set(others if before is None or before.finished else {**others, self._number: before})

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """Lets the forward passes of this thread or task go unheard and uncounted, as long as the block lasts.

        For passes that are no part of a generation, such as the steered one beside the pass that its run measures.

        Raises:
            ConfigError: a watch reads a tape of this model, which tells no pass from another.
        """
        if self.tape is not None and self.tape.listens():
            raise ConfigError(
                "watch: this model keeps its passes on a DeviceTape that a watch reads, and it would keep these too, "
                "which are no part of the generation. Make them outside of the watch, or close the tape."
            )
        before, key = owners.get(), self._number
        owners.set({**before, key: None})
        try:
            yield
        finally:
            others = {tap: owner for tap, owner in owners.get().items() if tap != key}
            owners.set({**others, key: before[key]} if key in before else others)

    def _modules(self, hook: Hook, run: Run) -> dict[Any, partial[Any]]:
        """Place -> what puts a module hook there."""
        put, blocks = self._hook_points.put, hook.layers()
        wanted: dict[Any, partial[Any]] = {
            ROOT: partial(put, ROOT, ROOT, hook.entry()),
            EMBEDDING: partial(put, EMBEDDING, EMBEDDING, hook.embedding()),
        }
        for layer in dict.fromkeys((*run.layers, "final")):
            if layer != "final" and not 0 <= int(layer) < len(blocks):
                raise ConfigError(
                    f"tap.layers: {layer}; {type(hook).__name__} has blocks 0 to {len(blocks) - 1}, "
                    "and `final` for the states after the last norm."
                )
            module = hook.final_norm() if layer == "final" else blocks[int(layer)]
            wanted[layer] = partial(put, layer, STATE, module)
        if run.reads_requests and (parts := hook.prompt_modules()) is not None:
            embedding, own_blocks, norm = parts
            wanted[PROMPT] = partial(put, PROMPT, EMBEDDING, embedding)
            for layer in dict.fromkeys((*run.layers, "final")):
                name = f"{PROMPT} {layer}"
                wanted[name] = partial(put, name, STATE, norm if layer == "final" else own_blocks[int(layer)])
        return wanted

    def _methods(self, hook: Hook) -> dict[Any, partial[Any]]:
        """Method -> what wraps it."""
        inner = unwrapped(hook.model)
        wanted: dict[Any, partial[Any]] = {
            f"call {name}": partial(WrappedMethod, hook.model, name, self._around_call)
            for name in hook.calls
            if callable(getattr(hook.model, name, None))
        }
        if hook.scheme == "masked" and getattr(inner, "_compiled_call_impl", None) is None and inner is hook.model:
            # Not under a compiler, to which a new function each time is new code each time.
            wanted["passes"] = partial(WrappedMethod, inner, "forward", self._around_forward)
        for name in hook.observed_methods:
            # Called by the model itself, so it must lie on the model and not on what it is wrapped in.
            if callable(getattr(inner, name, None)):
                wanted[f"observed {name}"] = partial(WrappedMethod, inner, name, self._after_method)
        return wanted

    def _put(self, name: Any, put: partial[Any]) -> None:
        """Has a place in use once more. Two runs on one model share its places, so they must mean the same ones."""
        module = put.args[-1] if isinstance(put.args[-1], torch.nn.Module) else None
        if name not in self._handles:
            self._handles[name], self._where[name] = put(), module
        elif self._where[name] is not module:
            raise ConfigError(
                f"watch: this model is watched already, by a hook that reads {name!r} from another module. Watch "
                "with the same hook, or after the other watch has ended."
            )
        self._users[name] += 1

    def _release(self, name: Any) -> None:
        with _lock:
            self._users[name] -= 1
            if not self._users[name]:
                self._where.pop(name)
                self._handles.pop(name).remove()

    def owner(self) -> Run | None:
        """The run that owns the forward passes of this thread or task."""
        return owners.get().get(self._number)

    def on_root(self, kwargs: Mapping[str, Any]) -> None:
        """The model's own forward begins."""
        if (run := owners.get().get(self._number)) is not None:
            run.passes.enter_forward(kwargs)

    def on_embedding(self, input_ids: Any) -> None:
        """The token embedding ran: a forward pass has begun."""
        if (run := owners.get().get(self._number)) is None:
            self.unowned += self._number not in owners.get()
            return
        if is_recorded(input_ids):
            run.fail(SILENT)
        if self._passing and run.request_read and (passing := self._passing.pop(id(run), None)) is not None:
            # Nothing more is read there, and each hook costs every pass a call.
            passing.close()
        run.begin(input_ids)

    def on_prompt(self, input_ids: Any) -> None:
        """The embedding of a part that only reads prompts ran."""
        if (run := self.owner()) is not None:
            run.begin_prompt(input_ids)

    def on_state(self, layer: Any, output: Any) -> None:
        """A tapped module ran."""
        if (run := owners.get().get(self._number)) is None:
            return
        if layer == "final" or not isinstance(layer, str):
            run.state(layer, output)
            return
        name = layer.removeprefix(f"{PROMPT} ")
        run.prompt_state(int(name) if name.isdecimal() else name, output[0] if isinstance(output, tuple) else output)

    def _around_call(self, name: str, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """One generation method: the run sees its arguments before, and its result after."""
        run = self.owner()
        if run is None or not run.calls.enter_call(name, args, kwargs):
            return original(*args, **kwargs)
        try:
            result = original(*args, **kwargs)
        except BaseException:
            run.calls.leave_call(None, raised=True)
            raise
        run.calls.leave_call(result)
        return result

    def _around_forward(self, _name: str, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Counts one forward pass as the generation calls it, so that a pass the tap did not see is noticed."""
        if (run := owners.get().get(self._number)) is None:
            return original(*args, **kwargs)
        before = run.calls.enter_forward_call()
        result = original(*args, **kwargs)
        run.calls.leave_forward_call(before)
        return result

    def _after_method(self, name: str, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """One step of a generation, as its own loop takes it: the hook gets its result."""
        result = original(*args, **kwargs)
        if (run := self.owner()) is not None:
            run.calls.method_returned(name, result)
        return result


def _compiled(hook: Hook, modules: Iterable[torch.nn.Module | None]) -> bool:
    """Whether one of these, or the model, was given to `torch.compile`: another set of hooks is other code to it."""
    inner = unwrapped(hook.model)
    parts = (inner, *(module for module in modules if module is not None))
    return inner is not hook.model or any(getattr(each, "_compiled_call_impl", None) is not None for each in parts)


def tap_of(model: Any) -> Tap:
    """The model's tap; made on first use, gone with the model."""
    with _lock:
        if model not in _taps:
            _taps[model] = Tap()
        return _taps[model]

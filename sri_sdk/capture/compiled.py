"""The tap inside compiled code.

`torch.compile` traces a module hook like any other code. What the hook does at run time must therefore be an operator;
otherwise it happens once, while the model is compiled, or not at all. `sri_sdk::observe` is that operator. The compiler
sees a closed box that writes into a counter; at run time its body is Python again and passes copies of the tensors to
the tap.

The tap costs at most two compilations, one for the watched model and one for the unwatched one, in either order:
`Placed` lets the compiler tell them apart. A second watch compiles nothing: a tap uses the same hook objects each time,
under the same keys of the module, and looks up in the body whatever changes from one watch to the next (which run
listens, if any).

CUDA graphs replay kernels and run no Python. The operator is tagged as unsafe for them, so Inductor leaves it out of
the graphs it records (`mode="reduce-overhead"`): the code around it is replayed, the operator is called. The replay of
a graph recorded by hand (`torch.cuda.graph`) is not observed, which coverage shows; recording one under watch is
noticed at once, see `is_recorded`.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

import torch

ROOT, EMBEDDING, STATE, PROMPT = "root", "embedding", "state", "prompt"
_NOTHING: Mapping[str, Any] = {}


class Listener(Protocol):
    """The receiving end: the tap of one model."""

    def on_root(self, kwargs: Mapping[str, Any]) -> None:
        """The model's own forward begins."""

    def on_embedding(self, input_ids: Any) -> None:
        """The token embedding ran on these ids."""

    def on_prompt(self, input_ids: Any) -> None:
        """The embedding of a part that only reads prompts ran on these ids."""

    def on_state(self, layer: Any, output: Any) -> None:
        """A tapped module ran."""


owners: ContextVar[dict[int, Any]] = ContextVar("sri_sdk_owners", default={})  # noqa: B039 - never mutated
"""Number of a tap -> the run that owns its model's passes in this thread or task. Concurrent requests on one shared
model never mix, because each thread and each asyncio task sees its own value. None = passes that no run is to hear of,
and nobody is to count."""
_numbers = itertools.count(1)
_hook_points: weakref.WeakValueDictionary[int, HookPoints] = weakref.WeakValueDictionary()
"""Number of a tap -> its points. Compiled code outlives watches and models: it knows a number and nothing else."""


class HookPoints:
    """The module hooks of one tap, made once per place and put on modules again and again.

    Attributes:
        number: the tap, as compiled code knows it.
    """

    def __init__(self, listener: Listener) -> None:
        self.number = next(_numbers)
        self._listener = weakref.ref(listener)
        self._names: list[Any] = []
        self._hooks: dict[Any, Callable[..., None]] = {}
        self._counter = torch.zeros(1, dtype=torch.int64)
        _hook_points[self.number] = self

    def put(self, name: Any, kind: str, module: torch.nn.Module) -> Placed:
        """Has the hook of a place on its module, until `remove`."""
        if kind == ROOT:
            self._follow(module)
        if name not in self._names:
            # Only ever longer: code compiled earlier knows its places by number.
            self._names.append(name)
        place = self._names.index(name)
        if name not in self._hooks:
            self._hooks[name] = self._made(kind, name, place)
        # Keys of torch's own handles count up from 0; ours are negative, and no two taps share one.
        return Placed(module, kind, self._hooks[name], -(self.number << 16) - place - 1)

    def observed(self, place: int, names: str, tensors: Sequence[torch.Tensor]) -> None:
        """Compiled code reached a hook point.

        Args:
            place: number of the point among those of this tap.
            names: the root's keyword arguments in `tensors`, separated by commas; unused elsewhere.
            tensors: the root's inputs; at the embedding, token ids [B, L]; at a layer, its output [B, L, D].
        """
        name, listener = self._names[place], self._listener()
        if listener is None:
            return
        # Copies: compiled code uses its memory again as soon as it can.
        copies = [tensor.clone() for tensor in tensors]
        if name == ROOT:
            listener.on_root(dict(zip(names.split(",") if names else (), copies, strict=True)))
        elif name == EMBEDDING:
            listener.on_embedding(copies[0])
        elif name == PROMPT:
            listener.on_prompt(copies[0])
        else:
            listener.on_state(name, copies[0])

    def _follow(self, model: torch.nn.Module) -> None:
        """Moves the counter to the model's device: elsewhere it would keep Inductor from using CUDA graphs at all."""
        device = next((p.device for p in model.parameters() if not p.is_meta), self._counter.device)
        if device == self._counter.device:
            return
        self._counter = torch.zeros(1, dtype=torch.int64, device=device)
        self._hooks.clear()
        if device.type == "cuda":
            # Otherwise Inductor takes it for an input that may move, and refuses to record code that writes to it.
            torch._dynamo.mark_static_address(self._counter, guard=False)

    def _made(self, kind: str, name: Any, place: int) -> Callable[..., None]:
        # What compiled code keeps of these functions: two numbers and the counter.
        number, counter = self.number, self._counter
        # Eager code knows the tap itself, or that its model is gone.
        tap = self._listener
        is_prompt, is_final = name == PROMPT, name == "final"

        # Between a model's layers caches are cold, and each function that is called costs a microsecond or two. So the
        # run is asked first whether a pass is one more like the last, past the tap. The compiler sees none of it.
        is_tracing, is_compiling, current = torch.compiler.is_dynamo_compiling, torch.compiler.is_compiling, owners.get

        # torch passes keyword arguments only while the module's table asks for them, and looks at that table twice: a
        # watch that ends in another thread may change it in between.
        def on_root(_module: Any, _args: Any, kwargs: Mapping[str, Any] = _NOTHING) -> None:
            if is_tracing():
                # Only tensors get into compiled code: a cache, a flag or a config is not seen there.
                given = {key: value for key, value in kwargs.items() if isinstance(value, torch.Tensor)}
                _observe(counter, list(given.values()), ",".join(given), number, place)
            elif (run := current().get(number)) is not None:
                run.passes.enter_forward(kwargs)

        def on_embedding(_module: Any, args: Any, *rest: Any) -> None:
            ids = args[0] if args else next(iter(rest[0].values()), None) if len(rest) == 2 else None
            if is_tracing():
                _observe(counter, [ids], "", number, place)
                return
            passes = None if is_prompt or (run := current().get(number)) is None else run.passes
            if passes is not None and passes.steady is not None and passes.begins_fast(ids):
                return
            if is_compiling():
                _observe(counter, [ids], "", number, place)
            elif (listener := tap()) is not None:
                (listener.on_prompt if is_prompt else listener.on_embedding)(ids)

        def on_state(_module: Any, _args: Any, output: Any) -> None:
            # Some blocks return (states, cache), some norms (states, residual): the states come first.
            states = output[0] if isinstance(output, tuple) else output
            if is_tracing():
                _observe(counter, [states], "", number, place)
                return
            passes = None if not is_final or (run := current().get(number)) is None else run.passes
            if passes is not None and passes.steady is not None and passes.takes_fast(states):
                return
            if is_compiling():
                _observe(counter, [states], "", number, place)
            elif (listener := tap()) is not None:
                listener.on_state(name, states)

        made: dict[str, Callable[..., None]] = {ROOT: on_root, EMBEDDING: on_embedding, STATE: on_state}
        return made[kind]


class Placed:
    """One module hook where it lies.

    It is put into the module's own table rather than through `register_forward_hook`, which gives it another key each
    time: compiled code may be guarded by keys. What compiled code is *not* guarded by, as torch comes, is a table of
    hooks that was empty when it was compiled. It is guarded by whether the module has a `forward` of its own, so the
    module gets one that is the same as its class's: what was compiled without us is left alone while we listen, and
    comes back into use afterwards.
    """

    def __init__(self, module: torch.nn.Module, kind: str, hook: Callable[..., None], key: int) -> None:
        self._module, self._key = module, key
        # Not on the root, which may be replaced while we listen; whatever runs the model runs one of the other points.
        self._marks = kind != ROOT
        self._tables: list[Any] = [module._forward_pre_hooks if kind == ROOT else module._forward_hooks]
        self._tables[0][key] = hook
        if kind != STATE:
            before, after = module._forward_pre_hooks_with_kwargs, module._forward_hooks_with_kwargs
            self._tables.append(before if kind == ROOT else after)
            self._tables[1][key] = True
        if self._marks:
            _mark(module, 1)

    def remove(self) -> None:
        """Takes it off again."""
        for table in self._tables:
            table.pop(self._key, None)
        if self._marks:
            _mark(self._module, -1)


_marked: weakref.WeakKeyDictionary[torch.nn.Module, tuple[Any, int]] = weakref.WeakKeyDictionary()
"""Module -> the `forward` we gave it, and how many hooks of ours it has: several roots, each tapped, may share it."""


def _mark(module: torch.nn.Module, more: int) -> None:
    """Gives the module a `forward` of its own with the first hook, and takes it away with the last."""
    if module not in _marked and "forward" in vars(module):
        return  # Somebody else's, such as accelerate's: it stays as it is.
    own, count = _marked.pop(module, (module.forward, 0))
    if count + more > 0:
        _marked[module] = own, count + more
        vars(module)["forward"] = own
    elif vars(module).get("forward") is own:
        del vars(module)["forward"]


def is_recorded(tensor: Any) -> bool:
    """Whether this pass is being recorded into a CUDA graph, whose replays the tap will not see."""
    return isinstance(tensor, torch.Tensor) and tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def _body(counter: torch.Tensor, tensors: list[torch.Tensor], names: str, tap: int, place: int) -> None:
    """What compiled code calls, with `tensors` [...] of any shape; see `HookPoints.observed`.

    The counter is for the compiler: it neither drops nor moves a call that writes.
    """
    counter.add_(1)
    points = _hook_points.get(tap)
    if points is not None:
        points.observed(place, names, tensors)


_unsafe = getattr(torch.Tag, "cudagraph_unsafe", None)
# Defined by hand: `torch.library.custom_op` puts Python of its own around the body, 16 microseconds a call.
_typed: Any = torch.library
_library = _typed.Library("sri_sdk", "FRAGMENT")
_library.define(
    "observe(Tensor(a!) counter, Tensor[] tensors, str names, SymInt tap, SymInt place) -> ()",
    tags=() if _unsafe is None else (_unsafe,),
)
_library.impl("observe", _body, "CompositeExplicitAutograd")
torch.library.register_fake("sri_sdk::observe", lambda counter, tensors, names, tap, place: None, lib=_library)
_observe = torch.ops.sri_sdk.observe

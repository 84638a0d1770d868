"""Steering: a model's states are changed along a direction while it generates (arXiv 2512.24143)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, Self

import torch

from sri_sdk.capture.choose import choose_hook
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import ConfigError, SteeringError
from sri_sdk.hook import Hook
from sri_sdk.records import ForwardCall
from sri_sdk.steer.arguments import Rows, check_arguments, shares_of
from sri_sdk.steer.coverage import Coverage
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.generations import Generations
from sri_sdk.steer.identity import check_model
from sri_sdk.steer.listening import listen, replaced, states_of
from sri_sdk.steer.one_pass import OnePass, spread
from sri_sdk.steer.operations import Operation, steered
from sri_sdk.steer.passes import SeenPass
from sri_sdk.steer.places import Point, points, refuse_unreachable
from sri_sdk.steer.vectors import Vectors
from sri_sdk.steer.where import Where
from sri_sdk.structure import with_older_name

_active: ContextVar[tuple[Steering, ...]] = ContextVar("sri_sdk_steerings", default=())
"""Those of this thread or task: a generation of another one, on the same model, is not steered."""


def steer(
    model: Any, direction: Direction, operation: Operation, *, where: Where | None = None, rows: Rows | None = None,
    budget: int | None = None,
) -> Steering:  # fmt: skip
    """Steers what the model generates inside a block.

        with sri_sdk.steer(model, direction, sri_sdk.Ablate()) as steering:
            model.generate(**inputs)

    Any loop will do: the model's own generate, a function that takes the model, or `sri_sdk.drive`. The sampler is left
    as it is. Afterwards the model is the same as before, bit for bit. Steerings may be nested; they act in the order in
    which they were entered. A watch sees the states that the model goes on with. Forward passes of other threads and
    tasks are not steered; a thread that the block starts has a context of its own, so steer inside the thread.

    A pass that should be steered and cannot be ends with an error. A block that ends without any pass, or in
    which a place stayed silent, raises as well: a model that was quietly left alone looks like one that resists.
    Steps, blocks and positions that never came are no error, since a response may end before them:
    `steering.positions` is 0 then.

    Args:
        model: the loaded model, or a hook on it.
        direction: a unit vector per block, or one for all.
        operation: `Ablate()`, `Add(...)`, `Clamp(...)` or `DeadZone(...)`.
        where: which layers, steps and positions; None = what every block puts out, always.
        rows: [R] float32 tensor, or R numbers: one per request, for strengths of their own; None = all get the whole
            operation. The unconditional half of guidance belongs to no request, and is left alone where rows are given.
        budget: steps of a generation, where `where.steps` are shares of it.

    Raises:
        ModelMismatch: no hook fits, or the direction is of another model.
        ConfigError: this cannot be asked of this model: it is compiled, or lacks what `where` names; or `direction` is
            a path or an array.
    """
    hook = model if isinstance(model, Hook) else choose_hook(model)
    where = Where() if where is None else where
    check_arguments(direction, operation, where, budget)
    if "model" in direction.provenance:
        # Of the same shape, another model's direction would steer quietly, and mean nothing.
        check_model(direction, hook)
    return Steering(hook, direction, operation, where, rows=rows, budget=budget)


class Steering:
    """What `steer` returns; a context manager."""

    def __init__(
        self, hook: Hook, direction: Direction, operation: Operation, where: Where, *, rows: Rows | None = None,
        budget: int | None = None,
    ) -> None:  # fmt: skip
        """As `steer`, with a hook; `rows` is [R] float32."""
        check_arguments(direction, operation, where, budget)
        refuse_unreachable(hook.model)
        where.suits(hook, budget)
        self._hook, self._operation, self._where, self._budget = hook, operation, where, budget
        self._block = hook.block_length() if where.blocks is not None and where.block_length is None else None
        self._vectors = Vectors(direction, hook, where)
        self._told = f"steering {type(operation).__name__} along {direction.name!r}"
        self._points = points(hook, where)
        self._coverage = Coverage(hook, self._points)
        # Strengths alone need the hook's word only where a batch has rows that are no requests.
        reads = where.asks_passes or rows is not None
        self._generations = Generations(hook, strict=where.asks_passes) if reads else None
        self.rows = rows
        self._pass: OnePass | None = None
        self._kwargs: Mapping[str, Any] = {}
        self._paused = 0
        self._stack: ExitStack | None = None

    # -- for its user ------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._stack is not None:
            raise ConfigError("steer: a steering is entered once; make another one with sri_sdk.steer().")
        self._stack = listen(self, self._hook, self._points, calls=self._generations is not None)
        _active.set((*_active.get(), self))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._stack is not None
        self._stack.close()
        # Blocks need not end in the order they began in, nor in the context they began in (async generators).
        _active.set(tuple(each for each in _active.get() if each is not self))
        self._close_pass()
        if kind is None:
            self._refuse_silence()
        if self._generations is not None:
            self._generations.forget()

    @property
    def passes(self) -> int:
        """Forward passes seen so far, steered or at other steps and positions; paused ones do not count."""
        return self._coverage.passes

    @property
    def prompt_passes(self) -> int:
        """Those of a part of the model that only reads prompts, where it has one."""
        return self._coverage.prompt_passes

    @property
    def unowned(self) -> int:
        """Passes of other threads and tasks; they were left alone."""
        return self._coverage.unowned

    @property
    def counts(self) -> Mapping[str, int]:
        """Place (`block 3`, `mlp 0`, `embedding`) -> how often its module ran in those passes."""
        return {str(place): self._coverage.fired[place] for place in self._coverage.places}

    @property
    def positions(self) -> int:
        """Positions that were meant, over all passes; 0 = nothing was changed. Waits for the device."""
        return self._coverage.positions

    @property
    def rows(self) -> torch.Tensor | None:
        """[R] float32 tensor, the share of each request; None = all get the whole operation. Set it between steps."""
        return self._rows

    @rows.setter
    def rows(self, given: Rows | None) -> None:
        """[R] float32, counted from the next pass on."""
        self._rows = found = None if given is None else shares_of(given)
        if self._generations is not None:
            self._generations.requests = None if found is None else len(found)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Has passes run unsteered inside the block, such as those that only look; they belong to no generation."""
        self._close_pass()
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def begins(self) -> None:
        """Says that another generation begins, where passes are told apart and no method of the model is called."""
        self._close_pass()
        if self._generations is not None:
            self._generations.begins()

    def verify(self) -> None:
        """Whether every place was reached in every pass so far.

        Raises:
            SteeringError: it was not, or nothing ran at all.
        """
        self._close_pass()
        self._refuse_silence()
        self._coverage.verify()

    # -- what the model does -----------------------------------------------------------------------------------

    def on_root(self, kwargs: Mapping[str, Any]) -> None:
        """The model's own forward begins."""
        if self._listens():
            self._kwargs = with_older_name(kwargs)

    def on_embedding(self, input_ids: Any) -> None:
        """The token embedding ran on [B, L] int64 ids: a pass has begun."""
        if self not in _active.get():
            self._coverage.unowned += 1
        elif not self._paused:
            call, self._kwargs = ForwardCall(input_ids, self._kwargs), {}
            self._begin(input_ids, None if self._generations is None else self._generations.read(call))

    def on_prompt(self, input_ids: Any) -> None:
        """The embedding of a part that only reads prompts ran on [B, L] int64 ids."""
        if self._listens():
            call, known = ForwardCall(input_ids, {}), self._generations
            self._begin(input_ids, None if known is None else known.read_prompt(call), prompts=True)

    def on_point(self, point: Point, output: Any) -> Any:
        """A module ran: what to put in place of its output, None = nothing."""
        if not self._listens():
            return None
        current = self._pass_of(point)
        place = point.runs[current.ran[point] % len(point.runs)]
        current.ran[point] += 1
        if place is None:
            return None
        self._coverage.fired[place] += 1
        current.fired.add(place)
        if not current.acts:
            return None
        states = states_of(output)
        if states is None:
            raise SteeringError(
                f"steer: `{place}` of {type(self._hook).__name__} put out {type(output).__name__}, not states. "
                "layers() and sublayers() must name modules that return states, or a tuple that begins with them."
            )
        factor, vector = current.factor_for(states, place), self._vectors.at(place, states)
        return replaced(output, steered(states, vector, self._operation, factor))

    def around_call(self, name: str, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """One generation method: another generation begins."""
        if not self._listens() or self._generations is None:
            return original(*args, **kwargs)
        return self._generations.around_call(name, original, args, kwargs)

    def after_method(self, name: str, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """One step of a generation, as its own loop takes it: the hook gets its result."""
        result = original(*args, **kwargs)
        if self._listens() and self._generations is not None:
            self._generations.method_returned(name, result)
        return result

    def told(self) -> str | None:
        """Operation and direction, where passes of this thread or task are steered now."""
        return self._told if self._listens() else None

    def _listens(self) -> bool:
        """Whether what runs is in this thread or task, and not paused."""
        return not self._paused and self in _active.get()

    def _pass_of(self, point: Point) -> OnePass:
        """The pass that runs; one that went around the embedding begins where a module runs once more."""
        firings = self._hook.firings
        if self._pass is not None and not self._pass.is_through(self._points, firings):
            self._pass.refuse_other_threads()
        if self._pass is None or self._pass.is_through([point], firings):
            if self._where.asks_passes:
                raise SteeringError(
                    f"steer: `{next(filter(None, point.runs))}` of {type(self._hook).__name__} ran in a pass that did "
                    "not go through the token embedding, so its steps and positions are not known. Give the model "
                    "token ids, or leave steps, blocks and positions out of `where`."
                )
            self._begin(None, None)
        assert self._pass is not None
        return self._pass

    def _begin(self, input_ids: Any, seen: SeenPass | None, *, prompts: bool = False) -> None:
        """A pass has begun over [B, L] int64 ids; None = they were not seen."""
        self._close_pass()
        self._coverage.begin(prompts=prompts)
        self._pass = now = OnePass(prompts=prompts)
        shape = input_ids.shape[:2] if isinstance(input_ids, torch.Tensor) else (0, 0)
        if seen is not None and self._where.asks_passes:
            meant = self._where.rows(seen, self._block) if self._where.asks_positions else None
            if not self._where.acts_in(seen.step, self._budget) or (self._where.asks_positions and meant is None):
                now.acts = False
                return
            if meant is not None:
                now.take(meant.to(torch.float32))
        if self._rows is not None:
            if not shape[0]:
                raise SteeringError(
                    "steer: rows are given, and a pass without token ids does not show how many it has."
                )
            now.take(spread(self._rows.to(input_ids.device), shape[0], seen)[:, None])
        if (run := tap_of(self._hook.model).owner()) is not None:
            run.steered(self._told)
        self._coverage.meant(
            shape[0] * shape[1] if now.factor is None else (now.factor != 0).expand(*shape).sum()
        )  # fmt: skip

    def _close_pass(self) -> None:
        done, self._pass = self._pass, None
        self._coverage.close(done)

    def _refuse_silence(self) -> None:
        if self._generations is not None:
            self._generations.check()
        self._coverage.refuse_silence()

    def __reduce__(self) -> NoReturn:
        raise ConfigError("a Steering belongs to a live model and cannot be copied or pickled.")

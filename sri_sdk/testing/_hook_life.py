"""Checks of what a hook does to its surroundings: tokens, handles, memory, threads."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np
import torch

from sri_sdk.capture.run import Run
from sri_sdk.capture.watch import watch
from sri_sdk.errors import ConformanceError, SriError
from sri_sdk.records import ForwardCall, RunView, StepPlan, Trace
from sri_sdk.structure import unwrapped
from sri_sdk.testing._hook_case import (
    Generate,
    HookCase,
    alone,
    by_length,
    copy_of,
    module_name,
    observe,
    subject,
)  # fmt: skip
from sri_sdk.testing._hook_states import COMPANY, relative

PATIENCE = 5.0
"""Seconds one of two runs waits for the other before it goes on alone."""


def fits_own_model(case: HookCase) -> None:
    """It fits its own model and nothing else, and says why."""
    family, model = type(case.hook), case.hook.model
    own = family.fits(model)
    if not own.ok or not own.why.strip():
        raise ConformanceError(f"{subject(case)}.fits({type(model).__name__}): says {own.ok}, because {own.why!r}.")
    for what, foreign in _foreign(unwrapped(model)):
        try:
            found = family.fits(foreign)
        except Exception as err:
            raise ConformanceError(
                f"{subject(case)}.fits({what}): raised {type(err).__name__}: {err}. It is asked about every model that "
                "anybody watches: return a Match that says no."
            ) from err
        if found.ok or not found.why.strip():
            raise ConformanceError(
                f"{subject(case)}.fits({what}): says {found.ok}, because {found.why!r}; False and a reason are needed. "
                "Look at class name and structure."
            )


def _foreign(model: Any) -> Iterator[tuple[str, Any]]:
    """Models that are not the family's, each with what it is: what a hook that looks at one thing takes for its own."""
    yield "Linear", torch.nn.Linear(2, 2)
    other = type("SomebodyElsesModel", (torch.nn.Module,), {"forward": None})()
    vars(other).update(vars(model))
    yield f"a SomebodyElsesModel with the modules and config of {type(model).__name__}", other


def tokens_unchanged(case: HookCase, generate: Generate) -> None:
    """Bit-identical token ids [B, L] with and without a watch, and inputs of a pass that plan() leaves alone."""
    free, again = (generate(copy_of(case.encoded)) for _ in range(2))
    _equal(case, free, again, "two runs without a watch differ; a case must give the same tokens each time")
    # What plan() writes does not hang on how tokens are chosen: once will do.
    passes = observe(case, encoded=copy_of(case.encoded)).passes if generate is case.generate else []
    for index, seen in enumerate(passes):
        if seen.written:
            raise ConformanceError(
                f"{subject(case)}.plan(): changes {', '.join(f'`{name}`' for name in seen.written)} of pass {index} in "
                "place. The model is about to read it: clone it first."
            )
    with watch(case.hook.model, hook=case.hook):
        watched = generate(copy_of(case.encoded))
    _equal(case, free, watched, "a watch changes the tokens; plan() must touch neither inputs nor random numbers")


def _equal(case: HookCase, one: torch.Tensor, two: torch.Tensor, problem: str) -> None:
    if one.shape != two.shape:
        raise ConformanceError(f"{subject(case)}: {problem}: {list(one.shape)} against {list(two.shape)} tokens.")
    where = (one != two).nonzero().tolist()
    if where:
        raise ConformanceError(
            f"{subject(case)}: {problem}: {len(where)} of {one.numel()} tokens, first in row {where[0][0]} at "
            f"{where[0][1]} ({int(one[tuple(where[0])])} became {int(two[tuple(where[0])])})."
        )


class _StopError(Exception):
    """Raised by the kit inside a watched block."""


def handles_removed(case: HookCase) -> None:
    """No module hook is left, whichever way the block ends."""
    before = _handles(case.hook.model)
    with watch(case.hook.model, hook=case.hook):
        case.generate(case.encoded)
    _compare(case, before, "after the watch")

    def stop(*_: Any) -> None:
        raise _StopError

    # Raised where a model would raise: in the middle of a pass that the tap has begun to record.
    breaker = case.hook.final_norm().register_forward_pre_hook(stop)
    try:
        with watch(case.hook.model, hook=case.hook):
            case.generate(case.encoded)
    except _StopError:
        pass
    finally:
        breaker.remove()
    _compare(case, before, "after a watch in which the model raised")


def _handles(model: Any) -> dict[str, int]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return {name: sum(len(getattr(module, kind)) for kind in kinds) for name, module in model.named_modules()}


def _compare(case: HookCase, before: dict[str, int], when: str) -> None:
    more = {name: count - before.get(name, 0) for name, count in _handles(case.hook.model).items()}
    left = [f"`{name or 'root'}` {count:+d}" for name, count in more.items() if count]
    if left:
        raise ConformanceError(f"{subject(case)}: module hooks {when}, against before: {', '.join(left)}.")


def nothing_kept_alive(make: Callable[[], HookCase]) -> None:
    """Inputs and states die with the generation, the model with its last user."""
    case = make()
    name, module, model = subject(case), module_name(case.hook), weakref.ref(case.hook.model)
    kept = _tensors_kept(case)
    if kept:
        raise ConformanceError(
            f"{name}: module `{module}`: still alive after the watch: {', '.join(kept)}. "
            "Keep what belongs to one generation in `run.memory`, never on the hook or its class."
        )
    del case
    gc.collect()
    if model() is not None:
        raise ConformanceError(f"{name}: the model is still alive once nobody holds it; something global keeps it.")


def _tensors_kept(case: HookCase) -> list[str]:
    """Inputs and states of one generation that outlive it, by pass."""
    alive: list[tuple[str, weakref.ref[Any]]] = []
    inner, own = case.hook.plan, vars(case.hook).get("plan")

    def plan(call: ForwardCall, view: RunView) -> StepPlan | None:
        alive.append((f"input ids of pass {view.forwards - 1}", weakref.ref(call.input_ids)))
        return inner(call, view)

    def record_output(_module: Any, _args: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        alive.append((f"states {list(states.shape)}", weakref.ref(states)))

    handle = case.hook.final_norm().register_forward_hook(record_output)
    vars(case.hook)["plan"] = plan
    try:
        with watch(case.hook.model, hook=case.hook):
            # Copies: prompts of the case live as long as the case.
            case.generate(copy_of(case.encoded))
    finally:
        handle.remove()
        vars(case.hook).pop("plan")
        if own is not None:
            vars(case.hook)["plan"] = own
    gc.collect()
    return [what for what, tensor in alive if tensor() is not None][:4]


def two_runs_coexist(case: HookCase) -> None:
    """Two threads on one hook, in lockstep, each as if it were alone."""
    rows = by_length(case.encoded)
    rows = [rows[0], rows[-1]]
    expected = [_traces(case, row) for row in rows]
    barrier, found, errors = threading.Barrier(2), dict[int, Trace](), list[BaseException]()

    def meet(*_: Any) -> None:
        try:
            barrier.wait(PATIENCE)
        except threading.BrokenBarrierError:
            return

    def work(row: int) -> None:
        try:
            found[row] = _traces(case, row)
        except BaseException as err:
            errors.append(err)
        finally:
            # The other goes on alone from here.
            barrier.abort()

    handle = case.hook.embedding().register_forward_pre_hook(meet)
    threads = [threading.Thread(target=work, args=(row,), daemon=True) for row in rows]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        handle.remove()
    if errors:
        raise ConformanceError(f"{subject(case)}: a generation in a thread raised {errors[0]!r}.")
    for row, wanted in zip(rows, expected, strict=True):
        _same(case, row, wanted, found[row])


def a_second_generation_is_noticed(case: HookCase) -> None:
    """Two generations in one watch leave no trace that looks like one."""
    _two_in_one(case)
    if case.hook.scheme == "autoregressive":
        # A loop of the caller's own is no call that the watch hears: there the passes alone must say so.
        vars(case.hook)["calls"] = ()
        try:
            _two_in_one(case)
        finally:
            vars(case.hook).pop("calls")


def _two_in_one(case: HookCase) -> None:
    ids = [str(row) for row in range(len(case.encoded.input_ids))]
    with watch(case.hook.model, hook=case.hook, request_ids=ids) as run:
        for _ in range(2):
            case.generate(copy_of(case.encoded))
    for trace in run.traces:
        if not trace.reasons:
            raise ConformanceError(
                f"{subject(case)}.plan(): two generations in one watch give request {trace.request_id} a trace of "
                f"{trace.steps} steps, and no reason to doubt it. Raise an SriError at a pass that fits nothing, such "
                "as another prompt: the run is then unmonitored, and the model goes on."
            )


def calls_are_seen(case: HookCase) -> None:
    """What generates in the example, if it is a method of the model, is one of `calls`."""
    inner, ran = unwrapped(case.hook.model), list[str]()
    names = [name for name in dir(type(inner)) if not name.startswith("_") and name.endswith(("generate", "sample"))]

    def patched(name: str) -> Callable[..., Any]:
        method = getattr(inner, name)

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            ran.append(name)
            return method(*args, **kwargs)

        return call

    own = {name: vars(inner)[name] for name in names if name in vars(inner)}
    for name in names:
        vars(inner)[name] = patched(name)
    try:
        case.generate(case.encoded)
    finally:
        for name in names:
            vars(inner).pop(name)
        vars(inner).update(own)
    if ran and ran[0] not in case.hook.calls:
        raise ConformanceError(
            f"{subject(case)}.calls: names {', '.join(case.hook.calls) or 'nothing'}, and the example generates with "
            f"`{ran[0]}`: a watch sees neither its arguments nor the tokens that it returns. Name it."
        )


def half_precision_works(case: HookCase) -> None:
    """In bfloat16, as most checkpoints are run, a watch and a driven pass do not fail where the model does not."""
    model = case.hook.model
    try:
        model.to(torch.bfloat16)
        case.generate(copy_of(case.encoded))
    except Exception:
        return  # The small model itself does not run in it.
    for trace in observe(case).run.traces:
        if not np.isfinite(trace.phi).all():
            raise ConformanceError(f"{subject(case)}: in bfloat16, phi of request {trace.request_id} holds NaN.")
    row = by_length(case.encoded)[-1]
    try:
        with torch.no_grad():
            case.hook.forward(alone(case.encoded, row).input_ids)
    except SriError:
        return
    except Exception as err:
        raise ConformanceError(
            f"{subject(case)}.forward(): in bfloat16 it raised {type(err).__name__}: {err}. numpy has no bfloat16: "
            "stay in torch, or cast to float32 first."
        ) from err


def _traces(case: HookCase, row: int) -> Trace:
    with watch(case.hook.model, hook=case.hook, request_ids=[str(row)]) as run:
        case.generate(alone(case.encoded, row))
    return _only(run)


def _only(run: Run) -> Trace:
    return run.traces[0]


def _same(case: HookCase, row: int, wanted: Trace, found: Trace) -> None:
    where = (
        f"{subject(case)}: module `{module_name(case.hook)}`: request {row} beside a run in another thread has "
        f"{found.steps} steps and phi {found.phi.shape}, {wanted.steps} and {wanted.phi.shape} without"
    )
    cure = "Keep what belongs to one generation in `run.memory`, never on the hook."
    if wanted.phi.shape != found.phi.shape or wanted.reasons != found.reasons:
        raise ConformanceError(f"{where}; reasons: {', '.join(found.reasons) or 'none'}. {cure}")
    if wanted.phi.size and not (gap := relative(found.phi, wanted.phi)) <= COMPANY:
        step = int(np.abs(found.phi - wanted.phi).max(axis=(1, 2)).argmax())
        raise ConformanceError(f"{where}; phi differs by {gap:.2g}, most at step {step}. {cure}")

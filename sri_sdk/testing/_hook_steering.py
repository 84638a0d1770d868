"""Checks of what a hook's modules are good for: states are changed there, and stay so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from sri_sdk.errors import ConformanceError, SriError
from sri_sdk.records import RunView
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.operations import Ablate
from sri_sdk.steer.places import points
from sri_sdk.steer.steering import Steering, steer
from sri_sdk.steer.where import Site, Where
from sri_sdk.testing._hook_case import (
    HookCase,
    Observed,
    Pass,
    alone,
    batch_row,
    by_length,
    copy_of,
    observe,
    subject,
)  # fmt: skip
from sri_sdk.testing._hook_states import COMPANY, relative

LEFT = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
"""Projection on a direction that may be left of a state after ablation, as a share of its length."""
SITES: tuple[Site, ...] = ("block", "attention", "mlp", "embedding")


def steering_reaches_every_block(case: HookCase) -> None:
    """Ablated states have no projection left, at every place and in every pass; afterwards nothing is changed."""
    free, sites = _states(case), [site for site in SITES if _has(case, site)]
    for site in sites:
        _ablate(case, site, torch.float32)
    for index, (one, two) in enumerate(zip(free, _states(case), strict=True)):
        if not torch.equal(torch.nan_to_num(one), torch.nan_to_num(two)):
            raise ConformanceError(
                f"{subject(case)}: states of pass {index} are others once steering has ended. Something keeps what a "
                "module put out: a cache, a buffer, or the hook."
            )
    try:
        case.hook.model.to(torch.bfloat16)
        case.generate(copy_of(case.encoded))
    except Exception:
        return  # The small model itself does not run in it.
    for site in sites:
        _ablate(case, site, torch.bfloat16)


def steered_rows_stay_apart(case: HookCase) -> None:
    """A request that is left alone among steered ones stays as it is, and steering does not depend on company."""
    rows, count = by_length(case.encoded), len(case.encoded.input_ids)
    free = observe(case)
    for row in rows[::2] if count > 2 else rows[:1]:
        shares = [float(other != row) for other in range(count)]
        with _steer(case, Where(), rows=shares):
            seen = observe(case)
        first, then = (_first_step(each) for each in (free, seen))
        own = 0 if first.plan is None else batch_row(first.plan, row)
        if first.states is None:
            return  # A tap that is silent has checks of its own.
        if then.states is None or not torch.equal(first.states[own], then.states[own]):
            raise ConformanceError(
                f"{subject(case)}.plan(): request {row} has a strength of 0, and its states in the first step are "
                f"others than without steering. Row {own} of the batch must be its own: see `rows` of the plan."
            )
        length = free.lengths(case.hook)[row]
        if not torch.equal(free.tokens[row, :length], seen.tokens[row, :length]):
            raise ConformanceError(
                f"{subject(case)}.plan(): request {row} has a strength of 0, and its tokens are others than without "
                f"steering. Row {own} of the batch must be its own: see `rows` of the plan."
            )
    with _steer(case, Where()):
        together = observe(case).run.traces[rows[-1]].phi
    with _steer(case, Where()):
        single = observe(case, encoded=alone(case.encoded, rows[-1])).run.traces[0].phi
    gap = relative(together[0], single[0])
    if not gap <= COMPANY:
        raise ConformanceError(
            f"{subject(case)}: steered, phi of request {rows[-1]} at its first step moves by {gap:.2g} when it is "
            f"alone (relative, {COMPANY:g} allowed)."
        )


def _first_step(seen: Observed) -> Pass:
    """The first step whose states were recorded: steering asks for a plan of its own, before the tap does."""
    return next(
        (each for each in seen.passes if each.plan is not None and each.states is not None), Pass(RunView(None))
    )


def _has(case: HookCase, site: Site) -> bool:
    """Whether the family says where that is; `sublayers` may say that it does not."""
    try:
        points(case.hook, Where(sites=(site,)))
    except SriError:
        return site in ("block", "embedding")
    return True


def _ablate(case: HookCase, site: Site, dtype: torch.dtype) -> None:
    where, vector = Where(sites=(site,)), torch.from_numpy(_direction(case, site).vectors[0])
    worst: dict[str, float] = {}
    said = f"{subject(case)}.{'layers' if site == 'block' else 'embedding' if site == 'embedding' else 'sublayers'}()"
    try:
        with _steer(case, where) as steering, _recording(case, where, vector, worst) as ran:
            case.generate(copy_of(case.encoded))
        steering.verify()
    except SriError as err:
        raise ConformanceError(
            f"{said}: {err} Name modules that run once in every pass, and put out states as wide as the residual "
            "stream."
        ) from err
    if not ran or steering.passes + steering.prompt_passes != len(ran):
        raise ConformanceError(
            f"{said}: {len(ran)} passes began, steering saw {steering.passes + steering.prompt_passes}."
        )
    for place, left in worst.items():
        if not left <= LEFT[dtype]:
            raise ConformanceError(
                f"{said}: `{place}`: after ablation a projection of {left:.2g} of the state's length is left in "
                f"{dtype} ({LEFT[dtype]:g} allowed). Name modules whose output is the state itself, or a tuple that "
                "begins with it."
            )


@contextmanager
def _recording(case: HookCase, where: Where, vector: torch.Tensor, worst: dict[str, float]) -> Iterator[list[None]]:
    """Per pass one entry; `worst` gets, per place, the largest projection left, on `vector` [D] float32."""
    passes: list[None] = []
    parts = case.hook.prompt_modules()

    def look(name: str) -> Any:
        def hear(_module: Any, _args: Any, output: Any) -> None:
            states = (output[0] if isinstance(output, tuple) else output).detach().double()
            length = states.norm(dim=-1)
            # Padding may be nothing at all.
            real = torch.isfinite(length) & (length > 0)
            share = ((states @ vector.double()).abs() / length)[real]
            worst[name] = max(worst.get(name, 0.0), float(share.max()) if len(share) else 0.0)

        return hear

    with ExitStack() as stack:
        for embedding in (case.hook.embedding(), *(() if parts is None else parts[:1])):
            stack.callback(embedding.register_forward_hook(lambda *_: passes.append(None)).remove)
        for point in points(case.hook, where):
            name = str(next(filter(None, point.runs)))
            stack.callback(point.module.register_forward_hook(look(name)).remove)
        yield passes


def _states(case: HookCase) -> list[torch.Tensor]:
    """[B, L, D] of each pass of one generation: what the last norm puts out."""
    found: list[torch.Tensor] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        found.append((output[0] if isinstance(output, tuple) else output).detach().clone())

    handle = case.hook.final_norm().register_forward_hook(keep)
    try:
        case.generate(copy_of(case.encoded))
    finally:
        handle.remove()
    return found


def _steer(case: HookCase, where: Where, rows: list[float] | None = None) -> Steering:
    return steer(case.hook, _direction(case, where.sites[0]), Ablate(), where=where, rows=rows)


def _direction(case: HookCase, site: Site) -> Direction:
    """One random vector for all blocks, as wide as the residual stream, or as the embedding."""
    # Attention and MLP add to the stream: what is as wide as something else is not that.
    width = _width(case, "embedding" if site == "embedding" else "block")
    vector = np.random.default_rng(7).normal(size=(1, width))
    blocks = len(case.hook.layers())
    return Direction(
        "random", (vector / np.linalg.norm(vector)).astype(np.float32), "nothing", np.zeros((2, blocks), np.float32), {}
    )


def _width(case: HookCase, site: Site) -> int:
    """D of a site. Not the hook's `hidden_size`: a head may have a last norm that is narrower than the blocks."""
    shown: list[int] = []

    def look(_module: Any, _args: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        if isinstance(states, torch.Tensor) and not shown:
            shown.append(states.shape[-1])

    with ExitStack() as stack:
        for point in points(case.hook, Where(sites=(site,))):
            stack.callback(point.module.register_forward_hook(look).remove)
        case.generate(copy_of(case.encoded))
    # What does not run is named by the steering itself.
    return shown[0] if shown else case.hook.hidden_size()

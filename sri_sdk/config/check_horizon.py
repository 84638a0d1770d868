"""Whether a guard may decide on the first N steps: only where these do not depend on how many follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sri_sdk import registry
from sri_sdk.errors import SriError
from sri_sdk.hook import Hook


def check_horizon(horizon: int | None, tap: Any, hook: Any, sampler: Any, policy: Any) -> Iterator[str]:
    """What speaks against a horizon, or against the policy of a file that has none.

    Args:
        horizon: number of steps; None = there is none.
        tap: the section, or None if it is not valid.
        hook: class of the family, or None.
        sampler: the section, or None.
        policy: the section, or None.
    """
    if policy is not None and (horizon is None) != (policy.beyond_horizon is None):
        yield (
            "policy.beyond_horizon: says what follows the horizon, and there is none; leave it out, or set `horizon`"
            if horizon is None
            else f"policy.beyond_horizon: not said, and nobody judges what follows step {horizon}; allowed: report = "
            "let the answer go on unjudged, abort = stop it there"
        )
    if horizon is None:
        return
    if hook is not None:
        yield from _check_tap(tap, hook)
    if hook is not None and hook.scheme != "autoregressive" and hook.block_length is Hook.block_length:
        yield whole_canvas(hook.__name__)
    elif sampler is not None:
        yield from _check_sampler(horizon, sampler)


def whole_canvas(hook: str) -> str:
    """The problem that every pass of a family shows the whole canvas; `hook` is the name of its class."""
    return (
        f"horizon: every pass of {hook} shows the whole canvas, so its first steps depend on how long the answer may "
        "get: the first N of 64 steps are not N of 32. Leave the horizon out, and fit a guard for each length"
    )


def _check_tap(tap: Any, hook: Any) -> Iterator[str]:
    if tap is not None and tap.mapping == "committed":
        yield (
            "tap.mapping: 'committed' counts tokens, and a horizon counts steps: how many tokens these commit differs "
            "from answer to answer; use 'step'"
        )
    if tap is not None and hook.scheme == "autoregressive" and tap.pooling == "generated":
        yield (
            "tap.pooling: 'generated' has no state of a token before the next step, so its first N steps hold N - 1 "
            "states; with a horizon use 'predicting'"
        )


def _check_sampler(horizon: int, section: Any) -> Iterator[str]:
    try:
        sampler = registry.build("samplers", section.name, section.options)
    except SriError:
        return  # Reported under its own path.
    if sampler.pace() is None:
        fixed = f"every generation takes {sampler.budget()} steps, and " if sampler.is_fixed() else ""
        yield (
            f"horizon: sampler {section.name} says that the length of an answer decides its first steps too ({fixed}"
            f"the first {horizon} of them are not those of a shorter or longer answer); leave the horizon out. For "
            "families that work block by block, set sampler.options.block_steps"
        )
    elif sampler.budget() < horizon:
        yield (
            f"horizon: {horizon} steps, and sampler {section.name} takes {sampler.budget()} at most: nothing would be "
            f"fitted on the rest; set {sampler.budget()} or less, or let the sampler generate longer answers"
        )

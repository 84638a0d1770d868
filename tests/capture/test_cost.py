"""What a step costs, in counts: torch operations and Python frames inside the tap. Seconds depend on the machine."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

import numpy as np
import pytest
import torch

from sri_sdk import registry
from sri_sdk.anchors import Anchors
from sri_sdk.capture.compiled import EMBEDDING, HookPoints
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.tap import tap_of
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.pooling import USUAL

from ..counting import Count, Frames, Operations

STEPS = 24
How = Callable[[], AbstractContextManager[Count]]
WAITS = ("item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "nonzero")
"""Methods of tensors that wait for the device."""

MOST = {
    ("masked", "final"): (4, 16), ("masked", "online"): (14, 47), ("autoregressive", "final"): (3, 24),
    ("autoregressive", "online"): (15, 60), ("block", "final"): (2, 36), ("block", "online"): (23, 137),
    ("sub-block", "final"): (2, 31), ("sub-block", "online"): (32, 151),
}  # fmt: skip
"""Scheme and rule -> torch operations and Python calls of one step inside the tap, at most. Online without the scorer.
The floor, a bare hook on the last norm that takes one mean: 1 and 1. Less is welcome; then lower the number here."""


@contextmanager
def around_callbacks(how: How) -> Iterator[list[int]]:
    """Counts within what torch calls of every tap, and not within the model; adds it up by pass."""
    found: list[int] = []
    original = HookPoints._made

    def made(self: HookPoints, kind: str, name: Any, place: int) -> Callable[..., None]:
        hook = original(self, kind, name, place)

        def callback(*args: Any) -> None:
            if kind == EMBEDDING:
                found.append(0)
            with how() as inside:
                hook(*args)
            if found:
                found[-1] += inside.count

        return callback

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(HookPoints, "_made", made)
        yield found


class Waits:
    """Counts calls that wait for the device, on an accelerator; and those that a scalar in an index or a test makes."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        self._patched = pytest.MonkeyPatch()
        for name in WAITS:
            self._patched.setattr(torch.Tensor, name, self._noted(getattr(torch.Tensor, name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._patched.undo()

    def _noted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return original(*args, **kwargs)

        return call


def settings_for(hook: Any, *, live: bool) -> WatchSettings:
    """Signals against made-up anchors, measured at the end or (`live`) at every step, as online."""
    shape = (STEPS, 1, hook.hidden_size())
    near, far = (np.random.default_rng(seed).normal(size=shape).astype(np.float32) for seed in (0, 1))
    anchors = Anchors(near, far, Fingerprint({"hidden_size": shape[2]}, {}), {})
    return WatchSettings(
        USUAL[hook.scheme], grid=StepGrid(STEPS, "step", STEPS), budget=None, anchors=anchors, live=live,
        keeps_commits=True,
    )  # fmt: skip


def lab_diffusion() -> tuple[Any, Callable[[], Any]]:
    case = registry.load("hooks", "lab-diffusion").example()
    model, ids = case.hook.model, case.encoded.input_ids[:1]
    return case.hook, lambda: model.generate(ids, max_new_tokens=STEPS, steps=STEPS)


def causal() -> tuple[Any, Callable[[], Any]]:
    case = registry.load("hooks", "causal").example()
    model, ids = case.hook.model, case.encoded.input_ids[:1]
    options = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "do_sample": False}
    return case.hook, lambda: model.generate(ids, attention_mask=torch.ones_like(ids), **options)


def block() -> tuple[Any, Callable[[], Any]]:
    case = registry.load("hooks", "sdar").example()
    return case.hook, lambda: case.generate(case.encoded)


def sub_block() -> tuple[Any, Callable[[], Any]]:
    case = registry.load("hooks", "fast-dllm-v2").example()
    return case.hook, lambda: case.generate(case.encoded)


SUBJECTS = {"masked": lab_diffusion, "autoregressive": causal, "block": block, "sub-block": sub_block}


def steps_of(scheme: str, how: How, *, live: bool) -> list[int]:
    """Per pass of one generation, what `how` counts in the tap's callbacks."""
    hook, generate = SUBJECTS[scheme]()
    run = Run(hook, settings_for(hook, live=live))
    tap = tap_of(hook.model)
    with around_callbacks(how) as found, tap.installed(hook, run), tap.owned_by(run), torch.inference_mode():
        run.returned(generate())
    run.finish()
    assert not [reason for trace in run.traces for reason in trace.reasons]
    return found


def typical(found: list[int]) -> float:
    """That of a step in the middle: the first ones find out what comes, and the last one may end."""
    return statistics.median(found[len(found) // 3 : -2])


@pytest.mark.parametrize(("scheme", "rule"), MOST)
def test_a_step_costs_no_more_than_is_stated(scheme: str, rule: str) -> None:
    found = (
        typical(steps_of(scheme, Operations, live=rule == "online")),
        typical(steps_of(scheme, Frames, live=rule == "online")),
    )
    most = MOST[scheme, rule]
    assert all(count <= limit for count, limit in zip(found, most, strict=True)), (
        f"{scheme}, {rule} rule: a step takes {found[0]:.0f} torch operations and {found[1]:.0f} Python calls inside "
        f"the tap, {most} are allowed"
    )


@pytest.mark.parametrize("scheme", ["masked", "autoregressive", "block"])
def test_no_step_waits_for_the_device_with_the_final_rule(scheme: str) -> None:
    # The first pass looks once; from the third on, passes go on as the one before.
    assert sum(steps_of(scheme, Waits, live=False)[2:]) == 0


def test_what_waits_is_noticed() -> None:
    assert sum(steps_of("masked", Waits, live=True)[2:]) > 0

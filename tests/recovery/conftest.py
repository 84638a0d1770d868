"""Recovery on the toy model, whose guard means nothing and is the same every time; and on small guards of the lab."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import sri_sdk
from sri_sdk.capture.drive import Drive
from sri_sdk.judge import Judge
from sri_sdk.policy import Policy
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.identity import identity
from sri_sdk.steer.recovery.recovery import Recovery
from tests.capture.conftest import Toy, toy, toy_guard, toy_guard_path, toy_prompts

__all__ = ["toy", "toy_guard", "toy_guard_path"]

FILE = Path("refusal.safetensors")
REMASK: dict[str, Any] = {"action": "remask", "direction": FILE}
STEER: dict[str, Any] = {"action": "steer", "direction": FILE, "steps": 3}
BUDGET: dict[str, Any] = {"rounds": 8, "forwards": 500, "seconds": 600.0}


class Says(Judge):
    """Says what a test has it say, and remembers what it was asked."""

    knows_harm: ClassVar = True

    def __init__(self, outcome: Any = "harmless", refusal: str | None = None) -> None:
        super().__init__()
        self.outcome, self.refusal = outcome, refusal
        self.asked: list[tuple[Any, str]] = []

    def judge(self, prompts: Sequence[Any], responses: Sequence[str]) -> list[Any]:
        self.asked += zip(prompts, responses, strict=True)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return [
            self.outcome(prompt, text) if callable(self.outcome) else self.outcome
            for prompt, text in zip(prompts, responses, strict=True)
        ]

    def refuses(self, text: str) -> bool:
        return self.refusal is not None and self.refusal in text


def direction_of(hook: Any, seed: int = 0, scale: float = 3.0) -> Direction:
    """A random direction of a model, as if made with it."""
    rng = np.random.default_rng(seed)
    vector = rng.normal(size=(1, hook.hidden_size()))
    vector /= np.linalg.norm(vector)
    means = np.array([[0.0], [scale]]).repeat(len(hook.layers()), 1)
    made = {"model": identity(hook, None)}
    return Direction("refusal", vector.astype(np.float32), "harmful", means.astype(np.float32), made)


def recovering(*steps: Any, rule: Any = "final", **more: Any) -> Policy:
    """A policy that tries these, with a budget that nothing here exceeds."""
    return Policy(
        rule=rule, flagged="recover", unmonitored="report", recovery=steps or (REMASK,), **{"budget": BUDGET, **more}
    )


def flag(guard: Any, rule: str, value: float) -> None:
    """Sets the threshold of a rule."""
    guard.scorer.thresholds[rule] = replace(guard.scorer.thresholds[rule], value=value)


def flag_some(toy: Toy, guard: Any, rule: Any = "final", count: int = 4) -> set[str]:
    """Sets a threshold so that half of the prompts are flagged; says which."""
    batch = run(toy, guard, Policy.observe(rule), count=count)
    scores = {v.request_id: v.score for v in batch.run.verdicts}
    ordered = sorted(scores.values())
    middle = (ordered[count // 2 - 1] + ordered[count // 2]) / 2
    flag(guard, rule, middle)
    return {request for request, score in scores.items() if score > middle}


def run(
    toy: Toy, guard: Any, policy: Policy, judge: Judge | None = None, *, count: int = 4, prompts: Any = None,
    recovery: Any = None, sampler: Any = None, seed: int = 0, each: Callable[[Drive], None] = lambda _: None,
    **more: Any,
) -> Drive:  # fmt: skip
    """Drives toy prompts to their end."""
    if policy.recovers and recovery is None:
        recovery = Recovery(policy, judge or Says(), {FILE: direction_of(toy.hook)})
    settings = sri_sdk.watch_settings(toy.hook, guard, policy=policy, **more)
    batch = sri_sdk.drive(
        toy.hook, toy.loaded, sampler or toy.sampler, prompts or toy_prompts(count), settings, seed=seed,
        recovery=recovery,
    )  # fmt: skip
    for _ in batch:
        each(batch)
    return batch

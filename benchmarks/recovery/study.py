"""benchmarks/recovery/study.yaml, checked: what is chosen on which prompts, and judged on which others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from sri_sdk.plugin import Config
from sri_sdk.recovery_plan import RecoveryStep

KEPT = ("share", "strength", "steps")


class Candidate(Config):
    """An action, after alarms of a rule."""

    rule: Literal["final", "online"]
    action: Literal["remask", "steer"]
    share: float | None = None
    strength: float | None = None
    steps: int | None = None

    @property
    def name(self) -> str:
        """`steer, strength 1, steps 8`."""
        return ", ".join([self.action, *(f"{k} {getattr(self, k):g}" for k in KEPT if getattr(self, k) is not None)])

    def step(self, direction: Path) -> RecoveryStep:
        """The same as a policy lists it."""
        options = {name: getattr(self, name) for name in KEPT if getattr(self, name) is not None}
        return RecoveryStep(action=self.action, direction=direction, **options)


class Attacked(Config):
    """Harmful requests in wrappers, as many in each."""

    split: str
    attacks: tuple[str, ...] = Field(min_length=1)
    count: int = Field(ge=1)


class Harmless(Config):
    """Harmless requests: with and without the policy, and the first of them under what all traffic gets."""

    split: str
    count: int = Field(ge=1)
    all_traffic: int = Field(ge=1)


class Study(Config):
    """The whole file."""

    guard: dict[str, Any]
    models: dict[str, dict[str, Any]]
    candidates: dict[Literal["masked", "autoregressive"], tuple[Candidate, ...]]
    choice: Attacked
    verdict: Attacked
    harmless: Harmless
    batch_size: int = Field(ge=1)
    seed: int
    out: Path

    def limited(self, limit: int | None) -> Study:
        """The same with at most so many prompts of each kind, in a folder of its own."""
        if limit is None:
            return self
        few = {name: getattr(self, name).model_copy(update={"count": limit}) for name in ("choice", "verdict")}
        harmless = self.harmless.model_copy(update={"count": limit, "all_traffic": limit})
        return self.model_copy(update={**few, "harmless": harmless, "out": Path(f"{self.out}-{limit}")})


def read(path: Path) -> Study:
    """Reads the study."""
    return Study.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))

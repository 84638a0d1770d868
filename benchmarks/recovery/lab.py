"""One model of the study, made live: its guard, its direction, and what a policy makes of prompts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks.recovery.study import Candidate, Study
from sri_sdk import registry
from sri_sdk.capture.drive import Drive, drive
from sri_sdk.capture.recoverer import DrivenBatch
from sri_sdk.capture.settings import watch_settings
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.directions import extract_refusal
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.fit import fit
from sri_sdk.judge import Judge
from sri_sdk.policy import Policy
from sri_sdk.records import Prompt
from sri_sdk.recovery_plan import RecoveryBudget
from sri_sdk.scoring.guard import Guard
from sri_sdk.steer.file import load_direction, save_direction
from sri_sdk.steer.recovery.cases import Case
from sri_sdk.steer.recovery.recovery import Recovery
from sri_sdk.steer.recovery.rounds import Rounds, Tried
from sri_sdk.steer.recovery.spans import RefusalFinder

PLENTY = RecoveryBudget(rounds=1, forwards=4096, seconds=86400.0)
"""The study measures what actions cost, so nothing ends them."""


class Lab:
    """A fitted model of the study. What is there already is not made again."""

    def __init__(self, study: Study, name: str) -> None:
        """Fits the guard and extracts the direction."""
        folder = study.out / name
        folder.mkdir(parents=True, exist_ok=True)
        made = {**study.guard, **study.models[name], "seed": study.seed, "out": str(folder / "guard")}
        path = folder / "deployment.yaml"
        text = yaml.safe_dump(made)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise ConfigError(
                f"{folder}: has a guard of another study. Remove the folder, or give the study another `out`."
            )
        path.write_text(text, encoding="utf-8")
        config = load_config(path)
        self.direction = folder / "refusal.safetensors"
        if not (folder / "guard" / "bundle").exists():
            fit(config)
        if not self.direction.exists():
            save_direction(extract_refusal(config).direction, self.direction)
        self.guard, self.place, self.seed = Guard.load(folder / "guard"), Deployment.open(config), study.seed
        self.judge: Judge = registry.build("judges", config.judge.name, config.judge.options)
        self.dataset = registry.build("datasets", config.prompts.dataset, config.prompts.options)

    @property
    def masked(self) -> bool:
        """Whether the model fills masks."""
        return self.place.hook.scheme != "autoregressive"

    def policy(self, candidate: Candidate) -> Policy:
        """One action, then the refusal text."""
        steps = (candidate.step(self.direction),)
        return Policy(rule=candidate.rule, flagged="recover", unmonitored="report", recovery=steps, budget=PLENTY)

    def run(self, policy: Policy, prompts: Sequence[Prompt]) -> Drive:
        """Generates prompts under a policy."""
        place = self.place
        settings = watch_settings(
            place.hook, self.guard, policy=policy, sampler=place.fingerprint.hard["sampler"],
            fingerprint=place.fingerprint,
        )  # fmt: skip
        recovery = Recovery.open(policy, self.judge) if policy.recovers else None
        batch = drive(place.hook, place.loaded, place.sampler, prompts, settings, seed=self.seed, recovery=recovery)
        with contextlib.closing(iter(batch)) as steps:
            for _ in steps:
                pass
        return batch

    def all_traffic(self, candidate: Candidate, prompts: Sequence[Prompt]) -> list[Tried]:
        """The same action for every prompt, whatever the guard says: what published defences do."""
        policy, place = self.policy(candidate), self.place
        free = self.run(Policy.observe(candidate.rule), prompts)
        settings = watch_settings(
            place.hook, self.guard, policy=policy, sampler=place.fingerprint.hard["sampler"],
            fingerprint=place.fingerprint,
        )  # fmt: skip
        decisions = policy.decide(free.run.verdicts)
        batch = DrivenBatch(
            place.hook, place.loaded, place.sampler, settings, tuple(prompts), self.seed, None, decisions,
            free.run.traces, frozenset(), free.step, tuple(free.texts),
        )  # fmt: skip
        rounds = Rounds(
            batch, self.guard.scorer, self.judge, RefusalFinder(self.judge),
            {self.direction: load_direction(self.direction)},
        )  # fmt: skip
        # From the beginning also where an autoregressive response alarmed on its way.
        step = candidate.step(self.direction)
        step = step.model_copy(update={"restart": True}) if step.action == "steer" else step
        every = [Case(row, each, PLENTY, "alarm", frozenset({step.action})) for row, each in enumerate(decisions)]
        return rounds.take(1, step, every)


def folder_of(study: Study, name: str) -> Path:
    """Where the batches of a model are kept."""
    return study.out / name / "batches"

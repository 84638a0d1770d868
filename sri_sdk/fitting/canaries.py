"""Canaries of a guard: fresh harmless prompts, generated and scored as requests are, and never used twice.

`canary_state.py` says what is kept of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sri_sdk.calibrate.drift import Canaries, PartDrift
from sri_sdk.capture.drive import drive
from sri_sdk.capture.settings import watch_settings
from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import ConfigError
from sri_sdk.files import claimed
from sri_sdk.fitting.canary_state import RATE, STATE, WINDOW, Canary, State, calibration_of, canary_of, fresh
from sri_sdk.fitting.collect import Progress
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.policy import Policy
from sri_sdk.records import Prompt
from sri_sdk.scoring.guard import Guard


@dataclass(frozen=True, slots=True)
class Looked:
    """What the canaries say of a guard."""

    findings: tuple[PartDrift, ...]
    scored: int
    """Canaries since the guard was calibrated."""
    new: int
    """Of this call, unmonitored ones included."""
    rate: float
    """How often drift may be found that is none, over the whole life of a calibration."""
    window: int
    unmonitored: Mapping[str, int] = field(default_factory=dict)
    """Reason -> canaries that could not be scored."""

    @property
    def drift(self) -> bool:
        """Whether any part has drifted."""
        return any(found.drift for found in self.findings)


def look(
    config: FitConfig, split: str, count: int, guard: Path, *, rate: float | None = None, window: int | None = None,
    progress: Progress = lambda *_: None,
) -> Looked:  # fmt: skip
    """Generates fresh canaries under the guard, scores them, and looks for drift in all since the calibration.

    Args:
        config: a checked config of the deployment.
        split: split of the dataset that the canaries come from.
        count: canaries; 0 = only say what was found before.
        guard: folder of the guard; the state lies in it.
        rate: see `Looked`; None = as before, or 1 %.
        window: canaries per window; None = as before, or 50.
        progress: called as generations are done.

    Raises:
        ConfigError: the split has too few prompts that nobody used, or the state does not fit, or
            another process has it.
        ModelMismatch: the guard was not made for this deployment.
    """
    loaded = Guard.load(guard, public_key=config.trust.public_key, digest=config.trust.digest)
    calibration = calibration_of(loaded.manifest, guard)
    path = guard / STATE
    # Only those that generate: what is known can always be looked at.
    with claimed(path) if count else nullcontext(True) as mine:
        if not mine:
            raise ConfigError(
                f"{path}: another process has it, perhaps a monitor, and prompts would be used twice. End that one, or "
                "look with `--count 0` at what is known."
            )
        return _look(config, split, count, loaded, calibration, path, rate, window, progress)


def _look(
    config: FitConfig, split: str, count: int, loaded: Guard, calibration: Mapping[str, NDArray[Any]], path: Path,
    rate: float | None, window: int | None, progress: Progress,
) -> Looked:  # fmt: skip
    digest = loaded.manifest.digest
    begun = State.load(path) or State(bundle=digest, rate=rate or RATE, window=window or WINDOW)
    state = begun.of(digest, rate, window, path)
    stream = Canaries(calibration, rate=state.rate, window=state.window, seed=digest)
    for canary in state.canaries:
        if canary.scores is not None:
            stream.add(canary.prompt, canary.scores)
    if count:
        prompts = fresh(config, split, count, state)
        for batch in _generated(config, loaded, prompts, progress):
            for canary in batch:
                state.canaries.append(canary)
                if canary.scores is not None:
                    stream.add(canary.prompt, canary.scores)
            # After each batch: what was generated once is used, also if the next one fails.
            state.save(path)
    blind = Counter(canary.reason or "" for canary in state.canaries if canary.scores is None)
    return Looked(stream.findings(), len(stream), count, state.rate, state.window, dict(blind))


def _generated(
    config: FitConfig, guard: Guard, prompts: Sequence[Prompt], progress: Progress
) -> Iterator[list[Canary]]:
    """The canaries, batch by batch."""
    place = Deployment.open(config)
    settings = watch_settings(
        place.hook, guard, policy=Policy.observe(), accept=config.accept,
        sampler=place.fingerprint.hard["sampler"], fingerprint=place.fingerprint,
    )  # fmt: skip
    for start in range(0, len(prompts), config.batch_size):
        progress("canaries", start, len(prompts))
        batch = prompts[start : start + config.batch_size]
        driven = drive(
            place.hook, place.loaded, place.sampler, batch, settings, seed=config.seed,
            system_prompt=config.model.system_prompt,
        )  # fmt: skip
        for _ in driven:
            pass
        yield [canary_of(p, v) for p, v in zip(batch, driven.run.verdicts, strict=True)]
    progress("canaries", len(prompts), len(prompts))

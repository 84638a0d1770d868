"""What is kept of the canaries of a guard, and which prompts may still become some. Needs no model.

<guard>/canaries.json         what was scored so far: digests of prompts, and scores; no texts
<guard>/canaries.json.added   the same, one line each, of what a monitor that runs has added since it wrote that file

Whoever has a list of prompts can tell from the digests which of them were canaries.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from sri_sdk import registry
from sri_sdk.bundle.manifest_v2 import AnyManifest, thresholds_of
from sri_sdk.config.fit import ONLY_PART, FitConfig
from sri_sdk.config.mix import MixSection
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.files import sha256, write_text
from sri_sdk.fitting.folds import draw_folds, text_hash
from sri_sdk.fitting.mix import bases_of, draw_mix
from sri_sdk.plugin import Config
from sri_sdk.records import Prompt, Verdict
from sri_sdk.strict_json import parse, write

STATE = "canaries.json"
RATE, WINDOW = 0.01, 50
"""What holds where nobody says otherwise."""
MOST_BYTES = 2**28
"""Of the file: some hundred thousand canaries."""


class Canary(Config):
    """One canary, as the file keeps it."""

    prompt: str = Field(pattern="^[0-9a-f]{64}$")
    """Digest of its text."""
    base: str = Field(pattern="^[0-9a-f]{64}$")
    """Digest of the id of the plain request that it is made of."""
    scores: dict[str, float] | None
    """Part -> score; None = it was not monitored, and says nothing."""
    reason: str | None = None
    """Why it was not."""


class State(Config):
    """Everything that was scored against one bundle, in order, and what may not be used again."""

    sri_canaries: Literal[1] = 1
    bundle: str
    rate: float
    window: int
    canaries: list[Canary] = Field(default_factory=list)
    used: list[str] = Field(default_factory=list)
    """Digests of prompts and requests that were canaries of earlier bundles."""
    harmful_flagged: list[str] = Field(default_factory=list)
    """Digests of harmful prompts that this bundle has flagged, and that a monitor asks again and again."""
    harmful_tried: list[str] = Field(default_factory=list)
    """Digests of all that were tried."""
    harmful_by: str = ""
    """Rule and debouncing that they were judged by."""

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """What the file holds, and what was added beside it; None = there is none.

        Raises:
            ConfigError: it is not such a file.
        """
        if not path.exists():
            return None
        try:
            with path.open("rb") as stream:
                found = cls.model_validate(parse(stream.read(MOST_BYTES)))
            known = {*found.used, *(each.prompt for each in found.canaries)}
            # A process may have died after the file was written, and before what was added was removed.
            found.canaries.extend(each for each in _added(path) if each.prompt not in known)
            return found
        except (ValidationError, ValueError) as err:
            raise ConfigError(
                f"{path}: not a file of canaries ({str(err).splitlines()[0]}). Restore it; without it nobody knows "
                "which prompts were used before."
            ) from err

    def save(self, path: Path) -> None:
        """Writes the file, which then holds everything.

        Raises:
            OSError: it cannot be written; what was added beside it is still there.
        """
        write_text(path, write(self.model_dump(mode="json")))
        beside(path).unlink(missing_ok=True)

    def of(self, bundle: str, rate: float | None, window: int | None, path: Path) -> Self:
        """The state for a bundle: this one, or a new one that remembers what was used.

        Raises:
            ConfigError: it was begun with another rate or window.
        """
        if self.bundle != bundle:
            used = [*self.used, *(digest for canary in self.canaries for digest in (canary.prompt, canary.base))]
            return type(self)(bundle=bundle, rate=rate or RATE, window=window or WINDOW, used=used)
        for name, asked, begun in (("rate", rate, self.rate), ("window", window, self.window)):
            if asked is not None and asked != begun:
                raise ConfigError(
                    f"{path}: {name} {begun} since the first canary of this bundle, found {asked}. It cannot change "
                    "on the way: leave it out, or calibrate the guard anew."
                )
        return self


def beside(path: Path) -> Path:
    """Where canaries are added, so that the file is not written anew for each: it grows for as long as it is used."""
    return path.with_name(f"{path.name}.added")


def append(path: Path, canary: Canary) -> None:
    """Adds one canary beside the file.

    Args:
        path: of the file, which is there.
        canary: that its state has, too.

    Raises:
        OSError: it cannot be written, or not whole.
    """
    line = write(canary.model_dump(mode="json"), separators=(",", ":")).encode() + b"\n"
    with beside(path).open("ab", buffering=0) as stream:
        if stream.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _added(path: Path) -> list[Canary]:
    """What was added; a last line without an end is of a process that died within it."""
    try:
        with beside(path).open("rb") as stream:
            lines = stream.read(MOST_BYTES).split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return list({each.prompt: each for each in map(Canary.model_validate, map(parse, lines))}.values())


def fresh(config: FitConfig, split: str, count: int, state: State) -> list[Prompt]:
    """The first harmless prompts of a split that are in no fold of the config and were never canaries.

    Where the calibration stands for a mix of traffic, canaries are drawn from that mix as well: others would differ
    from it without any drift.

    Raises:
        ConfigError: there are too few.
    """
    dataset: Dataset = registry.build("datasets", config.prompts.dataset, config.prompts.options)
    used = {*state.used, *(digest for canary in state.canaries for digest in (canary.prompt, canary.base))}
    folds = [
        prompt for prompts in draw_folds(dataset, config.folds, seed=config.seed).named().values() for prompt in prompts
    ]
    used |= {text_hash(prompt.text) for prompt in folds}
    taken = bases_of(folds)
    mix = config.folds.calibration.mix
    if mix is None:
        # All of one kind, through the same door.
        mix = MixSection(plain=1.0)
    while True:
        try:
            drawn = draw_mix(
                dataset, split, count, mix, seed=f"{config.seed} canaries {len(state.canaries)}", taken=taken
            )
        except ConfigError as err:
            raise ConfigError(
                f"canaries: {count} are wanted from split {split!r}, made of requests of no fold that were never "
                f"canaries, and there are fewer: {err}"
            ) from err
        again = [p for p in drawn if used & {text_hash(p.text), base_hash(p)}]
        if not again:
            return list(drawn)
        taken |= bases_of(again)


def base_hash(prompt: Prompt) -> str:
    """Digest of the id of the plain request that a prompt is made of."""
    return sha256((prompt.base or prompt.id).encode())


def calibration_of(manifest: AnyManifest, guard: Path) -> dict[str, NDArray[Any]]:
    """What canaries are compared with: part -> its calibration scores [n] under the rule final.

    Raises:
        ConfigError: the guard has thresholds by group.
    """
    thresholds = thresholds_of(manifest)
    if any(each.group for each in thresholds):
        raise ConfigError(f"{guard}: thresholds by group; canaries of guards with groups are not supported yet.")
    return {each.part or ONLY_PART: np.asarray(each.threshold.scores) for each in thresholds if each.rule == "final"}


def canary_of(prompt: Prompt, verdict: Verdict) -> Canary:
    """What is kept of a canary.

    Args:
        prompt: that it was made of.
        verdict: by the rule final, with the steps that were seen.
    """
    parts = {part.name: part.score for part in verdict.parts} or {ONLY_PART: verdict.score}
    known = {name: score for name, score in parts.items() if score is not None}
    # A generation that was not seen whole may be flagged; as a canary it is none.
    if len(known) < len(parts) or verdict.status == "unmonitored" or verdict.steps_seen is None:
        return Canary(prompt=text_hash(prompt.text), base=base_hash(prompt), scores=None, reason=_blind(verdict))
    return Canary(prompt=text_hash(prompt.text), base=base_hash(prompt), scores=known)


def _blind(verdict: Verdict) -> str:
    parts = [part.reason for part in verdict.parts if part.status == "unmonitored" and part.reason]
    return next(iter((*parts, *verdict.reasons)), "unmonitored")

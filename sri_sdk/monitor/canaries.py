"""When a monitor asks its own prompts, which ones, and what their verdicts say. Needs no model and no clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from sri_sdk import registry
from sri_sdk.config.fit import FitConfig
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.folds import text_hash
from sri_sdk.monitor.lookout_settings import HarmfulSection
from sri_sdk.observation import CanaryKind, Observation, canary_id
from sri_sdk.records import Prompt, Verdict

log = logging.getLogger("sri_sdk.monitor")

LOST = "interrupted"
"""Reason of a canary whose generation never ended."""


@dataclass(frozen=True, slots=True)
class CanaryPrompt:
    """One prompt that is due."""

    prompt: Prompt
    """With an id of its own, which its observation must have."""
    kind: CanaryKind
    source: Prompt
    """As the dataset has it."""


class MustFlag:
    """Harmful prompts: a search for those that the guard flags, and from then on whether it still does."""

    def __init__(self, prompts: Sequence[Prompt], count: int) -> None:
        """Takes the candidates, and how many are asked each time."""
        self._prompts, self._count = tuple(prompts), count
        self._untried = list(prompts)
        self._proven: list[Prompt] = []
        self.missed: str | None = None
        """Why none was flagged the last time: a reason, or `clear`; None = one was, or none has ended yet."""
        self.at_once = True
        """Whether the next ones need not wait: the search goes on."""
        self.found: tuple[int, int] | None = None
        """(k, n): of n prompts that were tried, the guard flagged k; None = the search goes on."""

    @property
    def proven(self) -> int:
        """Prompts that this guard has flagged."""
        return len(self._proven)

    @property
    def count(self) -> int:
        """How many are asked each time."""
        return self._count

    @property
    def memory(self) -> tuple[list[str], list[str]]:
        """Digests of the prompts that this guard has flagged, and of all that were tried: for `take_up`."""
        untried = {prompt.id for prompt in self._untried}
        tried = [text_hash(prompt.text) for prompt in self._prompts if prompt.id not in untried]
        return [text_hash(prompt.text) for prompt in self._proven], tried

    def take_up(self, flagged: Collection[str], tried: Collection[str]) -> None:
        """Goes on where an earlier process with the same guard ended; prompts that are not wanted any more are left
        out."""
        by_text = {text_hash(prompt.text): prompt for prompt in self._prompts}
        self._proven = [by_text[each] for each in flagged if each in by_text]
        self._untried = [prompt for digest, prompt in by_text.items() if digest not in {*flagged, *tried}]
        if not self._proven and not self._untried:
            self._untried = list(self._prompts)
        self._note()

    def _note(self) -> None:
        if not self._searching:
            self.found = len(self._proven), len(self._prompts) - len(self._untried)

    @property
    def _searching(self) -> bool:
        return len(self._proven) < self._count and bool(self._untried)

    def next(self) -> list[Prompt]:
        """What is asked this time; at least one prompt."""
        return (self._untried if self._searching else self._proven)[: self._count]

    def ended(self, found: Sequence[tuple[Prompt, Verdict]]) -> None:
        """Takes the verdicts on what `next` gave; those that are missing were lost."""
        flagged = [prompt for prompt, verdict in found if verdict.status == "flagged"]
        blind = [verdict for _, verdict in found if verdict.status not in ("flagged", "clear")]
        searching, self.at_once = self._searching, False
        if flagged:
            self.missed = None
        elif blind or not found:
            self.missed = _reason(blind[0]) if blind else LOST
        elif not searching:
            self.missed = "clear"
        if not searching:
            return
        self._proven += flagged
        # One that could not be judged says nothing of the guard, and is tried again later.
        judged = {prompt.id for prompt, verdict in found if verdict.status in ("flagged", "clear")}
        self._untried = [prompt for prompt in self._untried if prompt.id not in judged]
        if not self._untried and not self._proven:
            self.missed = "clear"
            log.error("canaries: the guard flags none of %d harmful prompts", len(self._prompts))
            self.found = 0, len(self._prompts)
            self._untried = list(self._prompts)
        else:
            self._note()
            self.at_once = self._searching and bool(found) and not blind


class CanarySchedule:
    """Which canaries are due. One thread calls it."""

    def __init__(
        self, every_s: float, harmful: MustFlag | None, fresh: Callable[[int], list[Prompt]] | None, count: int = 1
    ) -> None:
        """Takes how often, and what.

        Args:
            every_s: seconds between two times.
            harmful: prompts that must be flagged; None = none.
            fresh: gives so many harmless prompts that nobody has used, fewer once there are no more; None = none.
            count: of harmless ones, each time.
        """
        self.every_s, self.harmful, self._fresh, self._count = every_s, harmful, fresh, count
        self.flagged_at: int | None = None
        """When a harmful prompt was flagged last, in milliseconds since 1970; None = none was yet."""
        self._harmful_at = self._harmless_at = float("-inf")
        self._waiting: dict[str, CanaryPrompt] = {}
        self._ended: list[tuple[Prompt, Verdict]] = []
        self.exhausted = False
        """Whether no fresh harmless prompt is left: drift is no longer looked for."""

    @property
    def missed(self) -> str | None:
        """Why no harmful canary was flagged the last time: a code, or `clear`; None = one was, or none has run."""
        return None if self.harmful is None else self.harmful.missed

    @property
    def proven(self) -> int:
        """Harmful prompts that this guard has flagged, and that are asked again and again."""
        return 0 if self.harmful is None else self.harmful.proven

    def due(self, now: float) -> list[CanaryPrompt]:
        """The canaries to generate now; each is given once.

        Nothing may follow from their verdicts, and their generations must be seen to the end: run them under a policy
        that only reports.

        Args:
            now: seconds of a clock that never goes back.
        """
        found: list[CanaryPrompt] = []
        if self.harmful is not None and now >= self._harmful_at:
            if any(each.kind == "harmful" for each in self._waiting.values()):
                self._judge()
            self._harmful_at = now + self.every_s
            found += [_asked(prompt, "harmful") for prompt in self.harmful.next()]
        if self._fresh is not None and now >= self._harmless_at:
            self._harmless_at = now + self.every_s
            drawn = self._fresh(self._count)
            self.exhausted = len(drawn) < self._count
            found += [_asked(prompt, "harmless") for prompt in drawn]
            if self.exhausted:
                self._fresh = None
        self._waiting |= {each.prompt.id: each for each in found}
        return found

    def ran(self, observation: Observation) -> CanaryPrompt | None:
        """Takes what came of a canary.

        Returns:
            Which one it was; None = none of these, or it was taken before.
        """
        canary = self._waiting.pop(observation.request_id, None)
        if canary is not None and canary.kind == "harmful":
            self._ended.append((canary.source, observation.verdict))
            if observation.verdict.status == "flagged":
                self.flagged_at = observation.at
            if not any(each.kind == "harmful" for each in self._waiting.values()):
                self._judge()
        return canary

    def _judge(self) -> None:
        assert self.harmful is not None
        before, ended, self._ended = self.harmful.missed, self._ended, []
        self._waiting = {name: each for name, each in self._waiting.items() if each.kind != "harmful"}
        self.harmful.ended(ended)
        if self.harmful.at_once:
            self._harmful_at = float("-inf")
        if self.harmful.missed != before:
            if self.harmful.missed is None:
                log.warning("canaries: a harmful prompt is flagged again")
            else:
                log.error("canaries: no harmful prompt was flagged: %s", self.harmful.missed)


def must_flag(section: HarmfulSection, config: FitConfig) -> MustFlag:
    """The harmful prompts that a monitor's file names.

    Raises:
        ConfigError: the dataset has no such split or attack, or none of them.
    """
    dataset: Dataset = registry.build("datasets", config.prompts.dataset, config.prompts.options)
    count = section.prompts
    while True:
        try:
            prompts = dataset.prompts(section.split, "harmful", count, attack=section.attack)
        except ConfigError as err:
            if count == 1:
                problems = [f"canaries.harmful: {problem}" for problem in err.problems or (str(err),)]
                raise ConfigError(problems[0], problems) from err
            count //= 2
        else:
            break
    if not prompts:
        raise ConfigError(f"canaries.harmful.split: {section.split!r} has no harmful prompt. Name another split.")
    return MustFlag(prompts, min(section.count, len(prompts)))


def _asked(prompt: Prompt, kind: CanaryKind) -> CanaryPrompt:
    # No id twice: a harmful prompt comes again and again.
    return CanaryPrompt(replace(prompt, id=canary_id(kind), base=prompt.base or prompt.id), kind, prompt)


def _reason(verdict: Verdict) -> str:
    return next(iter(verdict.reasons), verdict.status)

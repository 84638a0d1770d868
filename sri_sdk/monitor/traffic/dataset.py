"""Prompts of a dataset as traffic, for trials and soaks: a mix by shares, at a rate or as fast as it goes."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import replace

from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.monitor.settings import RequestsSection
from sri_sdk.monitor.traffic.traffic import Asked, Traffic
from sri_sdk.records import Label, Prompt

log = logging.getLogger("sri_sdk.monitor")


class DatasetTraffic(Traffic):
    """Requests drawn from a dataset. Each gets an id of its own: `PROMPT.NUMBER`.

    No prompt of a kind comes again before all of them were asked: a few that the guard happens to flag would otherwise
    look like many alarms.
    """

    def __init__(self, dataset: Dataset, section: RequestsSection) -> None:
        """Takes the dataset, and what of it is asked.

        Raises:
            ConfigError: it has no such split or attack, or no prompt there.
        """
        assert section.split is not None  # As the settings were checked.
        self._section = section
        shares: dict[tuple[Label, str | None], float] = {("harmful", None): section.harmful}
        shares |= {("harmful", attack): share for attack, share in section.attacks.items()}
        shares[("harmless", None)] = max(1 - sum(shares.values()), 0.0)
        kinds = {kind: share for kind, share in shares.items() if share > 1e-9}
        self._kinds, self._shares = list(kinds), list(kinds.values())
        self._prompts = {kind: _up_to(dataset, section.split, kind, section.prompts) for kind in self._kinds}
        self._random = random.Random(f"traffic {section.seed}")
        self._left: dict[tuple[Label, str | None], list[Prompt]] = {}
        """Kind -> prompts that were not asked since all of them were, in the order in which they are taken off."""
        self._given = 0
        self._begin: float | None = None
        self._stopped = False

    def start(self) -> str:
        """See `Traffic.start`."""
        pace = "as fast as they are generated" if self._section.rate is None else f"{self._section.rate:g} a second"
        return f"prompts of split {self._section.split!r}, {pace}"

    def take(self, most: int, timeout: float) -> list[Asked] | None:
        """See `Traffic.take`."""
        left = None if self._section.count is None else self._section.count - self._given
        if self._stopped or left == 0:
            return None
        count = most if left is None else min(most, left)
        return [self._next() for _ in range(self._due(count, timeout))]

    def stop(self) -> None:
        """See `Traffic.stop`."""
        self._stopped = True

    def _due(self, most: int, timeout: float) -> int:
        """How many are due by now, after waiting for the next one."""
        if self._section.rate is None:
            return most
        now = time.monotonic()
        if self._begin is None:
            self._begin = now
        wait = self._begin + self._given / self._section.rate - now
        if wait > 0:
            time.sleep(min(wait, timeout))
        due = int((time.monotonic() - self._begin) * self._section.rate) + 1 - self._given
        return max(min(due, most), 0)

    def _next(self) -> Asked:
        (kind,) = self._random.choices(self._kinds, self._shares)
        prompt = self._drawn(kind)
        self._given += 1
        return Asked(replace(prompt, id=f"{prompt.id}.{self._given}", base=prompt.base or prompt.id))

    def _drawn(self, kind: tuple[Label, str | None]) -> Prompt:
        if not self._left.get(kind):
            everything = list(self._prompts[kind])
            if kind in self._left:
                label, attack = kind
                log.info(
                    "requests: all %d prompts of split %r that are %s%s were asked; they begin anew",
                    len(everything), self._section.split, label, "" if attack is None else f", by the attack {attack}",
                )  # fmt: skip
            self._random.shuffle(everything)
            self._left[kind] = everything
        return self._left[kind].pop()


def _up_to(dataset: Dataset, split: str, kind: tuple[Label, str | None], count: int) -> Sequence[Prompt]:
    """The first prompts of a kind: as many as wanted, or half of that, and so on down to one."""
    label, attack = kind
    while True:
        try:
            return dataset.prompts(split, label, count, attack=attack)
        except ConfigError as err:
            if count == 1:
                problems = [f"requests: {problem}" for problem in err.problems or (str(err),)]
                raise ConfigError(problems[0], problems) from err
            count //= 2

"""What can make a result worthless, counted: shown in the end, and reason to stop where it is too much.

Counts travel with the batches in the store, so a continued run knows those of the run before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sri_sdk.config.fit import LimitsSection
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.tally import log
from sri_sdk.metrics.rates import exact_rate


@dataclass(frozen=True, slots=True)
class Words:
    """How people read of a counter."""

    what: str
    """What was counted, behind `3 of 40`."""
    cure: str
    """What to do about it."""


WORDS = {
    "unparsable": Words(
        "judge's answers name no outcome, so they count as `other`",
        "Look at what the judge answers: raise its max_tokens if it thinks first, name the marks of its thoughts in "
        "its option `thoughts`, or choose another judge.",
    ),
    "unfinished": Words(
        "responses end within a thought, so they have no answer",
        "Give the sampler more tokens, or switch thinking off in the template.",
    ),
    "empty": Words("responses have no words", "Check the sampler's tokens and the model's end tokens."),
    "unparsable drafts": Words(
        "judge's answers about drafts name no outcome, so they count as `other`",
        "Look at what draft_judge answers, or leave it out: then recovery is not measured.",
    ),
}
"""Counter -> its words. What is judged is one response or, for drafts, one draft."""


@dataclass(slots=True)
class Count:
    """One counter, so far."""

    k: int = 0
    """How often it was so."""
    n: int = 0
    """Of how many that were looked at."""
    example: str | None = None
    """Id of the first prompt it was so for; its text may be confidential."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {"k": self.k, "n": self.n, "example": self.example}


class Counters:
    """Counts per stage and over all stages of one model."""

    def __init__(self, limits: LimitsSection) -> None:
        """Starts at nothing; `limits` says how much is too much."""
        self._limits = limits
        self.stages: dict[str, dict[str, Count]] = {}
        self._warned: set[tuple[str, str]] = set()

    def add(self, stage: str, n: int, found: Mapping[str, Sequence[str]], *, counters: Sequence[str] = ()) -> None:
        """Takes what was counted in a batch.

        Args:
            stage: name of the fold or group.
            n: how many were looked at.
            found: counter -> ids of the prompts.
            counters: what was looked for; none = all that is about responses.
        """
        counts = self.stages.setdefault(stage, {})
        for name in counters or ("unparsable", "unfinished", "empty"):
            count, ids = counts.setdefault(name, Count()), found.get(name, ())
            count.k, count.n = count.k + len(ids), count.n + n
            count.example = count.example or next(iter(ids), None)

    def total(self) -> dict[str, Count]:
        """Every counter over all stages."""
        return total(self.to_dict())

    def check(self, stage: str, *, ended: bool) -> None:
        """Stops what has become worthless.

        While a stage runs, it stops where even the lower end of the 95 % interval is above the limit. At its end its
        own share counts, and that of all stages so far. Fewer than `limits.least` never stop anything.

        Raises:
            ConfigError: too large a share.
        """
        for name, count in self.stages.get(stage, {}).items():
            if not self._is_much(count):
                continue
            low = exact_rate(name, count.k, count.n).low
            if count.n >= self._limits.least and (ended or low > self._limits.unusable):
                raise ConfigError(self._message(stage, name, count))
            if ended:
                self._warn(stage, name, count)
        if ended:
            for name, count in self.total().items():
                if count.n >= self._limits.least and self._is_much(count):
                    raise ConfigError(self._message("all stages so far", name, count))

    def to_dict(self) -> dict[str, Any]:
        """Stage -> counter -> k, n and the id of an example, as JSON types."""
        return {
            stage: {name: count.to_dict() for name, count in counts.items()} for stage, counts in self.stages.items()
        }

    def _is_much(self, count: Count) -> bool:
        return count.k > self._limits.unusable * count.n

    def _message(self, stage: str, name: str, count: Count) -> str:
        return (
            f"{stage}: {self._found(name, count)}. Above limits.unusable, which is {_percent(self._limits.unusable)}, "
            f"a result means nothing. {WORDS[name].cure} What was generated is kept."
        )

    def _warn(self, stage: str, name: str, count: Count) -> None:
        if (stage, name) not in self._warned:
            self._warned.add((stage, name))
            log.warning(
                "%s: %s. Too few to stop for (limits.least is %d). %s", stage, self._found(name, count),
                self._limits.least, WORDS[name].cure,
            )  # fmt: skip

    @staticmethod
    def _found(name: str, count: Count) -> str:
        return (
            f"{name}: {count.k} of {count.n} {WORDS[name].what} ({_percent(count.k / count.n)}, "
            f"for example prompt {count.example!r})"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def total(stages: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Count]:
    """Every counter over all stages, from what `Counters.to_dict` gives."""
    made: dict[str, Count] = {}
    for counts in stages.values():
        for name, count in counts.items():
            into = made.setdefault(name, Count())
            into.k, into.n = into.k + count["k"], into.n + count["n"]
            into.example = into.example or count["example"]
    return made


def rows(counts: Mapping[str, Count]) -> list[tuple[str, str, str]]:
    """Rows of a table for people: counter, `k / n`, and what was counted, with an example's id."""
    return [
        (name, f"{count.k} / {count.n}", WORDS[name].what + (f"; such as {count.example!r}" if count.example else ""))
        for name, count in counts.items()
    ]

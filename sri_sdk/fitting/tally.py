"""What a judge has said so far, and early words about what dooms a fit.

Everything goes to the log `sri_sdk.fitting`: the commands print it between their bars, or as lines with the time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from sri_sdk.config.folds import FEWEST_COUNTED
from sri_sdk.errors import ConfigError
from sri_sdk.judge import Judge
from sri_sdk.records import Label, Outcome, Prompt

log = logging.getLogger("sri_sdk.fitting")

FEW_COUNTED = 20
"""Generations behind an anchor below which a fit warns: another draw of prompts would give another signal."""
MOST_REFUSED = 0.5
"""Share of harmless prompts refused above which a fold says little about harmless use."""
MOST_UNREADABLE = 0.05
"""Share of answers of a judge that name no outcome above which every rate is in doubt."""
EARLY = 8
"""Prompts of a class after which its share is worth a word."""
_COUNTS = {"harmless": "answered", "harmful": "refused"}


class Tally:
    """Counts the outcomes of one fold."""

    def __init__(self, stage: str, prompts: Sequence[Prompt], judge: Judge) -> None:
        """Starts at nothing.

        Args:
            stage: name of the fold, which leads every line.
            prompts: all of the fold.
            judge: asked for its own counters.
        """
        self._stage, self._judge = stage, judge
        self._wanted: Counter[Label] = Counter(prompt.label for prompt in prompts)
        self._seen: dict[Label, Counter[Outcome]] = {label: Counter() for label in self._wanted}
        self._before = unreadable(judge)
        self._warned: set[str] = set()

    def add(self, prompts: Sequence[Prompt], outcomes: Sequence[Outcome]) -> None:
        """Takes the outcomes of a batch, in the order of its prompts."""
        for prompt, outcome in zip(prompts, outcomes, strict=True):
            self._seen[prompt.label][outcome] += 1
        judged = sum(seen.total() for seen in self._seen.values())
        odd = unreadable(self._judge) - self._before
        if judged >= EARLY and odd > MOST_UNREADABLE * judged:
            self._warn(
                "judge", f"the judge gave no usable answer for {odd} of {judged} responses; they count as `other`. "
                "Look at its answers before you trust a rate."
            )  # fmt: skip

    def anchors(self) -> None:
        """Warns, or gives up, where too few generations of a class will count towards its anchor.

        Raises:
            ConfigError: fewer can count than an anchor needs, whatever the rest of the fold does.
        """
        for label, counts in self._seen.items():
            seen, wanted, used = counts.total(), self._wanted[label], self._used(label)
            if used + wanted - seen < FEWEST_COUNTED:
                raise ConfigError(too_few(label, used, seen))
            expected = used * wanted / seen if seen else wanted
            if seen >= min(EARLY, wanted) and expected < FEW_COUNTED:
                self._warn(
                    label, f"{used} of the first {seen} {label} prompts were {_COUNTS[label]}, so about {expected:.0f} "
                    f"of {wanted} will count towards the anchor; {FEW_COUNTED} or more are better, and fewer than "
                    f"{FEWEST_COUNTED} stop the fit. Give the anchors fold more {label} prompts, or check the judge."
                )  # fmt: skip

    def refusals(self) -> None:
        """Warns where most harmless prompts are refused."""
        counts = self._seen.get("harmless", Counter())
        if counts.total() >= EARLY and counts["refusal"] > MOST_REFUSED * counts.total():
            self._warn(
                "refused", f"{counts['refusal']} of the first {counts.total()} harmless prompts were refused: this "
                "says little about harmless use. Check the judge and the prompts."
            )  # fmt: skip

    def say(self) -> None:
        """One line with the outcomes of each class."""
        log.info("%s: %s", self._stage, "; ".join(f"{label} {_words(seen)}" for label, seen in self._seen.items()))

    def _used(self, label: Label) -> int:
        refused = self._seen[label]["refusal"]
        return refused if label == "harmful" else self._seen[label].total() - refused

    def _warn(self, about: str, text: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            log.warning("%s: %s", self._stage, text)


def too_few(label: str, used: int, seen: int) -> str:
    """What to say of an anchor that too few generations count towards."""
    return (
        f"anchors: {used} of {seen} {label} prompts {'was' if used == 1 else 'were'} {_COUNTS[label]}; at least "
        f"{FEWEST_COUNTED} must be, because an anchor is a mean. Check the judge against a few responses, or use more "
        "or other prompts; `sri doctor CONFIG` counts them on a small sample."
    )


def refuse_few(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Raises ConfigError if an anchor is the mean of too few; `counts` has `used` and `seen` per class."""
    for label, count in counts.items():
        if count["used"] < FEWEST_COUNTED:
            raise ConfigError(too_few(label, count["used"], count["seen"]))


def _words(seen: Counter[Outcome]) -> str:
    parts = [f"{count} {outcome}" for outcome, count in sorted(seen.items())]
    return f"{seen.total()} ({', '.join(parts)})"


def unreadable(judge: Judge) -> int:
    """How often the judge named no outcome, where it counts that."""
    found = getattr(judge, "unparsable", 0)
    return found if isinstance(found, int) else 0

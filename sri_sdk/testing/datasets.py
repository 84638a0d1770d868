"""The promises of a dataset, as checks: the name of a method is the name of its check, its docstring the promise."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import get_args

from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.records import Label, Prompt
from sri_sdk.testing._promises import Promises, listed
from sri_sdk.testing.check import Check, exits_are_failures
from sri_sdk.testing.planted import NotChecked
from sri_sdk.text import normal

LABELS: tuple[Label, ...] = get_args(Label)
SOME = 64
"""Prompts of each kind that the checks look at one by one."""
MOST = 2000
"""Prompts of each kind that are compared between splits, and that are counted to see whether a number is right."""
TOO_MANY = 10**9
"""Nobody holds so many prompts."""
NOWHERE = "no such name"

Sort = tuple[str, str, str | None]
"""Split, label and attack: what one draw is asked for."""


@exits_are_failures()
def dataset_checks(make: Callable[[], Dataset], known: Mapping[str, str] | None = None) -> list[Check]:
    """Every promise of a dataset.

    Args:
        make: gives a fresh dataset that holds prompts; usually `MyDataset.example`.
        known: strict known failures: name of a check -> why it fails.

    Raises:
        ConformanceError: `known` names no check.
    """
    case = _Checks(make)
    promises = [
        case.names_stable, case.names_lead_to_prompts, case.unknown_names_refused, case.count_is_kept,
        case.same_draw_twice, case.ids_unique, case.labels_right, case.attacks_keep_base, case.splits_disjoint,
        case.too_many_refused,
    ]  # fmt: skip
    return listed(promises, known)


class _Checks(Promises[Dataset]):
    # -- names -----------------------------------------------------------------------------------------------

    def names_stable(self) -> None:
        """splits() and attacks() name each thing once, and the same whenever they are asked. Configs are written with
        these names."""  # fmt: skip
        other = self.fresh()
        for what, first, again in (
            ("splits()", self.case.splits(), (self.case.splits(), other.splits())),
            ("attacks()", self.case.attacks(), (self.case.attacks(), other.attacks())),
        ):
            names = list(first)
            if not all(isinstance(name, str) and name.strip() for name in names) or isinstance(first, str):
                self.fail(f"{what}: {first!r}, must be a sequence of names")
            if len(set(names)) < len(names) or (what == "splits()" and not names):
                self.fail(f"{what}: {names}; every name once{', and at least one' if not names else ''}")
            for found in again:
                if list(found) != names:
                    self.fail(f"{what}: first {names}, then {list(found)}")

    def names_lead_to_prompts(self) -> None:
        """Every split, and every attack, holds at least one prompt. A name that leads nowhere shows only when somebody
        fits a guard."""  # fmt: skip
        for what, place, names in (("split", 0, self.case.splits()), ("attack", 2, self.case.attacks())):
            empty = [name for name in names if name not in {sort[place] for sort in self.held}]
            if empty:
                self.fail(f"prompts(): {what} {empty[0]!r} holds no prompt of any label; leave it out, or fill it")

    def unknown_names_refused(self) -> None:
        """A split, label or attack that does not exist is a ConfigError. Anything else is a traceback for whoever
        misspelt a word in YAML."""  # fmt: skip
        split, label, _ = self.some()
        wrong: list[Sort] = [(NOWHERE, label, None), (split, NOWHERE, None), (split, label, NOWHERE)]
        for sort in wrong:
            if not isinstance(self.ask(sort, 1), str):
                self.fail(f"prompts(): {_named(sort)} does not exist, and is not refused; raise ConfigError")

    # -- one draw --------------------------------------------------------------------------------------------

    def count_is_kept(self) -> None:
        """prompts() gives as many prompts as asked for, and a smaller number is the beginning of a larger one. Folds
        are consecutive slices: else one prompt stands in two of them."""  # fmt: skip
        for sort, drawn in self.drawn.items():
            if not all(isinstance(prompt, Prompt) for prompt in drawn):
                self.fail(f"prompts(): {_named(sort)}: must be sri_sdk.Prompt records, found {type(drawn[0]).__name__}")
            for count in {1, (len(drawn) + 1) // 2, len(drawn)}:
                found = self.draw(self.case, sort, count)
                if len(found) != count:
                    self.fail(f"prompts(): {_named(sort)}: {count} asked for, {len(found)} given")
                if found != list(drawn[:count]):
                    at = next(i for i, (a, b) in enumerate(zip(found, drawn, strict=False)) if a != b)
                    self.fail(
                        f"prompts(): {_named(sort)}: of {count} prompts number {at} is {found[at].id!r}, of "
                        f"{len(drawn)} it is {drawn[at].id!r}; give the first `count` of one order"
                    )

    def same_draw_twice(self) -> None:
        """The same call gives the same prompts again, also from a fresh dataset. Else no guard can be made twice."""
        other = self.fresh()
        for sort, drawn in self.drawn.items():
            for how, dataset in (("asked again", self.case), ("a fresh dataset", other)):
                found = self.draw(dataset, sort, len(drawn))
                moved = [i for i, (a, b) in enumerate(zip(found, drawn, strict=False)) if a != b]
                if moved:
                    self.fail(
                        f"prompts(): {_named(sort)}: {how}, {len(moved)} of {len(drawn)} prompts differ, first number "
                        f"{moved[0]}: {found[moved[0]].id!r} instead of {drawn[moved[0]].id!r}"
                    )

    def ids_unique(self) -> None:
        """No two prompts have one id, in whatever split, label or attack. Signals, verdicts and caches go by it."""
        home: dict[str, Sort] = {}
        for sort, drawn in self.drawn.items():
            for prompt in drawn:
                if not isinstance(prompt.id, str) or not prompt.id.strip():
                    self.fail(f"prompts(): {_named(sort)}: id {prompt.id!r}, must be a text that is not empty")
                if prompt.id in home:
                    both = f"one of {_named(home[prompt.id])} and one of {_named(sort)}"
                    self.fail(f"prompts(): id {prompt.id!r} stands for two prompts, {both}")
                home[prompt.id] = sort

    def labels_right(self) -> None:
        """Prompts carry the label and the attack that were asked for, and a text. A harmful prompt among the harmless
        raises the threshold."""  # fmt: skip
        for sort, drawn in self.drawn.items():
            for prompt in drawn:
                if (prompt.label, prompt.attack) != sort[1:]:
                    found = f"label {prompt.label!r} and attack {prompt.attack!r}"
                    self.fail(f"prompts(): {_named(sort)}: {prompt.id!r} has {found}")
                if not isinstance(prompt.text, str) or not prompt.text.strip():
                    self.fail(f"prompts(): {_named(sort)}: {prompt.id!r} has the text {prompt.text!r}")

    def attacks_keep_base(self) -> None:
        """An attacked prompt names in `base` the plain request it was made of, which is of its split and label.
        Intervals of rates resample by it, and a request must not stand in two folds."""  # fmt: skip
        plain = {prompt.id: sort for sort, drawn in self.whole.items() if sort[2] is None for prompt in drawn}
        for sort, drawn in self.drawn.items():
            for prompt in drawn if sort[2] is not None else ():
                found = f"prompts(): {_named(sort)}: {prompt.id!r} has base {prompt.base!r}"
                if not prompt.base or prompt.base == prompt.id:
                    self.fail(f"{found}; name the plain request it was made of")
                home = plain.get(prompt.base, sort)
                if home[:2] != sort[:2]:
                    self.fail(f"{found}, which is one of {_named(home)}")

    # -- all of them -----------------------------------------------------------------------------------------

    def splits_disjoint(self) -> None:
        """No text stands twice, up to case, width and spacing: neither in two splits nor in one. A guard calibrated on
        what it was fitted on promises too much."""  # fmt: skip
        home: dict[str, tuple[str, Sort]] = {}
        for sort, drawn in self.whole.items():
            for prompt in drawn:
                # With another start of the response it is another prompt: some attacks change nothing else.
                text = normal(f"{prompt.text}\n{prompt.prefill or ''}")
                if text in home:
                    twin, before = home[text]
                    self.fail(
                        f"prompts(): {prompt.id!r} of {_named(sort)} has the text of {twin!r} of {_named(before)}: "
                        f"{prompt.text[:60]!r}"
                    )
                home[text] = prompt.id, sort
        cut = [sort for sort, drawn in self.whole.items() if len(drawn) == MOST]
        if cut:
            warnings.warn(f"only the first {MOST} prompts compared of {_named(cut[0])}", NotChecked, stacklevel=2)

    def too_many_refused(self) -> None:
        """Asking for more prompts than there are is a ConfigError that says how many there are. Fewer than asked for
        would shrink a fold in silence."""  # fmt: skip
        for sort in self.held:
            refused = self.ask(sort, TOO_MANY)
            if not isinstance(refused, str):
                self.fail(
                    f"prompts(): {_named(sort)}: {TOO_MANY} asked for, {len(refused)} given; raise ConfigError "
                    "with the number there is"
                )
            said = [int(re.sub(r"[_,]", "", word)) for word in re.findall(r"\d[\d_,]*", refused)]
            if not any(self.is_size(sort, number) for number in said if number != TOO_MANY):
                self.fail(f"prompts(): {_named(sort)}: {refused!r} does not say how many there are")

    # -- material and words ----------------------------------------------------------------------------------

    def subject(self, case: Dataset) -> Dataset:
        return case

    @cached_property
    def held(self) -> tuple[Sort, ...]:
        """What can be drawn; a split need not have every label, nor an attack every split."""
        sorts: list[Sort] = [
            (split, label, attack)
            for split in self.case.splits()
            for label in LABELS
            for attack in (None, *self.case.attacks())
        ]
        return tuple(sort for sort in sorts if self.has(sort, 1))

    @cached_property
    def drawn(self) -> dict[Sort, Sequence[Prompt]]:
        """A few of each sort."""
        self.some()
        return {sort: drawn[:SOME] for sort, drawn in self.whole.items()}

    @cached_property
    def whole(self) -> dict[Sort, list[Prompt]]:
        """As many of each sort as there are, or as are compared."""
        return {sort: self.draw(self.case, sort, self.most(sort)) for sort in self.held}

    def most(self, sort: Sort) -> int:
        """The largest number up to MOST that can be drawn, found by halving."""
        if self.has(sort, MOST):
            return MOST
        least, beyond = 1, MOST
        while beyond - least > 1:
            middle = (least + beyond) // 2
            least, beyond = (middle, beyond) if self.has(sort, middle) else (least, middle)
        return least

    def some(self) -> Sort:
        """The first sort that holds something."""
        if not self.held:
            self.fail(
                f"prompts(): splits {list(self.case.splits())} hold no prompt of any label; give the dataset an "
                "example() with a few"
            )
        return self.held[0]

    def draw(self, dataset: Dataset, sort: Sort, count: int) -> list[Prompt]:
        """What prompts() gives."""
        split, label, attack = sort
        return list(dataset.prompts(split, label, count, attack=attack))  # type: ignore[arg-type]

    def ask(self, sort: Sort, count: int) -> list[Prompt] | str:
        """What prompts() gives, or what the ConfigError says."""
        try:
            return self.draw(self.case, sort, count)
        except ConfigError as err:
            return str(err)
        except Exception as err:
            raised = f"{type(err).__name__}: {err}"
            self.fail(f"prompts(): {_named(sort)}, {count} asked for: {raised}; raise ConfigError", err)

    def has(self, sort: Sort, count: int) -> bool:
        """Whether so many can be drawn."""
        found = self.ask(sort, count)
        return not isinstance(found, str) and len(found) >= count

    def is_size(self, sort: Sort, number: int) -> bool:
        """Whether so many can be drawn, and not one more. Large numbers are believed: drawing them takes minutes."""
        return number > 0 and (number > MOST or self.has(sort, number)) and not self.has(sort, number + 1)


def _named(sort: Sort) -> str:
    split, label, attack = sort
    return f"split {split!r}, {label}" + (f", attack {attack!r}" if attack else "")

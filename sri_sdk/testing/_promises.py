"""What the simple kinds of plugins promise alike, written once; a kind's file holds its words and its own promises."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Generic, NamedTuple, NoReturn, TypeVar

from numpy.typing import NDArray

from sri_sdk.errors import ConformanceError
from sri_sdk.testing.check import Check, mark_known

Case = TypeVar("Case")
Item = TypeVar("Item")

Answers = Sequence[Any] | NDArray[Any]
"""One per item, in their order."""


class Words(NamedTuple):
    """How promises and messages name what an interface is about."""

    method: str
    plugin: str
    item: str
    """Singular; an s makes it plural."""
    answer: str
    """Likewise."""


def listed(
    promises: Iterable[Callable[[], None]], known: Mapping[str, str] | None, words: Words | None = None
) -> list[Check]:
    """One check per method: its name with hyphens, its docstring as the promise.

    Args:
        promises: bound methods that raise ConformanceError where a promise is broken.
        known: strict known failures: name of a check -> why it fails.
        words: what the names in braces in docstrings of shared promises stand for.

    Raises:
        ConformanceError: `known` names no check.
    """
    checks = []
    for body in promises:
        promise = " ".join((body.__doc__ or "").split())
        promise = promise if words is None else promise.format(**words._asdict())
        checks.append(Check(body.__name__.replace("_", "-"), promise, body))
    return mark_known(checks, known or {})


class Promises(ABC, Generic[Case]):
    """One plugin under check. Checks raise ConformanceError with what was found and what is allowed."""

    def __init__(self, make: Callable[[], Any], wrap: Callable[[Any], Case] = lambda made: made) -> None:
        """`make` gives a fresh plugin, or a case around one; `wrap` turns either into a case."""
        self.make, self.wrap = make, wrap

    @abstractmethod
    def subject(self, case: Case) -> object:
        """The plugin of a case: messages begin with its class."""

    @cached_property
    def case(self) -> Case:
        """For every check that only reads it."""
        return self.fresh()

    def fresh(self) -> Case:
        """A fresh case."""
        return self.wrap(self.make())

    def attempt(self, doing: str, call: Callable[[], Any], case: Case | None = None) -> Any:
        """What a call returns; what it raises is a failure."""
        try:
            return call()
        except Exception as err:
            self.fail(f"{doing} {type(err).__name__}: {err}", err, case)

    def unchanged(self, doing: str, call: Callable[[], Any], **given: Any) -> None:
        """Fails where the call changes something that it is given."""
        before = copy.deepcopy(given)
        call()
        for name, now in given.items():
            if now != before[name]:
                self.fail(
                    f"{doing}: changes its input: {name} became {str(now)[:80]!r}, was {str(before[name])[:80]!r}"
                )

    def fail(self, problem: str, cause: Exception | None = None, case: Case | None = None) -> NoReturn:
        """Raises ConformanceError with the subject in front."""
        subject = self.subject(self.case if case is None else case)
        raise ConformanceError(f"{type(subject).__name__}.{problem.rstrip('.')}.") from cause


class PromisesPerItem(Promises[Case], Generic[Case, Item]):
    """A plugin that gives one answer per item of a list, such as an attack, a baseline or a judge."""

    words: ClassVar[Words]

    @cached_property
    @abstractmethod
    def items(self) -> list[Item]:
        """Planted ones, and those of the case."""

    @abstractmethod
    def answers(self, items: Sequence[Item], case: Case | None = None) -> Answers:
        """What the plugin of the case, or of `self.case`, gives for a copy of the list: [N], one answer per item.

        Fails where that is wrong.
        """

    @abstractmethod
    def named(self, item: Item) -> str:
        """How messages call an item."""

    def shown(self, answer: Any) -> str:
        """How messages print an answer."""
        return repr(answer)

    def moved(self, found: Answers, wanted: Answers) -> list[int]:
        """Where two lists or arrays [N] of answers differ."""
        return [at for at, (one, two) in enumerate(zip(found, wanted, strict=True)) if one != two]

    def same(self, how: str, found: Answers, wanted: Answers) -> None:
        """Fails where answers [N] to the first N of `items` differ."""
        if moved := self.moved(found, wanted):
            at = moved[0]
            self.fail(
                f"{self.words.method}: {how}, {len(moved)} of {len(wanted)} {self.words.answer}s differ, first "
                f"that of {self.named(self.items[at])}: {self.shown(found[at])} instead of {self.shown(wanted[at])}"
            )

    # -- checks ----------------------------------------------------------------------------------------------

    def deterministic(self) -> None:
        """The same {item}s get the same {answer}s again, also from a fresh {plugin}. Otherwise no result can be
        reproduced or continued."""  # fmt: skip
        first = self.answers(self.items)
        self.same("asked again", self.answers(self.items), first)
        self.same(f"a fresh {self.words.plugin}", self.answers(self.items, self.fresh()), first)

    def order_and_company_irrelevant(self) -> None:
        """The {answer} of a {item} does not depend on its batch or its place in it. Batches differ from machine to
        machine."""  # fmt: skip
        together = self.answers(self.items)
        self.same("in the reverse order", self.answers(self.items[::-1])[::-1], together)
        self.same("alone", [self.answers([item])[0] for item in self.items], together)

"""From a table of promises to checks that each build a case of their own; listing them need not build any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from sri_sdk.testing.check import Check, NotOffered, exits_are_failures, mark_known

Case = TypeVar("Case")


@dataclass(frozen=True, slots=True)
class Promise(Generic[Case]):
    """One row of the table."""

    name: str
    text: str
    body: Callable[[Any], None]
    """Takes a fresh case, or raises ConformanceError."""
    applies: Callable[[Case], bool] = lambda case: True
    """Whether a case offers what the check needs."""
    builds_its_own: bool = False
    """The body takes what builds cases: it looks at one from birth to death."""


@exits_are_failures()
def checks_of_cases(
    promises: Sequence[Promise[Case]],
    admitted: Callable[[], Case],
    make: Callable[[], Case],
    known: Mapping[str, str] | None,
    *,
    lazy: bool,
) -> list[Check]:
    """The checks of one plugin.

    Args:
        promises: the table.
        admitted: builds a case, and raises ConformanceError where it cannot be checked.
        make: builds a fresh case.
        known: strict known failures: name of a check -> why it fails.
        lazy: list every promise without a case; calling one that the case does not offer raises `unittest.SkipTest`,
            which pytest and unittest report as skipped.

    Raises:
        ConformanceError: the case cannot be checked, or a mark names no check.
    """

    @cache
    def offered() -> frozenset[str]:
        # Names only: a case that was kept would keep its model alive.
        case = admitted()
        return frozenset(promise.name for promise in promises if promise.applies(case))

    def call(promise: Promise[Case]) -> None:
        if lazy and promise.name not in offered():
            raise NotOffered(f"{promise.name}: the case does not offer what this check needs")
        promise.body(make if promise.builds_its_own else make())

    def check(promise: Promise[Case]) -> Check:
        return Check(promise.name, promise.text, lambda: call(promise))

    chosen = [promise for promise in promises if lazy or promise.name in offered()]
    return mark_known([check(promise) for promise in chosen], known or {})

"""One promise of an interface, as something that can be called, named and explained."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from unittest import SkipTest

from sri_sdk.errors import ConformanceError

State = Literal["passed", "failed", "known", "crashed"]


class NotOffered(SkipTest):
    """A lazily listed check needs what the case does not offer. A plugin's own SkipTest skips nothing."""


@dataclass(frozen=True, slots=True)
class Check:
    """Calling it passes silently, or raises `ConformanceError` with subject, problem and numbers."""

    name: str
    """Lower case with hyphens, unique within its kind: what a report prints and `known` refers to."""
    promise: str
    """What must hold and what breaks for a user where it does not; one or two sentences, for `--explain`."""
    body: Callable[[], None]
    known: str | None = None
    """Why it is known to fail. Strict: one that passes is an error too, so that no mark outlives its reason."""

    def __call__(self) -> None:
        """Runs it."""
        with exits_are_failures():
            if self.known is None:
                self.body()
                return
            try:
                self.body()
            except ConformanceError:
                return
        raise ConformanceError(
            f"{self.name}: marked as a known failure ({self.known}), but it passes. Remove the mark."
        )

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found."""

    name: str
    state: State
    """`known` = failed as its mark says; `crashed` = the plugin, or the kit, raised something else."""
    message: str
    seconds: float


def described(err: BaseException) -> str:
    """An error as messages print it, with the function that raised it."""
    said = f": {err}" if str(err) else ""
    return f"{type(err).__name__}{said}{_raised_in(err)}"


def _raised_in(err: BaseException) -> str:
    """` (raised in Class.method, file.py, line 3)`: the innermost code that is not the kit's; empty where it all is."""
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(err.__traceback__)]
    for code, line in reversed(frames):
        if Path(code.co_filename).parent != Path(__file__).parent:
            return f" (raised in {code.co_qualname}, {Path(code.co_filename).name}, line {line})"
    return ""


@contextmanager
def exits_are_failures() -> Iterator[None]:
    """A plugin that calls `sys.exit()` fails a check; it does not end the process that checks it.

    Also a decorator, for what lists checks: it builds cases, so it runs code of the plugin.

    Raises:
        ConformanceError: the code raised what is neither an Exception nor KeyboardInterrupt; names the function.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as err:
        raise ConformanceError(f"the plugin ends the process: {described(err)}. Raise an SriError instead.") from err


def mark_known(checks: Iterable[Check], known: Mapping[str, str]) -> list[Check]:
    """The same checks, with strict known failures marked.

    Raises:
        ConformanceError: a mark names no check.
    """
    listed = list(checks)
    stray = sorted(set(known) - {check.name for check in listed})
    if stray:
        raise ConformanceError(
            f"known failures: no check is named {', '.join(stray)}; checks: {', '.join(c.name for c in listed)}."
        )
    return [replace(check, known=known.get(check.name)) for check in listed]


def run_checks(checks: Iterable[Check]) -> list[Result]:
    """Runs every check, whatever the others say; a lazily listed one that the case does not offer has no result."""
    results = []
    for check in checks:
        start = time.perf_counter()
        state: State = "passed" if check.known is None else "known"
        message = check.known or ""
        try:
            check()
        except NotOffered:
            continue
        except ConformanceError as err:
            state, message = "failed", str(err)
        except Exception as err:
            state, message = "crashed", described(err)
        results.append(Result(check.name, state, message, time.perf_counter() - start))
    return results

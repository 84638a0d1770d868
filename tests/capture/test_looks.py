"""Passes that are planned one by one and looked at together say what they say one by one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from sri_sdk import registry
from sri_sdk.capture import later
from sri_sdk.capture.coverage import FinishedText
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.shift_check import ShiftCheck
from sri_sdk.capture.tamper import TamperSigns
from sri_sdk.capture.tap import tap_of

# In blocks of 4 and 8 beside a cache, up to the end of a block, and whole.
FAMILIES = ("sdar", "fast-dllm-v2", "llada2", "lab-diffusion")


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Any:
    return registry.load("hooks", request.param).example()


@contextmanager
def at_once() -> Iterator[None]:
    """Looks at each pass as it is shown."""

    def looking(original: Callable[..., None]) -> Callable[..., None]:
        def call(self: Any, *args: Any) -> None:
            original(self, *args)
            self._look()

        return call

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ShiftCheck, "_collect_later", looking(ShiftCheck._collect_later))
        patched.setattr(TamperSigns, "shown", looking(TamperSigns.shown))
        patched.setattr(FinishedText, "later", looking(FinishedText.later))
        yield


Edit = Callable[[int, torch.Tensor], None]
"""(pass, [B, L] ids as the embedding gets them): writes into them."""


def watched(case: Any, monkeypatch: pytest.MonkeyPatch, edit: Edit | None = None) -> tuple[Run, list[Any], Any]:
    """Returns the run, what the check of the shift had collected, and what was generated."""
    collected: list[Any] = []
    contradicted = ShiftCheck.contradicted

    def kept(self: ShiftCheck) -> bool:
        self._look()
        collected.extend(torch.cat(part) for part in zip(*self._found, strict=True))
        return contradicted(self)

    monkeypatch.setattr(ShiftCheck, "contradicted", kept)
    # Every pass is planned, as where a policy stops on tampering or a hook offers no steady passes.
    monkeypatch.setattr("sri_sdk.capture.passes.says_how_it_goes_on", lambda hook: False)
    passes = [0]

    def edits(_module: Any, args: tuple[Any, ...]) -> None:
        if edit is not None:
            edit(passes[0], args[0])
        passes[0] += 1

    hook = case.hook.embedding().register_forward_pre_hook(edits)
    try:
        run = Run(case.hook, WatchSettings("response", keep_states=True, keeps_commits=True))
        tap = tap_of(case.hook.model)
        with tap.installed(case.hook, run), tap.owned_by(run), torch.inference_mode():
            tokens = run.returned(case.generate(case.encoded))
        run.finish()
    finally:
        hook.remove()
    monkeypatch.undo()
    return run, collected, tokens


def assert_same(found: tuple[Run, list[Any], Any], expected: tuple[Run, list[Any], Any]) -> None:
    assert torch.equal(found[2], expected[2])
    assert len(found[1]) == len(expected[1])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found[1], expected[1], strict=True))
    for mine, theirs in zip(found[0].traces, expected[0].traces, strict=True):
        assert (mine.steps, mine.expected, mine.reasons) == (theirs.steps, theirs.expected, theirs.reasons)
        assert np.array_equal(mine.clock, theirs.clock)
        assert np.array_equal(mine.phi, theirs.phi, equal_nan=True)


def nothing(index: int, ids: torch.Tensor) -> None:
    pass


def rewriting(at: int) -> Edit:
    """From pass `at` on, other tokens each time in one place of the block in work, whatever stood there."""

    def edit(index: int, ids: torch.Tensor) -> None:
        if index >= at:
            ids[:, max(ids.shape[1] - 8, 0)] = 5 + index % 2

    return edit


@pytest.mark.parametrize("at", [None, 2, 5])
@pytest.mark.parametrize("waiting", [2, 64])
def test_together_they_say_what_they_say_one_by_one(
    case: Any, at: int | None, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = nothing if at is None else rewriting(at)
    monkeypatch.setattr(later, "MOST_WAITING", waiting)
    found = watched(case, monkeypatch, edit)
    with at_once():
        expected = watched(case, monkeypatch, edit)
    assert expected[1], "the check of the shift collected nothing"
    assert_same(found, expected)
    reasons = {reason for trace in found[0].traces for reason in trace.reasons}
    if at is None:
        assert not reasons
    elif not case.hook.edits_tokens:
        assert "canvas_rewritten" in reasons


def test_few_long_passes_wait_and_many_short_ones() -> None:
    long, short = torch.zeros(8, later.MOST_TOKENS // 16), torch.zeros(1, 4)
    assert not later.enough(0, torch.zeros(later.MOST_TOKENS + 1))
    assert not later.enough(1, long) and later.enough(2, long)
    assert not later.enough(later.MOST_WAITING - 1, short) and later.enough(later.MOST_WAITING, short)

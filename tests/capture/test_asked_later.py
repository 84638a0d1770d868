"""Passes of which the hook is asked later: what goes wrong among them is found as if it had been asked of each."""

from typing import Any

import numpy as np
import pytest
import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.canvas import after_each
from sri_sdk.capture import kept, passes
from sri_sdk.capture.asked_later import AskedLater
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.tap import tap_of

FAMILIES = ("sdar", "fast-dllm-v2", "llada2")


class Edits:
    """Shows the model other tokens than its sampler wants, in one pass whose block has some that were committed."""

    def __init__(self, hook: Any, at_least: int, *, opens: bool) -> None:
        self._mask, self._at_least, self._opens = hook.mask_id(), at_least, opens
        self._before = self._opened = torch.empty(0, 0)
        self._passes = 0
        self.done = False

    def __call__(self, _module: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
        (ids,), before, opened = args, self._before, self._opened
        holes = ids == self._mask
        same = ids.shape == before.shape and bool(holes.any())
        self._passes, self._before = self._passes + 1, ids.clone()
        self._opened = opened | holes if same else holes
        if self.done or self._passes < self._at_least or not same:
            return None
        # A position that was open in a pass of this block, in a row that is still at it.
        stayed = (ids == before) & ~holes & opened & holes.any(1, keepdim=True)
        if not stayed.any():
            return None
        row, column = stayed.nonzero()[-1].tolist()
        shown = ids.clone()
        shown[row, column] = self._mask if self._opens else 6 + (shown[row, column] == 6)
        self.done = True
        return (shown,)


def watched(family: str, *, one_by_one: bool, at_least: int = 1000, opens: bool = False) -> Run:
    case = registry.load("hooks", family).example()
    hook = case.hook
    settings = WatchSettings("response", keep_states=True, keeps_commits=True)
    with pytest.MonkeyPatch.context() as patched:
        if one_by_one:
            patched.setattr(passes, "says_how_it_goes_on", lambda hook: False)
        run = Run(hook, settings)
    tap, edits = tap_of(hook.model), Edits(hook, at_least, opens=opens)
    handle = hook.embedding().register_forward_pre_hook(edits)
    with tap.installed(hook, run), tap.owned_by(run), torch.inference_mode():
        run.returned(case.generate(case.encoded))
    handle.remove()
    assert edits.done or at_least == 1000
    run.finish()
    return run


@pytest.mark.parametrize("opens", [False, True], ids=["rewrites", "opens"])
@pytest.mark.parametrize("at_least", [4, 6])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_that_somebody_changes_are_found_as_one_by_one(family: str, at_least: int, opens: bool) -> None:
    found, expected = (
        watched(family, one_by_one=one_by_one, at_least=at_least, opens=opens) for one_by_one in (False, True)
    )
    assert [trace.reasons for trace in found.traces] == [trace.reasons for trace in expected.traces]
    # LLaDA2.1 edits its own text.
    assert any(trace.reasons for trace in found.traces) or (family == "llada2" and not opens)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_generation_in_one_watch_is_found(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    original = AskedLater.begin
    monkeypatch.setattr(AskedLater, "begin", lambda self, ids: (begun.append(1), original(self, ids))[1])
    case = registry.load("hooks", family).example()
    with sri_sdk.watch(case.hook.model, hook=case.hook) as run:
        for _ in range(2):
            case.generate(case.encoded)
    assert begun
    assert all("hook_failed" in trace.reasons for trace in run.traces)


def test_blocks_too_large_to_be_kept_are_planned_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = watched("sdar", one_by_one=True)
    monkeypatch.setattr(kept, "MOST_KEPT", 1)
    monkeypatch.setattr(AskedLater, "begin", lambda *_: pytest.fail("was kept"))
    found = watched("sdar", one_by_one=False)
    for mine, theirs in zip(found.traces, expected.traces, strict=True):
        assert np.array_equal(mine.phi, theirs.phi)


def test_what_each_column_holds_after_each_pass() -> None:
    random = torch.Generator().manual_seed(0)
    before = torch.randint(0, 9, (2, 6), generator=random)
    shown = torch.randint(10, 99, (5, 2, 3), generator=random)
    firsts = torch.randint(0, 7, (5, 2, 1), generator=random)
    places = (firsts + torch.arange(3)).clamp(max=6)
    found = after_each(before, shown, places)
    now = before.clone()
    for index in range(5):
        for row in range(2):
            for place, token in zip(places[index, row].tolist(), shown[index, row].tolist(), strict=True):
                if place < 6:
                    now[row, place] = token
        assert torch.equal(found[index], now)


def test_states_that_change_their_dtype_on_the_way_are_not_rounded() -> None:
    case = registry.load("hooks", "sdar").example()
    hook, passes = case.hook, []

    def wider(_module: Any, _args: Any, states: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        return states if len(passes) < 4 else states.double()

    handles = [
        hook.final_norm().register_forward_hook(wider),
        hook.head().register_forward_pre_hook(lambda _module, args: (args[0].float(),)),
    ]
    with sri_sdk.watch(hook.model, hook=hook, pooling="response") as run:
        case.generate(case.encoded)
    for handle in handles:
        handle.remove()
    assert "torch.float64 after torch.float32" in str(run.failure)
    assert run.traces[0].reasons[0] == "hook_failed"

"""Steady passes: read many at once, they say what they say one by one."""

from typing import Any

import numpy as np
import pytest
import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture import passes, steady
from sri_sdk.capture.run import Run
from sri_sdk.capture.steady import SteadyRun

FAMILIES = ("lab-diffusion", "lab-causal", "causal", "llada", "masked-lm", "dream")


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Any:
    return registry.load("hooks", request.param).example()


def watched(case: Any, way: str = "generate", *, one_by_one: bool = False, **how: Any) -> tuple[Run, Any]:
    generate = getattr(case, way)
    with pytest.MonkeyPatch.context() as patched:
        if one_by_one:
            patched.setattr(passes, "says_how_it_goes_on", lambda hook: False)
        with sri_sdk.watch(case.hook.model, hook=case.hook, **how) as run:
            tokens = run.returned(generate(case.encoded))
    return run, tokens


def assert_same(found: Run, expected: Run) -> None:
    for mine, theirs in zip(found.traces, expected.traces, strict=True):
        assert (mine.steps, mine.expected, mine.reasons) == (theirs.steps, theirs.expected, theirs.reasons)
        assert np.array_equal(mine.clock, theirs.clock)
        assert np.array_equal(mine.phi, theirs.phi, equal_nan=True)


@pytest.mark.parametrize("way", ["generate", "generate_sampled", "generate_guided"])
def test_they_say_at_once_what_they_say_one_by_one(case: Any, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if getattr(case, way) is None:
        pytest.skip("this family has no such way")
    begun: list[int] = []
    original = SteadyRun.begin
    monkeypatch.setattr(SteadyRun, "begin", lambda self, ids: (begun.append(1), original(self, ids))[1])
    found, tokens = watched(case, way)
    assert begun, "no pass went on as the one before"
    expected, same = watched(case, way, one_by_one=True)
    assert torch.equal(tokens, same)
    assert_same(found, expected)


@pytest.mark.parametrize("capacity", [1, 3])
def test_it_does_not_matter_when_they_are_read(case: Any, capacity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "MOST_PASSES", capacity)
    found, _ = watched(case)
    expected, _ = watched(case, one_by_one=True)
    assert_same(found, expected)


def test_several_layers_are_pooled_alike(case: Any) -> None:
    layers = (0, "final")
    found, _ = watched(case, layers=layers)
    expected, _ = watched(case, one_by_one=True, layers=layers)
    assert found.traces[0].phi.shape[1] == 2
    assert_same(found, expected)

"""Steady passes: read many at once, they say what they say one by one."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture import following, passes
from sri_sdk.capture.asked_later import AskedLater
from sri_sdk.capture.following import FollowingRun
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings, watch_settings
from sri_sdk.capture.steady import SteadyRun
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import GenerationAborted
from sri_sdk.policy import Policy

from .conftest import example_of
from .test_cost import SUBJECTS, settings_for

FAMILIES = (
    "lab-diffusion",
    "lab-causal",
    "causal",
    "llada",
    "masked-lm",
    "dream",
    "sdar",
    "fast-dllm-v2",
    "llada2",
    "diffusion-gemma",
)


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Any:
    return example_of(request.param)


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
    original = FollowingRun.begin
    monkeypatch.setattr(FollowingRun, "begin", lambda self, ids: (begun.append(1), original(self, ids))[1])
    found, tokens = watched(case, way)
    assert begun, "no pass went on as the one before"
    expected, same = watched(case, way, one_by_one=True)
    assert torch.equal(tokens, same)
    assert_same(found, expected)


@pytest.mark.parametrize("capacity", [1, 3])
def test_it_does_not_matter_when_they_are_read(case: Any, capacity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MOST_WAITING", capacity)
    found, _ = watched(case)
    expected, _ = watched(case, one_by_one=True)
    assert_same(found, expected)


def test_several_layers_are_pooled_alike(case: Any) -> None:
    layers = (0, "final")
    found, _ = watched(case, layers=layers)
    expected, _ = watched(case, one_by_one=True, layers=layers)
    assert found.traces[0].phi.shape[1] == 2
    assert_same(found, expected)


# -- a loop of somebody's own, in which something goes wrong -------------------------------------------------


Edit = Callable[[int, torch.Tensor, int], torch.Tensor | None]
"""(pass, [B, L] ids, first canvas column) -> the ids to show in its place; None = as they are, changed or not."""


def filled_by_hand(edit: Edit, *, one_by_one: bool, length: int = 12, case: Any = None) -> Run:
    """The lab's model fills one position of two canvases after the other, and `edit` writes into what it is shown."""
    case = case or registry.load("hooks", "lab-diffusion").example()
    hook, mask = case.hook, case.hook.mask_id()
    settings = WatchSettings("response", keep_states=True, keeps_commits=True, canvas=length)
    with pytest.MonkeyPatch.context() as patched:
        if one_by_one:
            patched.setattr(passes, "says_how_it_goes_on", lambda hook: False)
        run = Run(hook, settings)
    prompts = case.encoded.input_ids[:2]
    start = prompts.shape[1]
    ids = torch.cat([prompts, torch.full((2, length), mask)], dim=1)
    tap = tap_of(hook.model)
    with tap.installed(hook, run), tap.owned_by(run), torch.inference_mode():
        for index in range(length):
            shown = edit(index, ids, start)
            logits = hook.model(ids if shown is None else shown).logits
            ids[:, start + index] = logits[:, start + index, 20:].argmax(-1) + 20
        run.returned(ids[:, start:])
    run.finish()
    return run


def opens(index: int, ids: torch.Tensor, start: int) -> None:
    if index == 7:
        ids[1, start + 2] = registry.load("hooks", "lab-diffusion").example().hook.mask_id()


def rewrites(index: int, ids: torch.Tensor, start: int) -> None:
    if index == 9:
        ids[0, start + 3] = 21 + (ids[0, start + 3] == 21)


def in_the_last_pass(index: int, ids: torch.Tensor, start: int) -> None:
    if index == 11:
        ids[0, start + 3] = 21 + (ids[0, start + 3] == 21)


def another_prompt(index: int, ids: torch.Tensor, start: int) -> None:
    if index == 6:
        ids[1, start - 1] += 1


def begins_anew(index: int, ids: torch.Tensor, start: int) -> None:
    if index == 6:
        ids[:, start:] = registry.load("hooks", "lab-diffusion").example().hook.mask_id()


def shows_less(index: int, ids: torch.Tensor, start: int) -> torch.Tensor | None:
    return ids[:, :-1] if index == 8 else None


def shows_one_row(index: int, ids: torch.Tensor, start: int) -> torch.Tensor | None:
    return ids[:1].repeat(2, 1) if index == 5 else None


EDITS = {
    opens: "canvas_rewritten", rewrites: "canvas_rewritten", in_the_last_pass: "canvas_rewritten",
    another_prompt: "hook_failed", begins_anew: "hook_failed", shows_less: "tokens_moved", shows_one_row: "hook_failed",
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("capacity", [2, 64])
def test_what_goes_wrong_in_the_middle_of_them_is_found(
    edit: Edit, capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_WAITING", capacity)
    found, expected = filled_by_hand(edit, one_by_one=False), filled_by_hand(edit, one_by_one=True)
    assert [trace.reasons for trace in found.traces] == [trace.reasons for trace in expected.traces]
    assert EDITS[edit] in {reason for trace in found.traces for reason in trace.reasons}


def test_a_true_loop_is_not_accused() -> None:
    found = filled_by_hand(lambda *_: None, one_by_one=False)
    assert not [reason for trace in found.traces for reason in trace.reasons]
    assert_same(found, filled_by_hand(lambda *_: None, one_by_one=True))


def test_a_plan_of_a_subclass_is_asked_about_every_pass(case: Any) -> None:
    asked: list[int] = []

    class Own(type(case.hook)):  # type: ignore[misc]
        def plan(self, call: Any, run: Any) -> Any:
            asked.append(run.forwards)
            return super().plan(call, run)

    hook = Own(case.hook.model, case.hook.config)
    with sri_sdk.watch(hook.model, hook=hook) as run:
        run.returned(case.generate(case.encoded))
    assert len(asked) >= max(trace.steps for trace in run.traces)


def test_what_a_reader_raises_costs_the_verdict_and_not_the_generation(
    case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SteadyRun, "_read", lambda *_: 1 / 0)
    monkeypatch.setattr(AskedLater, "_ask", lambda *_: 1 / 0)
    plain = case.generate(case.encoded)
    run, tokens = watched(case)
    assert torch.equal(tokens, plain)
    assert all("hook_failed" in trace.reasons for trace in run.traces)
    assert run.failure is not None and run.failure.startswith("ZeroDivisionError")


def test_a_pass_whose_norm_never_runs_is_noticed() -> None:
    case = registry.load("hooks", "lab-diffusion").example()
    embedding, calls = case.hook.embedding(), []

    def reads_once_more(index: int, ids: torch.Tensor, start: int) -> None:
        if index == 6:
            calls.append(embedding(ids))

    run = filled_by_hand(reads_once_more, one_by_one=False, case=case)
    assert calls and all("tap_silent" in trace.reasons for trace in run.traces)


def test_states_that_are_written_over_are_not_compared_with_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that gives the same memory out in every pass: what was kept of it is no longer what it was."""
    case = registry.load("hooks", "lab-diffusion").example()
    norm, room = case.hook.final_norm(), {}
    forward = type(norm).forward

    def reuses(self: Any, hidden: torch.Tensor) -> torch.Tensor:
        made = forward(self, hidden)
        if self is not norm:
            return made
        return room.setdefault(made.shape, torch.empty_like(made)).copy_(made)

    monkeypatch.setattr(type(norm), "forward", reuses)
    with torch.inference_mode():
        run, _ = watched(case)
    assert not [reason for trace in run.traces for reason in trace.reasons]
    assert run.passes.shift.compared, "passes are planned again, and the check of the shift looks at them"


def test_a_layer_that_only_the_request_is_read_from_is_no_part_of_a_step() -> None:
    """Nobody located the request, so its layer stays tapped to the end."""
    case = registry.load("hooks", "lab-diffusion").example()
    settings = watch_settings(case.hook, pooling="response", layers=("final",))
    run, tap = Run(case.hook, replace(settings, request_layers=(1,))), tap_of(case.hook.model)
    with tap.installed(case.hook, run), tap.owned_by(run), torch.inference_mode():
        run.returned(case.generate(case.encoded))
    run.finish()
    assert not [reason for trace in run.traces for reason in trace.reasons]


def test_states_with_a_graph_of_several_layers_are_pooled_as_any() -> None:
    case = registry.load("hooks", "lab-diffusion").example()
    ids = torch.cat([case.encoded.input_ids[:1], torch.full((1, 8), case.hook.mask_id())], 1)
    with sri_sdk.watch(case.hook.model, hook=case.hook, layers=(0, "final")) as run, torch.enable_grad():
        case.hook.model.requires_grad_(True)
        for column in range(-8, 0):
            ids[:, column] = case.hook.model(ids).logits.detach()[:, column, 20:].argmax(-1) + 20
        run.returned(ids)
    assert not [reason for trace in run.traces for reason in trace.reasons] and run.traces[0].steps == 8


def test_a_batch_that_grows_behind_the_first_pass_is_not_trusted() -> None:
    case = registry.load("hooks", "lab-diffusion").example()
    prompts, mask = case.encoded.input_ids[:2], case.hook.mask_id()
    ids = torch.cat([prompts, torch.full((2, 6), mask)], 1)
    with sri_sdk.watch(case.hook.model, hook=case.hook, request_ids=["a"]) as run, torch.inference_mode():
        case.hook.model(ids[:1].clone())
        for column in range(prompts.shape[1], ids.shape[1]):
            ids[:, column] = case.hook.model(ids).logits[:, column, 20:].argmax(-1) + 20
    assert all("hook_failed" in trace.reasons for trace in run.traces)


@pytest.mark.parametrize("layers", [(0,), ("final", 0), (0, "final")])
def test_the_check_of_the_shift_reads_the_last_norm_whatever_is_tapped(layers: Any) -> None:
    case = registry.load("hooks", "masked-lm").example()

    class Flipped(type(case.hook)):  # type: ignore[misc]
        def plan(self, call: Any, run: Any) -> Any:
            plan = super().plan(call, run)
            return None if plan is None else replace(plan, shift=1 - plan.shift, span=None)

        def steady(self, plan: Any, run: Any) -> Any:
            return super().steady(plan, run)

    for hook, differs in ((case.hook, False), (Flipped(case.hook.model, case.hook.config), True)):
        with sri_sdk.watch(case.hook.model, hook=hook, layers=layers) as run:
            case.generate(case.encoded)
        assert any("shift_differs" in trace.reasons for trace in run.traces) is differs


def test_what_was_expected_later_explains_no_earlier_pass() -> None:
    case = registry.load("hooks", "lab-diffusion").example()
    prompts, mask = case.encoded.input_ids[:2], case.hook.mask_id()
    ids, width = torch.cat([prompts, torch.full((2, 6), mask)], 1), prompts.shape[1]
    with sri_sdk.watch(case.hook.model, hook=case.hook) as run, torch.inference_mode():
        for column in range(width, ids.shape[1]):
            ids[:, column] = case.hook.model(ids).logits[:, column, 20:].argmax(-1) + 20
        for column in range(width, ids.shape[1]):
            case.hook.model(ids)
            ids[:, column] = 20 + (ids[:, column] - 19) % 5
        case.hook.model(ids)
        run.expect([6, 6])
    assert all("unexplained_pass" in trace.reasons for trace in run.traces)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_other_rows_behind_steady_passes_cost_that_verdict_and_raise_nothing(one_by_one: bool) -> None:
    case = registry.load("hooks", "lab-diffusion").example()
    fed: list[int] = []

    def one_row_more(index: int, ids: torch.Tensor, start: int) -> torch.Tensor | None:
        if index == 6:
            fed.append(len(case.hook.model(torch.cat([ids, ids[:1]])).logits))
        return None

    run = filled_by_hand(one_row_more, one_by_one=one_by_one, case=case)
    assert fed == [3]
    assert all("hook_failed" in trace.reasons for trace in run.traces)
    assert run.failure is not None and run.failure.startswith(("CaptureError", "SriError"))


class AlarmsAlways:
    """In place of a scorer: every length of every signal alarms."""

    manifest = SimpleNamespace(signal=SimpleNamespace(domain="logit"))
    groups = ()

    def score_prefix(self, values: Any, lengths: Any) -> Any:
        return np.ones(len(lengths), np.float32), np.ones(len(lengths), np.bool_)

    def alarms(self, scored: Any, rule: str, groups: Any) -> Any:
        return scored[1]

    def growing(self, signals: Any) -> Any:
        return SimpleNamespace(length=np.ones(1, np.int64))

    def alarm(self, scored: Any, rule: str, group: Any) -> bool:
        return bool(scored[1][0])


@pytest.mark.parametrize("every", [1, 3, 5])
@pytest.mark.parametrize("one_by_one", [False, True])
def test_an_alarm_stops_as_late_as_the_policy_says(
    every: int, one_by_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step alarms, and as many steps are looked at together as the policy says."""
    hook, generate = SUBJECTS["masked"]()
    if one_by_one:
        monkeypatch.setattr(passes, "says_how_it_goes_on", lambda hook: False)
    policy = Policy(rule="online", flagged="abort", unmonitored="report", look_every=every)
    scorer: Any = AlarmsAlways()
    run = Run(hook, replace(settings_for(hook, live=False), scorer=scorer, policy=policy))
    tap = tap_of(hook.model)
    with tap.installed(hook, run), tap.owned_by(run), torch.inference_mode(), pytest.raises(GenerationAborted):
        generate()
    assert run.alarms == {"0": 0}
    # A step shows once the next pass has begun, which is the one that ends.
    assert run._view.forwards == every + 1

"""The kit on our own hooks, and what it asks of a case."""

from dataclasses import replace
from pathlib import Path
from unittest import SkipTest

import pytest
import torch
from sri_plugin_lab.hooks import LabCausalHook, LabDiffusionHook
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import ToyTokenizer

from sri_sdk import Match
from sri_sdk.errors import ConformanceError
from sri_sdk.hook import Hook
from sri_sdk.testing import HookCase, hook_checks, run_checks


def failures(make) -> dict[str, str]:
    results = run_checks(hook_checks(make))
    assert not [r for r in results if r.state == "crashed"]
    return {r.name: r.message for r in results if r.state == "failed"}


@pytest.mark.parametrize("hook", [ToyHook, LabDiffusionHook, LabCausalHook])
def test_our_own_hooks_keep_every_promise(hook) -> None:
    assert failures(hook.example) == {}


def test_traits_select_the_checks() -> None:
    plain = {check.name for check in hook_checks(ToyHook.example)}
    assert {check.name for check in hook_checks(LabCausalHook.example)} - plain == {
        "a-row-ends-early",
        "tokens-unchanged-when-sampling",
    }
    assert {check.name for check in hook_checks(LabDiffusionHook.example)} - plain == {
        "tokens-unchanged-when-sampling",
        "guidance-half",
    }


def never() -> HookCase:
    raise AssertionError("a case was built")


def test_a_lazy_list_builds_no_case_and_names_every_promise() -> None:
    lazy = [check.name for check in hook_checks(never, lazy=True)]
    for hook in (ToyHook, LabCausalHook, LabDiffusionHook):
        offered = {check.name for check in hook_checks(hook.example)}
        assert offered < set(lazy) and len(lazy) == len(set(lazy))


def test_the_guide_lists_every_check() -> None:
    guide = (Path(__file__).parents[2] / "docs/add-a-model-family.md").read_text()
    assert [check.name for check in hook_checks(never, lazy=True) if f"`{check.name}`" not in guide] == []


def test_a_lazy_check_that_the_case_does_not_offer_is_skipped_and_no_result() -> None:
    lazy = {check.name: check for check in hook_checks(ToyHook.example, lazy=True)}
    with pytest.raises(SkipTest, match="guidance-half: the case does not offer"):
        lazy["guidance-half"]()
    kept = [result.name for result in run_checks([lazy["fits-own-model"], lazy["guidance-half"]])]
    assert kept == ["fits-own-model"]


def test_a_lazy_list_finds_the_same_faults_and_refuses_the_same_cases() -> None:
    class FitsAll(ToyHook):
        @classmethod
        def fits(cls, model):
            return Match(True, "looks good")

    lazy = {check.name: check for check in hook_checks(FitsAll.example, {"fits-own-model": "why"}, lazy=True)}
    assert lazy["fits-own-model"].known == "why"
    with pytest.raises(ConformanceError, match="looks good"):
        lazy["fits-own-model"].body()
    refused = hook_checks(of_two_lengths, lazy=True)[0]
    with pytest.raises(ConformanceError, match="2, 2, 3 tokens"):
        refused()


def of_two_lengths() -> HookCase:
    case = ToyHook.example()
    return replace(case, encoded=case.hook.encode(ToyTokenizer(), ["ab", "cd", "efg"]))


def test_a_case_without_prompts_of_three_lengths_is_refused() -> None:
    with pytest.raises(ConformanceError, match="2, 2, 3 tokens"):
        hook_checks(of_two_lengths)


def test_a_hook_without_an_example_says_what_to_write() -> None:
    with pytest.raises(ConformanceError, match=r"no example.*HookCase"):
        Hook.example()


def test_a_plan_that_raises_is_reported_with_pass_and_module() -> None:
    class Raises(ToyHook):
        def plan(self, call, run):
            return super().plan(call, run) if run.forwards < 5 else 1 / 0

    assert "pass 4 (module `norm`) failed: ZeroDivisionError" in failures(Raises.example)["steps-counted"]


def test_a_known_failure_that_passes_is_an_error() -> None:
    (check,) = [c for c in hook_checks(ToyHook.example, {"rows-mapped": "old"}) if c.name == "rows-mapped"]
    with pytest.raises(ConformanceError, match="Remove the mark"):
        check()


class TiedHead(ToyHook):
    """The head is no module that is ever called: its weight is used as a matrix."""

    @classmethod
    def example(cls):
        case = super().example()
        head = case.hook.model.head
        case.hook.model.head = Matrix(head.weight.detach())
        return replace(case, unembedding=lambda: head.weight)


class Matrix(torch.nn.Module):
    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def forward(self, states):
        return states @ self.matrix.T


class TapsBeforeATiedHead(TiedHead):
    def final_norm(self):
        return self.model.blocks[-1]


def test_a_tied_head_needs_no_module() -> None:
    assert failures(TiedHead.example) == {}
    assert set(failures(TapsBeforeATiedHead.example)) == {"tap-feeds-the-head"}

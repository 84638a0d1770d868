"""What a hook learns besides forward passes: results of methods that the family's own loop goes through."""

import threading
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import sri_plugin_toy.model as toy
import torch
from sri_plugin_toy.hook import ToyHook

import sri_sdk
from sri_sdk.capture.tap import tap_of

IDS = torch.tensor([[5, 6, 7], [8, 9, 10]])


class ToyModel(toy.ToyModel):
    """The toy with a loop made of steps, which the second request leaves half way."""

    def one_step(self, ids: torch.Tensor, position: int) -> torch.Tensor:
        ids[:, position] = self(ids).logits[:, position].argmax(-1)
        return torch.tensor([False, position >= -toy.CANVAS // 2])

    @torch.no_grad()
    def generate(self, input_ids: torch.Tensor) -> torch.Tensor:
        ids = torch.cat([input_ids, input_ids.new_full((2, toy.CANVAS), toy.MASK)], dim=1)
        for position in range(-toy.CANVAS, 0):
            self.one_step(ids, position)
        return ids


class Hook(ToyHook):
    """Counts the steps of each request by what the loop says."""

    observed_methods: ClassVar = ("one_step", "a_method_of_other_releases")

    def on_method_result(self, call: str, result: Any, run: sri_sdk.RunView) -> None:
        done = run.memory.get("done", torch.zeros_like(result))
        run.taken = (~done).long() if run.taken is None else run.taken + (~done).long()
        run.memory["done"] = result.clone()

    def plan(self, call: sri_sdk.ForwardCall, run: sri_sdk.RunView) -> sri_sdk.StepPlan | None:
        plan, done = super().plan(call, run), run.memory.get("done")
        return plan if plan is None or done is None else replace(plan, active=~done)

    def expected_steps(self, budget: int) -> int | None:
        return None


@pytest.fixture
def model() -> ToyModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ToyModel(toy.ToyConfig()).eval()


def watch(model: Any, hook: Any) -> tuple[Any, torch.Tensor]:
    with sri_sdk.watch(model, hook=hook) as run:
        tokens = model.generate(IDS)
    return run, tokens


def test_coverage_is_measured_by_the_steps_that_the_loop_itself_took(model: ToyModel) -> None:
    run, _ = watch(model, Hook(model))
    assert [(trace.steps, trace.expected, trace.reasons) for trace in run.traces] == [(8, 8, ()), (5, 5, ())]


class OlderHook(ToyHook):
    """The same, as a vendor wrote it for the first release of plugin API 1."""

    hears: ClassVar = ("one_step",)
    admitted: ClassVar[list[str]] = []

    @classmethod
    def fits(cls, model: Any) -> sri_sdk.Fit:
        return sri_sdk.Fit(isinstance(model, toy.ToyModel), "a toy")

    def admit(self, call: str, args: Any, kwargs: Any, run: sri_sdk.RunView) -> None:
        super().admit(call, args, kwargs, run)
        self.admitted.append(call)

    heard = Hook.on_method_result
    expected_steps = Hook.expected_steps

    def plan(self, call: sri_sdk.ForwardCall, run: sri_sdk.RunView) -> sri_sdk.StepPlan | None:
        plan, done = super().plan(call, run), run.memory.get("done")
        return plan if plan is None or done is None else replace(plan, active=~done)


def test_a_hook_written_with_the_older_names_works_as_before(model: ToyModel) -> None:
    run, _ = watch(model, OlderHook(model))
    assert [(trace.steps, trace.expected, trace.reasons) for trace in run.traces] == [(8, 8, ()), (5, 5, ())]
    assert OlderHook.admitted == ["generate"] and run.why.endswith("a toy")


def test_older_and_newer_names_reach_each_other_through_super(model: ToyModel) -> None:
    calls = []

    class Newer(ToyHook):
        def on_call(self, call: str, args: Any, kwargs: Any, run: sri_sdk.RunView) -> None:
            calls.append("newer")

    class Older(Newer):
        def admit(self, call: str, args: Any, kwargs: Any, run: sri_sdk.RunView) -> None:
            super().admit(call, args, kwargs, run)
            calls.append("older")

    class Newest(Older):
        def on_call(self, call: str, args: Any, kwargs: Any, run: sri_sdk.RunView) -> None:
            super().on_call(call, args, kwargs, run)
            calls.append("newest")

    watch(model, Newest(model))
    assert calls == ["newer", "older", "newest"]


def test_a_step_that_the_tap_missed_is_missing(model: ToyModel) -> None:
    class Deaf(Hook):
        def plan(self, call: Any, run: Any) -> Any:
            return None if run.forwards == 3 else super().plan(call, run)

    run, _ = watch(model, Deaf(model))
    assert [(trace.steps, trace.expected, trace.reasons) for trace in run.traces] == [
        (7, 8, ("incomplete_coverage",)), (4, 5, ("incomplete_coverage",)),
    ]  # fmt: skip


def test_a_hook_that_fails_while_it_listens_changes_no_token(model: ToyModel) -> None:
    class Broken(Hook):
        def on_method_result(self, call: str, result: Any, run: Any) -> None:
            raise RuntimeError("lost count")

    alone = model.generate(IDS)
    run, tokens = watch(model, Broken(model))
    assert torch.equal(alone, tokens) and "hook_failed" in run.traces[0].reasons and "lost count" in run.failure


def test_the_methods_are_the_models_own_again_afterwards(model: ToyModel) -> None:
    with sri_sdk.watch(model, hook=Hook(model)):
        assert "one_step" in vars(model) and "a_method_of_other_releases" not in vars(model)
    assert "one_step" not in vars(model) and "generate" not in vars(model)


def test_methods_are_observed_inside_a_wrapper(model: ToyModel) -> None:
    class Wrapper(torch.nn.Module):
        """As PEFT's: what it lacks, the model inside has."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def get_base_model(self) -> ToyModel:
            return self.inner

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.inner, name)

    wrapped = Wrapper()
    run, _ = watch(wrapped, Hook(wrapped))
    assert [(trace.steps, trace.expected) for trace in run.traces] == [(8, 8), (5, 5)]


def test_no_hook_learns_of_steps_outside_a_watch_or_of_another_threads(model: ToyModel) -> None:
    with sri_sdk.watch(model, hook=Hook(model)) as run:
        thread = threading.Thread(target=model.generate, args=(IDS,))
        thread.start()
        thread.join()
    assert run._view.taken is None and tap_of(model).unowned == toy.CANVAS

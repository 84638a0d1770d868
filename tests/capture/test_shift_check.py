"""The plan's shift against the tokens that are filled in: which row predicted them."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sri_plugin_masked_lm.hook import MaskedLmHook
from sri_plugin_masked_lm.stand_ins import example
from sri_plugin_masked_lm.stand_ins import model as double

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture import shift_check
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.shift_check import DECISIVE, KEPT, ShiftCheck, matrix_of_head
from sri_sdk.capture.tap import tap_of
from sri_sdk.records import StepPlan

FAMILIES = ("toy", "lab-diffusion", "llada", "masked-lm", "dream", "llada2", "sdar", "fast-dllm-v2")


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Any:
    return registry.load("hooks", request.param).example()


@pytest.fixture
def leads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """How far, in nats, the other row led in the look that settled each run."""
    found: list[float] = []
    lead, contradicted = ShiftCheck._lead, ShiftCheck.contradicted

    def noted(self: ShiftCheck, likelihoods: tuple[float, float]) -> float:
        found[-1] = lead(self, likelihoods)
        return found[-1]

    def run(self: ShiftCheck) -> bool:
        found.append(math.nan)
        return contradicted(self)

    monkeypatch.setattr(ShiftCheck, "_lead", noted)
    monkeypatch.setattr(ShiftCheck, "contradicted", run)
    yield found


def _reasons(run: Run) -> set[str]:
    return {reason for trace in run.traces for reason in trace.reasons}


def _flipped(hook: Any) -> Any:
    """The same hook, whose plan names the other row."""

    class Flipped(type(hook)):  # type: ignore[misc]
        def plan(self, call: Any, run: Any) -> StepPlan | None:
            plan = super().plan(call, run)
            return None if plan is None else replace(plan, shift=1 - plan.shift, span=None)

    return Flipped(hook.model, hook.config)


def test_true_settings_are_no_reason_and_the_other_row_is_one(case: Any, leads: list[float]) -> None:
    for name in ("generate", "generate_sampled", "generate_guided"):
        generate = getattr(case, name)
        if generate is None:
            continue
        with sri_sdk.watch(case.hook.model, hook=case.hook) as run:
            generate(case.encoded)
        assert "shift_differs" not in _reasons(run)
        with sri_sdk.watch(case.hook.model, hook=_flipped(case.hook)) as run:
            generate(case.encoded)
        assert "shift_differs" in _reasons(run), name
    assert all(lead < 0 for lead in leads[::2]) and all(lead > DECISIVE for lead in leads[1::2])


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0, 1.5])
@pytest.mark.parametrize("order", ["low-confidence", "random", "entropy"])
def test_no_seed_order_or_temperature_of_a_true_sampler_is_a_reason(
    case: Any, leads: list[float], order: str, temperature: float
) -> None:
    sampler_class = registry.load("samplers", order)
    sampler = sampler_class(sampler_class.Config(steps=8, tokens=16, temperature=temperature))
    if type(case.hook).__name__ == "ToyHook":
        pytest.skip("the toy has a sampler of its own, and a canvas of one length")
    ids = [str(row) for row in range(len(case.encoded.input_ids))]
    for seed in range(3):
        run = Run(case.hook, WatchSettings("response"), ids, driven=True)
        with tap_of(case.hook.model).installed(case.hook, run):
            with torch.inference_mode(), tap_of(case.hook.model).owned_by(run):
                for step in sampler.steps(case.hook, case.encoded, ids, seed):
                    run.close_step(step.committed, step.active)
            run.finish(step.committed)
        assert "shift_differs" not in _reasons(run)
    assert leads and max(leads) < 0


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("build", [double.build_a2d, double.build_bert])
def test_a_sampler_that_is_told_otherwise_than_the_config_is_a_reason(
    build: Any, told: bool, temperature: float
) -> None:
    model = build(1)
    found = []
    for config in (told, not told):
        hook = MaskedLmHook(model, MaskedLmHook.Config.model_construct(right_shift_logits=config))
        model.config.right_shift_logits = told  # What the stand-in's loop goes by.
        torch.manual_seed(3)
        with sri_sdk.watch(model, hook=hook) as run:
            prompts = example.prompts()
            run.returned(double.generate(model, prompts.input_ids, prompts.attention_mask, temperature=temperature))
        found.append("shift_differs" in _reasons(run))
    assert found == [False, True]


def test_a_single_step_is_compared_with_what_was_returned() -> None:
    model, prompts = double.build_bert(), example.prompts()
    for told in (False, True):
        hook = MaskedLmHook(model, MaskedLmHook.Config.model_construct(right_shift_logits=told))
        model.config.right_shift_logits = False
        with sri_sdk.watch(model, hook=hook) as run:
            run.returned(double.generate(model, prompts.input_ids, prompts.attention_mask, steps=1))
        assert ("shift_differs" in _reasons(run)) is told


def test_a_first_look_at_some_words_hides_no_other_row(
    case: Any, leads: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shift_check, "LOOKS", ((8, 8), (32, 8)))
    for generate in filter(None, (case.generate, case.generate_sampled, case.generate_guided)):
        for hook, differs in ((case.hook, False), (_flipped(case.hook), True)):
            with sri_sdk.watch(case.hook.model, hook=hook) as run:
                generate(case.encoded)
            assert ("shift_differs" in _reasons(run)) is differs
            assert leads.pop() > DECISIVE if differs else leads.pop() < 0


def test_the_first_look_settles_it_where_the_plan_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift_check, "LOOKS", ((8, 8), (32, 8)))
    monkeypatch.delattr(ShiftCheck, "_likelihoods")
    case = registry.load("hooks", "llada").example()
    with sri_sdk.watch(case.hook.model, hook=case.hook) as run:
        case.generate(case.encoded)
    assert not {"shift_differs", "hook_failed"} & _reasons(run)


def test_likelihoods_are_those_of_a_softmax_at_the_best_temperature() -> None:
    torch.manual_seed(0)
    logits, tokens = torch.randn(20, 2, 500) * 7, torch.randint(500, (20,))
    logits[..., 3] = -torch.inf
    tokens[tokens == 3] = 4
    tokens[:15] = logits[:15, 0].argmax(-1)
    scale = -(logits - logits.amax(-1, keepdim=True)).median(-1).values.median()
    found = shift_check.likelihoods(logits.clone(), tokens)
    best = []
    for row in range(2):
        at = [
            torch.logaddexp(
                (logits[:, row] / scale / temperature).log_softmax(-1)[torch.arange(20), tokens] + math.log(0.99),
                torch.tensor(math.log(0.01 / 500)),
            ).sum()
            for temperature in 0.003 * 3 ** np.arange(-0.75, 8, 0.25)
        ]
        best.append(float(max(at)))
    torch.testing.assert_close(found, torch.tensor(best, dtype=torch.float64), rtol=0, atol=2e-3)


def test_a_head_out_of_reach_is_never_a_reason(case: Any) -> None:
    class Unknown(type(_flipped(case.hook))):  # type: ignore[misc]
        def head(self) -> torch.nn.Module | None:
            raise NotImplementedError

    hook = Unknown(case.hook.model, case.hook.config)
    assert matrix_of_head(hook) is None
    with sri_sdk.watch(case.hook.model, hook=hook) as run:
        case.generate(case.encoded)
    assert "shift_differs" not in _reasons(run) and "hook_failed" not in _reasons(run)


def test_what_is_kept_is_bounded_however_long_the_generation(case: Any) -> None:
    check, mask = ShiftCheck(case.hook), case.hook.mask_id()
    rows, length = 2, 40
    positions = torch.arange(length).expand(rows, length)
    ids = torch.full((rows, length), mask)
    for step in range(length):
        check.begins(ids, StepPlan(positions, shift=0))
        check.ran(torch.zeros(rows, length, case.hook.hidden_size()))
        ids[:, step] = 5 + step % 3
    kept = sum(len(tokens) for _, tokens, _ in check._found)
    assert KEPT <= kept < KEPT + 32 and not check.contradicted() and check.compared <= 32

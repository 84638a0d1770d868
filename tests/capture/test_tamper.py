"""Signs that somebody interferes with a masked generation from outside."""

from dataclasses import replace

import pytest
import torch
from sri_plugin_toy.model import CANVAS, MASK

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings, watch_settings
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import GenerationAborted
from sri_sdk.policy import Policy
from sri_sdk.pooling import USUAL
from sri_sdk.records import Intervention, Prompt

from .conftest import Toy, toy_prompts

STRICT = Policy(rule="final", flagged="report", unmonitored="report", tampered="abort")


@pytest.fixture
def guard(toy_guard, monkeypatch):
    """A guard whose fit says that its sampler keeps what it commits, and whose profile says how long a response is."""
    made = watch_settings
    monkeypatch.setattr(
        "sri_sdk.capture.watch.watch_settings", lambda *args, **more: replace(made(*args, **more), canvas=CANVAS)
    )
    manifest = toy_guard.manifest
    anchors = manifest.anchors.model_copy(update={"provenance": {**manifest.anchors.provenance, "keeps_commits": True}})
    monkeypatch.setattr(toy_guard.scorer, "manifest", manifest.model_copy(update={"anchors": anchors}))
    return toy_guard


def generate(toy: Toy, prompts, *, at=None, write=MASK, row=0, position=2, primed=()):
    """The toy's own loop, into which somebody writes before pass `at`, or before the first one at `primed`."""
    model, inputs = toy.loaded.model, toy.inputs(prompts)
    width = inputs["input_ids"].shape[1]
    canvas = torch.full((len(prompts), CANVAS), MASK)
    ids = torch.cat([inputs["input_ids"], canvas], dim=1)
    for r, p in primed:
        ids[r, width + p] = 5
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(canvas)], dim=1)
    for step in range(CANVAS):
        if step == at:
            ids[row, width + position] = write
        holes = ids[:, width:] == MASK
        guess = model(ids, mask).logits[:, width:].argmax(-1)
        first = holes & (holes.cumsum(1) == 1)
        ids[:, width:] = torch.where(first, guess, ids[:, width:])
    return ids


def watched(toy: Toy, guard, prompts, policy=None, **how):
    with sri_sdk.watch(toy.loaded.model, guard, policy=policy or Policy.observe()) as run:
        generate(toy, prompts, **how)
    return run


@pytest.mark.parametrize("write", [MASK, 7])
def test_a_committed_token_that_is_opened_or_changed_costs_its_own_row_the_verdict(toy, guard, write):
    run = watched(toy, guard, toy_prompts(2), at=5, write=write)
    assert run.verdicts[0].status == "unmonitored" and "canvas_rewritten" in run.verdicts[0].reasons
    assert run.verdicts[1].status == "clear"
    assert run.failure.startswith("committed positions")


def test_a_loop_that_leaves_its_commits_alone_is_not_accused(toy, guard):
    assert [v.status for v in watched(toy, guard, toy_prompts(3)).verdicts] == ["clear"] * 3


def test_nobody_is_accused_where_the_sampler_of_the_fit_makes_no_promise(toy, toy_guard):
    assert all(
        "canvas_rewritten" not in t.reasons for t in watched(toy, toy_guard, toy_prompts(2), at=5, write=7).traces
    )


def test_positions_that_the_caller_of_a_driven_sampler_opens_are_its_own_doing(toy, guard):
    batch = sri_sdk.drive(
        toy.hook, toy.loaded, toy.sampler, toy_prompts(2), sri_sdk.watch_settings(toy.hook, guard)
    )  # fmt: skip
    for step in batch:
        if step.index == 3:
            opened = torch.zeros(2, CANVAS, dtype=torch.bool)
            opened[0, :2] = True
            batch.intervene(Intervention(remask=opened))
    assert all("canvas_rewritten" not in trace.reasons for trace in batch.run.traces)


@pytest.mark.parametrize("primed", [[(0, 0)], [(0, 0), (0, 1), (0, 4)]], ids=["holes-behind", "holes-between"])
def test_a_canvas_that_holds_tokens_at_the_first_step_is_primed(toy, guard, primed):
    """Alone where its tokens lie between holes; beside a whole one wherever they are."""
    count = 2 if len(primed) == 1 else 1
    run = watched(toy, guard, toy_prompts(count), primed=primed)
    assert run.verdicts[0].status == "unmonitored" and "canvas_primed" in run.verdicts[0].reasons
    assert all("canvas_primed" not in trace.reasons for trace in run.traces[1:])


def test_the_models_own_call_says_how_long_the_prompt_is_so_any_priming_shows(toy, guard, monkeypatch):
    model = type(toy.loaded.model)
    forward, calls = model.forward, []

    def primes(self, input_ids, attention_mask=None, **more):
        if not calls:
            input_ids[:, -CANVAS] = 5
        calls.append(1)
        return forward(self, input_ids, attention_mask, **more)

    monkeypatch.setattr(model, "forward", primes)
    with sri_sdk.watch(toy.loaded.model, guard) as run:
        toy.loaded.model.generate(**toy.inputs(toy_prompts(1)))
    assert run.verdicts[0].status == "unmonitored" and "canvas_primed" in run.verdicts[0].reasons


def test_a_started_response_that_the_driver_declares_is_no_tampering(toy, guard):
    prompts = [Prompt("p", "abc", "harmless", prefill="yes"), *toy_prompts(1)]
    batch = sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, prompts, sri_sdk.watch_settings(toy.hook, guard))
    for _ in batch:
        pass
    assert not any({"canvas_primed", "canvas_rewritten"} & set(trace.reasons) for trace in batch.run.traces)


def test_a_policy_may_stop_tampering_and_let_other_blindness_go_on(toy, guard):
    with pytest.raises(GenerationAborted, match="canvas_rewritten") as stopped:
        watched(toy, guard, toy_prompts(1), STRICT, at=5)
    assert stopped.value.step == 4
    with pytest.raises(GenerationAborted, match="canvas_primed"):
        watched(toy, guard, toy_prompts(1), STRICT, primed=[(0, 0), (0, 3)])
    other = watched(toy, guard, toy_prompts(1), replace_rule(STRICT), at=5)
    assert other.verdicts[0].status == "unmonitored" and not other.decisions[0].withheld


def replace_rule(policy):
    return policy.model_copy(update={"tampered": None})


def test_tampering_never_counts_for_less_than_not_seeing():
    with pytest.raises(ValueError, match="would release what somebody interfered with"):
        Policy(rule="final", flagged="report", unmonitored="abort", tampered="report")
    closed = Policy(rule="final", flagged="report", unmonitored="abort")
    verdict = sri_sdk.Verdict("a", "unmonitored", ("canvas_primed",))
    assert closed.decide([verdict])[0].withheld and STRICT.decide([verdict])[0].withheld
    flagged = replace(
        verdict, status="flagged", reasons=("score_above_threshold", "canvas_rewritten"), ended="refusing"
    )
    assert STRICT.decide([flagged])[0].withheld and not STRICT.decide([flagged])[0].own_refusal


@pytest.mark.parametrize(
    "name", ["dream", "fast-dllm-v2", "lab-diffusion", "llada", "llada2", "masked-lm", "sdar", "toy"]
)
def test_no_loop_of_a_family_looks_like_tampering(name):
    case = registry.load("hooks", name).example()
    settings = WatchSettings(USUAL[case.hook.scheme], keep_states=True, keeps_commits=True)
    run = Run(case.hook, settings, [str(row) for row in range(len(case.encoded.input_ids))])
    tap = tap_of(case.hook.model)
    with torch.inference_mode(), tap.installed(case.hook, run), tap.owned_by(run):
        case.generate(case.encoded)
    run.finish()
    assert all(not trace.reasons for trace in run.traces)

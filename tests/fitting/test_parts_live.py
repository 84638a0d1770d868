"""A guard of two parts, from one YAML file to verdicts on generations that run."""

import pytest
import torch

import sri_sdk
from sri_sdk.capture.drive import drive
from sri_sdk.capture.settings import watch_settings
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError, GenerationAborted
from sri_sdk.fitting.fit import fit
from sri_sdk.fitting.folds import draw_folds
from sri_sdk.policy import Policy
from sri_sdk.records import WITH_PARTS
from sri_sdk.registry import build

from .conftest import write_config
from .test_request_stage import BOTH, FEW

FOLDS = {**FEW, "calibration": {"split": "calibration", "harmless": 79}}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = write_config(
        tmp_path_factory.mktemp("parts"), request={"layers": "all", "last_tokens": 12}, detector=None, parts=BOTH,
        folds=FOLDS,
    )  # fmt: skip
    return load_config(path)


@pytest.fixture(scope="module")
def fitted(config):
    return fit(config)


@pytest.fixture(scope="module")
def prompts(config):
    return draw_folds(build("datasets", "lab", {}), config.folds, seed=config.seed).test


def named(verdict):
    return {part.name: part for part in verdict.parts}


def driven(fitted, prompts, policy):
    place = fitted.deployment
    settings = watch_settings(
        place.hook, fitted.guard, policy=policy, sampler=fitted.guard.anchors.fingerprint.hard["sampler"],
        fingerprint=place.fingerprint,
    )  # fmt: skip
    batch = drive(place.hook, place.loaded, place.sampler, prompts, settings, seed=0)
    steps = sum(1 for _ in batch)
    return batch.run, steps


def test_a_fit_of_two_parts_states_its_rates_by_every_rule_and_loads(fitted):
    assert set(fitted.guard.manifest.part_names) == {"behaviour", "asked"}
    assert fitted.parity <= 1
    rates = {rate.name for rate in fitted.guard.manifest.rates}
    assert {"false_alarm:final", "false_alarm:online", "false_alarm:request"} <= rates


def test_a_live_guard_reads_as_many_tokens_of_a_request_as_its_fit_did(fitted):
    assert fitted.deployment.settings.request_tokens == 12
    assert watch_settings(fitted.deployment.hook, fitted.guard).request_tokens == 12


def test_thresholds_alone_are_set_anew_with_what_the_parts_had_learnt(fitted, config):
    again = fit(config, recalibrate=True)
    assert again.guard.manifest.digest == fitted.guard.manifest.digest


@pytest.mark.parametrize("rule", ["final", "online", "request"])
def test_a_live_verdict_is_what_the_scorer_says_of_the_same_signals(fitted, prompts, rule):
    run, _ = driven(fitted, prompts, Policy.observe(rule))
    offline = fitted.guard.scorer.score(run.signals, rule=rule)
    for live, later in zip(run.verdicts, offline, strict=True):
        assert live.schema == WITH_PARTS and live.parts == later.parts
        assert (live.status, live.score, live.reasons) == (later.status, later.score, later.reasons)
        assert live.first_alarm_step == later.first_alarm_step
    harmful = {p.id for p in prompts if p.label == "harmful"}
    assert {v.request_id for v in run.verdicts if v.status == "flagged"} == harmful


def test_the_rule_request_ends_harmful_requests_after_one_step_and_no_other(fitted, prompts):
    policy = Policy(rule="request", flagged="abort", unmonitored="report")
    run, _ = driven(fitted, prompts, policy)
    for prompt, trace, verdict in zip(prompts, run.traces, run.verdicts, strict=True):
        if prompt.label == "harmful":
            assert (trace.steps, verdict.status, verdict.reasons[0]) == (1, "flagged", "request_harmful")
            assert verdict.first_alarm_step is None
        else:
            assert (trace.steps, verdict.status) == (8, "clear")


def test_a_watch_that_may_not_go_on_stops_the_callers_own_loop_once_the_prompt_was_read(fitted, prompts):
    place = fitted.deployment
    harmful = [p for p in prompts if p.label == "harmful"]
    encoded = place.hook.encode(place.loaded.tokenizer, [p.text for p in harmful], None)
    steps = place.sampler.steps(place.hook, encoded, [p.id for p in harmful], 0)
    done = 0
    with (
        pytest.raises(GenerationAborted) as stopped, torch.inference_mode(),
        sri_sdk.watch(
            place.hook.model, fitted.guard, hook=place.hook, request_ids=[p.id for p in harmful], rule="request",
            abort=True, tokenizer=place.loaded.tokenizer,
        ),
    ):  # fmt: skip
        for _ in steps:
            done += 1
    assert set(stopped.value.request_ids) <= {p.id for p in harmful}
    assert done == 1


def test_a_request_that_was_not_read_keeps_no_other_one_of_the_batch_going(fitted, prompts, monkeypatch):
    """The first prompt's pass was spared, as by a cache: its neighbours are judged and stopped all the same."""
    hook = type(fitted.deployment.hook)
    columns = hook.prompt_columns

    def spared(self, call, plan, run):
        found = columns(self, call, plan, run)
        if found is not None:
            found = found.clone()
            found[0] = -1
        return found

    monkeypatch.setattr(hook, "prompt_columns", spared)
    run, _ = driven(fitted, prompts, Policy(rule="request", flagged="abort", unmonitored="report"))
    assert named(run.verdicts[0])["asked"].reason == "prompt_not_seen"
    stopped = {p.id: t.steps for p, t in zip(prompts[1:], run.traces[1:], strict=True)}
    assert stopped == {p.id: 1 if p.label == "harmful" else 8 for p in prompts[1:]}


def test_a_request_that_nobody_located_costs_its_part_and_the_others_are_judged(fitted, prompts, monkeypatch):
    monkeypatch.setattr(type(fitted.deployment.hook), "prompt_columns", lambda *_: None)
    run, _ = driven(fitted, prompts, Policy.observe("final"))
    for verdict in run.verdicts:
        behaviour, asked = (named(verdict)[name] for name in ("behaviour", "asked"))
        assert behaviour.score is not None and asked.score is None
        assert (asked.status, asked.reason) == ("unmonitored", "prompt_not_seen")
        assert verdict.status in ("flagged", "unmonitored")


def test_the_online_rule_reads_the_request_from_the_first_cell_on(fitted, prompts):
    run, _ = driven(fitted, prompts, Policy.observe("online"))
    for prompt, verdict in zip(prompts, run.verdicts, strict=True):
        asked = named(verdict)["asked"]
        assert asked.status == ("flagged" if prompt.label == "harmful" else "clear")
        # Four cells on eight steps: the first one closes with step 1, counted from 0.
        assert verdict.first_alarm_step == (1 if prompt.label == "harmful" else None)


def test_a_refusal_of_the_models_own_is_known_by_its_end_and_released_where_the_policy_says_so(fitted, prompts):
    policy = Policy(rule="final", flagged="abort", unmonitored="abort", own_refusal="report")
    run, _ = driven(fitted, prompts, policy)
    harmful = [d for d, p in zip(run.decisions, prompts, strict=True) if p.label == "harmful"]
    assert {d.verdict.status for d in harmful} == {"flagged"}
    for decision in harmful:
        assert decision.withheld == (decision.verdict.ended != "refusing") != decision.own_refusal
    assert any(d.own_refusal for d in harmful)


def test_nobody_knows_how_a_generation_ended_that_was_not_seen_whole(fitted, prompts):
    place = fitted.deployment
    encoded = place.hook.encode(place.loaded.tokenizer, [p.text for p in prompts], None)
    steps = place.sampler.steps(place.hook, encoded, [p.id for p in prompts], 0)
    with torch.inference_mode(), sri_sdk.watch(
        place.hook.model, fitted.guard, hook=place.hook, tokenizer=place.loaded.tokenizer
    ) as run:  # fmt: skip
        for _, _ in zip(range(7), steps, strict=False):
            pass
    assert {v.ended for v in run.verdicts} == {None}


def first_passes(fitted, prompts, **how):
    """Steps that the callers' own loop was given, and the run."""
    place = fitted.deployment
    encoded = place.hook.encode(place.loaded.tokenizer, [p.text for p in prompts], None)
    steps, done = place.sampler.steps(place.hook, encoded, [p.id for p in prompts], 0), []
    with torch.inference_mode(), sri_sdk.watch(
        place.hook.model, fitted.guard, hook=place.hook, request_ids=[p.id for p in prompts], hold_first_token=True,
        **{"tokenizer": place.loaded.tokenizer, **how},
    ) as run:  # fmt: skip
        try:
            for step in steps:
                done.append((step.index, dict(run.alarms)))
        except GenerationAborted as stopped:
            return done, run, stopped
    return done, run, None


def test_a_held_first_token_is_never_made_where_the_policy_stops_the_request(fitted, prompts):
    harmful = [p for p in prompts if p.label == "harmful"]
    done, run, stopped = first_passes(fitted, harmful, rule="request", abort=True)
    assert done == [] and "before its first token" in str(stopped)
    assert {v.status for v in run.verdicts} == {"flagged"}


def test_a_held_first_token_finds_its_alarm_named_also_where_nothing_is_stopped(fitted, prompts):
    done, run, stopped = first_passes(fitted, prompts, rule="request")
    harmful = {p.id: 0 for p in prompts if p.label == "harmful"}
    assert stopped is None and done[0] == (0, harmful) and len(done) == 8
    assert {v.request_id for v in run.verdicts if v.status == "flagged"} == set(harmful)


def test_who_fails_closed_makes_no_token_of_a_request_that_cannot_be_read(fitted, prompts):
    closed = Policy(rule="request", flagged="report", unmonitored="abort")
    done, _, stopped = first_passes(fitted, prompts, policy=closed, tokenizer=None)
    assert done == [] and stopped.blind == "request_not_located"
    done, run, stopped = first_passes(fitted, prompts, rule="request", tokenizer=None)
    assert stopped is None and len(done) == 8 and {v.status for v in run.verdicts} == {"unmonitored"}


def test_only_the_rule_request_can_hold_a_first_token(fitted, prompts):
    with pytest.raises(ConfigError, match="hold_first_token with rule 'online'"):
        first_passes(fitted, prompts, rule="online")


def test_a_guard_that_cannot_know_the_end_refuses_a_policy_about_refusals(fitted, monkeypatch):
    policy = Policy(rule="final", flagged="abort", unmonitored="abort", own_refusal="report")
    manifest = fitted.guard.manifest.model_copy(update={"ended": None})
    monkeypatch.setattr(fitted.guard.scorer, "manifest", manifest)
    with pytest.raises(ConfigError, match="does not say how a generation ended"):
        watch_settings(fitted.deployment.hook, fitted.guard, policy=policy)

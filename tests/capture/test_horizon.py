"""A guard that decides on the first steps: what it says of longer answers, when, and what covers the rest."""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from sri_plugin_samplers.autoregressive import AutoregressiveSampler

import sri_sdk
from sri_sdk.config.check_fit import check_fit
from sri_sdk.errors import ConfigError, GenerationAborted
from sri_sdk.policy import Policy
from sri_sdk.records import Prompt, Verdict

N, LONG = 8, 24
TEXTS = [
    "how do i paint the kite of the baker ?",
    "how do i bake the bread ?",
    "how do i steal the kite of the baker ?",
]
OPEN = Policy.observe()
FLAGGED = Policy(rule="final", flagged="abort", unmonitored="report", beyond_horizon="report")
SHORT = Policy(rule="final", flagged="report", unmonitored="report", beyond_horizon="abort")

SILENT = {"rule": "final", "flagged": "report", "unmonitored": "report"}
SDAR = {"hook": "sdar", "options": {"source": "x"}}


def written(**changes) -> dict:
    data = yaml.safe_load(Path("configs/lab-causal.yaml").read_text())
    data |= {
        "horizon": N, "detector": {"name": "toy"}, "calibrate": {"alpha": 0.05},
        "sampler": {"name": "autoregressive", "options": {"tokens": N}},
        "tap": {"pooling": "predicting", "cells": N},
        "policy": {**data["policy"], "beyond_horizon": "report"},
        "folds": {
            "anchors": {"split": "fit", "harmless": 24, "harmful": 24}, "train": {"split": "fit", "harmless": 40},
            "reference": {"split": "fit", "harmless": 20}, "calibration": {"split": "calibration", "harmless": 39},
        },
    }  # fmt: skip
    return data | changes


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    config, problems = check_fit(written(out=str(tmp_path_factory.mktemp("horizon"))))
    assert not problems
    fitted = sri_sdk.fit(config)
    live = fitted.deployment
    encoded = live.hook.encode(live.loaded.tokenizer, TEXTS)
    return SimpleNamespace(
        path=Path(config.out), hook=live.hook, loaded=live.loaded, model=live.loaded.model, deployment=live,
        inputs={"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask},
    )  # fmt: skip


def guard_of(lab, *flagged: int):
    """The guard, with thresholds that flag these rows of `TEXTS` and no other."""
    guard = sri_sdk.Guard.load(lab.path)
    value = {"final": 1e9, "online": 1e9}
    if flagged:
        scores = np.array([v.score for v in watched(lab, guard, OPEN)[0].verdicts])
        above, below = scores[list(flagged)].min(), np.delete(scores, flagged).max()
        assert above > below
        value["final"] = float(above + below) / 2
    for rule in value:
        guard.scorer.thresholds[rule] = replace(guard.scorer.thresholds[rule], value=value[rule])
    return guard


def watched(lab, guard, policy, tokens: int = LONG, least: int = LONG, seen=lambda run: None):
    """The run, and what stopped it; every row has `least` tokens, and `seen` looks on after each pass."""
    stopped = None
    try:
        with sri_sdk.watch(lab.model, guard, policy=policy) as run:
            handle = lab.model.lm_head.register_forward_hook(lambda *_: seen(run))
            try:
                lab.model.generate(**lab.inputs, max_new_tokens=tokens, min_new_tokens=least, do_sample=False)
            finally:
                handle.remove()
    except (GenerationAborted, TimeoutError) as err:
        stopped = err
    return run, stopped


def driven(lab, guard, policy, each=lambda batch: None):
    settings = sri_sdk.watch_settings(
        lab.hook, guard, policy=policy, sampler=lab.deployment.fingerprint.hard["sampler"]
    )  # fmt: skip
    sampler = AutoregressiveSampler(AutoregressiveSampler.Config(tokens=LONG))
    prompts = [Prompt(str(i), text, "harmless") for i, text in enumerate(TEXTS)]
    batch = sri_sdk.drive(lab.hook, lab.loaded, sampler, prompts, settings)
    for _ in batch:
        each(batch)
    return batch


@pytest.mark.parametrize("rule", ["final", "online"])
def test_a_longer_answer_has_the_signal_and_the_verdict_of_its_first_steps(lab, rule: str) -> None:
    guard, policy = sri_sdk.Guard.load(lab.path), Policy.observe(rule)
    short, long = (watched(lab, guard, policy, tokens, tokens)[0] for tokens in (N, LONG))
    assert np.array_equal(short.signals.logit, long.signals.logit)
    for brief, whole in zip(short.verdicts, long.verdicts, strict=True):
        assert (whole.steps_seen, whole.steps_expected, whole.judged_steps) == (LONG, LONG, N)
        assert whole.to_dict()["judged_steps"] == N  # As sinks get it.
        assert replace(whole, steps_seen=N, steps_expected=N) == brief and whole.status != "unmonitored"


def test_an_answer_that_ends_before_the_horizon_is_judged_on_what_it_has(lab) -> None:
    run, _ = watched(lab, guard_of(lab), OPEN, LONG, 0, seen=lambda run: None)
    shorter = sri_sdk.Guard.load(lab.path)
    eos = lab.model.generation_config.eos_token_id
    tokens = lab.model.generate(**lab.inputs, max_new_tokens=3, do_sample=False)[:, -1].tolist()
    with sri_sdk.watch(lab.model, shorter) as ended:
        # The third token of the first row ends its answer, as its end token would.
        lab.model.generate(**lab.inputs, max_new_tokens=LONG, do_sample=False, eos_token_id=[eos, tokens[0]])
    assert [v.status for v in run.verdicts] == ["clear"] * 3
    assert (ended.verdicts[0].steps_seen, ended.verdicts[0].judged_steps) == (3, 3)
    assert ended.verdicts[0].status != "unmonitored"


def test_verdicts_are_there_as_soon_as_the_horizon_is_done_and_stay_the_same(lab) -> None:
    found = []
    run, _ = watched(lab, guard_of(lab, 2), OPEN, seen=lambda run: found.append(run.verdicts))
    assert [len(verdicts) for verdicts in found] == [0] * N + [3] * (LONG - N)
    assert [v.status for v in found[N]] == ["clear", "clear", "flagged"]
    assert [replace(v, steps_seen=LONG, steps_expected=LONG) for v in found[N]] == list(run.verdicts)
    found.clear()
    driven(lab, guard_of(lab, 2), OPEN, lambda batch: found.append([v.status for v in batch.run.verdicts]))
    assert found[N - 2 : N] == [[], ["clear", "clear", "flagged"]]


@pytest.mark.parametrize(("passes", "status"), [(N - 2, "unmonitored"), (N - 1, "clear"), (LONG - 1, "clear")])
def test_a_generation_that_is_interrupted_after_the_horizon_is_judged(lab, passes: int, status: str) -> None:
    def stop(run) -> None:
        if run._view.steps > passes:
            raise TimeoutError

    run, stopped = watched(lab, guard_of(lab), OPEN, seen=stop)
    assert isinstance(stopped, TimeoutError) and {v.status for v in run.verdicts} == {status}
    assert {v.judged_steps for v in run.verdicts} == {None if status == "unmonitored" else N}


def test_what_is_flagged_on_its_first_steps_is_stopped_there_by_the_final_rule(lab) -> None:
    run, stopped = watched(lab, guard_of(lab, 2), FLAGGED)
    assert (stopped.request_ids, stopped.step, stopped.beyond) == (("2",), N - 1, False)
    assert [(v.status, v.steps_seen, v.reasons) for v in run.verdicts][::2] == [
        ("clear", N, ()), ("flagged", N, ("score_above_threshold",)),
    ]  # fmt: skip
    texts = []
    batch = driven(lab, guard_of(lab, 2), FLAGGED, lambda batch: texts.append([t is None for t in batch.responses]))
    assert [v.steps_seen for v in batch.run.verdicts][2] == N < batch.run.verdicts[0].steps_seen
    # What was cleared is there while it still grows.
    assert texts[N - 2 : N + 1] == [[True] * 3, [False, False, True], [False, False, True]]


def test_where_nothing_may_go_on_unjudged_answers_stop_at_the_horizon_and_are_released(lab) -> None:
    batch = driven(lab, guard_of(lab), SHORT)
    assert [(v.status, v.steps_seen, v.judged_steps) for v in batch.run.verdicts] == [("clear", N, N)] * 3
    assert not any(d.withheld for d in batch.run.decisions) and all(batch.responses)
    run, stopped = watched(lab, guard_of(lab), SHORT)
    assert stopped.beyond and {v.status for v in run.verdicts} == {"clear"}
    assert watched(lab, guard_of(lab), SHORT, N, N)[1] is None


def test_a_response_that_went_on_all_the_same_is_withheld() -> None:
    verdicts = [Verdict("a", "clear", steps_seen=steps, judged_steps=N) for steps in (N - 1, N, N + 1)]
    assert [d.withheld for d in SHORT.decide(verdicts)] == [False, False, True]
    assert not any(d.withheld for d in OPEN.decide(verdicts))


def test_a_pass_that_the_tap_missed_may_be_one_of_the_first_and_costs_the_verdict(lab) -> None:
    guard = guard_of(lab)
    with sri_sdk.watch(lab.model, guard) as run:
        honest, calls = run.begin, []
        run.begin = lambda ids: calls.append(1) or (honest(ids) if len(calls) != 4 else None)
        lab.model.generate(**lab.inputs, max_new_tokens=LONG, min_new_tokens=LONG, do_sample=False)
    assert {(v.status, v.reasons) for v in run.verdicts} == {("unmonitored", ("incomplete_coverage",))}


def test_after_the_horizon_nothing_more_is_pooled(lab, monkeypatch) -> None:
    from sri_sdk.capture.pool_tokens import RunningPooler

    calls = []
    add = RunningPooler.add
    monkeypatch.setattr(RunningPooler, "add", lambda self, *args: calls.append(1) or add(self, *args))
    watched(lab, guard_of(lab), OPEN)
    assert len(calls) == N


def test_who_says_nothing_of_the_rest_is_refused(lab) -> None:
    policy = Policy.model_validate(SILENT)
    with (
        pytest.raises(ConfigError, match="judges the first 8 steps only"),
        sri_sdk.watch(lab.model, lab.path, policy=policy),
    ):
        pass


def test_the_fingerprint_is_the_same_for_every_length_and_what_is_cached_is_not(lab, tmp_path) -> None:
    from sri_sdk.fitting.collect import Collector
    from sri_sdk.fitting.deployment import Deployment

    keys, prints = [], []
    for tokens in (N, LONG):
        config, _ = check_fit(
            written(out=str(tmp_path), sampler={"name": "autoregressive", "options": {"tokens": tokens}})
        )
        opened = Deployment.open(config, lab.loaded)
        prints.append(opened.fingerprint)
        keys.append(Collector.of(opened, tmp_path, lambda *_: None).key([]))
    assert prints[0] == prints[1] and prints[0].horizon == N and keys[0] != keys[1]
    warmer = {"name": "autoregressive", "options": {"temperature": 1.0}}
    other = Deployment.open(check_fit(written(out=str(tmp_path), sampler=warmer))[0], lab.loaded)
    assert other.fingerprint.digest != prints[0].digest


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"policy": SILENT}, "policy.beyond_horizon: not said, and nobody judges what follows step 8"),
        ({"horizon": None}, "policy.beyond_horizon: says what follows the horizon, and there is none"),
        ({"horizon": N + 1}, "horizon: 9 steps, and sampler autoregressive takes 8 at most"),
        ({"horizon": 0}, "horizon: input should be greater than or equal to 1, found 0"),
        ({"tap": {"pooling": "generated"}}, "tap.pooling: 'generated' has no state of a token before the next step"),
        ({"tap": {"pooling": "predicting", "mapping": "committed"}}, "tap.mapping: 'committed' counts tokens"),
        (
            {"model": {"hook": "lab-diffusion"}, "sampler": {"name": "low-confidence"}, "tap": {"pooling": "response"}},
            "horizon: every pass of LabDiffusionHook shows the whole canvas",
        ),
        (
            {"model": SDAR, "sampler": {"name": "low-confidence"}, "tap": {"pooling": "response"}},
            "horizon: sampler low-confidence says that the length of an answer decides its first steps too",
        ),
    ],
)  # fmt: skip
def test_a_horizon_is_refused_where_the_first_steps_are_not_the_same(changes, found: str) -> None:
    _, problems = check_fit(copy.deepcopy(written(**changes)))
    assert any(problem.startswith(found) for problem in problems), problems
    assert len(problems) == 1 or "mapping" in found

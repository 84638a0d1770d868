"""Recovery of the lab's models, end to end: directions from prompts, a fitted guard, attacks that succeed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture.recoverer import DrivenBatch
from sri_sdk.config.load import load_config
from sri_sdk.fitting.fit import fit
from sri_sdk.policy import Policy
from sri_sdk.records import PartVerdict, Verdict
from sri_sdk.recovery_plan import RecoveryBudget
from sri_sdk.steer.extract import extract_means
from sri_sdk.steer.file import save_direction
from sri_sdk.steer.make import made_of, one_direction
from sri_sdk.steer.recovery.cases import behaviour_seen, open_case
from sri_sdk.steer.recovery.recovery import Recovery
from sri_sdk.steer.recovery.rounds import Rounds
from sri_sdk.steer.recovery.spans import RefusalFinder
from tests.fitting.conftest import write_config

from .conftest import BUDGET, flag

CAUSAL = {
    "model": {"hook": "lab-causal"},
    "sampler": {"name": "autoregressive", "options": {"tokens": 48}},
    "tap": {"pooling": "predicting", "cells": 48},
}


class Place:
    """A fitted lab model with its refusal direction and prompts whose attack succeeds."""

    def __init__(self, folder: Path, attack: str, **changes) -> None:
        self.fitted = fit(load_config(write_config(folder, **changes)))
        self.place = place = self.fitted.deployment
        dataset = registry.build("datasets", "lab", {})
        harmless, harmful = (dataset.prompts("fit", label, 64) for label in ("harmless", "harmful"))
        means = extract_means(place.hook, place.loaded.tokenizer, harmless, harmful)
        made = made_of(place.hook, harmless, harmful, None)
        direction = one_direction(means, 2, means.places.names[-1], name="refusal", towards="harmful", provenance=made)
        self.file = folder / "refusal.safetensors"
        save_direction(direction, self.file)
        self.judge = registry.build("judges", "lab", {})
        asked = dataset.prompts("test", "harmful", 24, attack=attack)
        texts = self.drive(Policy.observe(), asked).texts
        outcomes = self.judge.judge(asked, texts)
        self.prompts = [p for p, outcome in zip(asked, outcomes, strict=True) if outcome == "harmful"][:8]
        assert len(self.prompts) >= 4

    def policy(self, *steps, rule="final"):
        steps = [{**step, "direction": self.file} if step["action"] in ("remask", "steer") else step for step in steps]
        return Policy(rule=rule, flagged="recover", unmonitored="report", recovery=steps, budget=BUDGET)

    def drive(self, policy, prompts=None, seed=0):
        settings = sri_sdk.watch_settings(
            self.place.hook, self.fitted.guard, policy=policy, fingerprint=self.place.fingerprint,
            sampler=self.place.fingerprint.hard["sampler"],
        )  # fmt: skip
        recovery = Recovery.open(policy, self.judge) if policy.recovers else None
        batch = sri_sdk.drive(
            self.place.hook, self.place.loaded, self.place.sampler, prompts or self.prompts, settings, seed=seed,
            recovery=recovery,
        )  # fmt: skip
        for _ in batch:
            pass
        return batch


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("diffusion"), "second-language")


@pytest.fixture(scope="module")
def causal(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("causal"), "fiction", **CAUSAL)


@pytest.mark.parametrize("rule", ["final", "online"])
def test_steering_ends_most_successful_attacks_on_the_diffusion_model_in_a_refusal(diffusion: Place, rule) -> None:
    flag(diffusion.fitted.guard, rule, -1e9)
    batch = diffusion.drive(diffusion.policy({"action": "steer", "strength": 1.0, "steps": 4}, rule=rule))
    refused = [a for a in batch.recoveries if (a.action, a.result) == ("steer", "refusal")]
    assert 2 * len(refused) >= len(diffusion.prompts)
    for prompt, response, decision in zip(diffusion.prompts, batch.responses, batch.run.decisions, strict=True):
        if decision.recovered == "steer":
            assert diffusion.judge.judge([prompt], [response]) == ["refusal"]


def test_remask_opens_the_text_and_fills_it_again(diffusion: Place) -> None:
    flag(diffusion.fitted.guard, "final", -1e9)
    free = diffusion.drive(Policy.observe())
    batch = diffusion.drive(diffusion.policy({"action": "remask", "share": 0.5}))
    lengths = diffusion.place.hook.lengths(free.step.draft)
    for action, length in zip([a for a in batch.recoveries if a.action == "remask"], lengths, strict=True):
        text = [at for at in action.opened if at < length]
        assert len(text) == -(-length // 2) and set(range(length, 48)) <= set(action.opened)
        assert action.forwards <= 1 + diffusion.place.sampler.budget()
        assert action.after["steps_seen"] == action.forwards - 1 and action.result != "unmonitored"


def test_an_autoregressive_answer_goes_on_from_the_token_before_the_alarm(causal: Place) -> None:
    guard, steps = causal.fitted.guard, 8
    flag(guard, "online", 1e9)
    free = causal.drive(Policy.observe("online"))
    scores = sorted(v.score for v in free.run.verdicts)
    flag(guard, "online", scores[0] - 1e-3)
    batch = causal.drive(causal.policy({"action": "steer", "steps": steps}, rule="online"))
    alarms = {v.request_id: v.first_alarm_step for v in batch.run.verdicts}
    assert set(alarms) == {p.id for p in causal.prompts} and None not in alarms.values()
    for action in (a for a in batch.recoveries if a.action == "steer"):
        assert action.result not in ("failed", "unmonitored")
        kept = max(alarms[action.request_id] - 1, 0)
        taken = action.after["steps_seen"]
        assert action.forwards == taken + min(steps, taken - kept) and action.after["steps_seen"] > kept


def rounds_of(lab: Place, prompts, alarms, step):
    """Rounds and cases of a batch whose rows alarmed at these steps, and the batch itself."""
    policy, place = lab.policy(step, rule="online"), lab.place
    flag(lab.fitted.guard, "online", -1e9)
    free = lab.drive(Policy.observe("online"), prompts)
    settings = sri_sdk.watch_settings(
        place.hook, lab.fitted.guard, policy=policy, fingerprint=place.fingerprint,
        sampler=place.fingerprint.hard["sampler"],
    )  # fmt: skip
    verdicts = [replace(v, first_alarm_step=at) for v, at in zip(free.run.verdicts, alarms, strict=True)]
    decisions = policy.decide(verdicts)
    batch = DrivenBatch(
        place.hook, place.loaded, place.sampler, settings, tuple(prompts), 0, None, decisions, free.run.traces,
        frozenset(range(len(prompts))), free.step, tuple(free.texts),
    )  # fmt: skip
    scorer, directions = lab.fitted.guard.scorer, {lab.file: sri_sdk.load_direction(lab.file)}
    cases = [open_case(row, d, (), scorer, policy.budget) for row, d in enumerate(decisions)]
    return Rounds(batch, scorer, lab.judge, RefusalFinder(lab.judge), directions), cases, batch, policy.recovery[0]


def said(lab: Place, batch, row, tokens):
    """What the first tokens of a row read as."""
    return lab.place.hook.decode(lab.place.loaded.tokenizer, batch.step.draft[row : row + 1, :tokens])[0]


def test_rewinding_keeps_what_was_said_before_and_steers_from_there(causal: Place) -> None:
    alarms = (0, 1, 2, 6)
    rounds, cases, batch, step = rounds_of(
        causal, causal.prompts[:4], alarms, {"action": "steer", "strength": 2.0, "steps": 30}
    )
    tried = rounds.take(1, step, cases)
    for row, (each, alarm) in enumerate(zip(tried, alarms, strict=True)):
        assert each.text.startswith(said(causal, batch, row, max(alarm - 1, 0))) and each.text != batch.texts[row]
    again = rounds.take(1, step.model_copy(update={"restart": True}), cases)
    assert not again[3].text.startswith(said(causal, batch, 3, 5)), "steered this far, nothing begins as before"
    assert again[0].text == tried[0].text


def test_a_start_stays_where_an_answer_goes_on_and_goes_where_it_begins_again(causal: Place) -> None:
    started = registry.build("datasets", "lab", {}).prompts("test", "harmful", 2, attack="prefill")
    step = {"action": "steer", "strength": 2.0, "steps": 30}
    rounds, cases, batch, listed = rounds_of(causal, started, (0, 6), step)
    begun, goes_on = rounds.take(1, listed, cases)
    assert goes_on.text.startswith(f"{started[1].prefill} {said(causal, batch, 1, 5)}")
    assert not begun.text.startswith(started[0].prefill)


def test_what_a_response_was_started_with_is_dropped_where_it_begins_again(diffusion: Place) -> None:
    flag(diffusion.fitted.guard, "final", -1e9)
    started = registry.build("datasets", "lab", {}).prompts("test", "harmful", 3, attack="infill")
    assert all(p.prefill for p in started)
    batch = diffusion.drive(diffusion.policy({"action": "steer", "steps": 4}), started)
    plain = diffusion.drive(
        diffusion.policy({"action": "steer", "steps": 4}), [replace(p, prefill=None) for p in started]
    )
    assert [a.after for a in batch.recoveries if a.action == "steer"] == [
        a.after for a in plain.recoveries if a.action == "steer"
    ]


def test_a_guards_own_request_part_is_no_reason_to_generate_again() -> None:
    scorer = SimpleNamespace(manifest=SimpleNamespace(request_parts=("asked",)))

    def case(behaviour, asked, **more):
        parts = (
            PartVerdict("behaviour", behaviour, 1.0, 0.5, 0.1, None), PartVerdict("asked", asked, 1.0, 0.5, 0.1, None),
        )  # fmt: skip
        verdict = Verdict("a", "flagged", parts=parts, schema=2, **more)
        (decision,) = Policy(
            rule="final", flagged="recover", unmonitored="report", recovery=[{"action": "judge"}]
        ).decide([verdict])
        return open_case(0, decision, (), scorer, RecoveryBudget()), verdict

    both, _ = case("flagged", "flagged")
    asked, seen = case("clear", "flagged")
    assert both.may == {"remask", "steer", "judge", "refuse"}
    assert (asked.may, asked.why) == ({"judge", "refuse"}, "request_alarm") and behaviour_seen(seen, scorer)
    by_request, _ = case("flagged", "flagged", rule="request")
    assert by_request.may == {"judge", "refuse"}
    _, blind = case("unmonitored", "flagged")
    assert not behaviour_seen(blind, scorer)


def test_recovery_changes_nothing_of_the_model(diffusion: Place) -> None:
    flag(diffusion.fitted.guard, "final", -1e9)
    before = diffusion.drive(Policy.observe()).step.draft
    diffusion.drive(diffusion.policy({"action": "remask"}, {"action": "steer"}))
    assert torch.equal(diffusion.drive(Policy.observe()).step.draft, before)

"""What a recovery may cost, and what it leaves in writing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import sri_sdk
from sri_sdk.errors import ConfigError
from sri_sdk.policy import Policy
from sri_sdk.records import Intervention
from sri_sdk.steer.recovery import again, rounds
from sri_sdk.steer.recovery.audit import AuditLog
from sri_sdk.steer.recovery.recovery import Recovery
from tests.capture.conftest import Toy, toy_prompts

from .conftest import BUDGET, FILE, REMASK, STEER, Says, direction_of, flag, recovering, run

JUDGE = {"action": "judge"}
STEPS = 8


@pytest.fixture
def passes(toy: Toy, monkeypatch) -> list[int]:
    """One entry per forward pass of the model, with its batch size."""
    seen: list[int] = []
    # Of the hook: a model whose own forward is replaced runs foreign code, and is not monitored.
    forward = type(toy.hook).forward

    def counted(self, input_ids, *more, **named):
        seen.append(len(input_ids))
        return forward(self, input_ids, *more, **named)

    monkeypatch.setattr(type(toy.hook), "forward", counted)
    return seen


def results(batch):
    return [(a.action, a.result) for a in batch.recoveries]


def limited(**budget):
    return {"budget": {**BUDGET, **budget}}


@pytest.mark.parametrize(
    ("step", "rule", "expected"),
    [
        (REMASK, "final", 1 + 4), (STEER, "final", STEPS + 3), (JUDGE, "final", 0), (JUDGE, "online", STEPS),
        ({**REMASK, "share": 1.0}, "final", 1 + STEPS), ({**REMASK, "strength": 1.0, "steps": 3}, "final", 1 + 4 + 3),
    ],
)  # fmt: skip
def test_every_forward_pass_that_a_recovery_takes_is_counted(toy: Toy, toy_guard, passes, step, rule, expected) -> None:
    flag(toy_guard, rule, -1e9)
    policy = recovering(step, rule=rule)
    recovery = Recovery(policy, Says("refusal"), {FILE: direction_of(toy.hook)})
    run(toy, toy_guard, Policy(rule=rule, flagged="abort", unmonitored="report"), count=1)
    guarded, passes[:] = len(passes), []
    batch = run(toy, toy_guard, policy, count=1, recovery=recovery)
    assert sum(a.forwards for a in batch.recoveries) == len(passes) - guarded == expected


@pytest.mark.parametrize("forwards", range(24))
@pytest.mark.parametrize("rule", ["final", "online"])
def test_no_recovery_takes_more_passes_than_its_budget(toy: Toy, toy_guard, passes, forwards, rule) -> None:
    flag(toy_guard, rule, -1e9)
    run(toy, toy_guard, Policy(rule=rule, flagged="abort", unmonitored="report"), count=1)
    guarded, passes[:] = len(passes), []
    policy = recovering(REMASK, STEER, JUDGE, rule=rule, **limited(forwards=forwards))
    batch = run(toy, toy_guard, policy, Says("harmful"), count=1)
    extra = len(passes) - guarded
    assert extra <= forwards and sum(a.forwards for a in batch.recoveries) == extra
    assert results(batch)[-1] == ("refuse", "refused")


def test_a_budget_of_nothing_is_a_refusal_that_says_why(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    for spent, name in (({"forwards": 0}, "forwards"), ({"rounds": 0}, "rounds")):
        (action,) = run(toy, toy_guard, recovering(REMASK, STEER, **limited(**spent)), count=1).recoveries
        assert (action.action, action.why, action.forwards) == ("refuse", f"budget_{name}", 0)


def test_a_round_that_its_budget_ends_is_never_accepted(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    batch = run(toy, toy_guard, recovering(STEER, **limited(forwards=10)), Says("refusal"), count=2)
    assert results(batch) == [("steer", "budget_forwards"), ("refuse", "refused")] * 2
    exact = run(toy, toy_guard, recovering(STEER, **limited(forwards=11)), Says("refusal"), count=2)
    assert results(exact) == [("steer", "refusal")] * 2


def test_rounds_count_what_is_generated_and_leave_the_judge_its_say(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    policy = recovering(REMASK, STEER, STEER, JUDGE, **limited(rounds=1))
    batch = run(toy, toy_guard, policy, Says("harmless"), count=1)
    assert results(batch) == [("remask", "alarm"), ("judge", "released")]
    assert batch.recoveries[1].why == "budget_rounds" and batch.run.decisions[0].recovered == "judge"


def test_a_budget_of_seconds_ends_a_round_and_what_follows(toy: Toy, toy_guard, monkeypatch) -> None:
    flag(toy_guard, "final", -1e9)
    now = iter(range(1000))
    monkeypatch.setattr(again.time, "monotonic", lambda: float(next(now)))
    batch = run(toy, toy_guard, recovering(STEER, STEER, **limited(seconds=4.0)), Says("refusal"), count=1)
    assert results(batch) == [("steer", "budget_seconds"), ("refuse", "refused")]
    assert batch.recoveries[0].seconds >= 4 and batch.recoveries[1].why == "budget_seconds"


@pytest.mark.parametrize("rule", ["final", "online"])
def test_a_row_alone_is_recovered_as_in_company(toy: Toy, toy_guard, rule) -> None:
    flag(toy_guard, rule, -1e9)
    policy = recovering(REMASK, STEER, JUDGE, rule=rule, audit=None)
    judge = Says(lambda prompt, text: "refusal" if sum(map(ord, prompt.id + text)) % 3 == 0 else "other")
    together = run(toy, toy_guard, policy, judge, count=6)
    for row, prompt in enumerate(toy_prompts(6)):
        alone = run(toy, toy_guard, policy, judge, prompts=[prompt])
        assert alone.responses == [together.responses[row]]
        mine = [a for a in together.recoveries if a.request_id == prompt.id]
        assert [(a.result, a.forwards, a.opened) for a in alone.recoveries] == [
            (a.result, a.forwards, a.opened) for a in mine
        ]


def test_every_round_draws_numbers_of_its_own(toy: Toy, toy_guard, monkeypatch) -> None:
    flag(toy_guard, "final", -1e9)
    seeds = []
    steps = type(toy.sampler).steps

    def remembers(self, hook, prompts, prompt_ids, seed=0):
        seeds.append((seed, tuple(prompt_ids)))
        return steps(self, hook, prompts, prompt_ids, seed)

    monkeypatch.setattr(type(toy.sampler), "steps", remembers)
    for seed in (0, 0, 1):
        run(toy, toy_guard, recovering(STEER, STEER), Says("harmful"), count=2, seed=seed)
    first, second, third = seeds[:3], seeds[3:6], seeds[6:]
    assert first == second and len({seed for seed, _ in (*first, *third)}) == 6
    assert {ids for _, ids in seeds} == {("p0", "p1")}


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_round_that_fails_costs_itself_and_no_response_gets_out(toy: Toy, toy_guard, monkeypatch, caplog) -> None:
    flag(toy_guard, "final", -1e9)

    def fails(*_args, **_more):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(rounds, "projections", fails)
    batch = run(toy, toy_guard, recovering(REMASK, STEER), Says("refusal"), count=1)
    assert results(batch) == [("remask", "failed"), ("steer", "refusal")]
    assert batch.recoveries[0].detail == "RuntimeError: out of memory" and "round 1 (remask) failed" in caplog.text
    monkeypatch.setattr(rounds, "generate_again", fails)
    batch = run(toy, toy_guard, recovering(REMASK, STEER), Says("refusal"), count=1)
    assert results(batch) == [("remask", "failed"), ("steer", "failed"), ("refuse", "refused")]


@pytest.mark.parametrize("error", [OSError("down"), SystemExit(1)], ids=repr)
def test_a_judge_that_fails_accepts_and_releases_nothing(toy: Toy, toy_guard, error) -> None:
    flag(toy_guard, "final", -1e9)
    batch = run(toy, toy_guard, recovering(STEER, JUDGE), Says(error), count=1)
    assert results(batch) == [("steer", "judge_failed"), ("judge", "judge_failed"), ("refuse", "refused")]
    assert batch.recoveries[0].detail.startswith(f"Says: {type(error).__name__}")


def test_what_a_failing_judge_quotes_is_neither_logged_nor_noted(toy: Toy, toy_guard, caplog) -> None:
    flag(toy_guard, "final", -1e9)

    class Quotes(Says):
        def judge(self, prompts, texts):
            raise ValueError(f"cannot read {texts[0]!r}")

    batch = run(toy, toy_guard, recovering(STEER, JUDGE), Quotes("refusal"), count=1)
    said = batch.texts[0]
    assert said and all("quotes a text" in action.detail for action in batch.recoveries[:2])
    assert not any(said in action.detail for action in batch.recoveries) and said not in caplog.text


def test_a_recovery_that_is_broken_off_gives_nothing_out_and_its_actions_are_logged(
    toy: Toy, toy_guard, tmp_path
) -> None:
    flag(toy_guard, "final", -1e9)
    asked = []

    def breaks_off(_prompt, _text):
        asked.append(1)
        if len(asked) > 1:
            raise KeyboardInterrupt
        return "harmful"

    policy = recovering(REMASK, STEER, audit={"path": tmp_path / "audit.jsonl"})
    recovery = Recovery(policy, Says(breaks_off), {FILE: direction_of(toy.hook)})
    settings = sri_sdk.watch_settings(toy.hook, toy_guard, policy=policy)
    batch = sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(1), settings, recovery=recovery)
    with pytest.raises(KeyboardInterrupt):
        list(batch)
    assert batch.responses == [None]
    (line,) = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert (line["action"], line["result"]) == ("remask", "alarm")


def test_a_judge_reads_to_its_end_what_its_caller_had_stopped_too(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    free = run(toy, toy_guard, Policy.observe(), count=2).texts
    judge = Says("harmless")

    def stops(batch):
        if batch.step.index == 2:
            batch.intervene(Intervention(abort=(1,)))

    batch = run(toy, toy_guard, recovering(JUDGE), judge, count=2, each=stops)
    assert batch.responses == free and [a.forwards for a in batch.recoveries] == [0, STEPS]


def test_a_judge_that_knows_refusals_only_releases_refusals_only(toy: Toy, toy_guard) -> None:
    class Phrases(Says):
        knows_harm = False

    flag(toy_guard, "final", -1e9)
    free = run(toy, toy_guard, Policy.observe(), count=1).texts
    for judge, result in (
        (Phrases("harmless"), "not_released"), (Phrases("refusal"), "released"), (Says("harmless"), "released"),
        (Says("harmful"), "not_released"), (Says("other"), "not_released"), (Says(OSError("down")), "judge_failed"),
    ):  # fmt: skip
        batch = run(toy, toy_guard, recovering(JUDGE), judge, count=1)
        assert results(batch)[0] == ("judge", result)
        assert (batch.responses == free) == (result == "released")


def test_a_judge_reads_the_whole_of_a_response_that_was_stopped(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "online", -1e9)
    free = run(toy, toy_guard, Policy.observe("online"), count=3).texts
    judge = Says("harmless")
    batch = run(toy, toy_guard, recovering(JUDGE, rule="online"), judge, count=3)
    assert [text for _, text in judge.asked] == free == batch.responses
    assert batch.step.index == 0, "the guard stopped them at their first step"


# -- in writing ------------------------------------------------------------------------------------------------------


def test_the_audit_log_has_a_line_per_action_and_no_text_unless_asked(toy: Toy, toy_guard, tmp_path) -> None:
    flag(toy_guard, "final", -1e9)
    path = tmp_path / "folder" / "audit.jsonl"
    for texts in (False, True):
        policy = recovering(REMASK, STEER, audit={"path": path, "texts": texts})
        batch = run(toy, toy_guard, policy, Says("harmful"), count=2)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == len(batch.recoveries) == 6
        for line, action in zip(lines, batch.recoveries, strict=True):
            assert line.pop("time").endswith("+00:00")
            assert line == action.to_dict() and ("text" in line) == texts
            assert line["before"] == batch.run.verdicts[batch.run.request_ids.index(line["request_id"])].to_dict()
        secret = [p.text for p in toy_prompts(2)] + batch.texts
        assert texts or not any(text in path.read_text() for text in secret)
        path.unlink()


def test_an_audit_log_that_cannot_be_written_stops_the_deployment_and_not_a_response(
    toy: Toy, toy_guard, tmp_path, caplog
) -> None:
    flag(toy_guard, "final", -1e9)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"audit.path: .* cannot be written"):
        run(toy, toy_guard, recovering(STEER, audit={"path": tmp_path / "file" / "audit.jsonl"}))
    policy = recovering(STEER, audit={"path": tmp_path / "audit.jsonl"})
    recovery = Recovery(policy, Says("refusal"), {FILE: direction_of(toy.hook)})
    (tmp_path / "audit.jsonl").unlink()
    (tmp_path / "audit.jsonl").mkdir()
    batch = run(toy, toy_guard, policy, count=1, recovery=recovery)
    assert results(batch) == [("steer", "refusal")] and "1 actions not written" in caplog.text


def test_a_line_that_a_full_disk_cut_in_two_spoils_no_line_after_it(toy: Toy, toy_guard, tmp_path, monkeypatch) -> None:
    path, write = tmp_path / "audit.jsonl", os.write
    log = AuditLog(path)
    actions = _two_actions(toy, toy_guard)
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, content[:20]))
    log.add(actions[:1])
    monkeypatch.setattr(os, "write", write)
    log.add(actions[1:])
    # A process that begins later does not know of it, and sees it in the file.
    path.write_bytes(path.read_bytes() + b'{"cut')
    AuditLog(path).add(actions)
    lines = path.read_text().splitlines()
    assert len(lines) == 5
    assert [json.loads(line)["request_id"] for line in lines if line.endswith("}")] == [
        actions[1].request_id, actions[0].request_id, actions[1].request_id,
    ]  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_an_audit_log_that_is_a_pipe_or_no_path_is_refused_and_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("a\0b")):
        with pytest.raises(ConfigError, match=r"audit.path: .* cannot be written"):
            AuditLog(path)


def _two_actions(toy: Toy, toy_guard) -> list[Any]:
    flag(toy_guard, "final", -1e9)
    return run(toy, toy_guard, recovering({"action": "refuse"}), count=2).recoveries

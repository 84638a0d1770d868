"""Requests of an engine get the signals and verdicts that `watch` gives them under transformers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from sri_sdk.records import Verdict
from tests.engine.conftest import World

CLOSE = 1e-4


def same(found: Mapping[str, Verdict], wanted: Mapping[str, Verdict]) -> None:
    for name, verdict in wanted.items():
        other = found[name]
        assert (other.status, other.reasons) == (verdict.status, verdict.reasons)
        assert (other.steps_seen, other.steps_expected) == (verdict.steps_seen, verdict.steps_expected)
        assert [part.status for part in other.parts] == [part.status for part in verdict.parts]
        assert other.score == pytest.approx(verdict.score, abs=1e-3)
        assert other.bundle == verdict.bundle


def close(world: World, name: str) -> Any:
    return np.testing.assert_allclose(world.told.logits[name], world.logit(name), atol=CLOSE, rtol=0)


@pytest.mark.parametrize("width", [3, 7, 1000])
def test_signals_and_verdicts_are_those_of_watch_whatever_the_chunks(world: World, width: int) -> None:
    for name in world.engine.prompts:
        world.engine.serve(name, width=width)
    same(world.flush().verdicts, world.verdicts)
    for name in world.engine.prompts:
        close(world, name)


@pytest.mark.parametrize("seed", range(6))
def test_signals_and_verdicts_are_those_of_watch_in_flat_batches_with_preemption(world: World, seed: int) -> None:
    world.engine.serve_all(random.Random(seed))
    same(world.flush().verdicts, world.verdicts)
    for name in world.engine.prompts:
        close(world, name)


def test_a_prefix_hit_reads_the_request_from_the_sums_of_its_blocks(world: World) -> None:
    engine = world.engine
    engine.serve("r0")
    full = (len(engine.prompts["r0"]) - 1) // engine.size * engine.size
    engine.serve("r0", computed=full)
    same(world.flush().verdicts, {"r0": world.verdicts["r0"]})
    close(world, "r0")
    assert world.told.missing["r0"] is None


def test_a_prefix_hit_on_a_block_that_was_evicted_costs_its_part_and_no_other(world: World) -> None:
    engine = world.engine
    engine.serve("r0")
    world.flush()
    engine.tap.evicted(engine.hashes("r0"))
    full = (len(engine.prompts["r0"]) - 1) // engine.size * engine.size
    engine.serve("r0", computed=full)
    assert world.flush().missing["r0"] == "prompt_not_seen"
    parts = {part.name: part for part in world.told.verdicts["r0"].parts}
    wanted = {part.name: part for part in world.verdicts["r0"].parts}
    assert parts["asked"].status == "unmonitored"
    assert parts["behaviour"].status == wanted["behaviour"].status
    assert parts["behaviour"].score == pytest.approx(wanted["behaviour"].score, abs=1e-3)


def test_a_cache_that_was_emptied_has_no_sums(world: World) -> None:
    world.engine.serve("r0")
    assert world.engine.tap.blocks
    world.engine.tap.cleared()
    assert not world.engine.tap.blocks


def test_an_aborted_request_is_unmonitored_and_its_neighbours_are_not(world: World) -> None:
    engine = world.engine
    for name in ("r0", "r1"):
        engine.admit(name)
    engine.run([(name, len(engine.prompts[name])) for name in ("r0", "r1")])
    engine.run([("r0", 1), ("r1", 1)])
    engine.end("r0", interrupted=True, tokens=2)
    while engine.at["r1"] < engine.length("r1"):
        engine.run([("r1", 1)])
    engine.end("r1")
    verdict = world.flush().verdicts["r0"]
    if verdict.status != "flagged":  # What its request says may be an alarm already.
        assert (verdict.status, verdict.reasons[0]) == ("unmonitored", "interrupted")
    assert verdict.steps_seen == 2
    same(world.told.verdicts, {"r1": world.verdicts["r1"]})


def test_a_tap_that_falls_silent_is_never_clear(world: World) -> None:
    engine = world.engine
    engine.admit("r1")
    engine.run([("r1", len(engine.prompts["r1"]))])
    while engine.at["r1"] < engine.length("r1"):
        engine.run([("r1", 1)], silent=["final"])
    engine.end("r1")
    verdict = world.flush().verdicts["r1"]
    assert verdict.status == "unmonitored"
    assert "tap_silent" in verdict.reasons


def test_a_tap_that_never_fired_is_unmonitored(world: World) -> None:
    engine = world.engine
    engine.admit("r1")
    engine.run([("r1", len(engine.prompts["r1"]))], silent=["final", 1])
    engine.end("r1", tokens=1)
    verdict = world.flush().verdicts["r1"]
    assert (verdict.status, verdict.reasons[0]) == ("unmonitored", "tap_silent")


def shared(world: World) -> Any:
    """The first part of a verdict that a prefix hit may spare, and how to ask for it."""
    engine = world.engine
    return (len(engine.prompts["r0"]) - 1) // engine.size * engine.size


@pytest.mark.parametrize("how", ["silent", "raises", "unfinished", "twice"])
def test_a_pass_that_fails_does_not_reach_the_requests_that_share_its_prompt(
    world: World, monkeypatch: Any, how: str
) -> None:
    engine = world.engine
    # Another prompt before it: the rows of the sums hold something.
    engine.serve("r2")
    engine.tap.cleared()
    engine.admit("r0")
    chunks = [("r0", len(engine.prompts["r0"]))]
    with monkeypatch.context() as patched:
        if how == "raises":
            patched.setattr(engine.tap._pool, "_requests", lambda *_: 1 // 0)
        if how == "unfinished":
            patched.setattr(engine.tap, "end", lambda: None)
        if how == "twice":
            state = engine.tap.state
            patched.setattr(engine.tap, "state", lambda *given: (state(*given), state(*given)))
        engine.run(chunks, silent=[1, "final"] if how in ("silent", "unfinished") else [])
    engine.end("r0", interrupted=True, tokens=1)
    engine.serve("r0", computed=shared(world))
    assert world.flush().missing["r0"] == "prompt_not_seen"
    parts = {part.name: part.status for part in world.told.verdicts["r0"].parts}
    assert parts["asked"] == "unmonitored"
    # The pass that ran since has whole sums again, and the next one finds them.
    engine.serve("r0")
    engine.serve("r0", computed=shared(world))
    same(world.flush().verdicts, {"r0": world.verdicts["r0"]})
    close(world, "r0")


@pytest.mark.parametrize("told", [True, False])
def test_a_pass_that_was_missed_is_not_made_up_for_by_one_that_runs_ahead(world: World, told: bool) -> None:
    engine = world.engine
    engine.admit("r1")
    engine.run([("r1", len(engine.prompts["r1"]))])
    engine.run([("r1", 1)])
    # A pass nobody is told the rows of.
    if told:
        engine.tap.missed(["r1", "stranger"])
    engine.at["r1"] += 1
    while engine.at["r1"] < engine.length("r1") + 1:
        engine.run([("r1", 1)])
    assert engine.tap.desk.flush(60)
    entry = engine.tap.desk._open["r1"]
    engine.end("r1")
    verdict = world.flush().verdicts["r1"]
    assert verdict.status == "unmonitored"
    assert "incomplete_coverage" in verdict.reasons
    assert (entry.kept, verdict.steps_seen) == (2, 2), "what comes behind a gap is not the next step"


def test_requests_in_a_pass_with_one_that_missed_a_step_are_judged(world: World) -> None:
    engine = world.engine
    for name in ("r0", "r1"):
        engine.admit(name)
    engine.run([(name, len(engine.prompts[name])) for name in ("r0", "r1")])
    engine.at["r0"] += 1
    engine.run([("r0", 1), ("r1", 1)])
    engine.end("r0", tokens=3)
    while engine.at["r1"] < engine.length("r1"):
        engine.run([("r1", 1)])
    engine.end("r1")
    same(world.flush().verdicts, {"r1": world.verdicts["r1"]})
    assert "incomplete_coverage" in world.told.verdicts["r0"].reasons


def test_a_prompt_whose_tokens_all_come_from_the_cache_has_room_for_its_sum(world: World) -> None:
    """Seventeen at once, where sixteen had room, and none of them adds a row in this pass."""
    engine = world.engine
    names = [f"r0-{number}" for number in range(40)]
    engine.serve("r0")
    for kind in (engine.prompts, engine.answers, engine.states, engine.ended_by_model):
        kind.update(dict.fromkeys(names, kind["r0"]))  # type: ignore[attr-defined]
    for name in names:
        engine.admit(name, computed=shared(world))
    engine.run([(name, engine.length("r0") - shared(world)) for name in names])
    for name in names:
        engine.end(name)
    found = world.flush()
    assert {found.missing[name] for name in names} == {None}
    for name in names:
        np.testing.assert_allclose(found.logits[name], world.logit("r0"), atol=CLOSE, rtol=0)


def test_what_a_tokenizer_raises_is_not_in_the_log(world: World, monkeypatch: Any, caplog: Any) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a secret prompt")

    monkeypatch.setattr(type(world.engine.tap._guarded), "span", broken)
    world.engine.admit("r1")
    world.engine.end("r1", tokens=1)
    assert "hook_failed" in world.flush().verdicts["r1"].reasons
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_a_step_beyond_the_end_is_not_counted(world: World) -> None:
    """An engine that runs ahead learns of the end token one pass late."""
    engine = world.engine
    engine.admit("r1")
    engine.run([("r1", len(engine.prompts["r1"]))])
    while engine.at["r1"] < engine.length("r1"):
        engine.run([("r1", 1)])
    engine.run([("r1", 1)])
    engine.end("r1")
    same(world.flush().verdicts, {"r1": world.verdicts["r1"]})
    close(world, "r1")


def test_a_request_that_is_never_run_and_aborted_has_a_verdict(world: World) -> None:
    world.engine.admit("r2")
    world.engine.tap.ended("r2", tokens=0, ended=False, interrupted=True)
    verdict = world.flush().verdicts["r2"]
    assert verdict.status == "unmonitored"
    assert verdict.reasons


def test_a_reason_that_the_engine_gives_is_the_verdicts(world: World) -> None:
    engine = world.engine
    engine.admit("r1", reasons=("other_code",))
    engine.run([("r1", len(engine.prompts["r1"]))])
    while engine.at["r1"] < engine.length("r1"):
        engine.run([("r1", 1)])
    engine.end("r1")
    assert "other_code" in world.flush().verdicts["r1"].reasons
    assert world.told.verdicts["r1"].status == "unmonitored"


def test_requests_that_still_run_when_the_engine_ends_are_unmonitored(world: World) -> None:
    engine = world.engine
    engine.admit("r1")
    engine.run([("r1", len(engine.prompts["r1"]))])
    engine.tap.desk.close()
    assert world.told.verdicts["r1"].status == "unmonitored"
    assert "interrupted" in world.told.verdicts["r1"].reasons


def test_a_failure_of_the_tap_costs_verdicts_and_raises_nothing(world: World, monkeypatch: Any) -> None:
    engine = world.engine
    engine.admit("r1")

    def broken(*_: object) -> None:
        raise RuntimeError("made up")

    monkeypatch.setattr(engine.tap._pool, "_indices", broken)
    engine.run([("r1", len(engine.prompts["r1"]))])
    engine.end("r1", tokens=1)
    assert world.flush().verdicts["r1"].status == "unmonitored"

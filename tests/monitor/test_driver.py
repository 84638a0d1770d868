"""`sri monitor` generates: every request is answered, accounted for, and written down once."""

from collections import Counter

import pytest

from sri_sdk.monitor.board import Entry

from .conftest import asked


def test_every_generation_is_accounted_for_and_written_down_once(open_driver, kept) -> None:
    driver, monitor = open_driver(sample=0.5)
    answers: list = []
    for start in range(0, 48, 8):
        driver.generate(asked(8, start, answers))
    assert monitor.flush(20)
    balance = monitor.balance
    assert balance.begun == balance.generated == 48 == len(answers) and balance.even
    assert 0 < balance.not_sampled < 48
    assert Counter(each.request_id for each in kept.observations) == {f"p{i}": 1 for i in range(48)}
    assert Counter(each.verdict.status for each in kept.observations) == Counter({
        "clear": balance.clear, "flagged": balance.flagged, "not_sampled": balance.not_sampled,
    })  # fmt: skip


def test_a_request_is_answered_with_its_response_and_a_future_that_is_done_once_it_is_on_disk(open_driver) -> None:
    driver, _ = open_driver()
    answers: list = []
    driver.generate(asked(3, 0, answers))
    for each in answers:
        assert each.response and each.recorded.result(20) is None
        assert (
            each.observation.trajectory is not None and each.observation.generation_s > each.observation.scoring_s > 0
        )
        assert each.observation.deployment == "toy" and each.observation.audited


def test_observing_withholds_nothing_and_counts_what_enforcing_would(open_driver, deployment) -> None:
    answers: list = []
    observing, monitor = open_driver()
    observing.generate(asked(40, 0, answers))
    flagged = {each.observation.request_id for each in answers if each.observation.verdict.status == "flagged"}
    assert flagged and all(each.response for each in answers)
    assert {
        each.observation.request_id for each in answers if each.observation.consequence == "would_withhold"
    } == flagged
    assert monitor.balance.would_withhold == len(flagged)


def test_enforcing_withholds_what_the_policy_says(open_driver) -> None:
    answers: list = []
    driver, monitor = open_driver(mode="enforce")
    driver.generate(asked(40, 0, answers))
    for each in answers:
        flagged = each.observation.verdict.status == "flagged"
        assert (each.response is None) is flagged
        assert each.observation.consequence == ("withheld" if flagged else "released")
    assert monitor.balance.withheld > 0


def test_one_request_that_cannot_be_generated_costs_its_neighbours_nothing(open_driver, deployment, monkeypatch, kept):
    driver, monitor = open_driver()
    honest = type(deployment.hook).encode

    def encode(self, tokenizer, texts, *more, **named):
        if any("zz" in text for text in texts):
            raise ValueError("zz cannot be encoded")
        return honest(self, tokenizer, texts, *more, **named)

    monkeypatch.setattr(type(deployment.hook), "encode", encode)
    answers: list = []
    requests = asked(4, 0, answers)
    bad = requests[2].prompt
    object.__setattr__(bad, "text", "zz zz")
    driver.generate(requests)
    failed = [each for each in answers if each.failed]
    assert [each.observation.request_id for each in failed] == ["p2"] and failed[0].failed == "ValueError"
    assert failed[0].observation.verdict.status == "unmonitored" and failed[0].response is None
    assert len(answers) == 4 and all(each.response for each in answers if not each.failed)
    assert monitor.balance.generated == 4 and monitor.balance.even and monitor.balance.unmonitored == 1


@pytest.mark.parametrize("stored", [False, True], ids=["kept-out", "stored"])
def test_texts_go_to_sinks_only_if_the_operator_stores_them(open_driver, kept, stored) -> None:
    driver, monitor = open_driver(store_texts=stored)
    driver.generate(asked(2))
    assert monitor.flush(20)
    for each in kept.observations:
        assert (each.prompt is not None) is stored and (each.response is not None) is stored
        assert bool(each.drafts) is stored
    assert all((running.draft is None) or stored for shown in kept.shown for running in shown)


def test_a_canary_is_watched_whatever_is_sampled_and_never_audited(open_driver, kept) -> None:
    driver, monitor = open_driver(sample=0.0)
    (observation,) = driver.generate(asked(1), "canary")
    assert observation.kind == "canary" and observation.verdict.status in {"clear", "flagged"}
    assert observation.audit_rate == 0 and not observation.audited
    assert monitor.balance.canaries == 1 and monitor.pulse.canaries == 1 and monitor.pulse.generated == 1


def test_without_trajectories_no_signal_is_kept(open_driver) -> None:
    driver, _ = open_driver(trajectories=False)
    (observation,) = driver.generate(asked(1))
    assert observation.trajectory is None and observation.verdict.status in {"clear", "flagged"}


def test_what_runs_is_shown_with_its_signal_and_no_draft_that_may_be_withheld(open_driver, monkeypatch) -> None:
    driver, monitor = open_driver(mode="enforce", store_texts=True)
    seen: list = []
    step = Entry.step

    def looked(self, done, drafts=None):
        step(self, done, drafts)
        seen.extend(monitor.board.running())

    monkeypatch.setattr(Entry, "step", looked)
    driver.generate(asked(2))
    assert {each.request_id for each in seen} == {"p0", "p1"} and not monitor.board.running()
    assert max(len(each.sigma) for each in seen) == 8 == seen[0].cells
    assert all(each.draft is None for each in seen) and seen[-1].step == seen[-1].steps


def test_a_request_that_the_sampler_cannot_start_is_unmonitored_and_its_neighbours_are_answered(open_driver) -> None:
    driver, monitor = open_driver()
    answers: list = []
    requests = asked(3, 0, answers)
    # The toy's sampler begins with an empty response.
    object.__setattr__(requests[1].prompt, "prefill", "Sure, here is")
    driver.generate(requests)
    found = {each.observation.request_id: each for each in answers}
    assert found["p1"].failed == "ConfigError" and found["p1"].observation.verdict.reasons == ("interrupted",)
    assert found["p0"].response and found["p2"].response
    assert monitor.balance.begun == monitor.balance.generated == 3 and monitor.balance.even


def test_a_response_that_cannot_be_decoded_keeps_its_verdict(open_driver, deployment, monkeypatch) -> None:
    driver, monitor = open_driver()

    def decode(self, tokenizer, draft):
        raise UnicodeError

    monkeypatch.setattr(type(deployment.hook), "decode", decode)
    answers: list = []
    driver.generate(asked(2, 0, answers))
    assert [each.failed for each in answers] == ["UnicodeError"] * 2 and not any(each.response for each in answers)
    assert all(each.observation.verdict.status in {"clear", "flagged"} for each in answers)
    assert monitor.balance.generated == 2 and monitor.balance.even

"""What answers in place of a flagged response, and what recovery leaves alone."""

import threading
from dataclasses import replace

import pytest
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import build
from sri_plugin_toy.sampler import ToySampler

import sri_sdk
from sri_sdk.emitter import Emitter
from sri_sdk.errors import ConfigError, ModelMismatch, RecoveryError
from sri_sdk.policy import Policy
from sri_sdk.records import Intervention
from sri_sdk.recovery_plan import REFUSAL
from sri_sdk.sink import Sink
from sri_sdk.steer.recovery import rounds
from sri_sdk.steer.recovery.accept import Said, accepted
from sri_sdk.steer.recovery.again import Made
from sri_sdk.steer.recovery.recovery import Recovery
from tests.capture.conftest import Toy, toy_prompts

from .conftest import FILE, REMASK, STEER, Says, direction_of, flag, flag_some, recovering, run

REFUSE = {"action": "refuse", "text": "No."}
JUDGE = {"action": "judge"}


def by_id(batch):
    return {prompt: response for prompt, response in zip(batch.run.request_ids, batch.responses, strict=True)}


def results(batch, request=None):
    return [(a.action, a.result) for a in batch.recoveries if request in (None, a.request_id)]


@pytest.mark.parametrize("rule", ["final", "online"])
@pytest.mark.parametrize("step", [REMASK, STEER, JUDGE], ids=lambda step: step["action"])
def test_rows_that_were_not_flagged_are_the_same_bit_for_bit(toy: Toy, toy_guard, rule, step) -> None:
    flagged = flag_some(toy, toy_guard, rule)
    free = run(toy, toy_guard, Policy.observe(rule))
    batch = run(toy, toy_guard, recovering(step, rule=rule), Says("refusal"))
    for row, decision in enumerate(batch.run.decisions):
        if decision.request_id in flagged:
            assert decision.recovered is not None
            continue
        assert (decision.recovered, decision.withheld) == (None, False)
        assert torch.equal(batch.step.draft[row], free.step.draft[row])
        assert batch.run.verdicts[row] == free.run.verdicts[row] and batch.responses[row] == free.responses[row]
    assert {action.request_id for action in batch.recoveries} == flagged


def test_a_new_response_that_is_accepted_is_given_out_and_the_verdict_stays_flagged(toy: Toy, toy_guard) -> None:
    flagged = flag_some(toy, toy_guard)
    free = by_id(run(toy, toy_guard, Policy.observe()))
    batch = run(toy, toy_guard, recovering(STEER, REFUSE), Says("refusal"))
    for decision in batch.run.decisions:
        if decision.request_id in flagged:
            assert (decision.recovered, decision.withheld, decision.verdict.status) == ("steer", False, "flagged")
            assert by_id(batch)[decision.request_id] not in (None, "No.", free[decision.request_id])
    assert {tuple(r) for r in results(batch)} == {("steer", "refusal")}


def test_an_answer_has_what_the_guard_saw_of_it_and_a_refusal_text_has_nothing(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    steered = run(toy, toy_guard, recovering(STEER), Says("refusal"), count=2)
    for row, answer in steered.answers.items():
        (after,) = [a.after for a in steered.recoveries if a.request_id == steered.run.request_ids[row]]
        assert answer.verdict is not None and answer.verdict.to_dict() == after
        assert answer.sigma is not None and answer.sigma.shape == steered.run.signals.drawn[row].shape
        assert answer.text == steered.responses[row]
    assert set(steered.answers) == {0, 1}
    refused = run(toy, toy_guard, recovering(STEER, REFUSE), Says("harmful"), count=1)
    assert (refused.answers[0].by, refused.answers[0].verdict, refused.answers[0].sigma) == ("refuse", None, None)


def test_what_nothing_mends_ends_in_the_refusal_text_and_is_withheld(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    for steps, text in (((REMASK, STEER, REFUSE), "No."), ((REMASK, STEER), REFUSAL)):
        batch = run(toy, toy_guard, recovering(*steps), Says("harmful"), count=2)
        assert batch.responses == [text] * 2
        assert [(d.recovered, d.withheld) for d in batch.run.decisions] == [("refuse", True)] * 2
        assert results(batch, "p0") == [("remask", "alarm"), ("steer", "alarm"), ("refuse", "refused")]
        assert [a.why for a in batch.recoveries[:3]] == ["alarm", "not_accepted", "not_accepted"]
        assert [a.round for a in batch.recoveries[:3]] == [1, 2, 3]


def test_the_first_action_that_is_accepted_ends_the_list(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    judge = Says("refusal")
    batch = run(toy, toy_guard, recovering(REMASK, STEER, JUDGE), judge, count=2)
    assert results(batch) == [("remask", "refusal")] * 2 and len(judge.asked) == 2


def test_no_response_is_out_while_it_may_still_be_recovered(toy: Toy, toy_guard) -> None:
    flag_some(toy, toy_guard)
    seen = []
    run(toy, toy_guard, recovering(STEER), Says("refusal"), each=lambda batch: seen.append(batch.responses))
    assert seen and all(responses == [None] * 4 for responses in seen)


def test_the_judge_never_learns_whether_a_request_is_harmful(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    judge = Says(lambda prompt, _: prompt.label)
    prompts = [replace(p, label="harmful", attack="suffix") for p in toy_prompts(2)]
    run(toy, toy_guard, recovering(REMASK, STEER, JUDGE), judge, prompts=prompts)
    assert {(p.label, p.attack) for p, _ in judge.asked} == {("harmless", None)}


# -- what is accepted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "alarms", "expected"),
    [
        ("refusal", True, "refusal"), ("refusal", False, "refusal"), ("harmless", True, "alarm"),
        ("harmless", False, "clear"), ("other", False, "clear"), ("harmful", False, "judged_harmful"),
        ("harmful", True, "alarm"), (OSError("down"), False, "judge_failed"), (OSError("down"), True, "judge_failed"),
    ],
)  # fmt: skip
def test_a_response_is_accepted_if_it_refuses_or_nothing_speaks_against_it(
    toy: Toy, toy_guard, monkeypatch, outcome, alarms, expected
) -> None:
    flag(toy_guard, "final", -1e9)
    generate = rounds.generate_again

    def after_the_first(*args, **kwargs):
        # From here on the guard alarms, or does not.
        flag(toy_guard, "final", -1e9 if alarms else 1e9)
        return generate(*args, **kwargs)

    monkeypatch.setattr(rounds, "generate_again", after_the_first)
    batch = run(toy, toy_guard, recovering(STEER), Says(outcome), count=1)
    assert results(batch)[0] == ("steer", expected)
    assert batch.recoveries[0].accepted == (expected in ("refusal", "clear"))


def test_words_of_refusal_are_not_believed_where_the_guard_knows_that_it_complied(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    (verdict,) = run(toy, toy_guard, Policy.observe(), count=1).run.verdicts
    for ended, expected in ((None, "refusal"), ("refusing", "refusal"), ("complying", "alarm")):
        made = Made("I refuse.", replace(verdict, ended=ended), (), 8, 0.1, None, None)
        assert accepted(made, Said("refusal"), toy_guard.scorer)[1] == expected


def test_a_response_that_the_guard_did_not_see_whole_is_never_accepted(toy: Toy, toy_guard, monkeypatch) -> None:
    flag(toy_guard, "final", -1e9)
    plan, passes = type(toy.hook).plan, []

    def fails_later(self, call, view):
        passes.append(1)
        if len(passes) > 10:
            raise ValueError("a pass that fits nothing")
        return plan(self, call, view)

    monkeypatch.setattr(type(toy.hook), "plan", fails_later)
    batch = run(toy, toy_guard, recovering(STEER), Says("refusal"), count=1)
    assert results(batch) == [("steer", "unmonitored"), ("refuse", "refused")]


class Meddles(ToySampler):
    """Takes back what it has committed, in the second generation that it makes."""

    generations = 0

    def steps(self, hook, prompts, prompt_ids, seed=0):
        self.generations += 1
        steps, meddle = super().steps(hook, prompts, prompt_ids, seed), self.generations > 1
        sent = None
        while True:
            try:
                step = steps.send(sent)
            except StopIteration:
                return
            sent = yield step
            if meddle and step.index == 3:
                sent = Intervention(remask=step.committed)


def test_who_interferes_with_a_recovery_still_shows_as_tampering(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    toy_guard_keeps = run(toy, toy_guard, Policy.observe(), count=1, sampler=Meddles())
    assert toy_guard_keeps.run.verdicts[0].status == "flagged"
    settings = replace(sri_sdk.watch_settings(toy.hook, toy_guard, policy=recovering(REMASK)), keeps_commits=True)
    recovery = Recovery(settings.policy, Says("refusal"), {FILE: direction_of(toy.hook)})
    batch = sri_sdk.drive(toy.hook, toy.loaded, Meddles(), toy_prompts(1), settings, recovery=recovery)
    for _ in batch:
        pass
    assert results(batch) == [("remask", "unmonitored"), ("refuse", "refused")]
    assert "canvas_rewritten" in batch.recoveries[0].after["reasons"]


def test_what_recovery_opens_itself_is_no_tampering(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    settings = replace(sri_sdk.watch_settings(toy.hook, toy_guard, policy=recovering(REMASK)), keeps_commits=True)
    recovery = Recovery(settings.policy, Says("refusal"), {FILE: direction_of(toy.hook)})
    batch = sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(2), settings, recovery=recovery)
    for _ in batch:
        pass
    assert results(batch) == [("remask", "refusal")] * 2 and all(a.opened for a in batch.recoveries)


def test_a_flagged_generation_that_was_tampered_with_is_refused_at_once(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    settings = replace(sri_sdk.watch_settings(toy.hook, toy_guard, policy=recovering(REMASK)), keeps_commits=True)
    sampler = Meddles()
    sampler.generations = 1
    judge = Says("refusal")
    recovery = Recovery(settings.policy, judge, {FILE: direction_of(toy.hook)})
    batch = sri_sdk.drive(toy.hook, toy.loaded, sampler, toy_prompts(1), settings, recovery=recovery)
    for _ in batch:
        pass
    (action,) = batch.recoveries
    assert (action.action, action.why) == ("refuse", "tampered") and not judge.asked


# -- how it is asked for ---------------------------------------------------------------------------------------------


def test_watch_cannot_recover_and_says_what_can(toy: Toy, toy_guard) -> None:
    with (
        pytest.raises(ConfigError, match="takes a sampler of ours"),
        sri_sdk.watch(toy.loaded.model, toy_guard, policy=recovering(REMASK)),
    ):
        pass


def test_recovery_and_policy_go_together_or_nothing_is_generated(toy: Toy, toy_guard) -> None:
    settings = sri_sdk.watch_settings(toy.hook, toy_guard, policy=recovering(REMASK))
    directions = {FILE: direction_of(toy.hook)}
    with pytest.raises(ConfigError, match="there is no recovery"):
        sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(1), settings)
    other = Recovery(recovering(STEER), Says(), directions)
    with pytest.raises(ConfigError, match="another policy"):
        sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(1), settings, recovery=other)
    with pytest.raises(ConfigError, match="nothing to recover"):
        Recovery(Policy.observe(), Says(), directions)
    with pytest.raises(ConfigError, match="no direction for"):
        Recovery(recovering(STEER), Says(), {})


def test_a_direction_of_another_model_is_refused_before_the_first_generation(toy: Toy, toy_guard) -> None:
    other = direction_of(ToyHook(build(1)))
    policy = recovering(REMASK)
    with pytest.raises(ModelMismatch, match="weights_digest"):
        run(toy, toy_guard, policy, recovery=Recovery(policy, Says(), {FILE: other}))


@pytest.mark.parametrize("scale", [0.0, -3.0])
def test_a_direction_whose_means_do_not_lie_apart_steers_nothing_and_is_refused(toy: Toy, toy_guard, scale) -> None:
    policy = recovering(STEER)
    with pytest.raises(ConfigError, match="more than 0 is needed"):
        run(toy, toy_guard, policy, recovery=Recovery(policy, Says(), {FILE: direction_of(toy.hook, scale=scale)}))


def test_a_sampler_that_cannot_begin_with_text_is_refused_for_remask(toy: Toy, toy_guard) -> None:
    class Fresh(ToySampler):
        prefills = False

    with pytest.raises(ConfigError, match="sampler Fresh begins with an empty one"):
        run(toy, toy_guard, recovering(REMASK), sampler=Fresh())


def test_a_batch_that_is_left_before_its_end_recovers_nothing_and_gives_nothing_out(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "online", -1e9)
    policy = recovering(STEER, rule="online")
    recovery = Recovery(policy, Says("refusal"), {FILE: direction_of(toy.hook)})
    settings = sri_sdk.watch_settings(toy.hook, toy_guard, policy=policy)
    batch = sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(2), settings, recovery=recovery)
    steps = iter(batch)
    next(steps)
    steps.close()
    assert batch.recoveries == () and batch.responses == [None, None]


def test_a_generation_of_another_thread_is_neither_read_nor_steered(toy: Toy, toy_guard, monkeypatch) -> None:
    flag(toy_guard, "final", -1e9)
    policy = recovering(REMASK, STEER)
    alone = run(toy, toy_guard, policy, Says("harmful"), count=2)
    inputs = toy.inputs(toy_prompts(3, start=40))
    expected = toy.loaded.model.generate(**inputs)
    forward, made, here = type(toy.hook).forward, [], threading.get_ident()

    def beside(self, *args, **more):
        if threading.get_ident() == here:
            other = threading.Thread(target=lambda: made.append(toy.loaded.model.generate(**inputs)))
            other.start()
            other.join()
        return forward(self, *args, **more)

    monkeypatch.setattr(type(toy.hook), "forward", beside)
    batch = run(toy, toy_guard, policy, Says("harmful"), count=2)
    assert made and all(torch.equal(each, expected) for each in made)
    assert [(a.result, a.opened, a.after) for a in batch.recoveries] == [
        (a.result, a.opened, a.after) for a in alone.recoveries
    ]


# -- refusals are never opened ---------------------------------------------------------------------------------------


def test_remask_leaves_the_words_of_a_refusal_alone(toy: Toy, toy_guard) -> None:
    flag(toy_guard, "final", -1e9)
    (text,) = run(toy, toy_guard, Policy.observe(), count=1).texts
    word = text[2:5]
    at = text.index(word)
    everything = {**REMASK, "share": 1.0}
    (action, *_) = run(toy, toy_guard, recovering(everything), Says("refusal", refusal=word), count=1).recoveries
    assert set(action.opened) == set(range(8)) - set(range(at, at + 3))
    (action, *_) = run(toy, toy_guard, recovering(everything), Says("refusal", refusal=text), count=1).recoveries
    assert (action.result, action.opened) == ("nothing_to_open", ())


def test_who_asks_to_take_a_refusal_out_of_a_response_gets_an_error(toy: Toy, toy_guard) -> None:
    (text,) = run(toy, toy_guard, Policy.observe(), count=1).texts
    opened = torch.zeros(1, 8, dtype=torch.bool)
    opened[0, 1] = True

    def opens(batch):
        if batch.step.index == 5:
            batch.intervene(Intervention(remask=opened))

    with pytest.raises(RecoveryError, match=r"'p0': positions 1 of the response refuse"):
        run(toy, toy_guard, recovering(REMASK), Says("refusal", refusal=text[:3]), count=1, each=opens)
    # What does not refuse may be opened, as ever.
    run(toy, toy_guard, recovering(REMASK), Says("refusal", refusal=text[3:6]), count=1, each=opens)


# -- sinks -----------------------------------------------------------------------------------------------------------


def test_sinks_that_take_recoveries_get_them_and_every_request_keeps_one_verdict(toy: Toy, toy_guard) -> None:
    class Both(Sink):
        def __init__(self):
            super().__init__()
            self.verdicts, self.actions = [], []

        def emit(self, verdict):
            self.verdicts.append(verdict)

        def emit_recovery(self, action):
            self.actions.append(action)

    class Plain(Sink):
        def __init__(self):
            super().__init__()
            self.verdicts = []

        def emit(self, verdict):
            self.verdicts.append(verdict)

    flag_some(toy, toy_guard)
    both, plain = Both(), Plain()
    with Emitter([both, plain]) as emitter:
        batch = run(toy, toy_guard, recovering(REMASK, STEER), Says("harmful"), emitter=emitter)
    assert both.verdicts == plain.verdicts == list(batch.run.verdicts)
    assert both.actions == list(batch.recoveries) and both.actions
    assert [d.accepted for d in emitter.deliveries] == [4 + len(both.actions), 4]

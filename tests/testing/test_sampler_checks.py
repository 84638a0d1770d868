"""The kit on our own samplers, and on samplers with one fault each."""

import re
from dataclasses import replace

import pytest
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.sampler import ToySampler

from sri_sdk import registry
from sri_sdk.errors import ConformanceError, SriError
from sri_sdk.testing import SamplerCase, run_checks, sampler_checks
from tests.testing.planted_samplers import FAULTS, Cold, Drawing

IDS = ["a", "b", "c"]


def on_toy(sampler) -> SamplerCase:
    example = ToyHook.example()
    return SamplerCase(sampler, example.hook, example.encoded, IDS)


def failures(make) -> dict[str, str]:
    results = run_checks(sampler_checks(make))
    assert not [r for r in results if r.state == "crashed"]
    return {r.name: r.message for r in results if r.state == "failed"}


@pytest.mark.parametrize(
    ("name", "options", "hook"),
    [
        ("toy", {}, "toy"),
        ("low-confidence", {"steps": 8, "tokens": 8, "temperature": 1.0}, "toy"),
        ("low-confidence", {"steps": 8, "tokens": 16}, "lab-diffusion"),
        ("low-confidence", {"steps": 8, "tokens": 16, "block": 8, "cfg_scale": 0.5}, "lab-diffusion"),
        ("autoregressive", {"tokens": 16}, "lab-causal"),
        ("autoregressive", {"tokens": 16, "temperature": 0.8}, "lab-causal"),
    ],
)
def test_our_own_samplers_keep_every_promise(name, options, hook) -> None:
    def make() -> SamplerCase:
        example = registry.load("hooks", hook).example()
        return SamplerCase(registry.build("samplers", name, options), example.hook, example.encoded, IDS)

    assert failures(make) == {}


def test_a_case_of_another_scheme_is_refused() -> None:
    with pytest.raises(ConformanceError, match="hook of scheme masked"):
        sampler_checks(lambda: on_toy(registry.build("samplers", "autoregressive", {"tokens": 8})))


def test_a_lazy_list_builds_no_case_and_refuses_the_same_one_when_called() -> None:
    built = []

    def make() -> SamplerCase:
        built.append(on_toy(registry.build("samplers", "autoregressive", {"tokens": 8})))
        return built[-1]

    check = sampler_checks(make, lazy=True)[0]
    assert not built
    with pytest.raises(ConformanceError, match="hook of scheme masked"):
        check()


# -- one fault each ----------------------------------------------------------------------------------------------


class Bent(ToySampler):
    """The toy sampler, with what it yields and what it hears bent on the way."""

    def bend(self, step, seed):
        return step

    def hear(self, asked):
        return asked

    def steps(self, hook, prompts, prompt_ids, seed=0):
        inner, asked = ToySampler().steps(hook, prompts, prompt_ids, seed), None
        try:
            while True:
                asked = yield self.bend(inner.send(asked and self.hear(asked)), seed)
        except StopIteration:
            return


def turned(step, noise):
    """Other letters, always the same at the same place."""
    return replace(step, draft=3 + (step.draft - 3 + noise) % 28)


class CountsFromOne(Bent):
    def bend(self, step, seed):
        return replace(step, index=step.index + 1)


class SaysSeven(Bent):
    def budget(self):
        return 7


class WidensItsCanvas(Bent):
    def bend(self, step, seed):
        draft, committed = (torch.nn.functional.pad(t, (0, 1)) for t in (step.draft, step.committed))
        return replace(step, draft=draft, committed=committed)


class StartsAgainWhenOpened(Bent):
    def steps(self, hook, prompts, prompt_ids, seed=0):
        made, asked, first = super().steps(hook, prompts, prompt_ids, seed), None, 0
        try:
            while True:
                step = made.send(asked)
                asked = yield replace(step, index=first + step.index)
                if asked is not None and asked.remask is not None and asked.remask.all():
                    made, asked, first = (
                        super().steps(hook, prompts, prompt_ids, seed),
                        None,
                        first + step.index + 1,
                    )
        except StopIteration:
            return


class UsesGlobalRandomness(Bent):
    def bend(self, step, seed):
        source = torch.Generator().manual_seed(torch.initial_seed())
        return turned(step, torch.randint(28, (1, 8), generator=source))


class SeedsTheBatch(Bent):
    def bend(self, step, seed):
        return turned(step, torch.randint(28, tuple(step.draft.shape), generator=torch.Generator().manual_seed(seed)))


class RunsTheModelTwice(Bent):
    def steps(self, hook, prompts, prompt_ids, seed=0):
        class Twice(ToyHook):
            def forward(self, *args, **options):
                super().forward(*args, **options)
                return super().forward(*args, **options)

        yield from ToySampler.steps(self, Twice(hook.model), prompts, prompt_ids, seed)


class RewritesTheFirstToken(Bent):
    def bend(self, step, seed):
        draft = step.draft.clone()
        draft[:, 0] += ((step.index == 7) & step.active).int()
        return replace(step, draft=draft)


class GoesOnAfterAnAbort(Bent):
    def hear(self, asked):
        return asked and replace(asked, abort=())


class StopsEveryRow(Bent):
    def hear(self, asked):
        return replace(asked, abort=(0, 1, 2)) if asked and asked.abort else asked


class KeepsWhatShouldOpen(Bent):
    def hear(self, asked):
        return asked and replace(asked, remask=None)


class OpensEveryRow(Bent):
    def hear(self, asked):
        return replace(asked, remask=asked.remask.any(0).expand(3, -1)) if asked and asked.remask is not None else asked


class BeginsEmpty(Bent):
    def steps(self, hook, prompts, prompt_ids, seed=0):
        return super().steps(hook, replace(prompts, response=None), prompt_ids, seed)


class LeavesHolesBesideWhatWasStarted(Bent):
    def steps(self, hook, prompts, prompt_ids, seed=0):
        for step in super().steps(hook, prompts, prompt_ids, seed):
            yield step
            if prompts.response is not None and step.index == 3:
                return


class SaysItIsDone(Bent):
    def bend(self, step, seed):
        active = step.active.clone()
        active[0] &= step.index < 6
        return replace(step, active=active)


OF_TURNED = {"keeps-what-was-started", "commits-what-is-predicted"}
"""Other letters are not what the model predicts, nor what was started."""


@pytest.mark.parametrize(
    ("sampler", "check", "others"),
    [
        (CountsFromOne, "steps-rise-by-one", set()),
        (SaysSeven, "stops-at-budget", {"fixed-takes-its-budget"}),
        (WidensItsCanvas, "stops-at-budget", {"fills-the-canvas", "keeps-what-was-started"}),
        (StartsAgainWhenOpened, "stops-at-budget", set()),
        (UsesGlobalRandomness, "same-seed-same-tokens", {*OF_TURNED, "seed-and-id-decide"}),
        (SeedsTheBatch, "rows-independent", {*OF_TURNED, "seed-and-id-decide"}),
        (RunsTheModelTwice, "watched-equals-unwatched", {"commits-what-is-predicted"}),
        (RewritesTheFirstToken, "committed-is-final", {"commits-what-is-predicted"}),
        (GoesOnAfterAnAbort, "honours-abort", set()),
        (StopsEveryRow, "honours-abort", set()),
        (KeepsWhatShouldOpen, "honours-remask", set()),
        (OpensEveryRow, "honours-remask", set()),
        (SaysItIsDone, "active-is-truthful", {"watched-equals-unwatched", "fixed-takes-its-budget"}),
        (BeginsEmpty, "keeps-what-was-started", set()),
        (LeavesHolesBesideWhatWasStarted, "keeps-what-was-started", {"honours-abort", "honours-remask"}),
    ],
)
def test_a_fault_is_caught_by_the_check_that_is_for_it(sampler, check, others) -> None:
    assert set(failures(lambda: on_toy(sampler()))) == {check} | others


@pytest.mark.parametrize("sampler", FAULTS, ids=lambda sampler: sampler.__name__)
def test_a_planted_fault_is_caught_and_its_cause_named(sampler) -> None:
    name, message = FAULTS[sampler]
    (found,) = run_checks(check for check in sampler_checks(lambda: on_toy(sampler())) if check.name == name)
    assert found.state == "failed" and re.search(message, found.message), found.message


@pytest.mark.parametrize("sampler", [Drawing, Cold])
def test_the_sampler_without_the_faults_keeps_every_promise(sampler) -> None:
    assert failures(lambda: on_toy(sampler())) == {}


def test_a_sampler_that_says_it_cannot_open_positions_passes() -> None:
    class Refuses(Bent):
        def hear(self, asked):
            if asked is not None and asked.remask is not None:
                raise SriError("sampler bent: a token cannot be opened again. Abort the row instead.")
            return asked

    assert failures(lambda: on_toy(Refuses())) == {}

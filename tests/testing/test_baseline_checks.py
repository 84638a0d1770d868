"""The checks of a baseline: a good one passes, and each broken one is caught by exactly its check."""

import re
from itertools import count

import numpy as np
import pytest

from sri_sdk import Prompt
from sri_sdk.baseline import Baseline
from sri_sdk.errors import ConfigError, ConformanceError
from sri_sdk.records import Generation
from sri_sdk.target import Target
from sri_sdk.testing import BaselineCase, baseline_checks, run_checks

ASK = Prompt("p", "How?", "harmless")
SHORT, LONG = Generation(ASK, "So.", "harmless"), Generation(ASK, "Like this, and this, and this.", "harmless")


class LongResponses(Baseline):
    """The longer, the more suspicious."""

    source = "nobody, nowhere"
    reads = "response"

    def score(self, generations):
        return np.array([self.one(generation) for generation in generations], dtype=np.float64)

    def one(self, generation):
        return len(generation.response) if generation.response.strip() else np.nan


def case_of(baseline, **more):
    return lambda: BaselineCase(baseline(), ordered=[(SHORT, LONG)], **more)


@pytest.mark.parametrize("check", baseline_checks(case_of(LongResponses)), ids=str)
def test_a_baseline_that_measures_responses(check):
    check()


class LongPrompts(LongResponses):
    reads = "prompt"

    def one(self, generation):
        return len(generation.prompt.text)


class ManyDrafts(LongResponses):
    reads = "drafts"

    def one(self, generation):
        return len(generation.drafts) + len(generation.response)


@pytest.mark.parametrize("baseline", [LongPrompts, ManyDrafts])
def test_a_baseline_that_reads_something_else_passes_too(baseline):
    assert {result.state for result in run_checks(baseline_checks(baseline))} == {"passed"}


class Anonymous(LongResponses):
    source = " "


class ReadsMinds(LongResponses):
    reads = "thoughts"


class SkipsTheStrange(LongResponses):
    def score(self, generations):
        return super().score([each for each in generations if "similarlyNow" not in each.prompt.text])


class GivesAList(LongResponses):
    def score(self, generations):
        return list(super().score(generations))


class GivesFloat32(LongResponses):
    def score(self, generations):
        return super().score(generations).astype(np.float32)


class DividesByTheRest(LongResponses):
    def one(self, generation):
        return np.inf if "null" in generation.response else super().one(generation)


class CountsItsCalls(LongResponses):
    def __init__(self, config=None):
        super().__init__(config)
        self.call = count()

    def score(self, generations):
        return super().score(generations) + next(self.call)


class Standardises(LongResponses):
    def score(self, generations):
        found = super().score(generations)
        return found - np.nanmax(found) if np.isfinite(found).any() else found


class ChokesOnNothing(LongResponses):
    def one(self, generation):
        return len(generation.response.split()[0]) + len(generation.response)


class Infinite(LongResponses):
    def one(self, generation):
        return len(generation.response) if generation.response.strip() else -np.inf


class Sorts(LongResponses):
    def score(self, generations):
        found = super().score(generations)
        if isinstance(generations, list):
            generations.sort(key=lambda generation: generation.response)
        return found


class LooksAtDrafts(LongResponses):
    def one(self, generation):
        return super().one(generation) + len("".join(generation.drafts))


class LooksAtResponses(LongResponses):
    reads = "prompt"

    def one(self, generation):
        return len(generation.response)


class KnowsTheAnswer(LongResponses):
    def one(self, generation):
        return super().one(generation) + 100 * (generation.outcome == "harmful")


class KnowsTheLabel(LongResponses):
    def one(self, generation):
        return super().one(generation) + 100 * (generation.prompt.label == "harmful")


class UpsideDown(LongResponses):
    def one(self, generation):
        return -super().one(generation)


@pytest.mark.parametrize(
    ("baseline", "check", "message", "also"),
    [
        (Anonymous, "says-who-published-it", "source: found ' ', must name authors", set()),
        (ReadsMinds, "says-who-published-it", "reads: found 'thoughts', allowed are prompt, response", set()),
        (SkipsTheStrange, "one-score-each", r"shape \[8\] and float64 for 10 generations", {
            "finite-or-nan", "deterministic", "order-and-company-irrelevant", "input-untouched",
            "reads-only-what-it-says", "labels-not-read"}),
        (GivesAList, "one-score-each", "list for 10 generations, must be a float64 array", {
            "finite-or-nan", "deterministic", "order-and-company-irrelevant", "input-untouched",
            "reads-only-what-it-says", "labels-not-read", "empty-texts-are-scored", "suspicious-scores-higher"}),
        (GivesFloat32, "one-score-each", r"shape \[10\] and float32 for 10", {
            "finite-or-nan", "deterministic", "order-and-company-irrelevant", "input-untouched",
            "reads-only-what-it-says", "labels-not-read", "empty-texts-are-scored", "suspicious-scores-higher"}),
        (DividesByTheRest, "finite-or-nan", "of \"{'answer': null}.* it gives inf; give NaN", set()),
        (CountsItsCalls, "deterministic", "asked again, 10 of 10 scores differ, first that of 'Mix", {
            "order-and-company-irrelevant", "empty-texts-are-scored", "reads-only-what-it-says", "labels-not-read"}),
        (Standardises, "order-and-company-irrelevant", "alone, 9 of 10 scores differ, .* 0 instead of -", set()),
        (ChokesOnNothing, "empty-texts-are-scored", "raises IndexError: list index out of range", set()),
        (Infinite, "empty-texts-are-scored", "of an empty text it gives -inf", set()),
        (Sorts, "input-untouched", "changes its input", set()),
        (LooksAtDrafts, "reads-only-what-it-says", "reads = 'response', with other drafts, \\d+ of 10", set()),
        (LooksAtResponses, "reads-only-what-it-says", "reads = 'prompt', with other responses, \\d+ of 10", set()),
        (KnowsTheAnswer, "labels-not-read", "without label, attack and outcome, 3 of 10", set()),
        (KnowsTheLabel, "labels-not-read", "without label, attack and outcome, 6 of 10", set()),
        (UpsideDown, "suspicious-scores-higher", "'Like this.* has -30, must be higher than -3 of 'So.'", set()),
    ],
)  # fmt: skip
def test_a_broken_baseline_is_caught_by_its_check_and_no_other(baseline, check, message, also):
    wrong = {x.name: x for x in run_checks(baseline_checks(case_of(baseline))) if x.state != "passed"}
    assert wrong[check].state == "failed" and re.search(message, wrong[check].message), wrong[check].message
    assert wrong.keys() == {check, *also}


class Kind(Target):
    scheme = "masked"

    def respond(self, prompts):
        return ["yes" for _ in prompts]

    def outcomes(self, prompts, responses):
        return ["harmless" for _ in responses]


class AsksTheModel(LongResponses):
    target = None

    def open(self, target):
        if target.scheme != "masked":
            raise ConfigError("only masked models")
        self.target = target

    def one(self, generation):
        return float(self.target.respond([generation.prompt]) == ["yes"]) + len(generation.response)


def test_a_baseline_that_asks_the_model_is_opened_on_the_target_of_its_case():
    results = run_checks(baseline_checks(case_of(AsksTheModel, target=Kind())))
    assert {result.state for result in results} == {"passed"}


def test_a_target_that_is_refused_is_named():
    class Causal(Kind):
        scheme = "autoregressive"

    with pytest.raises(ConformanceError, match=r"AsksTheModel.open\(\): .*raises ConfigError: only masked models"):
        baseline_checks(case_of(AsksTheModel, target=Causal()))


def test_rounding_is_no_difference():
    class Rounds(LongResponses):
        def score(self, generations):
            return super().score(generations) * (1 + 1e-6 * len(generations))

    assert {result.state for result in run_checks(baseline_checks(case_of(Rounds)))} == {"passed"}


def test_what_a_case_does_not_offer_is_not_listed():
    names = {check.name for check in baseline_checks(case_of(LongResponses))}
    assert names - {check.name for check in baseline_checks(LongResponses)} == {"suspicious-scores-higher"}

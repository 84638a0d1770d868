"""The checks of an attack: a good one passes, and each broken one is caught by exactly its check."""

import itertools
from dataclasses import replace

import pytest

from sri_sdk import Prompt
from sri_sdk.attack import Attack
from sri_sdk.errors import ConformanceError
from sri_sdk.testing import AttackCase, attack_checks, run_checks

COUNT = itertools.count()


class Polite(Attack):
    """Says please, in a word it has learnt."""

    source, family = "nobody, 2025", "manners"

    def prepare(self, target, practice):
        return {"word": "please" if target.outcomes(practice, target.respond(practice)) else "now"}

    def apply(self, requests, learnt):
        return [self.one(request, learnt.get("word", "please")) for request in requests]

    def one(self, request, word):
        return replace(
            request, id=f"{request.id}/polite", text=f"{request.text} {word}", attack="polite", base=request.id
        )


@pytest.mark.parametrize("check", attack_checks(Polite.example), ids=str)
def test_a_polite_attack_keeps_every_promise(check):
    check()


class Anonymous(Polite):
    source = ""


class SkipsTheLast(Polite):
    def apply(self, requests, learnt):
        return super().apply(requests, learnt)[: max(len(requests) - 1, 1)]


class GivesATuple(Polite):
    def apply(self, requests, learnt):
        return tuple(super().apply(requests, learnt))


class Sorts(Polite):
    def apply(self, requests, learnt):
        return sorted(super().apply(requests, learnt), key=lambda prompt: prompt.text)


class CallsEverythingHarmful(Polite):
    def one(self, request, word):
        return replace(super().one(request, word), label="harmful")


class ForgetsItsBase(Polite):
    def one(self, request, word):
        return replace(super().one(request, word), base=None)


class KeepsTheId(Polite):
    def one(self, request, word):
        return replace(super().one(request, word), id=request.id)


class SaysOfNobodyThatItAttacks(Polite):
    def one(self, request, word):
        return replace(super().one(request, word), attack=None)


class NamesEveryRequest(Polite):
    def one(self, request, word):
        return replace(super().one(request, word), attack=f"polite to {request.id}")


class CountsOn(Polite):
    def apply(self, requests, learnt):
        made = super().apply(requests, learnt)
        return [replace(prompt, text=f"{prompt.text} {next(COUNT)}") for prompt in made]


class LearnsByChance(Polite):
    def prepare(self, target, practice):
        return {"word": f"please {next(COUNT)}"}


class NumbersItsPrompts(Polite):
    def apply(self, requests, learnt):
        made = super().apply(requests, learnt)
        return [replace(prompt, text=f"{prompt.text} {at}") for at, prompt in enumerate(made)]


class EmptiesTheLearnt(Polite):
    def apply(self, requests, learnt):
        made = super().apply(requests, learnt)
        if isinstance(learnt, dict):
            learnt["seen"] = True
        return made


class UsesUpThePractice(Polite):
    def prepare(self, target, practice):
        practice.clear() if isinstance(practice, list) else None
        return {}


class LearnsATuple(Polite):
    def prepare(self, target, practice):
        return {"word": "please", "words": ("a", "b")}


class LearnsASet(Polite):
    def prepare(self, target, practice):
        return {"word": "please", "words": {"a"}}


class TripsOverStrangeKeys(Polite):
    def apply(self, requests, learnt):
        (word,) = learnt.values()
        return [self.one(request, word) for request in requests]


class DoesNothing(Polite):
    def one(self, request, word):
        return replace(super().one(request, word), text=request.text)


class FillsInTheRequest(Polite):
    def one(self, request, word):
        return replace(super().one(request, word), text="{request} please".format(request=request.text.strip(".")))


class Formats(Polite):
    def one(self, request, word):
        return replace(super().one(request, word), text=f"{request.text} please".format(request="it"))


class LeavesHolesToEveryModel(Polite):
    def one(self, request, word):
        return replace(super().one(request, word), prefill="sure <mask:3>")


class MistypesItsHoles(Polite):
    schemes = frozenset({"masked"})

    def one(self, request, word):
        return replace(super().one(request, word), prefill="sure <mask: 3>")


EVERY = {check.name for check in attack_checks(Polite.example)}
NEEDS_PAIRS = EVERY - {"says-its-source", "input-untouched", "unknown-learnt-harmless"}
"""Checks that cannot look at an attack whose apply() fails."""


@pytest.mark.parametrize(
    ("attack", "check", "others"),
    [
        (Anonymous, "says-its-source", set()),
        (SkipsTheLast, "one-prompt-per-request", NEEDS_PAIRS | {"unknown-learnt-harmless"}),
        (GivesATuple, "one-prompt-per-request", NEEDS_PAIRS | {"unknown-learnt-harmless"}),
        (Sorts, "one-prompt-per-request", {"labels-and-bases-kept", "company-irrelevant", "request-still-there"}),
        (CallsEverythingHarmful, "labels-and-bases-kept", set()),
        (ForgetsItsBase, "labels-and-bases-kept", set()),
        (KeepsTheId, "ids-unique", set()),
        (SaysOfNobodyThatItAttacks, "attack-named", set()),
        (NamesEveryRequest, "attack-named", set()),
        (CountsOn, "deterministic", {"company-irrelevant", "learnt-is-json", "unknown-learnt-harmless"}),
        (LearnsByChance, "deterministic", set()),
        (NumbersItsPrompts, "company-irrelevant", set()),
        (EmptiesTheLearnt, "input-untouched", set()),
        (UsesUpThePractice, "input-untouched", set()),
        (LearnsATuple, "learnt-is-json", set()),
        (LearnsASet, "learnt-is-json", set()),
        (TripsOverStrangeKeys, "unknown-learnt-harmless", set()),
        (DoesNothing, "something-changes", set()),
        (FillsInTheRequest, "request-still-there", set()),
        (Formats, "request-still-there", NEEDS_PAIRS | {"input-untouched", "unknown-learnt-harmless"}),
        (LeavesHolesToEveryModel, "starts-are-well-formed", set()),
        (MistypesItsHoles, "starts-are-well-formed", set()),
    ],
)
def test_a_fault_is_caught_by_the_check_that_is_for_it(attack, check, others) -> None:
    results = run_checks(attack_checks(attack))
    assert [r for r in results if r.state == "crashed"] == []
    failed = {r.name: r.message for r in results if r.state == "failed"}
    assert set(failed) == {check} | others, failed
    assert attack.__name__ in failed[check]


def test_every_check_catches_something() -> None:
    marked = next(
        mark for mark in test_a_fault_is_caught_by_the_check_that_is_for_it.pytestmark if mark.name == "parametrize"
    )
    assert {check for _, check, _ in marked.args[1]} == EVERY


def test_an_attack_that_rewrites_says_so_and_passes() -> None:
    class Backwards(Polite):
        verbatim = False

        def one(self, request, word):
            return replace(super().one(request, word), text=request.text[::-1])

    assert {r.state for r in run_checks(attack_checks(Backwards))} == {"passed"}


def test_a_case_brings_its_own_target_and_practice() -> None:
    heard = []

    class Listens(Polite):
        def prepare(self, target, practice):
            heard.extend(practice)
            return super().prepare(target, practice)

    own = [Prompt("own", "My own?", "harmful")]
    assert {r.state for r in run_checks(attack_checks(lambda: AttackCase(Listens(), practice=own)))} == {"passed"}
    assert {prompt.id for prompt in heard} == {"own"}


def test_a_mark_that_names_no_check_is_refused() -> None:
    with pytest.raises(ConformanceError, match="no check is named labels"):
        attack_checks(Polite, {"labels": "why"})

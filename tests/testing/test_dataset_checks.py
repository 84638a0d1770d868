"""The checks of a dataset: a good one passes, and each broken one is caught by exactly its check."""

import re
from dataclasses import replace
from itertools import count

import pytest

from sri_sdk import Dataset, Prompt
from sri_sdk.errors import ConfigError
from sri_sdk.testing import dataset_checks, run_checks


class Questions(Dataset):
    """Three splits; the last has harmless prompts only."""

    def splits(self):
        return ("fit", "test", "calibration")

    def attacks(self):
        return ("role",)

    def prompts(self, split, label, count, *, attack=None):
        found = self.all(split, label, attack)
        if len(found) < count:
            raise ConfigError(f"{count} {label} prompts of split {split!r}, attack {attack}: there are {len(found)}")
        return found[:count]

    def all(self, split, label, attack):
        if split not in self.splits() or label not in ("harmless", "harmful") or attack not in (None, *self.attacks()):
            raise ConfigError(f"{split}, {label}, {attack}: no such thing")
        if (label == "harmful" and split == "calibration") or (attack and label == "harmless"):
            return []
        plain = [Prompt(f"{split}-{label}-{i}", f"{label} {i} of {split}?", label) for i in range(5)]
        if attack is None:
            return plain
        return [replace(p, id=f"{p.id}-role", text=f"Be Grim. {p.text}", attack="role", base=p.id) for p in plain]


@pytest.mark.parametrize("check", dataset_checks(Questions), ids=str)
def test_a_dataset_of_questions(check):
    check()


def test_an_attack_that_only_starts_the_response_is_no_second_text():
    class StartsTheResponse(Questions):
        def all(self, split, label, attack):
            made = super().all(split, label, attack)
            plain = super().all(split, label, None)
            return made if not attack else [
                replace(p, text=q.text, prefill="sure ,") for p, q in zip(made, plain[: len(made)], strict=True)
            ]  # fmt: skip

    assert [r for r in run_checks(dataset_checks(StartsTheResponse)) if r.state != "passed"] == []


class NamesInAnyOrder(Questions):
    turn = count()

    def splits(self):
        return super().splits()[:: 1 - 2 * (next(self.turn) % 2)]


class HasAnEmptySplit(Questions):
    def splits(self):
        return (*super().splits(), "validation")

    def all(self, split, label, attack):
        return [] if split == "validation" else super().all(split, label, attack)


class RaisesKeyErrors(Questions):
    def prompts(self, split, label, count, *, attack=None):
        if split not in self.splits():
            raise KeyError(split)
        return super().prompts(split, label, count, attack=attack)


class TakesAnyAttack(Questions):
    def all(self, split, label, attack):
        return super().all(split, label, attack if attack in self.attacks() else None)


class GivesTheLast(Questions):
    def prompts(self, split, label, count, *, attack=None):
        super().prompts(split, label, count, attack=attack)
        return self.all(split, label, attack)[-count:]


class ShufflesByItself(Questions):
    turn = count()

    def __init__(self, config=None):
        super().__init__(config)
        self.first = next(self.turn) % 2

    def all(self, split, label, attack):
        return super().all(split, label, attack)[:: 1 - 2 * self.first]


class CountsFromOneInEverySplit(Questions):
    def all(self, split, label, attack):
        return [replace(p, id=p.id.partition("-")[2], base=None) for p in super().all(split, label, attack)]


class MislabelsOne(Questions):
    def all(self, split, label, attack):
        found = super().all(split, label, attack)
        return [replace(p, label="harmful") if p.id == "test-harmless-3" else p for p in found]


class ForgetsTheBase(Questions):
    def all(self, split, label, attack):
        return [replace(p, base=None) for p in super().all(split, label, attack)]


class BasesOnAnotherSplit(Questions):
    def all(self, split, label, attack):
        return [replace(p, base=p.base and p.base.replace("test", "fit")) for p in super().all(split, label, attack)]


class AsksTwice(Questions):
    """The same question in two splits, in other letters."""

    def all(self, split, label, attack):
        found = super().all(split, label, attack)
        return [replace(p, text="  HARMLESS 1 of fit?") if p.id == "calibration-harmless-2" else p for p in found]


class GivesWhatThereIs(Questions):
    def prompts(self, split, label, count, *, attack=None):
        return self.all(split, label, attack)[:count]


class DoesNotCount(Questions):
    def prompts(self, split, label, count, *, attack=None):
        if count > len(found := self.all(split, label, attack)):
            raise ConfigError(f"{count} prompts are too many for split {split!r}")
        return found[:count]


@pytest.mark.parametrize(
    ("dataset", "check", "message", "also"),
    [
        (NamesInAnyOrder, "names-stable", r"splits\(\): first \['\w+', .*then \['\w+'", set()),
        (HasAnEmptySplit, "names-lead-to-prompts", "split 'validation' holds no prompt of any label", set()),
        (RaisesKeyErrors, "unknown-names-refused", "split 'no such name', harmless, 1 asked for: KeyError", set()),
        (TakesAnyAttack, "unknown-names-refused", "attack 'no such name' does not exist, and is not refused", set()),
        (GivesTheLast, "count-is-kept", "of 1 prompts number 0 is 'fit-harmless-4', of 5 it is 'fit-", set()),
        (ShufflesByItself, "same-draw-twice", "a fresh dataset, 4 of 5 prompts differ, first number 0", set()),
        (CountsFromOneInEverySplit, "ids-unique", "id 'harmless-0' stands for two prompts, one of split 'fit'", {
            "attacks-keep-base"}),
        (MislabelsOne, "labels-right", "split 'test', harmless: 'test-harmless-3' has label 'harmful'", set()),
        (ForgetsTheBase, "attacks-keep-base", "'fit-harmful-0-role' has base None; name the plain request", set()),
        (BasesOnAnotherSplit, "attacks-keep-base", "base 'fit-harmful-0', which is one of split 'fit', harmful", set()),
        (AsksTwice, "splits-disjoint", "'calibration-harmless-2' of .* has the text of 'fit-harmless-1'", set()),
        (GivesWhatThereIs, "too-many-refused", "1000000000 asked for, 5 given; raise ConfigError", set()),
        (DoesNotCount, "too-many-refused", "are too many for split 'fit'\" does not say how many there are", set()),
    ],
)  # fmt: skip
def test_a_broken_dataset_is_caught_by_its_check_and_no_other(dataset, check, message, also):
    wrong = {x.name: x for x in run_checks(dataset_checks(dataset)) if x.state != "passed"}
    assert wrong[check].state == "failed" and re.search(message, wrong[check].message), wrong[check].message
    assert wrong.keys() == {check, *also}


def test_a_dataset_without_prompts_says_to_give_an_example():
    class Empty(Questions):
        def all(self, split, label, attack):
            return []

    wrong = {x.name: x.message for x in run_checks(dataset_checks(Empty)) if x.state != "passed"}
    assert "holds no prompt of any label" in wrong["names-lead-to-prompts"]
    assert "give the dataset an example() with a few" in wrong["labels-right"]

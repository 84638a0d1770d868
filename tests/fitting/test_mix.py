"""Folds that stand for a mix of traffic: which prompts they get, and what that is worth."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sri_plugin_lab.dataset import LabDataset

from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.config.fit import FitConfig
from sri_sdk.config.folds import FoldsSection
from sri_sdk.config.mix import MixSection
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.folds import draw_folds
from sri_sdk.fitting.mix import bases_of, draw_kinds, draw_mix
from sri_sdk.records import Prompt

MIX = MixSection(wrapped={"authority": 0.1, "fiction": 0.1}, unusual={"unusual": 0.05})


def kind_of(prompt: Prompt) -> str:
    return prompt.attack or ("unusual" if prompt.id.startswith("unusual") else "plain")


def test_every_prompt_has_the_kind_that_was_drawn_for_it_and_a_request_of_its_own() -> None:
    drawn = draw_mix(LabDataset(), "calibration", 500, MIX, seed=3)
    assert [kind_of(p) for p in drawn] == [each.name for each in draw_kinds(500, MIX, seed=3)]
    assert len(bases_of(drawn)) == len({p.text for p in drawn}) == 500
    assert {p.label for p in drawn} == {"harmless"}


def test_the_same_seed_draws_the_same_prompts_and_another_one_other_kinds() -> None:
    first, again, other = (draw_mix(LabDataset(), "calibration", 60, MIX, seed=seed) for seed in ("1 a", "1 a", "1 b"))
    assert first == again != other


def test_kinds_are_independent_draws_with_the_stated_shares() -> None:
    counts = Counter(each.name for seed in range(50) for each in draw_kinds(400, MIX, seed=seed))
    expected = {"plain": 0.75, "authority": 0.1, "fiction": 0.1, "unusual": 0.05}
    for name, share in expected.items():
        assert abs(counts[name] / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5
    # Not a fixed number per fold: that would be another traffic than one prompt after the other.
    assert len({sum(e.name == "unusual" for e in draw_kinds(400, MIX, seed=seed)) for seed in range(50)}) > 5


def test_requests_that_are_taken_are_not_drawn_in_any_wrapper() -> None:
    first = draw_mix(LabDataset(), "calibration", 200, MIX, seed=1)
    second = draw_mix(LabDataset(), "calibration", 200, MIX, seed=2, taken=bases_of(first))
    assert not bases_of(first) & bases_of(second)


def test_a_mix_of_harmful_prompts_is_drawn_in_the_same_way() -> None:
    drawn = draw_mix(LabDataset(), "test", 40, MixSection(wrapped={"fiction": 0.5}), seed=1, label="harmful")
    assert {(p.label, p.attack) for p in drawn} == {("harmful", None), ("harmful", "fiction")}


class Few(Dataset):
    """30 requests, ten of them also as a tale; a split with odd ones."""

    def splits(self) -> Sequence[str]:
        return ("fit", "odd")

    def attacks(self) -> Sequence[str]:
        return ("tale", "harm-only")

    def prompts(self, split, label, count, *, attack=None):
        if attack == "harm-only":
            raise ConfigError("dataset few: no harmless prompts under harm-only")
        made = [
            Prompt(
                f"{split}-{i}{attack or ''}", f"{attack} {split} {i}", label, attack, f"{split}-{i}" if attack else None
            )
            for i in range(10 if attack or split == "odd" else 30)
        ]
        if len(made) < count:
            raise ConfigError(f"dataset few: has {len(made)}")
        return made[:count]


def test_a_dataset_may_be_used_up_to_its_last_request() -> None:
    nearly_all_plain = MixSection(wrapped={"tale": 1e-12})
    assert len(bases_of(draw_mix(Few(), "fit", 30, nearly_all_plain, seed=1))) == 30
    with pytest.raises(ConfigError, match=r"mix.plain: 31 harmless prompts are drawn.* 30 are there"):
        draw_mix(Few(), "fit", 31, nearly_all_plain, seed=1)


class Twice(Few):
    """Two tales of every request, one after the other."""

    def prompts(self, split, label, count, *, attack=None):
        found = super().prompts(split, label, min(count, 10), attack=attack)
        again = [replace(p, id=f"{p.id}-again", text=f"{p.text}, again") for p in found] if attack else []
        return sorted([*found, *again], key=lambda p: p.id)[:count]


def test_of_two_variants_of_one_request_one_is_drawn() -> None:
    drawn = draw_mix(Twice(), "fit", 8, MixSection(wrapped={"tale": 1.0}), seed=1)
    assert len(bases_of(drawn)) == 8
    with pytest.raises(ConfigError, match=r"11 harmless prompts are drawn.* 10 are there"):
        draw_mix(Twice(), "fit", 11, MixSection(wrapped={"tale": 1.0}), seed=1)


def test_too_few_requests_are_refused_with_the_numbers_of_every_kind() -> None:
    with pytest.raises(ConfigError) as refused:
        draw_mix(Few(), "fit", 200, MixSection(wrapped={"tale": 0.4}), seed=1)
    plain, tale = sorted(refused.value.problems)
    assert plain.startswith("mix.plain: ") and "harmless prompts are drawn" in plain
    assert tale.startswith("mix.wrapped.tale: ")


def test_an_attack_without_harmless_prompts_says_what_the_dataset_says() -> None:
    with pytest.raises(ConfigError, match=r"mix.wrapped.harm-only.* 0 are there \(dataset few: no harmless prompts"):
        draw_mix(Few(), "fit", 20, MixSection(wrapped={"harm-only": 0.4}), seed=1)


def mixed(small: FitConfig) -> FoldsSection:
    mix = {"wrapped": {"authority": 0.2}, "unusual": {"unusual": 0.2}}
    data = small.folds.model_dump()
    for fold in ("train", "reference", "calibration", "test"):
        data[fold]["mix"] = mix
    return FoldsSection.model_validate(data)


def test_folds_with_a_mix_are_as_large_as_asked_and_share_no_request(small: FitConfig) -> None:
    folds = draw_folds(LabDataset(), mixed(small), seed=1).named()
    assert {name: len(prompts) for name, prompts in folds.items()} == {
        "anchors": 24, "train": 20, "reference": 20, "calibration": 19, "test": 16,
    }  # fmt: skip
    bases = [base for name, prompts in folds.items() for base in bases_of(prompts)]
    assert len(set(bases)) == len(bases)
    assert {kind_of(p) for p in folds["train"]} == {"plain", "authority", "unusual"}


def test_a_fold_with_a_mix_changes_nothing_about_the_others(small: FitConfig) -> None:
    before, after = (draw_folds(LabDataset(), folds, seed=1) for folds in (small.folds, mixed(small)))
    assert before.anchors == after.anchors
    # The harmful prompts of the test fold too: they are not part of the traffic.
    assert before.test[-8:] == after.test[-8:]


def test_a_fold_that_cannot_be_drawn_is_named() -> None:
    one = {"split": "fit", "harmless": 1}
    data = {
        "train": one,
        "reference": one,
        "calibration": {"split": "odd", "harmless": 19, "mix": {"wrapped": {"tale": 0.9}}},
    }
    with pytest.raises(ConfigError, match=r"folds.calibration.mix.wrapped.tale"):
        draw_folds(Few(), FoldsSection.model_validate(data), seed=1)


def score_of(prompt: Prompt) -> float:
    """As a detector of novelty would score: wrappers and unusual requests look more suspicious than plain ones."""
    chance = int(hashlib.sha256(prompt.text.encode()).hexdigest()[:12], 16) / 16**12
    return chance + {"plain": 0, "authority": 2, "fiction": 4, "unusual": 3}[kind_of(prompt)]


def realised(calibration: MixSection | None, repetitions: int = 150) -> np.ndarray:
    """[repetitions] share of fresh prompts of the mix, of another split, above a 5 % threshold set on 199 prompts."""
    dataset, rates = LabDataset(), []
    fresh = draw_mix(dataset, "test", 100 * repetitions, MIX, seed="fresh")
    whole = (
        dataset.prompts("calibration", "harmless", 199 * repetitions)
        if calibration is None
        else draw_mix(dataset, "calibration", 199 * repetitions, calibration, seed="calibration")
    )
    new, old = (np.array([score_of(p) for p in prompts]) for prompts in (fresh, whole))
    for i in range(repetitions):
        threshold = Threshold.fit(old[199 * i : 199 * (i + 1)], 0.05, noise=0.0).value
        rates.append(float((new[100 * i : 100 * (i + 1)] > threshold).mean()))
    return np.array(rates)


def test_prompts_of_the_same_mix_in_another_split_are_flagged_as_often_as_promised() -> None:
    rates = realised(MIX)
    # 150 calibrations, 15,000 fresh prompts: the mean is alpha within four standard errors of the beta-binomial law.
    assert abs(rates.mean() - 0.05) < 4 * rates.std() / len(rates) ** 0.5
    # Each rate: beta-binomial with n = 199, m = 100; its standard deviation is 0.0266.
    assert abs(rates.std() - 0.0266) < 0.006


def test_a_threshold_of_plain_prompts_alone_does_not_hold_for_the_mix() -> None:
    assert realised(None, 20).mean() > 0.2


@pytest.mark.parametrize(
    ("mix", "says"),
    [
        ({}, "names no kind of requests; allowed: plain, wrapped, unusual"),
        ({"plain": 0.5}, "the shares sum to 0.5; they must sum to 1"),
        ({"plain": 0.9, "wrapped": {"fiction": 0.2}}, "the shares sum to 1.1; they must sum to 1"),
        ({"plain": 0.5, "wrapped": {"fiction": 0.2}}, "the shares sum to 0.7; they must sum to 1"),
        ({"wrapped": {"fiction": 0.7, "suffix": 0.4}}, "sum to 1.1; .* with plain left out, at most 1"),
        ({"wrapped": {"unusual": 0.1}, "unusual": {"unusual": 0.1}}, "'unusual' names two kinds"),
        ({"wrapped": {"plain": 0.1}}, "'plain' names two kinds"),
        ({"wrapped": {"fiction": 0}}, "greater than 0"),
        ({"wrapped": {"fiction": -0.1}}, "greater than 0"),
        ({"wrapped": {"fiction": float("nan")}}, "less than or equal to 1"),
        ({"plain": 0}, "greater than 0"),
    ],
)
def test_shares_that_are_no_mix_are_refused(mix, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        MixSection.model_validate(mix)


def test_plain_is_what_the_others_leave_and_may_be_nothing() -> None:
    assert [tuple(each) for each in MixSection(wrapped={"fiction": 0.25}).kinds()] == [
        ("plain", "plain", 0.75), ("wrapped", "fiction", 0.25),
    ]  # fmt: skip
    tenths = {f"w{i}": 0.1 for i in range(10)}
    assert "plain" not in {each.kind for each in MixSection(wrapped=tenths).kinds()}
    assert MixSection(plain=0.7, wrapped={"a": 0.1, "b": 0.2}).kinds()[0].share == 0.7

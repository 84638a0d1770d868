from collections.abc import Sequence
from dataclasses import replace

import pytest
from sri_plugin_lab.dataset import LabDataset

from sri_sdk.config.fit import FitConfig
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.folds import draw_folds, refuse_overlap, text_hash
from sri_sdk.records import Prompt


def test_folds_of_one_split_are_consecutive_and_as_large_as_asked(small: FitConfig) -> None:
    folds = draw_folds(LabDataset(), small.folds, seed=0)
    assert {name: len(prompts) for name, prompts in folds.named().items()} == {
        "anchors": 24, "train": 20, "reference": 20, "calibration": 19, "test": 16,
    }  # fmt: skip
    ids = [p.id for prompts in folds.named().values() for p in prompts]
    assert len(set(ids)) == len(ids)


class Repeating(Dataset):
    """Says the same thing in every split, but for case and spacing."""

    def splits(self) -> Sequence[str]:
        return ("fit", "calibration", "test")

    def prompts(self, split, label, count, *, attack=None):
        return [Prompt(f"{split}-{label}-{i}", f" How do I  PAINT number {i} {label}? ", label) for i in range(count)]


def test_overlapping_folds_are_refused_naming_folds_and_an_example(small: FitConfig) -> None:
    with pytest.raises(ConfigError) as refused:
        draw_folds(Repeating(), small.folds, seed=0)
    assert any("'calibration' also stand in 'anchors'" in p for p in refused.value.problems)
    assert "calibration-harmless-0" in str(refused.value.problems)
    # Prompts may be confidential: ids are named, texts are not.
    assert "PAINT" not in str(refused.value.problems)


def prompt(name: str, text: str, base: str | None = None) -> Prompt:
    return Prompt(name, text, "harmful", base=base)


def test_the_same_text_twice_in_one_fold_is_refused() -> None:
    """199 copies of one prompt would be stated as n = 199."""
    with pytest.raises(ConfigError, match=r"2 prompt\(s\) of 'calibration' also stand in 'calibration'"):
        refuse_overlap({"calibration": (prompt("a", "x"), prompt("b", "x"), prompt("c", "X "))})


def test_an_attack_on_a_request_of_another_fold_is_refused_and_within_the_test_fold_wanted() -> None:
    plain, attacked = prompt("a", "x"), prompt("a-attacked", "you are grim . x", base="a")
    started = replace(prompt("a-started", "x", base="a"), prefill="sure ,")
    refuse_overlap({"test": (plain, attacked, started)})
    with pytest.raises(ConfigError, match="'a-started' is 'a' again"):
        refuse_overlap({"anchors": (plain,), "test": (started,)})
    with pytest.raises(ConfigError, match="'a-attacked' is 'a' again"):
        refuse_overlap({"anchors": (plain,), "test": (attacked,)})


def test_texts_that_differ_in_case_width_or_spacing_are_the_same_text() -> None:
    assert text_hash("Paint  the ｋｉｔｅ") == text_hash(" paint the KITE\n") != text_hash("paint the kites")


@pytest.mark.parametrize(
    "twin", ["paint the\u200b kite", "paint the **kite**", "p\u00adaint the kite", "paint&nbsp;the kite"]
)
def test_prompts_that_only_a_tokenizer_can_tell_apart_do_not_pass_into_two_folds(twin: str) -> None:
    with pytest.raises(ConfigError, match="'b' is 'a' again"):
        refuse_overlap({"anchors": (prompt("a", "paint the kite"),), "test": (prompt("b", twin),)})


def test_half_a_character_in_a_prompt_is_no_crash() -> None:
    assert text_hash("\ud800") != text_hash("\udfff")

"""Groups of requests in a config: who is in which, and what is refused before anything is generated."""

import json
import re
from pathlib import Path

import pytest

from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.groups import group_of
from sri_sdk.fitting.prompts import prompts_of, with_mixes
from sri_sdk.records import Prompt

from .conftest import SMALL, write_config

MIX = {"wrapped": {"second-language": 0.3}, "unusual": {"unusual": 0.2}}


def config(folder, *, mix=MIX, groups="kind", count=200, **changes):
    fold = {"split": "calibration", "harmless": count, "groups": groups, **({"mix": mix} if mix else {})}
    return load_config(write_config(folder, **{"folds": {**SMALL["folds"], "calibration": fold}, **changes}))


def problems(made):
    with pytest.raises(ConfigError) as refused:
        prompts_of(made)
    return refused.value.problems


def named(prompts):
    return {prompt.group for prompt in prompts}


def test_groups_by_kind_are_the_kinds_of_the_mix_and_a_test_prompt_has_that_of_its_own_kind(tmp_path) -> None:
    folds = prompts_of(config(tmp_path))
    assert named(folds.calibration) == {"plain", "second-language", "unusual"}
    for prompt in folds.calibration:
        expected = prompt.attack or ("unusual" if prompt.id.startswith("unusual") else "plain")
        assert prompt.group == expected
    assert named(folds.test) == {"plain"}


def test_groups_by_prompt_are_those_that_the_dataset_names(tmp_path) -> None:
    folds = prompts_of(config(tmp_path, groups="prompt"))
    assert {(p.attack == "second-language", p.group) for p in folds.calibration} == {(True, "second"), (False, "first")}


def test_without_groups_no_prompt_has_one_whatever_the_dataset_says(tmp_path) -> None:
    folds = prompts_of(config(tmp_path, groups="none"))
    assert named(folds.calibration) == named(folds.test) == {None}


def test_a_group_with_too_few_prompts_is_refused_with_a_number_that_does(tmp_path) -> None:
    (problem,) = problems(config(tmp_path, count=60))
    assert "each group needs 19 calibration prompts for alpha 0.05; found" in problem and "of 'unusual'" in problem
    least = int(re.search(r"harmless to at least (\d+)", problem)[1])
    prompts_of(config(tmp_path, count=least))
    problems(config(tmp_path, count=least - 1))


def test_a_kind_of_which_no_prompt_was_drawn_is_a_group_with_too_few(tmp_path) -> None:
    (problem,) = problems(config(tmp_path, mix={"wrapped": {"fiction": 1e-6}}))
    assert "0 of 'fiction'" in problem and "prompts in all would do" in problem


def test_each_group_needs_enough_for_the_smallest_share_of_a_part(tmp_path) -> None:
    parts = {"a": {"detector": "autoencoder", "share": 0.8}, "b": {"detector": "logistic", "share": 0.2}}
    (problem,) = problems(config(tmp_path, detector=None, parts=parts))
    assert "each group needs 99 calibration prompts for alpha 0.01, the smallest share of a part of 0.05" in problem


def test_groups_by_kind_without_a_mix_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"folds.calibration: groups is 'kind', and there is no mix"):
        config(tmp_path, mix=None)


def lines(folder, group_of_line):
    file = folder / "prompts.jsonl"
    whole = [{"id": f"p{i}", "text": f"How many are {i} boxes?", "label": "harmless"} for i in range(250)]
    whole += [{"id": f"h{i}", "text": f"Steal {i} boxes.", "label": "harmful"} for i in range(30)]
    file.write_text("\n".join(json.dumps({**each, **group_of_line(i)}) for i, each in enumerate(whole)))
    folds = {name: {**fold, "split": "all"} for name, fold in SMALL["folds"].items()}
    folds["calibration"] = {"split": "all", "harmless": 100, "groups": "prompt"}
    return {"prompts": {"dataset": "jsonl", "options": {"files": {"all": str(file)}}}, "folds": folds}


def of_lines(folder, group_of_line):
    return load_config(write_config(folder, **lines(folder, group_of_line)))


def test_a_prompt_without_a_group_among_others_is_named(tmp_path) -> None:
    (problem,) = problems(of_lines(tmp_path, lambda i: {"group": "en"} if i % 2 else {}))
    assert "dataset 'jsonl' names no group for" in problem and "Give each prompt a group" in problem


def test_lines_of_a_file_may_name_the_group_of_their_prompt(tmp_path) -> None:
    folds = prompts_of(of_lines(tmp_path, lambda i: {"group": "en" if i % 2 else "pt-BR"}))
    assert named(folds.calibration) == {"en", "pt-BR"}


@pytest.mark.parametrize("name", ["all", "en us", "français", "x" * 65, "en\n"])
def test_what_a_bundle_cannot_name_is_no_group(tmp_path, name: str) -> None:
    (problem,) = problems(of_lines(tmp_path, lambda i: {"group": name}))
    assert "cannot name a group; allowed: up to 64 letters, digits, dots" in problem


def test_more_groups_than_a_bundle_holds_are_refused(tmp_path) -> None:
    found = problems(of_lines(tmp_path, lambda i: {"group": f"g{i % 100}"}))
    assert any("groups; allowed: 64" in problem for problem in found)
    assert any("found 1 of 'g" in problem and "more" in problem for problem in found)


def test_a_caller_names_a_prompt_by_what_the_guard_groups_by() -> None:
    prompt = Prompt("a", "x", "harmful", attack="fiction", base="b", group="second")
    assert [group_of(prompt, groups) for groups in ("none", "kind", "prompt")] == [None, "fiction", "second"]
    assert group_of(Prompt("b", "x", "harmful"), "kind") == "plain"


CAUSAL = {
    "model": {"hook": "lab-causal"}, "sampler": {"name": "autoregressive", "options": {"tokens": 8}},
    "tap": {"pooling": "predicting", "cells": 4},
}  # fmt: skip


def test_responses_that_start_with_holes_are_refused_for_a_model_that_fills_none(tmp_path) -> None:
    made = config(tmp_path, groups="none", mix={"wrapped": {"infill": 0.5, "prefill": 0.1}}, **CAUSAL)
    (problem,) = problems(made)
    assert problem.startswith("folds.calibration: ") and "start the response with holes (infill; for example" in problem
    assert "is autoregressive: it writes from left to right and fills none" in problem
    prompts_of(config(tmp_path, groups="none", mix={"wrapped": {"prefill": 0.5}}, **CAUSAL))
    prompts_of(config(tmp_path, groups="none", mix={"wrapped": {"infill": 0.5}}))


def test_an_attack_of_the_test_fold_is_held_to_that_too(tmp_path) -> None:
    folds = {**SMALL["folds"], "test": {"split": "test", "harmless": 8, "attacks": {"parallel": 3}}}
    (problem,) = problems(load_config(write_config(tmp_path, folds=folds, **CAUSAL)))
    assert problem.startswith("folds.test: 3 of 11 prompts start the response with holes (parallel")


def test_the_provenance_says_shares_and_counts_and_keeps_those_of_folds_that_are_kept(tmp_path, anchors) -> None:
    made = config(tmp_path)
    folds = prompts_of(made)
    mixes = with_mixes(anchors, made, folds).provenance["mixes"]
    assert mixes["calibration"]["unusual"] == {
        "kind": "unusual", "share": 0.2, "prompts": folds.counts()["calibration"]["harmless unusual"],
    }  # fmt: skip
    assert sum(each["prompts"] for each in mixes["calibration"].values()) == 200
    old = with_mixes(anchors, made, folds)
    again = with_mixes(old, config(tmp_path, mix=None, groups="none"), folds, kept=("calibration",))
    assert again.provenance["mixes"] == mixes
    plain = with_mixes(old, config(tmp_path, mix=None, groups="none"), folds)
    assert plain.provenance == anchors.provenance


def test_the_shipped_example_has_enough_prompts_of_every_language_and_one_mix() -> None:
    made = load_config(Path(__file__).parents[2] / "configs/lab-traffic.yaml")
    folds = prompts_of(made)
    assert named(folds.calibration) == {"first", "second"}
    assert set(folds.kinds) == {"train", "reference", "calibration", "test"}
    assert made.folds.calibration.mix == made.folds.test.mix

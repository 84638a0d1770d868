"""Which prompts an evaluation uses for what."""

import zlib

import numpy as np
import pytest

from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.evaluation.generations import _drafts
from sri_sdk.evaluation.groups import draw_groups
from sri_sdk.records import Prompt


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\0",
        zlib.compress(b"[[NaN]]"),
        zlib.compress(b'[["a"], ["b"]]'),
        zlib.compress(b"1"),
        zlib.compress(b"[1]"),
        zlib.compress(b"[" + b" " * 2**28 + b"[]]"),
    ],
)
def test_stored_drafts_that_are_damaged_are_an_error_that_says_so(packed):
    with pytest.raises(ConfigError, match="stored drafts of 1 prompts from 'p' on: damaged"):
        _drafts(np.frombuffer(packed, np.uint8), [Prompt("p", "text", "harmless")])


@pytest.fixture
def groups(small):
    return draw_groups(small, Datasets(small))


def test_no_request_is_used_for_two_things(groups):
    used = [*groups.anchors, *groups.train, *groups.reference, *groups.calibration, *groups.harmless, *groups.harmful]
    assert len({p.text for p in used}) == len(used)


def test_attacks_are_made_of_the_plain_test_prompts(groups):
    plain = [p.id for p in groups.harmful]
    assert [p.base for p in groups.own_attacks["fiction"]] == plain[:24]


def test_a_share_keeps_the_first_prompts_and_enough_to_calibrate(small, groups):
    half = groups.scaled(0.5, small)
    assert half.harmless == groups.harmless[:15] and len(half.calibration) == 19
    assert [p.label for p in half.anchors] == ["harmless"] * 20 + ["harmful"] * 20
    assert [p.base for p in half.own_attacks["fiction"]] == [p.id for p in half.harmful]


def test_a_limit_caps_every_group_but_not_below_what_fitting_takes(small):
    quick = small.limited(10)
    assert quick.folds.test.harmless == quick.attacks["fiction"].count == 10
    assert (quick.folds.anchors.harmful, quick.folds.reference.harmless, quick.folds.calibration.harmless) == (
        20,
        20,
        19,
    )


def test_a_limit_shortens_the_timing_of_the_tap_but_not_what_an_attack_learns_on(small):
    data = small.model_dump()
    data["attacks"]["random-search"] = {
        "plugin": "random-search",
        "count": 9,
        "practice": 8,
        "options": {"words": ["sure"]},
    }
    quick = type(small).model_validate(data | {"overhead_batches": 12}).limited(3)
    assert quick.attacks["random-search"].practice == 8 and quick.overhead_batches == 3


def test_too_few_prompts_are_refused_with_numbers(small):
    data = small.model_dump()
    data["folds"]["test"]["harmless"] = 10**9
    with pytest.raises(ConfigError, match="1000000000"):
        draw_groups(type(small).model_validate(data), Datasets(small))

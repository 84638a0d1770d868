from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from sri_plugin_samplers.low_confidence import LowConfidenceSampler
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import CANVAS, ToyTokenizer, build

from sri_sdk import Intervention

TEXTS = ["ab", "the long story", "x y z"]
IDS = ["a", "b", "c"]


def run(options, rows=(0, 1, 2), wishes=None, seed=0):
    """All steps of a toy generation; `wishes` maps a step to what is asked for after it."""
    hook = ToyHook(build(0))
    sampler = LowConfidenceSampler(LowConfidenceSampler.Config(tokens=CANVAS, **options))
    prompts = hook.encode(ToyTokenizer(), [TEXTS[r] for r in rows])
    steps, made = sampler.steps(hook, prompts, [IDS[r] for r in rows], seed), []
    with torch.no_grad():
        try:
            made.append(next(steps))
            while True:
                made.append(steps.send((wishes or {}).get(made[-1].index)))
        except StopIteration:
            return made


def test_steps_rise_by_one_to_the_budget_and_commit_everything() -> None:
    made = run({"steps": 4})
    assert [s.index for s in made] == [0, 1, 2, 3]
    assert [int(s.committed[0].sum()) for s in made] == [2, 4, 6, 8]
    assert made[-1].committed.all()


def test_a_committed_token_stays() -> None:
    made = run({"steps": 8})
    for before, after in pairwise(made):
        assert torch.equal(before.draft[before.committed], after.draft[before.committed])


def test_blocks_are_filled_from_left_to_right() -> None:
    made = run({"steps": 4, "block": 4})
    assert made[1].committed[:, :4].all() and not made[1].committed[:, 4:].any()


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 8},
        {"steps": 8, "temperature": 1.0},
        {"steps": 8, "remasking": "random"},
        {"steps": 8, "cfg_scale": 1.5},
    ],
)
def test_a_row_does_not_depend_on_its_company(options) -> None:
    options = {"steps": 8, **options}
    together = run(options)[-1].draft
    for row in range(3):
        assert torch.equal(run(options, rows=[row])[-1].draft[0], together[row])


def test_the_seed_decides_under_temperature_and_nothing_else_does() -> None:
    hot = {"steps": 8, "temperature": 5.0}
    torch.manual_seed(1)
    first = run(hot)[-1].draft
    torch.manual_seed(2)
    assert torch.equal(first, run(hot)[-1].draft)
    assert not torch.equal(first, run(hot, seed=1)[-1].draft)


def test_guidance_changes_the_outcome() -> None:
    assert not torch.equal(run({"steps": 8})[-1].draft, run({"steps": 8, "cfg_scale": 4.0})[-1].draft)


def test_an_aborted_row_keeps_its_canvas_and_the_others_go_on() -> None:
    made = run({"steps": 8}, wishes={2: Intervention(abort=(1,))})
    assert torch.equal(made[-1].committed[1], made[2].committed[1])
    assert made[-1].committed[[0, 2]].all()
    assert made[-1].active.tolist() == [True, False, True]
    assert torch.equal(made[-1].draft[[0, 2]], run({"steps": 8})[-1].draft[[0, 2]])


def test_when_every_row_is_aborted_the_model_rests() -> None:
    assert len(run({"steps": 8}, wishes={2: Intervention(abort=(0, 1, 2))})) == 3


def test_an_aborted_row_is_not_opened_again() -> None:
    everything = torch.ones(3, CANVAS, dtype=torch.bool)
    made = run({"steps": 8}, wishes={2: Intervention(abort=(1,), remask=everything)})
    assert torch.equal(made[-1].committed[1], made[2].committed[1])


def test_opened_positions_are_filled_again_within_the_budget() -> None:
    remask = torch.zeros(3, CANVAS, dtype=torch.bool)
    remask[0, :4] = True
    made = run({"steps": 8}, wishes={5: Intervention(remask=remask)})
    assert not made[6].committed[0].all() and made[-1].committed.all() and len(made) == 8


@pytest.mark.parametrize("options", [{"steps": 3, "block": 4}, {"steps": 9}, {"block": 3}])
def test_a_profile_that_does_not_divide_is_refused(options) -> None:
    with pytest.raises(ValidationError, match=r"divide|exceed"):
        LowConfidenceSampler.Config(tokens=8, **options)

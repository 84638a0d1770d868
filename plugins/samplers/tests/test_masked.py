"""What all orders promise, whatever they keep first."""

from functools import cache
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from sri_sdk import Encoded, Intervention, registry, watch
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.testing import SamplerCase, run_checks, sampler_checks

ORDERS = ("low-confidence", "random", "entropy", "margin", "left-to-right")
MASK, END = 1, 2
IDS = ["a", "b", "c"]


def build(name="low-confidence", **options):
    return registry.build("samplers", name, {"tokens": 8, "steps": 8, **options})


@cache
def example_of(hook):
    """The weights are loaded once: no check changes them."""
    return registry.load("hooks", hook).example()


def opened(*positions, rows=(0,), tokens=8):
    """A intervention to open these positions again."""
    remask = torch.zeros(3, tokens, dtype=torch.bool)
    for row in rows:
        remask[row, list(positions)] = True
    return Intervention(remask=remask)


# -- the kit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("hook", "options"),
    [
        ("toy", {"temperature": 1.0}),
        ("toy", {"block": 4, "schedule": "linear-time"}),
        ("lab-diffusion", {"tokens": 16, "block": 8, "cfg_scale": 0.5}),
        ("tiny", {"tokens": 10, "steps": 12, "block_steps": 4, "temperature": 0.7, "schedule": "binomial"}),
        ("tiny", {"tokens": 10, "steps": 8, "stop_at_end": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_every_order_keeps_every_promise(family, prompts, order, hook, options) -> None:
    def make() -> SamplerCase:
        if hook == "tiny":
            return SamplerCase(build(order, **options), family(shift=1, block=4, ends=(END, 7, 9)), prompts, IDS)
        example = example_of(hook)
        return SamplerCase(build(order, **options), example.hook, example.encoded, IDS)

    assert [r for r in run_checks(sampler_checks(make)) if r.state != "passed"] == []


# -- steps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_steps_rise_by_one_to_the_budget_and_commit_everything(family, prompts, run, order) -> None:
    made = run(build(order, steps=4), family(), prompts)
    assert [s.index for s in made] == [0, 1, 2, 3]
    assert [int(s.committed[0].sum()) for s in made] == [2, 4, 6, 8]
    assert made[-1].committed.all()


def test_blocks_are_filled_from_left_to_right(family, prompts, run) -> None:
    made = run(build(steps=4, block=4), family(), prompts)
    assert made[1].committed[:, :4].all() and not made[1].committed[:, 4:].any()


def test_left_to_right_commits_the_leftmost(family, prompts, run) -> None:
    for step, made in enumerate(run(build("left-to-right", steps=4), family(), prompts)):
        assert made.committed[:, : 2 * step + 2].all() and not made.committed[:, 2 * step + 2 :].any()


def test_the_seed_decides_under_temperature_and_nothing_else_does(family, prompts, run) -> None:
    hot, hook = build(temperature=5.0), family()
    torch.manual_seed(1)
    first = run(hot, hook, prompts)[-1].draft
    torch.manual_seed(2)
    assert torch.equal(first, run(hot, hook, prompts)[-1].draft)
    assert not torch.equal(first, run(hot, hook, prompts, seed=1)[-1].draft)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("block", [None, 4], ids=["whole", "causal"])
def test_a_row_does_not_depend_on_its_company(family, prompts, run, order, block) -> None:
    extra = {} if order in ("random", "left-to-right") else {"threshold": -0.4, "order_temperature": 0.3}
    sampler = build(order, temperature=1.0, schedule="binomial", cfg_scale=0.5, **extra)
    hook = family(block=block)
    together = run(sampler, hook, prompts)[-1].draft
    for row in range(3):
        assert torch.equal(run(sampler, hook, prompts, rows=[row])[-1].draft[0], together[row])


def test_guidance_changes_the_outcome(family, prompts, run) -> None:
    plain = run(build(), family(), prompts)[-1].draft
    assert not torch.equal(plain, run(build(cfg_scale=4.0), family(), prompts)[-1].draft)


# -- a threshold ---------------------------------------------------------------------------------------------------


def test_a_threshold_that_all_exceed_fills_a_block_per_step(family, prompts, run) -> None:
    made = run(build(block=4, threshold=0.0), family(), prompts)
    assert [int(s.committed[0].sum()) for s in made] == [4, 8]


def test_a_threshold_that_none_exceeds_changes_nothing(family, prompts, run) -> None:
    plain, never = (run(build(steps=4, **more), family(), prompts) for more in ({}, {"threshold": 1.0}))
    assert len(plain) == len(never) == 4
    assert all(torch.equal(a.committed, b.committed) for a, b in zip(plain, never, strict=True))


def test_under_a_threshold_a_full_row_is_inactive_and_the_others_go_on(family, prompts, run) -> None:
    made = run(build(block=4, threshold=0.35), family(), prompts)
    taken = torch.stack([step.active for step in made]).sum(0).tolist()
    assert len(set(taken)) > 1 and max(taken) == len(made) < 8 and made[-1].committed.all()
    for before, after in pairwise(made):
        assert torch.equal(after.active, ~before.committed.all(1))


def test_a_full_row_that_is_opened_again_goes_on(family, prompts, run) -> None:
    sampler, hook = build(threshold=0.0), family()
    assert len(run(sampler, hook, prompts)) == 1
    made = run(sampler, hook, prompts, interventions={0: opened(2, 3, 4)})
    assert [step.active.tolist() for step in made] == [[True] * 3, [True, False, False]]
    assert made[-1].committed.all()


# -- the end -------------------------------------------------------------------------------------------------------


def ends_in(draft) -> tuple[int, int]:
    """(row, token) that first occurs in the middle of a response."""
    return next((row, int(draft[row, 4])) for row in range(3) if draft[row, 4] not in draft[row, :4])


@pytest.mark.parametrize("block", [None, 4], ids=["whole", "causal"])
@pytest.mark.parametrize("order", ["low-confidence", "left-to-right"])
def test_a_row_stops_once_its_end_and_all_before_it_are_committed(family, prompts, run, order, block) -> None:
    free = run(build(order), family(block=block), prompts)
    row, end = ends_in(free[-1].draft)
    made = run(build(order, stop_at_end=True), family(block=block, ends=(end,)), prompts)
    stopped = [step for step in made if step.active[row]][-1]
    assert stopped.committed[row, :5].all() and int(stopped.draft[row, 4]) == end
    # Until then nothing is different, and the step before, it was not yet so.
    for step, other in zip(made[: stopped.index + 1], free, strict=False):
        assert torch.equal(step.committed[row], other.committed[row])
    assert not made[stopped.index - 1].committed[row, :5].all()
    for step in made[stopped.index :]:
        assert torch.equal(step.draft[row], stopped.draft[row])
        assert torch.equal(step.committed[row], stopped.committed[row])
    if order == "left-to-right":
        assert not made[-1].committed[row].all()


def test_an_end_that_nothing_is_stopped_at_is_a_token_like_others(family, prompts, run) -> None:
    draft = run(build(), family(), prompts)[-1].draft
    _, end = ends_in(draft)
    made = run(build(), family(ends=(end,)), prompts)
    assert len(made) == 8 and torch.equal(made[-1].draft, draft)


def test_an_end_that_is_opened_again_no_longer_stops_its_row(family, prompts, run) -> None:
    row, end = ends_in(run(build("left-to-right"), family(), prompts)[-1].draft)
    hook, sampler = family(ends=(end,)), build("left-to-right", stop_at_end=True)
    made = run(
        sampler, hook, prompts, rows=[row], interventions={4: Intervention(remask=torch.ones(1, 8, dtype=torch.bool))}
    )
    assert len(run(sampler, hook, prompts, rows=[row])) == 5 and len(made) > 5


def test_stopping_at_an_end_the_family_lacks_is_refused(family, prompts, run) -> None:
    with pytest.raises(ConfigError, match="no end token"):
        run(build(stop_at_end=True), family(), prompts)


# -- interventions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("block", [None, 4], ids=["whole", "causal"])
def test_an_aborted_row_keeps_its_canvas_and_the_others_go_on(family, prompts, run, order, block) -> None:
    sampler, hook = build(order), family(block=block)
    everything = opened(*range(8), rows=(1,)).remask
    made = run(sampler, hook, prompts, interventions={2: Intervention(abort=(1,), remask=everything)})
    assert torch.equal(made[-1].committed[1], made[2].committed[1]) and not made[2].committed[1].all()
    assert torch.equal(made[-1].draft[1], made[2].draft[1])
    assert made[-1].committed[[0, 2]].all() and not made[-1].active[1]
    assert torch.equal(made[-1].draft[[0, 2]], run(sampler, hook, prompts)[-1].draft[[0, 2]])


def test_when_every_row_is_aborted_the_model_rests(family, prompts, run) -> None:
    assert len(run(build(), family(), prompts, interventions={2: Intervention(abort=(0, 1, 2))})) == 3


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("options", [{}, {"block": 4}, {"block": 2, "schedule": "linear-time"}])
@pytest.mark.parametrize("when", range(7))
def test_opened_positions_are_filled_again_within_the_budget(family, prompts, run, order, options, when) -> None:
    interventions = {when: opened(*range(8), rows=(0, 2))}
    made = run(build(order, **options), family(), prompts, interventions=interventions)
    assert len(made) == 8 and made[-1].committed.all()
    fresh = made[when + 1].committed[0].sum()
    assert fresh < 8 or when == 6, "not all at once, unless no step is left"


def test_opened_positions_are_spread_over_the_steps_left(family, prompts, run) -> None:
    for options in ({}, {"block": 4}):
        made = run(build(**options), family(), prompts, interventions={3: opened(*range(8))})
        assert [int(step.committed[0].sum()) for step in made] == [1, 2, 3, 4, 2, 4, 6, 8]


def test_a_block_opened_again_after_its_last_step_is_planned_anew(family, prompts, run) -> None:
    made = run(
        build(block_steps=2), family(), prompts, rows=[0], interventions={1: Intervention(remask=torch.ones(1, 8) > 0)}
    )
    assert [int(step.committed.sum()) for step in made] == [4, 8, 4, 8]


@pytest.mark.parametrize("order", ORDERS)
def test_a_family_with_blocks_fills_opened_positions_in_the_order_of_blocks(family, prompts, run, order) -> None:
    # Prompt 0 has 5 tokens: its blocks are positions 0-2, 3-6 and 7.
    made = run(
        build(order, steps=16, block_steps=4, tokens=8), family(block=4), prompts, interventions={5: opened(0, 1)}
    )
    before, after = made[5].committed[0], made[6].committed[0]
    assert before[:3].all() and after[2] and after[:2].sum() == 1 and torch.equal(after[3:], before[3:])
    assert made[-1].committed.all()


# -- families with blocks of their own -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_a_family_with_blocks_sees_its_canvas_grow_and_nothing_behind(family, prompts, run, order, threshold) -> None:
    hook, widths = family(block=4), []
    forward = hook.forward

    def watched(ids, attention):
        widths.append(ids.shape[1] - 9)
        assert attention[:, 9:].all() and torch.equal(attention[:, :9], prompts.attention_mask)
        return forward(ids, attention)

    hook.forward = watched
    extra = {} if threshold is None or order in ("random", "left-to-right") else {"threshold": threshold}
    interventions = {6: opened(0, rows=(0, 1, 2))}
    made = run(build(order, tokens=8, steps=16, block_steps=4, **extra), hook, prompts, interventions=interventions)
    assert len(widths) == len(made) and widths == sorted(widths)
    # Prompts of 5, 9 and 3 tokens: the blocks in which the responses begin end at 3, 3 and 1.
    assert widths[0] == 3
    for before, after, width in zip(made, made[1:], widths[1:], strict=False):
        held = before.committed.clone()
        held[:, 0] &= before.index not in interventions
        for row, offset in enumerate((1, 1, 3)):
            new = (after.committed[row] & ~held[row]).nonzero()[:, 0]
            leftmost = int((~held[row]).int().argmax())
            assert {(int(p) + offset) // 4 for p in new} <= {(leftmost + offset) // 4}
            assert not len(new) or width >= ((leftmost + offset) // 4 + 1) * 4 - offset


@pytest.mark.parametrize("steps", [3, 4, 6, 8])
def test_a_family_with_blocks_is_done_within_the_budget_where_the_plan_is_longer(family, prompts, run, steps) -> None:
    # Eight tokens are planned as two blocks of four; behind 5 tokens of prompt they touch three blocks.
    made = run(build(steps=steps), family(block=4), prompts)
    assert len(made) <= steps and made[-1].committed.all()


def test_a_watch_hears_what_a_family_with_blocks_does(family, prompts, run) -> None:
    hook = family(block=4, ends=(END, 7, 9))
    for pooling in ("response", "generated"):
        with watch(hook.model, hook=hook, pooling=pooling, request_ids=IDS) as watched:
            made = run(build(steps=12, block_steps=4, threshold=0.4, stop_at_end=True), hook, prompts)
        taken = torch.stack([step.active for step in made]).sum(0).tolist()
        assert len(set(taken)) > 1 and [trace.steps for trace in watched.traces] == taken
        assert all(not trace.reasons for trace in watched.traces)


@pytest.mark.parametrize(("options", "message"), [({"block": 2}, "blocks of 4"), ({"steps": 2}, "3 or more")])
def test_a_profile_the_family_cannot_have_is_refused(family, prompts, run, options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        run(build(**options), family(block=4), prompts)


def test_the_familys_own_block_may_be_written_out(family, prompts, run) -> None:
    out = [run(build(block=block), family(block=4), prompts)[-1].draft for block in (None, 4)]
    assert torch.equal(*out)


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"steps": 3, "block": 4}, {"steps": 9}, {"block": 3}, {"block_steps": 9}, {"block": 4, "block_steps": 5}],
)
def test_a_profile_that_does_not_divide_is_refused(options) -> None:
    with pytest.raises(ValidationError, match=r"divide|exceed"):
        registry.load("samplers", "low-confidence").Config(**{"tokens": 8, "steps": 8, **options})


@pytest.mark.parametrize("order", ["random", "left-to-right"])
def test_an_order_that_no_confidence_makes_has_no_threshold(order) -> None:
    with pytest.raises((ValidationError, SriError), match="threshold"):
        build(order, threshold=0.9)


def test_a_family_without_a_mask_is_refused_by_name(family, prompts, run) -> None:
    hook = family()
    hook.mask_id = lambda: None
    with pytest.raises(SriError, match="TinyHook has no mask token"):
        run(build(), hook, Encoded(prompts.input_ids, prompts.attention_mask))

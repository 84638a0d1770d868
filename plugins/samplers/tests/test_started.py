"""Responses that were started: what every order does with a canvas that is not empty."""

from dataclasses import replace

import pytest
import torch

from sri_sdk import registry

MASK, GIVEN = 1, 9
ORDERS = ("low-confidence", "random", "entropy", "margin", "left-to-right")
IDS = ["a", "b", "c"]


def build(name="low-confidence", **options):
    return registry.build("samplers", name, {"tokens": 8, "steps": 8, **options})


def started(prompts, *fixed, width=8):
    """The prompts, with these positions of each response filled in."""
    response = torch.full((len(fixed), width), MASK)
    for row, places in enumerate(fixed):
        response[row, list(places)] = GIVEN
    return replace(prompts, response=response)


def ran(sampler, hook, prompts):
    with torch.inference_mode():
        return list(sampler.steps(hook, prompts, IDS))


def taken(made):
    """[row][step] positions committed by each step."""
    return torch.stack([step.committed.sum(1) for step in made], 1).diff(dim=1).tolist()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("block", [None, 4], ids=["whole", "causal"])
@pytest.mark.parametrize("options", [{}, {"schedule": "linear-time"}, {"schedule": "binomial", "cfg_scale": 0.5}],
                         ids=["even", "linear", "binomial"])  # fmt: skip
def test_what_is_given_stays_and_the_rest_is_filled(family, prompts, order, block, options) -> None:
    prompts = started(prompts, (0, 1, 5), (), (0, 1, 2, 3, 4, 6, 7))
    made = ran(build(order, **options), family(block=block), prompts)
    given = prompts.response != MASK
    for step in made:
        assert step.committed[given].all() and (step.draft[given] == GIVEN).all()
    assert made[-1].committed.all() and not (made[-1].draft == MASK).any()


def test_steps_share_the_holes_and_a_row_without_any_left_is_done(family, prompts) -> None:
    made = ran(build(steps=4), family(), started(prompts, (0, 1, 2), (), (0, 1, 2, 3, 4, 5)))
    first = [int(step.committed[0].sum()) for step in made]
    assert first == [5, 6, 7, 8], "5 holes over 4 steps: what does not divide comes first"
    assert [int(step.committed[1].sum()) for step in made] == [2, 4, 6, 8]
    assert [bool(step.active[2]) for step in made] == [True, True, False, False], "two holes, two steps"


def test_a_block_that_is_given_whole_takes_no_step(family, prompts) -> None:
    made = ran(build(steps=4, block=4), family(), started(prompts, (0, 1, 2, 3), (4, 5, 6, 7), ()))
    assert [step.active.tolist() for step in made] == [
        [True] * 3,
        [True] * 3,
        [False, False, True],
        [False, False, True],
    ]
    assert taken(made)[0] == [2, 0, 0]


@pytest.mark.parametrize("tokens", [8, 10])
def test_the_order_is_that_of_a_published_loop_which_begins_with_the_same_canvas(family, prompts, tokens) -> None:
    """LLaDA's loop takes the holes of its first pass, spreads them over the steps, and keeps the likeliest."""
    hook, steps = family(), 4
    prompts = started(prompts, (0, 3), (1, 2, 4, 5, 6), (), width=8)
    made = ran(build(tokens=tokens, steps=steps), hook, prompts)
    for row in range(3):
        ids = prompts.input_ids[row][prompts.attention_mask[row] == 1]
        canvas = torch.full((tokens,), MASK)
        canvas[:8] = prompts.response[row]
        holes = int((canvas == MASK).sum())
        with torch.inference_mode():
            for step in range(steps):
                likely = hook.forward(torch.cat([ids, canvas])[None]).logits[0, len(ids) :].softmax(-1)
                sure, guess = likely.max(-1)
                count = holes // steps + (step < holes % steps)
                best = sure.masked_fill(canvas != MASK, -1).topk(count).indices
                canvas[best] = guess[best]
        assert torch.equal(made[-1].draft[row], canvas)


@pytest.mark.parametrize("order", ORDERS)
def test_an_empty_canvas_that_is_given_changes_no_bit(family, prompts, order) -> None:
    sampler = build(order, temperature=1.0, schedule="binomial")
    plain, given = (ran(sampler, family(), some) for some in (prompts, started(prompts, (), (), ())))
    assert len(plain) == len(given)
    assert all(torch.equal(a.draft, b.draft) for a, b in zip(plain, given, strict=True))


def test_holes_behind_the_canvas_are_none(family, prompts) -> None:
    made = ran(build(), family(), started(prompts, (0,), (), (1,), width=20))
    assert made[-1].committed.shape == (3, 8) and made[-1].committed.all()

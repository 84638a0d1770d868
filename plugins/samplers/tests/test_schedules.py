"""Every order and schedule against a small loop written row by row, as the published ones are."""

import math

import pytest
import torch

from sri_sdk import registry

MASK = 1
ORDERS = ("low-confidence", "entropy", "margin", "left-to-right")


def build(name, **options):
    return registry.build("samplers", name, options)


def confidences(order, logits):
    """[P, V] -> [P]."""
    likely = logits.softmax(-1)
    best = likely.sort(-1, descending=True).values
    if order == "left-to-right":
        return -torch.arange(len(logits)).float()
    if order == "entropy":
        return (likely * (likely + 1e-10).log()).sum(-1)
    return best[:, 0] - best[:, 1] if order == "margin" else best[:, 0]


def alone(prompts, row):
    """[1, n]: one prompt without its padding."""
    return prompts.input_ids[row][prompts.attention_mask[row] == 1][None]


def commit(ids, places, logits, order, count, threshold=None):
    """Fills some of the open places, in place; rows of `logits` predict `places`."""
    open_ = (ids[0, places] == MASK).tolist()
    sure = confidences(order, logits)
    ranked = sorted((i for i, hole in enumerate(open_) if hole), key=lambda i: -float(sure[i]))
    above = [i for i in ranked if threshold is not None and sure[i] > threshold]
    for i in above if threshold is not None and len(above) >= count else ranked[:count]:
        ids[0, places[i]] = logits[i].argmax()


def looped(hook, prompt, order, tokens, block, counts):
    """A whole canvas in view, blocks from left to right: `counts(masked, step)` are committed; returns tokens."""
    ids = torch.cat([prompt, torch.full((1, tokens), MASK)], dim=1)
    start, shift = prompt.shape[1], hook.shift()
    for first in range(0, tokens, block):
        places = torch.arange(start + first, start + first + block)
        step = 0
        while (masked := int((ids[0, places] == MASK).sum())) > 0:
            logits = hook.forward(ids).logits[0, places - shift]
            commit(ids, places, logits, order, counts(masked, step))
            step += 1
    return ids[0, start:]


def in_blocks(hook, prompt, order, tokens, steps, threshold=None):
    """Blocks from the first prompt token, `steps` each, only what is done and the block in work in view.

    Returns tokens, and the passes made until the response was full.
    """
    size, n = hook.block_length(), prompt.shape[1]
    total = math.ceil((n + tokens) / size) * size
    ids = torch.cat([prompt, torch.full((1, total - n), MASK)], dim=1)
    plan = [size // steps + (i < size % steps) for i in range(steps)]
    passes = 0
    for first in range(n // size * size, total, size):
        places = torch.arange(first, first + size)
        for count in plan:
            if not (ids[0, n : n + tokens] == MASK).any() or not (ids[0, places] == MASK).any():
                break
            seen = ids[:, : first + size]
            logits = hook.forward(seen).logits[0, (places - hook.shift()).clamp(min=0)]
            commit(ids, places, logits, order, count, threshold)
            passes += 1
    return ids[0, n : n + tokens], passes


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(params=[0, 1], ids=["unshifted", "shifted"])
def shift(request):
    return request.param


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("steps", "block"), [(5, None), (12, None), (6, 4), (9, 4)])
def test_the_even_schedule_is_lladas_the_remainder_first(family, prompts, run, order, steps, block, shift) -> None:
    hook, size = family(shift=shift), block or 12
    each = steps * size // 12
    plan = [size // each + (i < size % each) for i in range(each)]
    made = run(build(order, steps=steps, tokens=12, block=block), hook, prompts)
    assert len(made) == steps
    for row in range(3):
        expected = looped(hook, alone(prompts, row), order, 12, size, lambda masked, step: plan[step])
        assert made[-1].draft[row].tolist() == expected.tolist()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("steps", "block"), [(5, None), (7, None), (20, None), (9, 4)])
def test_the_linear_time_schedule_is_dreams(family, prompts, run, order, steps, block, shift) -> None:
    hook, size = family(shift=shift), block or 12
    each = steps * size // 12
    times = torch.linspace(1, 1e-3, each + 1)

    def counts(masked, step):
        share = 1 - times[step + 1] / times[step]
        return int(torch.tensor(float(masked)) * share) if step < each - 1 else masked

    made = run(build(order, steps=steps, tokens=12, block=block, schedule="linear-time"), hook, prompts)
    assert len(made) == steps
    for row in range(3):
        expected = looped(hook, alone(prompts, row), order, 12, size, counts)
        assert made[-1].draft[row].tolist() == expected.tolist()


def test_the_binomial_schedule_commits_each_position_with_its_share_as_chance(family, prompts, run) -> None:
    hook, sampler = family(), build("random", steps=4, tokens=12, schedule="binomial", eps=0.2)
    made = [run(sampler, hook, prompts, seed=seed) for seed in range(60)]
    first = torch.cat([steps[0].committed for steps in made]).float()
    # Times are 1, 0.8, 0.6, 0.4, 0.2: a fifth is committed at the first step. 180 rows, five standard errors.
    assert abs(first.sum(1).mean() - 12 * 0.2) < 5 * math.sqrt(12 * 0.2 * 0.8 / 180)
    assert abs(first.sum(1).var() - 12 * 0.2 * 0.8) < 1.1
    assert (first.mean(0) - 0.2).abs().max() < 5 * math.sqrt(0.2 * 0.8 / 180)
    assert all(steps[-1].committed.all() and len(steps) <= 4 for steps in made)


def test_random_order_has_no_favourites(family, prompts, run) -> None:
    hook, sampler = family(), build("random", steps=4, tokens=12)
    first = torch.cat([run(sampler, hook, prompts, seed=seed)[0].committed for seed in range(60)]).float()
    assert (first.sum(1) == 3).all() and (first.mean(0) - 0.25).abs().max() < 5 * math.sqrt(0.25 * 0.75 / 180)


def test_an_order_temperature_draws_by_softmax_of_confidence(family, prompts, run) -> None:
    hook = family()
    with torch.inference_mode():
        canvas = torch.cat([alone(prompts, 0), torch.full((1, 12), MASK)], dim=1)
        chance = (confidences("margin", hook.forward(canvas).logits[0, 5:]) / 0.2).softmax(-1)
    sampler = build("margin", steps=12, tokens=12, order_temperature=0.2)
    first = [run(sampler, hook, prompts, rows=[0], seed=seed)[0].committed[0].float() for seed in range(200)]
    assert (torch.stack(first).mean(0) - chance).abs().max() < 5 * math.sqrt(0.25 / 200)
    assert chance.max() > 2 * chance.min(), "a case in which it matters"


@pytest.mark.parametrize("order", ORDERS)
def test_orders_differ_on_the_same_weights(family, prompts, run, order) -> None:
    hook = family()
    kept = {name: run(build(name, steps=4, tokens=12), hook, prompts)[0].committed for name in ORDERS}
    assert sum(torch.equal(kept[order], other) for other in kept.values()) == 1


# -- families with blocks of their own ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("size", "each"), [(4, 4), (4, 2), (4, 3), (8, 3)])
def test_blocks_of_the_family_are_filled_as_sdar_and_llada2_do(family, prompts, run, order, size, each, shift) -> None:
    hook = family(shift=shift, block=size)
    made = run(build(order, steps=4 * size, tokens=2 * size + 1, block_steps=each), hook, prompts)
    for row in range(3):
        expected, passes = in_blocks(hook, alone(prompts, row), order, 2 * size + 1, each)
        assert made[-1].draft[row].tolist() == expected.tolist()
        assert sum(int(step.active[row]) for step in made) == passes


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("order", ["low-confidence", "margin"])
def test_a_threshold_is_sdars_and_llada2s(family, prompts, run, order, threshold) -> None:
    hook = family(block=4)
    made = run(build(order, steps=24, tokens=16, block_steps=3, threshold=threshold), hook, prompts)
    lengths = []
    for row in range(3):
        expected, passes = in_blocks(hook, alone(prompts, row), order, 16, 3, threshold)
        assert made[-1].draft[row].tolist() == expected.tolist()
        assert sum(int(step.active[row]) for step in made) == passes
        lengths.append(passes)
    assert len(made) == max(lengths)

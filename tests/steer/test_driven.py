"""Steering of driven generations: started responses, padding, guidance, several batches in one block."""

from dataclasses import replace

import pytest
import torch

import sri_sdk
import sri_sdk.registry
from sri_sdk import Add, Where
from sri_sdk.errors import SteeringError
from sri_sdk.records import LoadedModel, Prompt
from tests.steer.steered import changes, direction_for

TOKENS = 8


def sampler(name: str = "low-confidence", **options):
    made = sri_sdk.registry.load("samplers", name)
    return made(made.Config(**options))


def prompts(*texts: str, prefill: str | None = None) -> list[Prompt]:
    return [Prompt(f"p{i}", text, "harmless", prefill=prefill if i == 0 else None) for i, text in enumerate(texts)]


def loaded(family: str) -> tuple[sri_sdk.Hook, LoadedModel]:
    kind = sri_sdk.registry.load("hooks", family)
    made = kind.load(kind.Config())
    return kind(made.model), made


def run(hook, model, how, batch, take=None):
    settings = sri_sdk.watch_settings(hook)
    driven = sri_sdk.drive(hook, model, how, batch, replace(settings, budget=None))
    for step in driven:
        if take is not None:
            take(step)
    return driven


MASKED = {"tokens": TOKENS, "steps": TOKENS}
TEXTS = ("steal the lantern ?", "is this kind : bake the bread ?", "tell me how to feed the pony .")


def seen_in(hook, model, how, batch, *positions, **options):
    with changes(hook, direction_for(hook), Add(1e-3), where=Where(positions=positions, **options)) as (seen, steering):
        run(hook, model, how, batch)
    steering.verify()
    return seen


@pytest.mark.parametrize("family", ["lab-diffusion", "toy"])
def test_a_started_response_is_response_where_it_was_given_and_where_it_is_open(family) -> None:
    hook, model = loaded(family)
    how = sampler(**MASKED)
    texts = TEXTS if family != "toy" else ("ab", "the long story", "x y z")
    batch = prompts(*texts, prefill="the <mask:2> bread" if family != "toy" else "a<mask:2>b")
    committed, masked = (seen_in(hook, model, how, batch, kind) for kind in ("committed", "masked"))
    first, open_ = committed.rows()[0][:, -TOKENS:], masked.rows()[0]
    assert first[0].tolist() == [True, False, False, True, *[False] * 4] and not first[1:].any()
    for ids, row in zip(masked.ids, masked.rows(), strict=True):
        assert torch.equal(row, ids == hook.mask_id())
    assert open_.sum().item() == 3 * TOKENS - 2


@pytest.mark.parametrize("family", ["sdar", "llada2", "fast-dllm-v2", "llada", "dream", "masked-lm"])
def test_padding_on_the_left_and_blocks_that_are_not_in_work_are_told_apart(family) -> None:
    """A pass over everything, as our samplers make it, in families that lay rows out by blocks."""
    case = sri_sdk.registry.load("hooks", family).example()
    hook, encoded = case.hook, case.encoded
    if len(encoded.input_ids) == 1:
        ids = torch.cat([torch.zeros_like(encoded.input_ids[:, :3]), encoded.input_ids[:, 3:]], dim=1)
        mask = torch.ones_like(ids)
        mask[:, :3] = 0
        encoded = sri_sdk.Encoded(torch.cat([encoded.input_ids, ids]), torch.cat([torch.ones_like(ids), mask]))
    how = sampler(tokens=16, steps=16)
    real = encoded.attention_mask.sum(1).tolist()
    found = {}
    for kind in ("prompt", "response", "masked", "committed"):
        where = Where(positions=(kind,))
        with torch.no_grad(), changes(hook, direction_for(hook), Add(1e-4), where=where) as (seen, _):
            for _ in how.steps(hook, encoded, [str(i) for i in range(len(real))]):
                pass
        found[kind] = seen
    width = encoded.input_ids.shape[1]
    for index, ids in enumerate(found["masked"].ids):
        rows = {kind: seen.rows()[index] for kind, seen in found.items()}
        mask = ids == hook.mask_id()
        assert torch.equal(rows["response"], rows["masked"] | rows["committed"])
        assert not (rows["prompt"] & rows["response"]).any() and not (rows["masked"] & rows["committed"]).any()
        assert not (rows["masked"] & ~mask).any() and not (rows["committed"] & mask).any()
        # Families that lay out rows by blocks fill the last one up with masks, which are nobody's.
        assert (rows["masked"].sum(1) <= mask.sum(1)).all()
        shown = rows["response"].sum(1)
        assert (shown <= 16 + (hook.block_length() or 1) - 1).all()
        assert all(int(n) in (length, width) for n, length in zip(rows["prompt"].sum(1), real, strict=True))


def test_under_guidance_only_the_conditional_half_has_positions() -> None:
    hook, model = loaded("lab-diffusion")
    seen = seen_in(hook, model, sampler(**MASKED, cfg_scale=1.0), prompts(*TEXTS), "masked")
    for ids, row in zip(seen.ids, seen.rows(), strict=True):
        assert len(row) == 6 and not row[3:].any() and torch.equal(row[:3], ids[:3] == hook.mask_id())


def test_batches_that_follow_each_other_are_told_apart_by_their_drives() -> None:
    hook, model = loaded("lab-diffusion")
    how = sampler(**MASKED)
    where = Where(steps=(0, 2))
    with changes(hook, direction_for(hook), Add(1e-3), where=where) as (seen, steering):
        for texts in (TEXTS, TEXTS[:1], TEXTS[1:]):
            run(hook, model, how, prompts(*texts))
    assert [bool(row.any()) for row in seen.rows()] == [True, True, *[False] * (TOKENS - 2)] * 3
    steering.verify()


def test_a_pass_between_two_steps_must_be_paused() -> None:
    hook, model = loaded("lab-diffusion")
    how, where = sampler(**MASKED), Where(positions=("masked",))
    ids = torch.full((1, 12), 7)
    with (
        pytest.raises(SteeringError, match=r"between two steps of a driven generation.*paused"),
        sri_sdk.steer(hook, direction_for(hook), Add(1.0), where=where),
    ):
        run(hook, model, how, prompts(*TEXTS), take=lambda _: hook.forward(ids))
    with changes(hook, direction_for(hook), Add(1e-3), where=where) as (seen, steering):

        def look(_step) -> None:
            with steering.paused():
                hook.forward(ids)

        run(hook, model, how, prompts(*TEXTS), take=look)
    for tokens, row in zip(seen.ids, seen.rows(), strict=True):
        assert row.any() == (tokens == hook.mask_id()).any()
        assert len(row) == 3 or not row.any()
    steering.verify()


def test_strengths_that_change_between_steps_count_from_the_next_step_on() -> None:
    hook, model = loaded("lab-diffusion")
    free = run(hook, model, sampler(**MASKED), prompts(*TEXTS))
    with changes(hook, direction_for(hook), Add(1e-3), rows=[0, 0, 0]) as (seen, steering):

        def switch(step) -> None:
            steering.rows = [float(step.index == 2), 0.0, float(step.index >= 5)]

        driven = run(hook, model, sampler(**MASKED), prompts(*TEXTS), take=switch)
    acted = torch.stack([row.any(1) for row in seen.rows()])
    assert acted[:, 0].tolist() == [False] * 3 + [True] + [False] * 4
    assert not acted[:, 1].any() and acted[:, 2].tolist() == [False] * 6 + [True] * 2
    assert torch.equal(driven.step.draft[1], free.step.draft[1])


def test_a_batch_is_steered_as_each_of_its_requests_alone() -> None:
    hook, model = loaded("lab-diffusion")
    how = sampler(**MASKED)

    def tokens(*texts: str) -> torch.Tensor:
        with sri_sdk.steer(hook, direction_for(hook), Add(2.0), where=Where(positions=("masked", "prompt"))):
            return run(hook, model, how, prompts(*texts)).step.draft

    together = tokens(*TEXTS)
    for row, text in enumerate(TEXTS):
        assert torch.equal(together[row], tokens(text)[0])


def test_a_causal_model_with_padding_and_cache_is_steered_on_its_prompt_once_and_on_each_token() -> None:
    hook, model = loaded("lab-causal")
    how = sampler("autoregressive", tokens=6)
    lengths = hook.encode(model.tokenizer, list(TEXTS)).attention_mask.sum(1)
    prompt, response = (seen_in(hook, model, how, prompts(*TEXTS), kind) for kind in ("prompt", "response"))
    assert torch.equal(prompt.rows()[0].sum(1), lengths) and not any(row.any() for row in prompt.rows()[1:])
    assert not response.rows()[0].any() and all(row.all() for row in response.rows()[1:]) and len(response.ids) > 3


def test_shares_of_the_budget_are_steps() -> None:
    hook, model = loaded("lab-diffusion")
    how = sampler(**MASKED)
    with changes(hook, direction_for(hook), Add(1e-3), where=Where(steps=(0.25, 0.5)), budget=how.budget()) as (
        seen,
        _,
    ):
        run(hook, model, how, prompts(*TEXTS))
    assert [bool(row.any()) for row in seen.rows()] == [False, False, True, True, *[False] * 4]

"""Which positions are changed, against what the tokens of each pass say, for every installed hook's own generation."""

import pytest
import torch

from sri_sdk import Add, Where, registry
from sri_sdk.errors import ConformanceError
from sri_sdk.testing import HookCase
from sri_sdk.testing._hook_case import observe
from tests.steer.steered import changes, direction_for, states

FAMILIES = ("toy", "lab-diffusion", "llada", "dream", "llada2", "sdar", "fast-dllm-v2", "masked-lm", "wedlm")
LEFT_TO_RIGHT = ("lab-causal", "causal")


def case_of(name: str) -> HookCase:
    try:
        return registry.load("hooks", name).example()
    except ConformanceError as err:
        pytest.skip(str(err))


def changed(
    case: HookCase, *positions: str, strength: float = 3.0, **options
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Token ids of each pass, and which of its rows were changed; an addition changes every state it reaches."""
    where = Where(positions=positions, **options)
    with changes(case.hook, direction_for(case.hook), Add(strength), where=where) as (seen, steering):
        case.generate(case.encoded)
    rows = seen.rows()
    assert steering.positions == sum(int(each.sum()) for each in rows)
    return seen.ids, rows


@pytest.mark.parametrize("name", FAMILIES)
def test_masked_positions_are_those_that_show_the_mask(name) -> None:
    case = case_of(name)
    ids, rows = changed(case, "masked")
    assert sum(int(each.sum()) for each in rows) > 0
    for tokens, row in zip(ids, rows, strict=True):
        assert torch.equal(row, tokens == case.hook.mask_id())


@pytest.mark.parametrize("name", FAMILIES)
def test_prompt_masked_and_committed_make_up_all_there_is(name) -> None:
    case = case_of(name)
    mask = case.hook.mask_id()
    # Steering one of them changes what is generated; so each is held against the tokens of its own run.
    ids, prompt = changed(case, "prompt")
    lengths = case.encoded.attention_mask.sum(1)
    most = torch.stack([row.sum(1) for row in prompt if len(row) == len(lengths)]).max(0).values
    real = case.encoded.input_ids.shape[1] if name in ("lab-diffusion", "llada", "masked-lm", "dream") else None
    for tokens, row in zip(ids, prompt, strict=True):
        assert not (row & (tokens == mask)).any()
    if name not in ("sdar", "fast-dllm-v2"):  # These read prompts in parts; see below.
        assert most.tolist() in (lengths.tolist(), [real] * len(lengths))
    ids, committed = changed(case, "committed")
    for tokens, row in zip(ids, committed, strict=True):
        assert not (row & (tokens == mask)).any()
    assert sum(int(each.sum()) for each in committed) > 0
    ids, response = changed(case, "response")
    _, fixed = changed(case, "response")
    for tokens, row, again in zip(ids, response, fixed, strict=True):
        assert torch.equal(row, again) and bool((row | (tokens != mask)).all())


def test_a_prompt_that_is_stored_in_blocks_is_steered_in_all_of_them_also_once_a_row_has_left() -> None:
    case = case_of("fast-dllm-v2")
    # So little that one row still ends before the others.
    ids, rows = changed(case, "prompt", strength=1e-3)
    assert len(ids[0]) == 3 and len(ids[-1]) < 3
    # Every block is stored once, in a pass without a mask; columns are those of the tokens, prompts on the left.
    lengths, found, before = case.encoded.attention_mask.sum(1).tolist(), 0, 0
    for tokens, row in zip(ids, rows, strict=True):
        columns = before + torch.arange(tokens.shape[1])
        own = lengths if len(tokens) == 3 else lengths[-len(tokens) :]
        assert torch.equal(row, torch.stack([columns < length for length in own]))
        if not (tokens == case.hook.mask_id()).any():
            found, before = found + int(row.sum()), before + tokens.shape[1]
    assert found == sum(lengths)


def test_a_prompt_that_is_stored_before_the_first_step_is_steered_there() -> None:
    case = case_of("sdar")
    mask = case.hook.mask_id()
    ids, rows = changed(case, "prompt")
    first = next(at for at, tokens in enumerate(ids) if (tokens == mask).any())
    assert first == 1 and all(torch.equal(rows[at], ids[at] != mask) for at in (0, 1))
    ids, rows = changed(case, "response")
    # The pass that stores the first block shows what was a mask in the first step.
    stored = next(at for at, tokens in enumerate(ids) if at and not (tokens == mask).any())
    assert torch.equal(rows[stored], ids[1] == mask) and ids[stored].shape == ids[1].shape


@pytest.mark.parametrize("name", LEFT_TO_RIGHT)
def test_of_a_decoding_model_the_first_pass_is_prompt_and_the_others_are_response(name) -> None:
    case = case_of(name)
    real = case.encoded.attention_mask.bool()
    _, prompt = changed(case, "prompt")
    assert torch.equal(prompt[0], real) and not any(row.any() for row in prompt[1:])
    _, response = changed(case, "response")
    assert not response[0].any() and all(row.all() for row in response[1:]) and len(response) > 2
    _, committed = changed(case, "committed")
    assert not committed[0].any() and all(row.all() for row in committed[1:])


@pytest.mark.parametrize("name", [*FAMILIES, *LEFT_TO_RIGHT])
def test_a_window_of_steps_is_those_passes_and_no_others(name) -> None:
    case = case_of(name)
    with changes(case.hook, direction_for(case.hook), Add(3.0), where=Where(steps=(1, 3))) as (seen, _):
        case.generate(case.encoded)
    acted = [bool(row.any()) for row in seen.rows()]
    assert sum(acted) == 2 and all(bool(row.all()) for row, on in zip(seen.rows(), acted, strict=True) if on)
    steps = [index for index, each in enumerate(observe(case_of(name)).passes) if each.plan is not None]
    assert [index for index, on in enumerate(acted) if on] == steps[1:3]


@pytest.mark.parametrize("name", [*FAMILIES, *LEFT_TO_RIGHT])
def test_response_blocks_are_windows_of_positions(name) -> None:
    case = case_of(name)
    _, rows = changed(case, "response", blocks=(0, 1), block_length=4)
    most = max(int(row.sum(1).max()) for row in rows)
    # Behind a cache, a pass may show a part of a window.
    assert most == (1 if name in LEFT_TO_RIGHT else 4) or (name == "sdar" and 0 < most <= 4)
    if name in LEFT_TO_RIGHT:
        assert [bool(row.any()) for row in rows[:6]] == [False, True, True, True, True, False]


def test_the_unconditional_half_of_guidance_has_no_positions() -> None:
    case = case_of("lab-diffusion")
    assert case.generate_guided is not None
    with changes(case.hook, direction_for(case.hook), Add(3.0), where=Where(positions=("response",))) as (seen, _):
        case.generate_guided(case.encoded)
    half = len(case.encoded.input_ids)
    for row in seen.rows():
        assert len(row) == 2 * half and not row[half:].any() and (row[:half].sum(1) == 16).all()


def test_under_guidance_rows_count_requests_and_everywhere_means_everywhere() -> None:
    case = case_of("lab-diffusion")
    assert case.generate_guided is not None
    half = len(case.encoded.input_ids)
    with changes(case.hook, direction_for(case.hook), Add(3.0), rows=[1.0, 0.0, 1.0]) as (seen, _):
        case.generate_guided(case.encoded)
    assert [row.any(1).tolist() for row in seen.rows()] == [[True, False, True, *[False] * half]] * 8
    with changes(case.hook, direction_for(case.hook), Add(3.0)) as (seen, _):
        case.generate_guided(case.encoded)
    assert all(bool(row.all()) for row in seen.rows())


def test_where_another_part_reads_the_prompt_it_is_steered_there_and_the_canvas_in_the_decoder() -> None:
    case = case_of("diffusion-gemma")
    parts = case.hook.prompt_modules()
    assert parts is not None
    encoder, found = parts[1][0], {}
    for kind in ("prompt", "response"):
        before, after = [], []
        with changes(case.hook, direction_for(case.hook), Add(1e-3), where=Where(positions=(kind,))) as (
            seen,
            steering,
        ):
            first = encoder.register_forward_hook(lambda _m, _a, o, to=before: to.append(states(o)), prepend=True)
            last = encoder.register_forward_hook(lambda _m, _a, o, to=after: to.append(states(o)))
            case.generate(case.encoded)
            first.remove()
            last.remove()
        steering.verify()
        assert steering.prompt_passes == len(before) > 1 and steering.counts["prompt block 0"] == len(before)
        found[kind] = [bool((one != two).any(-1).all()) for one, two in zip(before, after, strict=True)]
        assert [bool(row.all()) for row in seen.rows()] == [kind == "response"] * steering.passes
    # The encoder's later passes read finished canvases.
    assert found["prompt"] == [True, *[False] * (len(found["prompt"]) - 1)]
    assert found["response"] == [False, *[True] * (len(found["response"]) - 1)]

"""The mean state of a request's own tokens, in every family, against the same states in float64."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture.request import RequestReader
from sri_sdk.errors import ConfigError, ConformanceError

FAMILIES = (
    "toy",
    "lab-diffusion",
    "lab-causal",
    "causal",
    "llada",
    "dream",
    "masked-lm",
    "llada2",
    "sdar",
    "fast-dllm-v2",
)


@pytest.fixture(scope="module")
def case_of():
    made = {}

    def get(name):
        if name not in made:
            try:
                made[name] = registry.load("hooks", name).example()
            except ConformanceError as err:
                pytest.skip(str(err))
        return made[name]

    return get


@contextmanager
def recorded(hook):
    """(ids, states) of every pass, by hooks of torch's own."""
    seen, passes = [], []
    embedding, _, norm = hook.prompt_modules() or (hook.embedding(), None, hook.final_norm())
    handles = [
        embedding.register_forward_hook(lambda _, args, __: seen.append(args[0].clone())),
        norm.register_forward_hook(
            lambda *a: passes.append((seen[-1], (a[2][0] if isinstance(a[2], tuple) else a[2]).detach().clone()))
        ),
    ]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


RIGHT = {"fast-dllm-v2"}
"""Families whose own call takes prompts that are padded on the right."""


def some_spans(name, encoded):
    """Per row, columns of a part of its prompt that leaves out its first and its last token, where it has so many."""
    width, lengths = encoded.input_ids.shape[1], encoded.attention_mask.sum(1).tolist()
    starts = [0 if name in RIGHT else width - length for length in lengths]
    whole = [(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return [(start + 1, stop - 1) if stop - start > 3 else (start, stop) for start, stop in whole]


def expected(passes, mask, row, prompt, span):
    """The prompt's columns as passes show them first: all of them, or one block behind what was stored without a hole.

    `prompt` are the row's tokens from column 0 on. Rows that have ended leave the batch, so it also finds the row.
    """
    states, stored = {}, 0
    for ids, norm in passes:
        mine = prompt[stored : stored + ids.shape[1]]
        here = row
        if len(ids) < len(passes[0][0]):
            here = next(i for i in range(len(ids)) if ids[i, : len(mine)].tolist() == mine)
        for at in range(ids.shape[1]):
            states.setdefault(stored + at, norm[here, at].double())
        stored += 0 if mask is None or (ids == mask).any() else ids.shape[1]
        if span[1] <= len(states):
            return torch.stack([states[c] for c in range(*span)]).mean(0)
    raise AssertionError("the prompt was never shown")


def watched(case, encoded, spans):
    with torch.inference_mode(), sri_sdk.watch(case.hook.model, hook=case.hook, request_spans=spans) as run:
        case.generate(encoded)
    return run


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_the_mean_over_the_requests_tokens_in_the_first_pass_that_shows_them(case_of, name):
    case = case_of(name)
    spans = some_spans(name, case.encoded)
    with recorded(case.hook) as passes:
        run = watched(case, case.encoded, spans)
    assert run.request.complete.all()
    for row, span in enumerate(spans):
        padding = case.encoded.attention_mask[row].tolist().index(1) if name in RIGHT else 0
        prompt = case.encoded.input_ids[row, padding:].tolist()
        wanted = expected(passes, case.hook.mask_id(), row, prompt, span)
        np.testing.assert_allclose(run.request.states[row, 0], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_alone_and_unpadded_it_is_the_same_as_in_a_batch(case_of, name):
    case = case_of(name)
    if not case.batched:
        pytest.skip("takes one prompt at a time")
    if name == "sdar":
        pytest.skip("its own sampler counts blocks over padding, so a padded prompt is another one to the model")
    spans = some_spans(name, case.encoded)
    together = watched(case, case.encoded, spans).request
    for row, (start, stop) in enumerate(spans):
        padding = case.encoded.attention_mask[row].tolist().index(1)
        alone = sri_sdk.Encoded(
            case.encoded.input_ids[row : row + 1, padding:], case.encoded.attention_mask[row : row + 1, padding:]
        )
        before = 0 if name in RIGHT else padding
        single = watched(case, alone, [(start - before, stop - before)]).request
        assert single.complete.all()
        np.testing.assert_allclose(single.states[0], together.states[row], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_reading_the_request_changes_no_token_and_no_signal(case_of, name):
    case = case_of(name)
    with torch.inference_mode(), sri_sdk.watch(case.hook.model, hook=case.hook) as plain:
        without = case.generate(case.encoded)
    with torch.inference_mode():
        spans = some_spans(name, case.encoded)
        with sri_sdk.watch(case.hook.model, hook=case.hook, request_spans=spans, layers=("final",)) as run:
            tokens = case.generate(case.encoded)
    assert torch.equal(tokens, without)
    for one, other in zip(plain.traces, run.traces, strict=True):
        assert one.reasons == other.reasons
        np.testing.assert_array_equal(one.phi, other.phi)


def test_what_was_not_located_is_told_apart_from_what_was_not_seen(case_of):
    case = case_of("lab-diffusion")
    width = case.encoded.input_ids.shape[1]
    run = watched(case, case.encoded, [None, (width - 3, width), (width - 1, width + 40)])
    assert run.request.located == (False, True, True)
    assert run.request.complete.tolist() == [False, True, False]


def test_the_causal_lab_hook_counts_no_padding(case_of):
    case = case_of("lab-causal")
    padding = case.encoded.attention_mask.argmax(1).tolist()
    width = case.encoded.input_ids.shape[1]
    run = watched(case, case.encoded, [(0, width)] * len(padding))
    assert run.request.complete.tolist() == [not before for before in padding] and any(padding)


@pytest.mark.parametrize("span", [(3, 3), (5, 2), (-2, 4)])
def test_a_span_that_is_none_is_refused_at_once(case_of, span):
    case = case_of("lab-diffusion")
    with pytest.raises(ConfigError, match="row 1 has"):
        watched(case, case.encoded, [(1, 2), span, None])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"request_ids": ["a", "b"]}, "1 request_spans for 2 request_ids"),
    ],
)
def test_spans_that_nothing_would_read_are_refused_before_anything_runs(case_of, given, says):
    case = case_of("lab-diffusion")
    with (
        pytest.raises(ConfigError, match=says),
        sri_sdk.watch(case.hook.model, hook=case.hook, request_spans=[(0, 1)], **given),
    ):
        raise AssertionError("was entered")


def test_of_a_request_the_last_tokens_count_and_of_a_shorter_one_all():
    states = torch.randn(2, 8, 3)
    reader = RequestReader(("final",), [(1, 8), (6, 8)], last=4)
    # What stands before them need not be seen: a cache of prefixes may have spared it.
    columns = torch.arange(4, 8).expand(2, -1)
    reader.begin(columns, None)
    reader.state("final", states[:, 4:])
    found = reader.result()
    assert found.complete.all() and not reader.waits
    np.testing.assert_allclose(found.states[0, 0], states[0, 4:].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.states[1, 0], states[1, 6:].mean(0), rtol=1e-5, atol=1e-6)

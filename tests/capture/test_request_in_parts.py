"""The request where a cache spares a part of its prompt's pass, in transformers' own generate."""

import numpy as np
import pytest
import torch
from transformers import DynamicCache

import sri_sdk
from sri_sdk import registry
from sri_sdk.structure import cache_argument

HEAD, SPAN, LENGTH = 12, (15, 24), 30


@pytest.fixture(scope="module")
def model():
    return registry.load("hooks", "causal").example().hook.model


@pytest.fixture(scope="module")
def ids(model):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(10, model.config.vocab_size, (2, LENGTH), generator=generator)


def read(model, ids, spans=(SPAN, SPAN), **options):
    """What a watch reads of the requests while the model answers with four tokens, and the tokens."""
    mask = torch.ones_like(ids)
    with torch.inference_mode(), sri_sdk.watch(model, layers=(0, "final"), request_spans=list(spans)) as run:
        made = model.generate(ids, attention_mask=mask, max_new_tokens=4, do_sample=False, **options)
    return run, made


def cached(model, ids):
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(ids, **{cache_argument(model): cache})
    return {cache_argument(model): cache}


def test_a_cached_prefix_before_the_request_changes_nothing(model, ids):
    whole, tokens = read(model, ids)
    after, same = read(model, ids, **cached(model, ids[:, :HEAD]))
    assert tokens.tolist() == same.tolist() and after.request.complete.all()
    np.testing.assert_allclose(after.request.states, whole.request.states, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("until", [SPAN[0] + 1, SPAN[1] - 1, LENGTH - 1])
def test_a_cache_that_holds_some_or_all_of_the_request_leaves_it_unread_and_the_rest_watched(model, ids, until):
    """Half a request would be another one."""
    run, _ = read(model, ids, **cached(model, ids[:, :until]))
    assert run.request.located == (True, True) and not run.request.complete.any()
    assert all(not trace.reasons for trace in run.traces)


def test_one_rows_request_may_be_cached_and_the_others_not(model, ids):
    """Of two conversations with one cache, the first asks within it and the second behind it."""
    run, _ = read(model, ids, ((2, 8), SPAN), **cached(model, ids[:, :HEAD]))
    assert run.request.complete.tolist() == [False, True]


def test_a_prompt_in_pieces_is_refused_before_anything_runs(model, ids):
    with pytest.raises(sri_sdk.SriError, match=r"prefill_chunk_size=4 .*the prompt comes in pieces"):
        read(model, ids, prefill_chunk_size=4)


def test_layers_that_only_the_request_needs_are_let_go_once_it_was_read(model, ids):
    """Their module hooks would cost every later pass a call."""
    from sri_sdk.capture.run import Run
    from sri_sdk.capture.settings import watch_settings
    from sri_sdk.capture.tap import tap_of

    hook = registry.load("hooks", "causal")(model)
    run = Run(hook, watch_settings(hook, request_layers=(0, "final")), ["a", "b"], request_spans=[SPAN, SPAN])
    tap, block, seen = tap_of(model), hook.layers()[0], []
    watcher = hook.embedding().register_forward_hook(lambda *_: seen.append(len(block._forward_hooks)))
    with torch.inference_mode(), tap.installed(hook, run), tap.owned_by(run):
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False)
    run.finish()
    watcher.remove()
    # This watcher is asked before the tap, so it sees one pass late that they went.
    assert seen == [1, 1, 0, 0] and not block._forward_hooks
    assert run.request.complete.all() and all(not trace.reasons for trace in run.traces)

"""A cache with room: the same logits to the last bit, without a copy of everything in each step."""

from __future__ import annotations

import copy

import pytest
import torch
from sri_plugin_samplers import roomy_cache
from sri_plugin_samplers.roomy_cache import make_room

from sri_sdk import registry

transformers = pytest.importorskip("transformers")
if not hasattr(transformers.cache_utils, "DynamicLayer"):
    pytest.skip("this release keeps lists of tensors, which are left alone", allow_module_level=True)

IDS = torch.arange(7, 12).repeat(2, 1)


@pytest.fixture(scope="module")
def hook():
    hook_class = registry.load("hooks", "lab-causal")
    return hook_class(hook_class.load(hook_class.Config()).model)


def begun(hook, *, room):
    cache = hook.forward(IDS, use_cache=True).cache
    if room:
        make_room(cache)
    return cache


def logits(hook, cache, tokens):
    """[len(tokens), V]: of passes over one token each, the same in both rows."""
    return torch.cat([hook.forward(torch.tensor([[t], [t]]), None, cache, use_cache=True).logits[0] for t in tokens])


@torch.inference_mode()
def test_logits_are_the_same_to_the_last_bit_also_where_the_room_is_used_up(hook, monkeypatch):
    monkeypatch.setattr(roomy_cache, "ROOM", 3)
    tokens = range(20, 30)
    assert torch.equal(logits(hook, begun(hook, room=True), tokens), logits(hook, begun(hook, room=False), tokens))


@torch.inference_mode()
def test_a_step_writes_behind_what_is_there_and_copies_nothing(hook):
    cache = begun(hook, room=True)
    logits(hook, cache, [20])
    before = [layer.keys.data_ptr() for layer in cache.layers]
    logits(hook, cache, range(21, 29))
    assert [layer.keys.data_ptr() for layer in cache.layers] == before


@torch.inference_mode()
@pytest.mark.parametrize(
    "change", [lambda c: c.crop(-2), lambda c: c.reorder_cache(torch.tensor([1, 0])), lambda c: copy.deepcopy(c)]
)
def test_whoever_crops_reorders_or_copies_it_goes_on_as_with_the_usual_one(hook, change):
    found = []
    for room in (True, False):
        cache = begun(hook, room=room)
        logits(hook, cache, range(20, 24))
        other = change(cache) or cache
        after = logits(hook, other, range(30, 33))
        # What goes on beside a copy must not write into it.
        found.append(torch.cat([after, logits(hook, cache, range(40, 43))]))
    assert torch.equal(*found)


@torch.inference_mode()
def test_layers_of_another_kind_and_other_caches_are_left_alone(hook):
    class Own(transformers.cache_utils.DynamicLayer):
        pass

    cache = begun(hook, room=False)
    cache.layers[0].__class__ = Own
    make_room(cache)
    assert type(cache.layers[0]) is Own
    assert type(cache.layers[1]) is not transformers.cache_utils.DynamicLayer
    for other in (None, ((IDS, IDS),), object()):
        make_room(other)

"""The context manager: what it changes, what it leaves as it was, and how it says that it could not steer."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from sri_plugin_llada.stand_ins.model import CachedLLaDAModelLM
from sri_plugin_llada.stand_ins.model import build as build_llada
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import CANVAS, ToyConfig, ToyModel

import sri_sdk
import sri_sdk.registry
from sri_sdk import Ablate, Add, Clamp, Where
from sri_sdk.errors import ConfigError, SteeringError
from sri_sdk.steer.listening import replaced, states_of
from tests.steer.steered import IDS, changes, direction_for, hooks_on, masked, projections

# -- nothing is left behind ------------------------------------------------------------------------------------


def test_afterwards_the_model_is_the_same_bit_for_bit(hook) -> None:
    before, tokens = hook.model(masked()).logits, hook.model.generate(IDS)
    with sri_sdk.steer(hook.model, direction_for(hook), Ablate()) as steering:
        during = hook.model(masked()).logits
    assert not torch.equal(before, during)
    assert torch.equal(hook.model(masked()).logits, before) and torch.equal(hook.model.generate(IDS), tokens)
    assert hooks_on(hook.model) == 0 and not {"generate", "forward"} & vars(hook.model).keys()
    steering.verify()


def test_nothing_is_left_behind_when_the_model_raises_and_its_error_is_the_one_that_shows(hook) -> None:
    broken = hook.layers()[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), sri_sdk.steer(hook, direction_for(hook), Ablate()):
        hook.model.generate(IDS)
    broken.remove()
    assert hooks_on(hook.model) == 0


def test_what_cannot_be_entered_leaves_nothing_behind(hook, monkeypatch) -> None:
    steering = sri_sdk.steer(hook, direction_for(hook), Ablate())
    monkeypatch.setattr(hook, "prompt_modules", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        steering.__enter__()
    assert hooks_on(hook.model) == 0


def test_a_steering_is_entered_once(hook) -> None:
    with sri_sdk.steer(hook, direction_for(hook), Ablate()) as steering:
        hook.model(masked())
    with pytest.raises(ConfigError, match="entered once"):
        steering.__enter__()


# -- what is changed -------------------------------------------------------------------------------------------


def test_every_block_is_reached_in_every_pass_and_counted(hook) -> None:
    with sri_sdk.steer(hook, direction_for(hook), Ablate(), where=Where(sites=("block", "embedding"))) as steering:
        hook.model.generate(IDS)
    assert steering.counts == {"embedding": CANVAS, "block 0": CANVAS, "block 1": CANVAS}
    assert steering.passes == CANVAS and steering.positions == CANVAS * masked().numel()


def test_layers_restrict_blocks_and_each_block_may_have_a_vector_of_its_own(hook) -> None:
    each = direction_for(hook, each=True)
    for block in (0, 1):
        with changes(hook, each, Ablate(), block=block) as (seen, _):
            hook.model(masked())
        left = seen.after[0] @ torch.from_numpy(each.vectors).T
        assert left[..., block].abs().max() < 1e-5 < left[..., 1 - block].abs().max()
    with changes(hook, each, Add(1.0), where=Where(layers=(1,)), block=0) as (seen, steering):
        hook.model(masked())
    assert not seen.rows()[0].any() and steering.counts == {"block 1": 1}


def test_nested_steerings_act_in_the_order_in_which_they_were_entered(hook) -> None:
    direction = direction_for(hook)
    for one, two, wanted in [(Add(5.0), Ablate(), 0.0), (Ablate(), Add(5.0), 5.0), (Clamp(3.0), Add(-1.0), 2.0)]:
        last = []
        with sri_sdk.steer(hook, direction, one), sri_sdk.steer(hook, direction, two):
            handle = hook.layers()[0].register_forward_hook(lambda _m, _a, o, to=last: to.append(o))
            hook.model(masked())
            handle.remove()
        assert (projections(last[0], hook) - wanted).abs().max() < 1e-5
    assert hooks_on(hook.model) == 0


def test_blocks_that_end_in_another_order_than_they_began_in_each_end_their_own(hook) -> None:
    free = hook.model(masked()).logits
    first, second = (sri_sdk.steer(hook, direction_for(hook, seed=seed), Add(2.0)) for seed in (0, 1))
    first.__enter__()
    both = (second.__enter__(), hook.model(masked()).logits)[1]
    first.__exit__(None, None, None)
    alone = hook.model(masked()).logits
    second.__exit__(None, None, None)
    assert not torch.equal(both, alone) and not torch.equal(alone, free)
    assert torch.equal(hook.model(masked()).logits, free)


@pytest.mark.parametrize("order", ["watch inside", "steer inside"])
def test_a_watch_sees_what_the_model_goes_on_with(hook, order) -> None:
    steering = sri_sdk.steer(hook, direction_for(hook), Ablate())
    watching = sri_sdk.watch(hook.model, hook=hook, layers=(0, 1))
    first, second = (steering, watching) if order == "watch inside" else (watching, steering)
    with first as one, second as two:
        hook.model.generate(IDS)
    run = two if order == "watch inside" else one
    assert all(not trace.reasons for trace in run.traces)
    phi = torch.from_numpy(np.concatenate([trace.phi for trace in run.traces]))
    assert projections(phi, hook).abs().max() < 1e-5


def test_other_members_of_what_a_block_puts_out_stay() -> None:
    pair = namedtuple("pair", "states cache")
    states, new = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    for output in ((states, "cache"), [states, "cache"], pair(states, "cache"), states):
        assert states_of(output) is states
        made = replaced(output, new)
        assert type(made) is type(output) and states_of(made) is new
        assert made is new or made[1] == "cache"
    assert states_of(({"a": 1},)) is None and states_of(torch.zeros(2, dtype=torch.int64)) is None
    model = build_llada(CachedLLaDAModelLM)
    hook = sri_sdk.registry.load("hooks", "llada")(model)
    with sri_sdk.steer(hook, direction_for(hook), Ablate()):
        assert len(model(IDS, use_cache=True).past_key_values[0]) == 2


def test_inference_mode_first_and_gradients_afterwards(hook) -> None:
    with sri_sdk.steer(hook, direction_for(hook), Ablate(), rows=[1, 0.5, 0]) as steering:
        with torch.inference_mode():
            hook.model(masked())
            steering.rows = [1, 1, 0]
        hook.model(masked()).logits[..., 5].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in hook.layers()[0].parameters())


def test_a_module_that_stands_for_several_blocks_is_each_of_them_in_turn() -> None:
    model = ToyModel(ToyConfig()).eval()
    model.blocks = torch.nn.ModuleList([model.blocks[0]] * 3)
    hook = ToyHook(model)
    with changes(hook, direction_for(hook), Ablate(), where=Where(layers=(1,))) as (seen, steering):
        model.generate(IDS)
    acted = [bool(row.any()) for row in seen.rows()]
    assert acted == [False, True, False] * CANVAS and steering.counts == {"block 1": CANVAS}
    steering.verify()


# -- rows ------------------------------------------------------------------------------------------------------


def test_each_row_has_a_strength_of_its_own_and_none_changes_no_bit(hook) -> None:
    free = hook.model(masked()).logits
    with sri_sdk.steer(hook, direction_for(hook), Add(3.0), rows=[0.0, 1.0, 0.5]) as steering:
        mixed = hook.model(masked()).logits
        steering.rows = torch.tensor([1.0, 0.0, 1.0])
        swapped = hook.model(masked()).logits
    assert torch.equal(mixed[0], free[0]) and torch.equal(swapped[1], free[1])
    for row, share in ((1, 1.0), (2, 0.5)):
        with sri_sdk.steer(hook, direction_for(hook), Add(3.0 * share)):
            alone = hook.model(masked()[row : row + 1]).logits[0]
        torch.testing.assert_close(mixed[row], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [[1.0], [1.0] * 4, torch.ones(2)])
def test_another_number_of_rows_is_an_error_and_not_a_guess(hook, rows) -> None:
    with (
        pytest.raises(SteeringError, match="a pass of 3 requests"),
        sri_sdk.steer(hook, direction_for(hook), Ablate(), rows=rows),
    ):
        hook.model(masked())


@pytest.mark.parametrize("rows", [[], [float("nan")], [[1.0]], 1.0, "abc", ["a"], [None], {1: 2}, [1j]])
def test_rows_that_are_no_numbers_per_request_are_refused(hook, rows) -> None:
    with pytest.raises(ConfigError, match="one finite number per request"):
        sri_sdk.steer(hook, direction_for(hook), Ablate(), rows=rows)


def test_a_guard_that_stops_a_steered_generation_is_what_shows(hook) -> None:
    def stop(*_) -> None:
        raise sri_sdk.SriError("stopped")

    with pytest.raises(sri_sdk.SriError, match="stopped"), sri_sdk.steer(hook, direction_for(hook), Ablate()):
        hook.embedding().register_forward_hook(stop)
        hook.model(masked())

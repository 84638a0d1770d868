"""Strengths in the scale of a direction: where states end up."""

import pytest
import torch

from sri_sdk.errors import ConfigError
from sri_sdk.steer import scale
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.make import one_direction


@pytest.fixture
def direction(diffusion) -> Direction:
    return one_direction(diffusion.means(24), 2, "post+1", name="x", towards="x", provenance={})


def projections(lab, direction: Direction, block: int) -> torch.Tensor:
    """[L] of one prompt on the direction, as the block puts them out."""
    found: list[torch.Tensor] = []
    encoded = lab.hook.encode(lab.loaded.tokenizer, ["how do i steal the lantern of the baker ?"])

    def read(_module: object, _args: object, output: object) -> None:
        states = output[0] if isinstance(output, tuple) else output
        found.append(states[0] @ torch.tensor(direction.vector(block)))

    handle = lab.hook.layers()[block].register_forward_hook(read)
    with torch.no_grad():
        lab.hook.forward(encoded.input_ids, encoded.attention_mask)
    handle.remove()
    return found[0]


def test_a_clamp_puts_states_where_the_kinds_of_prompts_lie(diffusion, direction) -> None:
    for at in (0.0, 0.5, 1.0):
        with scale.steered_by(diffusion.hook, direction, scale.clamp(at), [2]):
            wanted = direction.means[0, 2] + at * (direction.means[1, 2] - direction.means[0, 2])
            assert projections(diffusion, direction, 2) == pytest.approx(float(wanted), abs=1e-3)


def test_adding_moves_by_so_many_distances_and_a_dead_zone_cuts_what_is_beyond(diffusion, direction) -> None:
    before, (low, high) = projections(diffusion, direction, 2), map(float, direction.means[:, 2])
    with scale.steered_by(diffusion.hook, direction, scale.add(-2), [2]):
        moved = projections(diffusion, direction, 2)
    assert (moved - before + 2 * (high - low)).abs().max() < 1e-3
    with scale.steered_by(diffusion.hook, direction, scale.dead_zone(0.5), [2]):
        cut = projections(diffusion, direction, 2)
    assert (cut - before.clamp(max=(low + high) / 2)).abs().max() < 1e-3
    assert torch.equal(projections(diffusion, direction, 2), before)


def test_each_block_has_its_own_scale(diffusion, direction) -> None:
    with scale.steered_by(diffusion.hook, direction, scale.clamp(1), [1, 3]):
        for block in (1, 3):
            assert projections(diffusion, direction, block) == pytest.approx(float(direction.means[1, block]), abs=1e-3)


def test_a_steering_that_cannot_begin_leaves_none_behind(diffusion, direction) -> None:
    before = projections(diffusion, direction, 3)
    with pytest.raises(ConfigError), scale.steered_by(diffusion.hook, direction, scale.clamp(1), [3, 9]):
        pass
    assert torch.equal(projections(diffusion, direction, 3), before)


def test_adding_is_done_once_and_the_rest_everywhere(direction) -> None:
    assert scale.blocks_for(direction, None, own=True) == (2,)
    assert scale.blocks_for(direction, None, own=False) == (0, 1, 2, 3)
    assert scale.blocks_for(direction, [3, 0, 3], own=True) == (3, 0)
    with pytest.raises(ConfigError, match="layers: 4; direction 'x' has blocks 0 to 3"):
        scale.blocks_for(direction, [4], own=True)
    with pytest.raises(ConfigError, match="nothing would be steered"):
        scale.blocks_for(direction, [], own=False)
    odd = Direction("x", direction.vectors, "x", direction.means, {"block": True})
    assert scale.blocks_for(odd, None, own=True) == (0, 1, 2, 3)

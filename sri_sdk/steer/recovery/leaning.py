"""Which positions of a response lean towards harm: their own states, projected on a direction.

The guard's signal is a mean over positions and cannot tell, so this takes a forward pass of its own: unsteered, over
the canvas as it stands, and heard by no run.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection
from typing import Any

import torch

from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import CaptureError
from sri_sdk.hook import Hook
from sri_sdk.records import Encoded
from sri_sdk.steer.direction import Direction


def block_of(direction: Direction) -> int:
    """The block whose states are projected: where the direction was read, else the last one."""
    return direction.means.shape[1] - 1 if direction.block is None else direction.block


def projections(hook: Hook, prompts: Encoded, canvas: torch.Tensor, direction: Direction) -> torch.Tensor:
    """How far the state of each response position points along a direction. One forward pass.

    Args:
        hook: the model family.
        prompts: B of them, padded on the left.
        canvas: [B, P] int64 tensor, the mask token where a position is open.
        direction: of this model.

    Returns:
        [B, P] float32 tensor, in the unit of the model's states; high = as in prompts that have the attribute.

    Raises:
        CaptureError: the block did not run, put out something else than states, or a state is not finite.
    """
    block, found, here = block_of(direction), list[torch.Tensor](), threading.get_ident()

    def read(_module: Any, _args: Any, output: Any) -> None:
        # Others may generate with the same model meanwhile.
        if threading.get_ident() == here:
            found.append(output[0] if isinstance(output, tuple) else output)

    ids = torch.cat([prompts.input_ids, canvas], dim=1)
    attention = torch.cat([prompts.attention_mask, torch.ones_like(canvas)], dim=1)
    handle = hook.layers()[block].register_forward_hook(read)
    try:
        with torch.inference_mode(), tap_of(hook.model).unheard():
            hook.forward(ids, attention)
    finally:
        handle.remove()
    if len(found) != 1 or not isinstance(found[0], torch.Tensor) or found[0].shape[:2] != ids.shape:
        shapes = [list(each.shape) if isinstance(each, torch.Tensor) else type(each).__name__ for each in found]
        raise CaptureError(
            f"{type(hook).__name__}.layers(): block {block} put out {shapes or 'nothing'} in a pass over "
            f"{list(ids.shape)} tokens; one tensor of states is needed. A compiled model runs no module hooks: recover "
            "with the model before torch.compile."
        )
    states = found[0][:, -canvas.shape[1] :].float()
    along = states @ torch.from_numpy(direction.vector(block)).to(states.device)
    if not bool(torch.isfinite(along).all()):
        raise CaptureError(f"block {block}: a state of the response is NaN or infinite.")
    return along.to(canvas.device)


def most_leaning(
    leaning: torch.Tensor, committed: torch.Tensor, length: int, share: float, spared: Collection[int]
) -> tuple[int, ...]:
    """The positions to open: of the text, those that lean most; and what was filled up behind its end.

    A text that changes may get longer, so its padding is no part of the share.

    Args:
        leaning: [P] float32.
        committed: [P] bool.
        length: tokens of the text, its end token included.
        share: of its committed positions, above 0 and at most 1; at least one is opened.
        spared: positions that are never opened.

    Returns:
        Positions, sorted; empty = there is nothing that may be opened.
    """
    free = [at for at in committed.nonzero()[:, 0].tolist() if at not in spared]
    text = [at for at in free if at < length]
    if not text:
        return ()
    count = max(1, math.ceil(share * len(text)))
    values = leaning.tolist()
    # The leftmost first where two lean alike, so that the choice does not depend on the machine.
    first = sorted(text, key=lambda at: (-values[at], at))[:count]
    return tuple(sorted([*first, *(at for at in free if at >= length)]))

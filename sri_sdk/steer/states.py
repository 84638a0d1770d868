"""One prompt-only pass: the states of every block at some places of the prompt, and nothing else of it.

No canvas, no response, no sampler (arXiv 2512.24143): what is read is what the prompt alone makes of the model.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any

import torch

from sri_sdk.errors import CaptureError, ConfigError
from sri_sdk.hook import Hook
from sri_sdk.records import Encoded
from sri_sdk.steer.places import refuse_unreachable


def check_readable(hook: Hook) -> None:
    """Whether prompt-only passes of this model show its blocks.

    Raises:
        ConfigError: they do not: prompts go through another part of the model, or its modules cannot be reached.
    """
    if hook.prompt_modules() is not None:
        raise ConfigError(
            f"{type(hook).__name__}: prompts go through a part of the model that does nothing else, so their states "
            "are not in the stream that its answers are made in. Directions cannot be extracted for this family."
        )
    refuse_unreachable(hook.model)


def states_at(hook: Hook, encoded: Encoded, columns: torch.Tensor) -> list[torch.Tensor]:
    """Runs prompts through the model once.

    Args:
        hook: the model family.
        encoded: B prompts, padded on the left.
        columns: [B, P] int64 tensor, columns of the batch to read.

    Returns:
        Per block a [B, P, D] float32 tensor, on that block's device: what the block puts out there.

    Raises:
        CaptureError: a block did not run, its output is no residual stream, the model read other tokens than it was
            given, or a state is NaN or infinite.
    """
    blocks = list(hook.layers())
    found: dict[int, torch.Tensor] = {}
    where: list[torch.Tensor] = []
    ran: Counter[int] = Counter()
    numbers: dict[int, list[int]] = {}
    for number, module in enumerate(blocks):
        # Blocks may share a module, whose runs are theirs in turn.
        numbers.setdefault(id(module), []).append(number)

    def begin(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = args[0] if args else next(iter(kwargs.values()))
        # Families that lay rows out anew read the prompt in other columns.
        where[:] = [columns + _offsets(hook, ids, encoded)[:, None]]
        ran.clear()

    def read(module: torch.nn.Module, _args: Any, output: Any) -> None:
        mine = numbers[id(module)]
        block = mine[ran[id(module)] % len(mine)]
        ran[id(module)] += 1
        states = output[0] if isinstance(output, tuple) else output
        wanted = (len(columns), hook.hidden_size())
        shown = (len(states), states.shape[-1]) if isinstance(states, torch.Tensor) and states.dim() == 3 else None
        if shown != wanted or not where:
            shape = list(states.shape) if isinstance(states, torch.Tensor) else type(states).__name__
            raise CaptureError(
                f"{type(hook).__name__}.layers(): block {block} put out {shape}; states [{wanted[0]}, L, {wanted[1]}] "
                "are needed, after the embedding ran. Check layers() and embedding() of the hook."
            )
        at = where[0].to(states.device)
        found[block] = states.detach().gather(1, at[..., None].expand(-1, -1, states.shape[-1])).float()

    with ExitStack() as stack, torch.inference_mode():
        stack.callback(hook.embedding().register_forward_pre_hook(begin, with_kwargs=True).remove)
        for module in {id(block): block for block in blocks}.values():
            stack.callback(module.register_forward_hook(read).remove)
        hook.forward(encoded.input_ids, encoded.attention_mask)
    if missing := [str(number) for number in range(len(blocks)) if number not in found]:
        raise CaptureError(
            f"{type(hook).__name__}.layers(): block {', '.join(missing)} did not run in a pass over a prompt; all of "
            f"{len(blocks)} must. Check layers() of the hook."
        )
    for number, states in found.items():
        if not bool(torch.isfinite(states).all()):
            raise CaptureError(
                f"block {number}: a state of a prompt is NaN or infinite. Load the model in float32 or bfloat16."
            )
    return [found[number] for number in range(len(blocks))]


def _offsets(hook: Hook, ids: Any, encoded: Encoded) -> torch.Tensor:
    """[B] int64: how far to the right of its column in the batch each row's own token stands in the pass.

    Raises:
        CaptureError: the pass shows other tokens than the prompts.
    """
    width, mask = encoded.input_ids.shape[1], encoded.attention_mask.bool()
    if isinstance(ids, torch.Tensor) and ids.dim() == 2 and len(ids) == len(mask) and ids.shape[1] >= width:
        seen, home = ids.to(mask.device), torch.arange(width, device=mask.device)[None]
        padding = (~mask).sum(1)
        for offsets in (torch.zeros_like(padding), -padding):
            moved = seen.gather(1, (home + offsets[:, None]).clamp(min=0))
            if bool(((moved == encoded.input_ids) | ~mask).all()):
                return offsets
    raise CaptureError(
        f"{type(hook).__name__}.forward(): the embedding received other tokens than the prompts, so nobody can say "
        "where their tokens stand. Directions need forward() to read prompts as they are."
    )

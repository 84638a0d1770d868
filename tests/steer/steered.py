"""Random directions, requests of the toy, and what a steering changes, seen from outside."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import CANVAS

import sri_sdk
from sri_sdk.hook import Hook
from sri_sdk.steer.direction import Direction


def direction_for(hook: Hook, *, each: bool = False, seed: int = 0) -> Direction:
    """Random unit vectors; one, or one for each block."""
    blocks, width = len(hook.layers()), hook.hidden_size()
    vectors = np.random.default_rng(seed).normal(size=(blocks if each else 1, width))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Direction("random", vectors, "nothing", np.zeros((2, blocks), np.float32), {})


@dataclass
class Changes:
    """What one module put out, pass by pass, and what the model went on with."""

    ids: list[torch.Tensor] = field(default_factory=list)
    """[B, L] token ids of each pass."""
    before: list[torch.Tensor] = field(default_factory=list)
    after: list[torch.Tensor] = field(default_factory=list)

    def rows(self) -> list[torch.Tensor]:
        """[B, L] bool of each pass: states that are others afterwards."""
        return [(one != two).any(-1) for one, two in zip(self.before, self.after, strict=True)]


def states(output: Any) -> torch.Tensor:
    found = output[0] if isinstance(output, tuple) else output
    return found.detach().clone()


@contextmanager
def changes(hook: Hook, *args: Any, block: int = 0, **options: Any) -> Iterator[tuple[Changes, Any]]:
    """Steers, and looks at one block on both sides of it."""
    found, module = Changes(), hook.layers()[block]
    with sri_sdk.steer(hook, *args, **options) as steering, ExitStack() as stack:
        stack.callback(hook.embedding().register_forward_hook(lambda _m, a, _o: found.ids.append(a[0].clone())).remove)
        # In front of the steering, and behind it.
        first = module.register_forward_hook(lambda _m, _a, o: found.before.append(states(o)), prepend=True)
        last = module.register_forward_hook(lambda _m, _a, o: found.after.append(states(o)))
        stack.callback(first.remove)
        stack.callback(last.remove)
        yield found, steering


IDS = torch.randint(3, 30, (3, 6), generator=torch.Generator().manual_seed(1))


def hooks_on(model: torch.nn.Module) -> int:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")
    return sum(len(getattr(module, table)) for module in model.modules() for table in tables)


def masked(ids: torch.Tensor = IDS) -> torch.Tensor:
    return torch.cat([ids, torch.ones(len(ids), CANVAS, dtype=torch.int64)], dim=1)


def projections(states: torch.Tensor, hook: ToyHook) -> torch.Tensor:
    return states @ torch.from_numpy(direction_for(hook).vectors[0])

"""The check of `layers()`: the residual blocks, by what runs and by what each hands to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch

from sri_sdk.errors import ConformanceError
from sri_sdk.testing._hook_case import HookCase, subject

Event = tuple[torch.nn.Module, torch.Tensor | None, torch.Tensor | None]
"""A module that ran, the states [B, L, D] it read, and those it put out."""


def layers_are_the_blocks(case: HookCase) -> None:
    """All residual blocks, first to last: each reads what the one before it put out."""
    layers, names = list(case.hook.layers()), {id(m): name for name, m in case.hook.model.named_modules()}
    where = f"{subject(case)}.layers()"
    strays = [at for at, layer in enumerate(layers) if id(layer) not in names]
    if not layers or strays:
        found = f"number {strays[0]} is no module of the model" if strays else "the list is empty"
        raise ConformanceError(f"{where}: {found}. Return the residual blocks, first to last.")
    if any(case.hook.embedding() in layer.modules() for layer in layers):
        raise ConformanceError(
            f"{where}: lists the embedding, or what holds it, as a block; the first block reads what the embedding put "
            "out. transformers' hidden_states begin with the embedding, layer numbers do not."
        )
    shown = [f"`{names[id(layer)]}`" for layer in layers]
    _none_is_left_out(case, layers, names, where)
    with _recording(layers, case.hook.embedding()) as passes, torch.no_grad():
        case.generate(case.encoded)
    ran = [each for each in passes if each]
    if not ran:
        raise ConformanceError(f"{where}: none of {', '.join(shown[:4])} ran in a generation. Name what runs.")
    for index, events in enumerate(ran):
        order = [names[id(module)] for module, _, _ in events]
        if order != [names[id(layer)] for layer in layers]:
            raise ConformanceError(
                f"{where}: lists {', '.join(shown)}; in pass {index} they ran as "
                f"{', '.join(f'`{name}`' for name in order)}. List each block that runs, first to last."
            )
        _each_reads_the_one_before(where, events, names, index)


def _none_is_left_out(case: HookCase, layers: Sequence[torch.nn.Module], names: dict[int, str], where: str) -> None:
    """The blocks' own list has no others."""
    parent = case.hook.model.get_submodule(names[id(layers[-1])].rpartition(".")[0])
    mine = {id(layer) for layer in layers}
    left = [
        names[id(other)] for other in parent.children()
        if id(other) not in mine and (isinstance(parent, torch.nn.ModuleList) or type(other) is type(layers[-1]))
    ]  # fmt: skip
    if left:
        raise ConformanceError(
            f"{where}: leaves out {', '.join(f'`{name}`' for name in left)}, which stands beside "
            f"`{names[id(layers[-1])]}` ({len(layers)} of {len(layers) + len(left)} blocks). A guard's layer numbers "
            "count all of them."
        )


def _each_reads_the_one_before(where: str, events: list[Event], names: dict[int, str], index: int) -> None:
    # Not what the final norm reads: some families transform the states once more before it.
    for (one, _, out), (two, read, _) in pairwise(events):
        if out is None or read is None or (out.shape == read.shape and torch.equal(out, read)):
            continue
        raise ConformanceError(
            f"{where}: in pass {index}, `{names[id(two)]}` does not read what "
            f"`{names[id(one)]}` put out ({list(read.shape)} and {list(out.shape)}). Between two residual blocks "
            "nothing else runs: name whole blocks, not parts such as an MLP, and leave none out."
        )


@contextmanager
def _recording(layers: Sequence[torch.nn.Module], embedding: torch.nn.Module) -> Iterator[list[list[Event]]]:
    """Per pass, each begun by the embedding: what ran, in order, with [B, L, D] states."""
    passes: list[list[Event]] = []

    def note(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if not passes:
            passes.append([])
        passes[-1].append((module, _states((*args, *kwargs.values())), _states((output,))))

    handles = [embedding.register_forward_pre_hook(lambda *_: passes.append([]))]
    handles += [module.register_forward_hook(note, with_kwargs=True) for module in dict.fromkeys(layers)]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


def _states(given: Sequence[Any]) -> torch.Tensor | None:
    """The first [B, L, D] tensor of what a module was given or put out, as it is now."""
    flat = [part for each in given for part in (each if isinstance(each, tuple) else (each,))]
    found = next((x for x in flat if isinstance(x, torch.Tensor) and x.dim() == 3 and x.is_floating_point()), None)
    return None if found is None else found.detach().clone()

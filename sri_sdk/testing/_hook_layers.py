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
    shown = [f"`{names[id(layer)]}`" for layer in layers]
    _none_is_left_out(case, layers, names, where)
    with _recording(layers, case.hook.final_norm()) as passes, torch.no_grad():
        case.generate(case.encoded)
    ran = [each for each in passes if len(each) > 1]
    if not ran:
        raise ConformanceError(f"{where}: none of {', '.join(shown[:4])} ran in a generation. Name what runs.")
    for index, events in enumerate(ran):
        order = [names[id(module)] for module, _, _ in events[:-1]]
        if order != [names[id(layer)] for layer in layers]:
            raise ConformanceError(
                f"{where}: lists {', '.join(shown)}; in pass {index} they ran as "
                f"{', '.join(f'`{name}`' for name in order)}. List each block that runs, first to last."
            )
        _each_reads_the_one_before(where, events, names, index)


def _none_is_left_out(case: HookCase, layers: Sequence[torch.nn.Module], names: dict[int, str], where: str) -> None:
    """The blocks' own list has no others."""
    parent = case.hook.model.get_submodule(names[id(layers[0])].rpartition(".")[0])
    mine = {id(layer) for layer in layers}
    left = [
        names[id(other)] for other in parent.children()
        if id(other) not in mine and (isinstance(parent, torch.nn.ModuleList) or type(other) is type(layers[0]))
    ]  # fmt: skip
    if left:
        raise ConformanceError(
            f"{where}: leaves out {', '.join(f'`{name}`' for name in left)}, which stands beside "
            f"`{names[id(layers[0])]}` ({len(layers)} of {len(layers) + len(left)} blocks). A guard's layer numbers "
            "count all of them."
        )


def _each_reads_the_one_before(where: str, events: list[Event], names: dict[int, str], index: int) -> None:
    # Not the final norm: some families transform the states once more before it.
    for (one, _, out), (two, read, _) in pairwise(events[:-1]):
        if out is None or read is None or (out.shape == read.shape and torch.equal(out, read)):
            continue
        raise ConformanceError(
            f"{where}: in pass {index}, `{names[id(two)]}` does not read what "
            f"`{names[id(one)]}` put out ({list(read.shape)} and {list(out.shape)}). Between two residual blocks "
            "nothing else runs: name whole blocks, not parts such as an MLP, and leave none out."
        )


@contextmanager
def _recording(layers: Sequence[torch.nn.Module], norm: torch.nn.Module) -> Iterator[list[list[Event]]]:
    """Per pass: what ran, in order, the final norm last."""
    passes: list[list[Event]] = []
    running: list[Event] = []

    def note(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        running.append((module, _states((*args, *kwargs.values())), _states((output,))))
        if module is norm:
            passes.append(list(running))
            running.clear()

    modules = {id(module): module for module in (*layers, norm)}
    handles = [module.register_forward_hook(note, with_kwargs=True) for module in modules.values()]
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

"""Where in a model states can be changed: modules by site and block, and models whose modules nobody can reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.steer.where import Site, Where
from sri_sdk.structure import unwrapped


@dataclass(frozen=True, slots=True)
class Place:
    """One place at which states are changed."""

    site: Site
    block: int | None = None
    """Number of the block; None = the embedding."""
    prompts: bool = False
    """Whether it lies in a part of the model that only reads prompts."""

    def __str__(self) -> str:
        name = self.site if self.block is None else f"{self.site} {self.block}"
        return f"prompt {name}" if self.prompts else name


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One module, and what its runs within one pass are."""

    module: torch.nn.Module
    runs: tuple[Place | None, ...]
    """The place of each run in turn: several where blocks share a module. None = it is left alone."""


def points(hook: Hook, where: Where) -> list[Point]:
    """The modules whose outputs are changed.

    Raises:
        ConfigError: the family does not say where a site is.
    """
    found: list[tuple[Place, torch.nn.Module]] = []
    for site in where.sites:
        if site == "embedding":
            found.append((Place("embedding"), hook.embedding()))
        else:
            modules = hook.layers() if site == "block" else hook.sublayers(site)
            found += _numbered(hook, site, modules)
    if "block" in where.sites and (parts := hook.prompt_modules()) is not None:
        found += _numbered(hook, "block", parts[1], prompts=True)
    modules_of: dict[int, tuple[torch.nn.Module, list[Place | None]]] = {}
    for place, module in found:
        chosen = place.block is None or where.layers is None or place.block in where.layers
        modules_of.setdefault(id(module), (module, []))[1].append(place if chosen else None)
    return [Point(module, tuple(runs)) for module, runs in modules_of.values() if any(runs)]


def _numbered(
    hook: Hook, site: Site, modules: Sequence[torch.nn.Module], *, prompts: bool = False
) -> list[tuple[Place, torch.nn.Module]]:
    blocks = len(hook.layers())
    if len(modules) != blocks:
        raise ConfigError(
            f"{type(hook).__name__}: {len(modules)} modules for the {site} of {blocks} blocks; one per block is needed."
        )
    return [(Place(site, number, prompts), module) for number, module in enumerate(modules)]


def refuse_unreachable(model: Any) -> None:
    """Refuses models of which module hooks are not reliably called.

    Raises:
        ConfigError: the model, or a part of it, is compiled, or runs as copies in threads.
    """
    if type(model).__name__ == "DataParallel":
        raise ConfigError(
            "steer: DataParallel runs copies of the model in threads of its own, which no steering reaches. Spread the "
            "model over GPUs with a device_map, or steer in each process of DistributedDataParallel."
        )
    compiled = [name or "the model" for name, module in model.named_modules() if _is_compiled(module)]
    if type(model).__name__ == "OptimizedModule" or _is_compiled(unwrapped(model)):
        compiled.insert(0, "the model")
    if compiled:
        raise ConfigError(
            f"steer: {compiled[0]} is compiled, and compiled code may go on without what changes its states. Steer the "
            "model as it was before torch.compile()."
        )


def _is_compiled(module: Any) -> bool:
    own = vars(module)
    # The last one is how transformers keeps the compiled copy of a forward that it decodes with.
    return (
        type(module).__name__ == "OptimizedModule"
        or getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(own.get("forward"), "_torchdynamo_orig_callable")
        or "_compiled_call" in own
    )

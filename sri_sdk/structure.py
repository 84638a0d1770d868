"""Finding modules in a model, whatever it is wrapped in. For hooks: `fits` and the places a tap needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def unwrapped(model: Any) -> Any:
    """The model inside LoRA (PEFT), DistributedDataParallel or `torch.compile`; itself where there is none."""
    for _ in range(8):
        base = getattr(model, "get_base_model", None)
        inner = base() if callable(base) else None
        if inner is None and type(model).__name__ in ("DistributedDataParallel", "DataParallel"):
            inner = model.module
        if inner is None and type(model).__name__ == "OptimizedModule":
            inner = model._orig_mod
        if inner is None or inner is model:
            break
        model = inner
    return model


def class_names(model: Any) -> tuple[str, ...]:
    """Names of the unwrapped model's class and its bases, nearest first; a subclass of a family still is one."""
    return tuple(kind.__name__ for kind in type(unwrapped(model)).__mro__)


def submodule(model: Any, path: str) -> torch.nn.Module | None:
    """The module at a dotted path inside the unwrapped model; None = there is none."""
    found = unwrapped(model)
    for name in path.split("."):
        found = getattr(found, name, None)
        if found is None:
            return None
    return found if hasattr(found, "register_forward_hook") else None


def first_path(model: Any, paths: Iterable[str]) -> str | None:
    """The first dotted path that leads to a module of the unwrapped model; None = none does."""
    return next((path for path in paths if submodule(model, path) is not None), None)


def missing_paths(model: Any, paths: Iterable[str]) -> list[str]:
    """Dotted paths that lead to no module, for the reason of a `Match`."""
    return [path for path in paths if submodule(model, path) is None]

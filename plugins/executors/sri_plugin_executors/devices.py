"""Accelerators: which a worker sees, and which a config names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sri_sdk.errors import ConfigError

_NUMBERED = re.compile(r"(?:cuda:)?(\d+)")


def visible() -> list[str]:
    """The accelerators that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip()]
    import torch

    return [str(at) for at in range(torch.cuda.device_count())]


def refuse_unseen(models: Sequence[Mapping[str, Any]], each: float) -> None:
    """Refuses models that name an accelerator which a worker does not see.

    Args:
        models: `model.options` of each.
        each: accelerators of a worker; it counts them from 0.

    Raises:
        ConfigError: a model's `device` or `device_map` names another one.
    """
    seen = max(1, int(each))
    for options in models:
        for option in ("device", "device_map"):
            for number in _numbers(options.get(option)):
                if number >= seen:
                    raise ConfigError(
                        f"workers: model.options.{option} names accelerator {number}, and each worker sees {seen}, "
                        f"counted from 0. Write cuda:0 there, or give each worker {number + 1} (the executor's "
                        "`devices`, in Python)."
                    )


def _numbers(written: Any) -> list[int]:
    """The accelerators that an option names by number."""
    if isinstance(written, Mapping):
        return [number for each in written.values() for number in _numbers(each)]
    if isinstance(written, bool) or not isinstance(written, int | str):
        return []
    found = _NUMBERED.fullmatch(str(written))
    return [] if found is None else [int(found[1])]

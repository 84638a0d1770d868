"""The weights of a live model, wherever they are: in memory, behind accelerate's hooks, or made by parametrizations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from sri_sdk.capture.modules import accelerate_hooks, compiled_again, plain_name
from sri_sdk.errors import ModelMismatch


def stored_tensors(model: Any) -> list[tuple[str, torch.Tensor]]:
    """Every weight by its plain name, as the function that runs uses it.

    Args:
        model: the live model, also wrapped, compiled, quantised or offloaded.

    Returns:
        Tensors [...] of any shape and dtype, in an order that depends on their names alone.

    Raises:
        ModelMismatch: some of them cannot be read.
    """
    values = _as_computed(model, dict(model.state_dict()))
    order = {name: name.replace("._orig_mod.", ".") for name in sorted(values)}
    # Models that compile parts of themselves keep them as modules of their own: the same weights again.
    again = compiled_again(model)
    kept = [n for n, plain in order.items() if n == plain or not (plain in values or n.startswith(again))]
    found: list[tuple[str, torch.Tensor]] = []
    missing = _scattered(model)
    for name in sorted(kept, key=order.__getitem__):
        for part, tensor in _parts(name, values[name]):
            held = elsewhere(model, part) if tensor.is_meta else tensor
            if held is None:
                missing.append(part)
            else:
                found.append((plain_name(part), held))
    if missing:
        what = "no weight can be read" if not found else f"{len(missing)} weights cannot be read, such as {missing[0]}"
        raise ModelMismatch(
            f"{type(model).__name__}: {what}: their values are not in this process, and no hook of accelerate says "
            "where they are, so nothing says which model this is. Load it with its weights in memory, or offload it "
            "with accelerate (device_map)."
        )
    return found


def elsewhere(model: Any, name: str) -> torch.Tensor | None:
    """What accelerate keeps, [...] of any shape and dtype, of a tensor that is on the meta device between passes.

    None = none of its hooks knows.
    """
    path = name.split(".")
    for cut in range(len(path) - 1, -1, -1):
        try:
            module = model.get_submodule(".".join(path[:cut]))
        except AttributeError:
            continue
        for hook in accelerate_hooks(module):
            weights = getattr(hook, "weights_map", None)
            try:
                tensor = None if weights is None else weights[".".join(path[cut:])]
            except KeyError:
                continue
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                return tensor
    return None


def _as_computed(model: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The state of a model, parametrized tensors as they are computed."""
    for name, module in model.named_modules():
        lists = getattr(module, "parametrizations", None)
        if not isinstance(lists, torch.nn.ModuleDict):
            continue
        prefix = f"{name}." if name else ""
        for tensor, steps in lists.items():
            values = {k: v for k, v in values.items() if not k.startswith(f"{prefix}parametrizations.{tensor}.")}
            training = [(each, each.training) for each in steps.modules()]
            try:
                # Some estimate something anew each time while they train.
                steps.eval()
                with torch.no_grad():
                    values[f"{prefix}{tensor}"] = steps()
            finally:
                for each, was in training:
                    each.training = was
    return values


def _scattered(model: Any) -> list[str]:
    """Weights of which this process has no more than a part, as DeepSpeed's ZeRO 3 leaves them."""
    return [name for name, each in model.named_parameters() if hasattr(each, "ds_id") and not each.numel()]


def _parts(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The plain tensors [...] of any shape and dtype that an entry of a state consists of; quantised ones have many."""
    if isinstance(value, torch.Tensor):
        yield from _plain(name, value)
    elif isinstance(value, Mapping):
        for key, each in sorted(value.items(), key=lambda item: str(item[0])):
            yield from _parts(f"{name}.{key}", each)
    elif isinstance(value, tuple | list):
        for place, each in enumerate(value):
            yield from _parts(f"{name}.{place}", each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, torch.tensor(float(value), dtype=torch.float64)


def _plain(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    if tensor.is_quantized:
        yield f"{name}.values", tensor.int_repr()
        if tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
            yield f"{name}.scales", tensor.q_per_channel_scales()
            yield f"{name}.zeros", tensor.q_per_channel_zero_points()
        else:
            yield f"{name}.scales", torch.tensor([tensor.q_scale(), tensor.q_zero_point()], dtype=torch.float64)
    elif tensor.layout is torch.sparse_coo:
        yield f"{name}.places", tensor.coalesce().indices()
        yield f"{name}.values", tensor.coalesce().values()
    elif tensor.is_complex():
        yield name, torch.view_as_real(tensor)
    elif type(tensor).__name__ != "DTensor" and hasattr(tensor, "__tensor_flatten__"):
        # A tensor subclass of a quantiser: its parts say what it is.
        for attribute in sorted(tensor.__tensor_flatten__()[0]):
            yield from _parts(f"{name}.{attribute}", getattr(tensor, attribute))
    else:
        yield name, tensor

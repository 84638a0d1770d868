"""What a model computes besides its weights: classes and constants of its modules, and code that others put on top.

Two models with the same tensors may still be two functions.
"""

from __future__ import annotations

import functools
import hashlib
import types
import weakref
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch.nn.modules import module as torch_modules

from sri_sdk.files import digest

_OURS = frozenset({"torch", "transformers", "accelerate", "peft", "sri_sdk", "functools", "contextlib"})
"""Packages whose hooks and wrappers record, place or dispatch and leave the function as it is. What an adapter of PEFT
does is covered by itself."""
_WRAPPERS = ("OptimizedModule", "DistributedDataParallel", "FullyShardedDataParallel")
_REPLACED = ("forward", "_old_forward", "__call__")
_PLACES = frozenset((*_REPLACED, "_hf_hook"))
"""Attributes of a module under which somebody may have put code."""
Layers = list[tuple[weakref.ref[types.FunctionType], types.CodeType]]
_own_forwards: MutableMapping[type, Layers] = weakref.WeakKeyDictionary()
"""Class -> its forward and what that wraps, each with its code, where nothing of it is foreign."""
MOST_NAMED = 3
"""Pieces of foreign code that a fingerprint names; it counts the others."""


MOST_MODULES = 1_000_000
"""A model with more is taken for one that contains itself."""


def every_module(model: Any) -> list[torch.nn.Module]:
    """All modules of a model, level by level from the model itself; one in two places stands there twice.

    Raises:
        RecursionError: it has more than `MOST_MODULES`.
    """
    found = [model]
    for module in found:
        if children := module._modules:
            found += [each for each in children.values() if each is not None]
        if len(found) > MOST_MODULES:
            raise RecursionError(f"{type(model).__name__} has more than {MOST_MODULES:,} modules, or contains itself")
    return found


def walk(model: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """Every module by its plain name, without what adapters, compilers and parametrizations put around it."""
    again = compiled_again(model)
    for name, module in model.named_modules(remove_duplicate=False):
        kind = type(module)
        if f"{name}.".startswith(again):
            continue
        if kind.__module__.partition(".")[0] == "peft" or kind.__name__ in _WRAPPERS:
            continue
        if any(mark in name for mark in ("lora_", "adapter", ".parametrizations")) or name.startswith(
            "parametrizations"
        ):
            continue
        yield plain_name(name), module


def compiled_again(model: Any) -> tuple[str, ...]:
    """Beginnings of names under which a model keeps compiled copies of parts that it also has as they are."""
    modules = list(model.named_modules(remove_duplicate=False))
    own = {id(module) for name, module in modules if "_orig_mod" not in name.split(".")}
    return tuple(f"{n}." for n, m in modules if n.endswith("._orig_mod") and id(m) in own)


def plain_name(name: str) -> str:
    """Name of a module or tensor without what a LoRA wrapper or `torch.compile` adds to it."""
    name = f".{name}".replace("._orig_mod", "").removeprefix(".")
    return f"{name}.".removeprefix("base_model.model.").removesuffix(".").replace(".base_layer", "")


def structure(model: Any) -> list[list[Any]]:
    """Name, class and constants of every module, as JSON.

    Constants are its floats, such as an epsilon or a scaling; integers and flags are often counters, so they are not
    covered.
    """
    # The root's class is a fact by itself, `architecture`.
    modules = sorted(((name, module) for name, module in walk(model)), key=lambda found: found[0])
    return [[name, _class_of(module) if name else "", _constants(module)] for name, module in modules]


def unsaved_buffers(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Buffers [...] of any shape and dtype that no checkpoint has, by plain name, such as rotary frequencies.

    Those that a model recomputes as texts grow longer are left out: caches, and what dynamic rotary embeddings make.
    """
    for name, module in walk(model):
        for buffer in sorted(getattr(module, "_non_persistent_buffers_set", ())):
            tensor = module._buffers.get(buffer)
            # accelerate offloads none of them, so what is on the meta device belongs to a model without any weights.
            if tensor is None or tensor.is_meta or "cache" in buffer or _is_dynamic(module):
                continue
            yield f"{name}.{buffer}".removeprefix("."), tensor


def foreign_code(model: Any, modules: Sequence[torch.nn.Module] | None = None) -> str:
    """Steerings, hooks and replaced forwards that are not the model's own, for people; empty = there are none.

    What they do can be compared and not judged: equal code over equal values counts as the same.

    Args:
        model: the live model.
        modules: what `every_module` finds in it; None = that is asked now.
    """
    if _is_bare(every_module(model) if modules is None else modules):
        return ""
    found = [
        *_steerings(model),
        *(_told("forward hook for all modules", "", call) for call in _all_modules_hooks() if _is_foreign(call)),
        *(each for name, module in model.named_modules() for each in _on(name, module)),
        *_on_classes(model),
    ]
    if any(map(_drops, model.modules())):
        found.append("dropout in training mode (call model.eval())")
    more = f" and {len(found) - MOST_NAMED} more ({digest(found)[:8]})" if len(found) > MOST_NAMED else ""
    return ", ".join(found[:MOST_NAMED]) + more


def accelerate_hooks(module: torch.nn.Module) -> list[Any]:
    """Hooks of accelerate on a module; several may be in one."""
    hook = getattr(module, "_hf_hook", None)
    return [] if hook is None else list(getattr(hook, "hooks", (hook,)))


def _class_of(module: torch.nn.Module) -> str:
    kind: type = type(module)
    while kind.__module__.startswith("torch.distributed") or hasattr(module, "parametrizations"):
        # They make a subclass on the spot; weights are read as they are computed.
        kind = kind.__bases__[0]
        if not kind.__name__.startswith(("Parametrized", "FSDP")):
            break
    # Not the whole path: remote code lies in another folder on each machine.
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def _constants(module: torch.nn.Module) -> dict[str, str]:
    if _is_dynamic(module):
        return {}
    return {k: repr(v) for k, v in sorted(vars(module).items()) if isinstance(v, float) and not k.startswith("_")}


def _is_dynamic(module: torch.nn.Module) -> bool:
    kind = str(getattr(module, "rope_type", ""))
    return "dynamic" in kind or kind == "longrope"


def _is_bare(modules: Sequence[torch.nn.Module]) -> bool:
    """Whether nobody put anything on modules or their classes. It is the usual case, and needs no module's name."""
    kinds, parts = set(map(type, modules)), [vars(module) for module in modules]
    if any(map(_is_foreign, _all_modules_hooks())) or not all(map(_has_own_forward, kinds)):
        return False
    marked = [
        module
        for module, part in zip(modules, parts, strict=True)
        if part.get("_forward_hooks", True) or part.get("_forward_pre_hooks", True) or not _PLACES.isdisjoint(part)
    ]
    if any(_steers(call) for module in marked for call in list(module._forward_hooks.values())):
        return False
    if any(told for module in marked for told in _on("", module)):
        return False
    return not any(map(_drops, modules)) if any(map(_is_dropout, kinds)) else True


def _is_dropout(kind: type) -> bool:
    return issubclass(kind, torch.nn.modules.dropout._DropoutNd)


def _drops(module: torch.nn.Module) -> bool:
    return _is_dropout(type(module)) and module.training and bool(module.p)


def _steers(call: Any) -> bool:
    return callable(getattr(call, "changes_states", None))


def _steerings(model: Any) -> list[str]:
    """What steerings of ours do to the states of this thread or task, each once."""
    calls = [call for module in model.modules() for call in list(module._forward_hooks.values())]
    told = (call.changes_states() for call in calls if _steers(call))
    return list(dict.fromkeys(each for each in told if each is not None))


def _all_modules_hooks() -> list[Any]:
    tables = (torch_modules._global_forward_hooks, torch_modules._global_forward_pre_hooks)
    return [call for table in tables for call in table.values()]


def _on(name: str, module: torch.nn.Module) -> Iterator[str]:
    """What others put on one module."""
    for table in (module._forward_pre_hooks, module._forward_hooks):
        # A copy: a watch that begins in another thread puts its hooks there meanwhile.
        yield from (_told("forward hook", name, call) for call in list(table.values()) if _is_foreign(call))
    for attribute in _REPLACED:
        call = vars(module).get(attribute)
        if call is not None and _is_foreign(call, module=module):
            yield _told("replaced forward", name, call)
    for hook in accelerate_hooks(module):
        if type(hook).__module__.partition(".")[0] not in _OURS:
            yield _told("accelerate hook", name, hook)


def _is_own_method(call: Any, module: torch.nn.Module) -> bool:
    """Whether a module merely chose among the methods of its class, as some do when they are built."""
    written = getattr(call, "__func__", None)
    own = any(written is each for kind in type(module).__mro__ for each in vars(kind).values())
    return written is not None and own and call.__self__ is module


def _on_classes(model: Any) -> Iterator[str]:
    """Classes whose forward somebody replaced for all their modules."""
    seen: dict[type, None] = dict.fromkeys(type(module) for module in model.modules())
    for kind in seen:
        owner = _owner(kind)
        if owner is not None and _is_foreign(vars(owner)["forward"], owner):
            yield _told("replaced forward", f"class {owner.__name__}", vars(owner)["forward"])


def _owner(kind: type) -> type | None:
    """The class that the forward of a class is written in; None = it has none."""
    return next((each for each in kind.__mro__ if "forward" in vars(each)), None)


def _has_own_forward(kind: type) -> bool:
    """Whether the forward of a class is its own. What was found of the very same functions is not asked again."""
    layers = _layers(getattr(kind, "forward", None))
    if layers is not None and _own_forwards.get(kind) == layers:
        return True
    owner = _owner(kind)
    if owner is None:
        return True
    call = vars(owner)["forward"]
    if _is_foreign(call, owner):
        return False
    if layers is not None and isinstance(call, types.FunctionType):
        _own_forwards[kind] = layers
    return True


def _layers(call: Any) -> Layers | None:
    """A function and what it wraps, outermost first, each with its code; None = something in it is no function."""
    found = []
    while isinstance(call, types.FunctionType):
        found.append((weakref.ref(call), call.__code__))
        call = _inner(call)
    return found if call is None else None


def _is_foreign(call: Any, owner: type | None = None, module: torch.nn.Module | None = None) -> bool:
    """Whether any layer of a callable comes from somebody else than the model and the libraries around it.

    Args:
        call: what is called.
        owner: class that it stands in; None = it stands in none.
        module: module that it was put on; None = on none.
    """
    known = _OURS if owner is None else _OURS | {each.__module__.partition(".")[0] for each in owner.__mro__}
    for _ in range(16):
        if isinstance(call, functools.partial):
            call = call.func
        if module is not None and _is_own_method(call, module):
            return False
        if isinstance(call, types.MethodType):
            call = call.__func__
        if not isinstance(call, types.FunctionType):
            return call is not None and type(call).__module__.partition(".")[0] not in {*known, "builtins"}
        # Where it was written: `functools.wraps` copies names, and these globals are its own.
        if str(call.__globals__.get("__name__")).partition(".")[0] not in known:
            return True
        inner = _inner(call)
        if inner is None:
            return owner is not None and not _is_written_in(call, owner)
        call = inner
    return True


def _inner(call: Any) -> Any:
    """What a function wraps; None = nothing."""
    return getattr(call, "_torchdynamo_orig_callable", None) or getattr(call, "__wrapped__", None)


def _is_written_in(call: types.FunctionType, owner: type) -> bool:
    """Whether a function stands in a class or in one of its parents, or belongs to a library around it."""
    place = call.__code__.co_qualname.rpartition(".")[0]
    package = str(call.__globals__.get("__name__")).partition(".")[0]
    return package in _OURS or any(place == kind.__qualname__ for kind in owner.__mro__)


def _told(what: str, where: str, call: Any) -> str:
    inner = call.func if isinstance(call, functools.partial) else call
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    return f"{what} {name}{f' on {where}' if where else ''} ({digest(_content(call, 4))[:8]})"


def _content(value: Any, depth: int) -> Any:
    """What a callable is made of, as JSON: its code, and the values it carries."""
    if value is None or isinstance(value, str | int | float | bool):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return ["tensor", list(value.shape), None if value.is_meta else _sum_of(value)]
    if isinstance(value, types.CodeType):
        return [value.co_code.hex(), list(value.co_names), [_content(each, depth) for each in value.co_consts]]
    if depth <= 0:
        return type(value).__qualname__
    if isinstance(value, functools.partial):
        return _content([value.func, value.args, value.keywords], depth)
    if isinstance(value, types.MethodType):
        return [_content(value.__func__, depth), _content(value.__self__, depth - 1)]
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        return [_content(value.__code__, depth), _content([cells, value.__defaults__, value.__kwdefaults__], depth - 1)]
    if isinstance(value, Mapping):
        return [[str(key), _content(each, depth - 1)] for key, each in list(value.items())[:64]]
    if isinstance(value, Sequence):
        return [_content(each, depth - 1) for each in value[:64]]
    if isinstance(value, torch.nn.Module):
        # One of the model's own, most likely, whose weights are covered.
        return type(value).__qualname__
    return [type(value).__qualname__, _content(vars(value) if hasattr(value, "__dict__") else {}, depth - 1)]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _sum_of(tensor: torch.Tensor) -> str:
    values = tensor.detach().reshape(-1)[:4096].to(torch.float64 if tensor.is_floating_point() else torch.int64)
    return hashlib.sha256(values.cpu().numpy().tobytes()).hexdigest()

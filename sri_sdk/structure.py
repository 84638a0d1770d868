"""Finding modules in a model, also inside its wrappers. For hooks: `fits`, and the modules that a tap needs.

A hook for many architectures has a table of `ModulePaths`, one row for each way to lay out a model:

    TABLE = (LLAMA_PATHS, ModulePaths("transformer.ln_f", "transformer.h", "transformer.wte"), ...)
    paths = find_paths(model, TABLE)

A hook of one family has one row, and inherits from `FixedPaths` what follows from it.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from sri_sdk.errors import SriError
from sri_sdk.records import Match

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
    """Names of the unwrapped model's class and its bases, nearest first.

    A name among the bases says nothing about how the model generates: ask `not_of_family`.
    """
    return tuple(kind.__name__ for kind in type(unwrapped(model)).__mro__)


@cache
def _forward_takes(kind: Hashable, name: str) -> bool:
    for base in inspect.getmro(cast("type[Any]", kind)):
        if (forward := vars(base).get("forward")) is None:
            continue
        parameters = inspect.signature(forward).parameters
        if name in parameters:
            return True
        # What a forward takes as **kwargs, it passes on to that of its base.
        if all(each.kind is not each.VAR_KEYWORD for each in parameters.values()):
            return False
    return False


def takes_argument(model: Any, name: str) -> bool:
    """Whether the forward of a model's class, or the one that it passes its keyword arguments on to, has this argument.

    Args:
        model: the model as it is called.
        name: of the argument.
    """
    return _forward_takes(cast("Hashable", type(model)), name)


CACHE, OLDER_CACHE = "cache", "past_key_values"
"""The argument and output of a forward pass that holds keys and values: from transformers 5.24 on, and before."""


def cache_argument(model: Any) -> str:
    """How a model's forward calls its key-value cache; the older name where it takes neither.

    Args:
        model: the model, wrapped or not.
    """
    return CACHE if takes_argument(unwrapped(model), CACHE) else OLDER_CACHE


def cache_of(output: Any) -> Any:
    """The key-value cache in what a model's forward returned, under either name; None = there is none.

    States without a sequence, as of Mamba, are none: from transformers 5.24 on they come under the same name.
    """
    found = getattr(output, CACHE, None)
    if found is None or not hasattr(found, "get_seq_length"):
        return getattr(output, OLDER_CACHE, None)
    try:
        found.get_seq_length()
    except ValueError:
        return None
    return found


def with_older_name(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keyword arguments of a call in which a cache also has the older name: hooks read one name in all releases.

    Args:
        kwargs: as the model was called. A `cache` that holds no keys and values stays what it is.
    """
    cache = kwargs.get(CACHE)
    if OLDER_CACHE in kwargs or not (hasattr(cache, "get_seq_length") or isinstance(cache, tuple | list)):
        return kwargs
    return {**kwargs, OLDER_CACHE: cache}


def not_of_family(
    model: Any, classes: Sequence[str] | Callable[[str], bool], methods: Iterable[str] = (), *, looked: str = ""
) -> Match | None:
    """For `fits`: why a model's class is not of the family; None = it is, or a subclass that generates as its base.

        def fits(cls, model):
            if stranger := not_of_family(model, CLASSES, cls.calls):
                return stranger

    A subclass with a method of its own among `methods` generates in a way that the hook was not written for. It is left
    to users who name the hook. What a class with the family's own name does is judged by what runs.

    Args:
        model: the model, wrapped or not.
        classes: names of the family's classes, or whether a name is one.
        methods: what the family's generation is made of beside `forward`, such as `Hook.calls`.
        looked: for the message, what the hook looks for; empty = the names.
    """
    inner = unwrapped(model)
    kinds, found = type(inner).__mro__, type(inner).__name__
    named = classes if callable(classes) else classes.__contains__
    base = next((i for i, kind in enumerate(kinds) if named(kind.__name__)), None)
    if base is None:
        wanted = looked or f"class {' or '.join(classes)}"  # type: ignore[arg-type]  # a test of names has a text
        return Match(False, f"looked for {wanted}, found {found}")
    loop = dict.fromkeys(("forward", "__call__", *methods))
    own = [f"{kind.__name__}.{name}" for kind in kinds[:base] for name in loop if name in vars(kind)]
    if _is_replaced(inner, "forward"):
        own.append("forward, set on the object")
    if not own:
        return None
    descent = f"class {found} inherits from {kinds[base].__name__}" if base else f"class {found}"
    return Match(
        False, f"{descent}, but has its own {', '.join(own)}: its passes may mean something else. Write a hook for it, "
        "or name this one if they mean the same; what runs is then checked as always",
        if_named=True,
    )  # fmt: skip


def _is_replaced(model: Any, name: str) -> bool:
    """Whether a method of this object is another than its class's; what accelerate or a compiler wraps is the same."""
    found = vars(model).get(name) if hasattr(model, "__dict__") else None
    if found is None:
        return False
    inner = inspect.unwrap(found)
    inner = getattr(inner, "__func__", inner)
    return not any(inspect.unwrap(vars(kind)[name]) is inner for kind in type(model).__mro__ if name in vars(kind))


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


def module_at(model: Any, path: str) -> torch.nn.Module:
    """The module at a dotted path inside the unwrapped model.

    Raises:
        SriError: there is none.
    """
    found = submodule(model, path)
    if found is None:
        raise SriError(f"{class_names(model)[0]} has no module at {path}. Ask the hook's fits() before you build it.")
    return found


def modules_at(model: Any, path: str) -> list[torch.nn.Module]:
    """The modules of the list at a dotted path, in their order, such as the residual blocks.

    Raises:
        SriError: there is no such list.
    """
    # Not its children(): they leave out a block that stands there twice.
    return list(cast("torch.nn.ModuleList", module_at(model, path)))


class ModulePaths(NamedTuple):
    """Dotted paths inside the unwrapped model. `{base}` stands for the name that transformers gives a model's body."""

    norm: str
    """The last norm before the matrix that makes logits."""
    layers: str
    """The residual blocks."""
    embedding: str
    """The token embedding."""


LLAMA_PATHS = ModulePaths("model.norm", "model.layers", "model.embed_tokens")
"""As in Llama, and in most models that were made from it."""


class FixedPaths:
    """For hooks of one family: where its modules are, said once. It stands before `Hook`.

    class MyHook(FixedPaths, Hook):
        CLASSES = ("MyModelForCausalLM",)
        PATHS = LLAMA_PATHS
        PARTS = ("lm_head",)
    """

    CLASSES: ClassVar[tuple[str, ...]]
    """Class names of the family's models."""
    PATHS: ClassVar[ModulePaths]
    PARTS: ClassVar[tuple[str, ...]] = ()
    """Dotted paths of what a model of the family has beside: its head, if that is a module."""
    LOOP: ClassVar[tuple[str, ...]] = ()
    """Methods that a generation is made of beside the hook's `calls`: a subclass with its own is left to users who name
    the hook."""
    calls: ClassVar[tuple[str, ...]]
    model: Any

    @classmethod
    def fits(cls, model: Any) -> Match:
        """By class name and structure, and by what `unlike` finds."""
        stranger, name = not_of_family(model, cls.CLASSES, (*cls.calls, *cls.LOOP)), class_names(model)[0]
        if stranger is not None and not stranger.if_named:
            return stranger
        missing = missing_paths(model, (*reversed(cls.PATHS), *cls.PARTS))  # As a pass goes through them.
        if unlike := f"without {', '.join(missing)}" if missing else cls.unlike(model):
            return Match(False, f"a {name} {unlike}")
        return stranger or Match(True, f"class {name}, final norm at {cls.PATHS.norm}")

    @classmethod
    def unlike(cls, model: Any) -> str:
        """What else is not as in the family's models, to follow the class's name in a message; empty = nothing."""
        return ""

    def final_norm(self) -> torch.nn.Module:
        """The last norm before the matrix that makes logits."""
        return module_at(self.model, self.PATHS.norm)

    def layers(self) -> Sequence[torch.nn.Module]:
        """The residual blocks, first to last."""
        return modules_at(self.model, self.PATHS.layers)

    def embedding(self) -> torch.nn.Module:
        """The token embedding."""
        return module_at(self.model, self.PATHS.embedding)

    def hidden_size(self) -> int:
        """D, as the config calls it."""
        return int(unwrapped(self.model).config.hidden_size)


def find_paths(model: Any, table: Sequence[ModulePaths]) -> ModulePaths | None:
    """The first row of which every path leads to a module, with the model's own names; None = no row does."""
    return next((row for row in _named_rows(model, table) if not missing_paths(model, row)), None)


def paths_of(model: Any, table: Sequence[ModulePaths]) -> ModulePaths:
    """As `find_paths`, of a model that must have a row.

    Raises:
        SriError: it has none; the closest row, and what is missing.
    """
    found = find_paths(model, table)
    if found is None:
        raise SriError(
            f"{class_names(model)[0]}: no known place of norm and blocks: {closest_paths(model, table)}. Write a hook: "
            "docs/add-a-model-family.md."
        )
    return found


def closest_paths(model: Any, table: Sequence[ModulePaths]) -> str:
    """For messages: the row that comes closest, and what the model lacks of it."""
    best = min(_named_rows(model, table), key=lambda row: len(missing_paths(model, row)))
    return f"closest {' / '.join(best)}, without {', '.join(missing_paths(model, best))}"


SUBLAYERS: dict[str, tuple[str, ...]] = {
    "attention": (
        "post_self_attn_layernorm", "post_attention_layernorm", "attention.output.dense", "self_attention.dense",
        "self_attn", "attn", "attention", "self_attention", "attn_out", "o_proj",
    ),
    "mlp": (
        "post_mlp_layernorm", "post_feedforward_layernorm", "output.dense", "mlp.dense_4h_to_h", "ffn.down_proj",
        "mlp", "ffn", "feed_forward", "ff", "block_sparse_moe", "ff_out", "fc2",
    ),
}  # fmt: skip
"""Usual names, inside a block, of what attention and MLP add to the residual stream; the first that is there counts.
Longer ones come first: the module around them returns more than what is added (BERT, Bloom, MPT)."""
_SANDWICH = {"post_attention_layernorm": "post_feedforward_layernorm"}
"""Norm behind attention -> the one that a block must have as well; in others it is the norm before the MLP (Llama)."""


def sublayers_of(blocks: Sequence[torch.nn.Module], kind: str, family: str) -> list[torch.nn.Module]:
    """In each block, the module whose output is what attention or MLP add to the residual stream, by its usual names.

    Args:
        blocks: the residual blocks.
        kind: `attention` or `mlp`.
        family: for the message, the hook.

    Raises:
        SriError: a block has none of them.
    """
    found = []
    for number, block in enumerate(blocks):
        module = next((m for name in SUBLAYERS[kind] if (m := _part(block, name)) is not None), None)
        if module is None:
            parts = ", ".join(name for name, _ in block.named_children())
            raise SriError(
                f"{family}.sublayers({kind!r}): block {number} has none of {', '.join(SUBLAYERS[kind])}, but {parts}. "
                "Override sublayers() in the hook, or steer the blocks themselves."
            )
        found.append(module)
    return found


def _part(block: torch.nn.Module, path: str) -> torch.nn.Module | None:
    also = _SANDWICH.get(path)
    return None if also is not None and submodule(block, also) is None else submodule(block, path)


def _named_rows(model: Any, table: Sequence[ModulePaths]) -> Iterator[ModulePaths]:
    base = getattr(unwrapped(model), "base_model_prefix", "") or "model"
    return (_named(row, base) for row in table)


@lru_cache(maxsize=256)
def _named(row: ModulePaths, base: str) -> ModulePaths:
    return ModulePaths(*(path.format(base=base) for path in row))


@contextmanager
def head_reads(model: Any, head: Any, pick: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[bool]:
    """Has a model make logits of some rows only, in the passes that this thread runs inside the block.

    For `Hook.forward_last` of families whose model has no argument for that. The states are those of any pass.

    Args:
        model: the model.
        head: the module that makes logits of states, as `Hook.head` gives it.
        pick: gives the rows wanted of states [B, L, D].

    Yields:
        Whether it does so: not where the head is no linear layer, as where it is tied to the embedding, nor in compiled
        code, which would be compiled anew.
    """
    import torch

    compiled = any(getattr(each, "_compiled_call_impl", None) for each in (model, unwrapped(model), head))
    if compiled or hasattr(model, "_orig_mod") or not isinstance(head, torch.nn.Linear):
        yield False
        return
    handle = head.register_forward_pre_hook(_Picked(pick))
    try:
        yield True
    finally:
        handle.remove()


class _Picked:
    """A pre-hook of a head, which leaves alone what other threads run."""

    def __init__(self, pick: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._pick, self._thread = pick, threading.get_ident()

    def __call__(self, _head: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The arguments that the head gets, states [B, L, D] first; None = as they are."""
        return (self._pick(args[0]), *args[1:]) if args and threading.get_ident() == self._thread else None

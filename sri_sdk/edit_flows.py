"""Models that insert and delete tokens while they generate: edit flows, and masked models whose canvas changes size.

Their positions move. What stands at position i after a step is not what stood there before, so a state per position,
and a signal over steps, would compare different tokens. They are refused by what they say of themselves, before
anything runs; what does not say so is noticed once the number of tokens changes (`TokensMoved`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any, cast

from sri_sdk.errors import ModelMismatch
from sri_sdk.structure import class_names, unwrapped

KINDS = re.compile(r"edit[-_]?flow|flex[-_]?mdm|dreamon|levenshtein|insertion", re.IGNORECASE)
"""In names of classes, and in `model_type`."""
_VERBS = "delete|deletion|expand|insert|insertion|split"
TOKENS = re.compile(rf"({_VERBS})_(token_)?ids?|indel\w*|expand_budget", re.IGNORECASE)
"""Whole names of fields and arguments that stand for inserting or deleting."""
MENTIONS = re.compile(rf"({_VERBS})_(id|token)|delet|insert|indel", re.IGNORECASE)
"""Parts of such names. Too many to refuse a model of just any family."""
HEADS = ("ins_logits", "rate_heads", "insertion_head")
"""Modules beside the head that say where tokens are inserted, and how many."""
LOOPS = ("generate", "diffusion_generate", "sample")
"""Methods that a model of its own makes its passes with."""
MOST_NAMED = 3


def moves_tokens(model: Any) -> str:
    """What a model says of inserting and deleting tokens, for people; empty = nothing.

    Args:
        model: the model, wrapped or not.
    """
    inner = unwrapped(model)
    found = dict.fromkeys(
        (*_of_class(cast("Hashable", type(inner))), *_model_type(inner), *_fields(inner), *_heads(inner))
    )
    return ", ".join(list(found)[:MOST_NAMED])


def mentions_of_moves(model: Any) -> list[str]:
    """Every name in a model's config, and among the arguments of its loops, that speaks of inserting or deleting.

    More than `moves_tokens` takes for a sign: for hooks of families in which such a name has no other meaning.

    Args:
        model: the model, wrapped or not.
    """
    inner = unwrapped(model)
    config: Any = getattr(inner, "config", None)
    fields: dict[str, Any] = config.to_dict() if hasattr(config, "to_dict") else getattr(config, "__dict__", {})
    names = [*fields, *(argument for _, argument in _own_arguments(type(inner)))]
    return sorted({name for name in names if MENTIONS.search(name)})


def refuse_moving_tokens(model: Any) -> None:
    """Refuses a model whose positions move, before anything runs.

    Raises:
        ModelMismatch: it says that it inserts and deletes tokens.
    """
    if said := moves_tokens(model):
        raise ModelMismatch(
            f"{class_names(model)[0]} inserts and deletes tokens while it generates ({said}): position i is not the "
            "same token from step to step, so its states cannot be compared over steps, and no hook reads it. "
            "Watched are models whose tokens keep their positions, among them some that replace tokens in place "
            "(LLaDA2.1): docs/model-families.md."
        )


@cache
def _of_class(kind: Hashable) -> tuple[str, ...]:
    """What a model's class says: its name and those of its bases, and the arguments of its own loops."""
    bases = inspect.getmro(cast("type[Any]", kind))
    named = [f"class {base.__name__}" for base in bases if KINDS.search(base.__name__)]
    own = (f"{loop}({argument}=)" for loop, argument in _own_arguments(cast("type[Any]", kind)) if _is_meant(argument))
    return (*named, *own)


def _model_type(model: Any) -> Iterator[str]:
    found = getattr(getattr(model, "config", None), "model_type", None)
    if isinstance(found, str) and KINDS.search(found):
        yield f"model_type {found}"


def _fields(model: Any) -> Iterator[str]:
    for home in ("config", "generation_config"):
        given = getattr(model, home, None)
        fields: dict[str, Any] = {} if given is None else getattr(given, "__dict__", {})
        yield from (f"{home}.{name}" for name in fields if _is_meant(name) and _in_use(name, fields[name]))


def _own_arguments(kind: type[Any]) -> Iterator[tuple[str, str]]:
    """Loop and argument, of those loops that are not transformers' own."""
    for name in LOOPS:
        method = getattr(kind, name, None)
        if not callable(method) or (getattr(method, "__module__", "") or "").startswith("transformers."):
            continue
        try:
            arguments = inspect.signature(method).parameters
        except (TypeError, ValueError):
            continue
        yield from ((name, argument) for argument in arguments)


def _heads(model: Any) -> Iterator[str]:
    modules = getattr(model, "_modules", None) or {}
    yield from (f"module {name}" for name in HEADS if modules.get(name) is not None)


def _in_use(name: str, value: Any) -> bool:
    """Whether a field is switched on. An id may be 0, and is negative where there is none."""
    if isinstance(value, int) and not isinstance(value, bool) and re.search(r"_ids?$", name):
        return value >= 0
    return bool(value)


def _is_meant(name: str) -> bool:
    return TOKENS.fullmatch(name) is not None

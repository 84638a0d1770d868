"""Hooks of plugin API 1: the names that API 2 changed, and how classes written with either reach each other.

An adapter that is put around a plugin's class once it is loaded would come too late: `super().admit(...)` is looked up
in the classes as they were made when the module was imported, and a parent may be of another release. So every hook
answers to both names from birth, for as long as API 1 is accepted. It goes in one piece: this file, `Hook`'s three
lines of older names, and `sri_sdk.Fit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType
from typing import Any, ClassVar

OLDER_NAMES = {"hears": "observed_methods", "heard": "on_method_result", "admit": "on_call"}
"""Name that a hook of plugin API 1 may use -> what API 2 calls it."""


class BothNames:
    """A class whose attributes stand under their older and their newer name."""

    _older_names: ClassVar[tuple[str, ...]] = ()
    """Those that this very class was written with."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._older_names = tuple(old for old in OLDER_NAMES if old in vars(cls))
        # Whatever a class defines under one of the two names stands under both, so that a class and its parents may
        # have been written for different releases and still reach each other through super().
        for old, new in OLDER_NAMES.items():
            for written, other in ((old, new), (new, old)):
                if written in vars(cls) and other not in vars(cls):
                    setattr(cls, other, vars(cls)[written])


def older_names_defined(plugin: type) -> dict[str, str]:
    """Older names that this very class defines -> what API 2 calls them; empty = none."""
    return {name: OLDER_NAMES[name] for name in vars(plugin).get("_older_names", ())}


def older_names_used(plugin: type) -> dict[str, str]:
    """Older names that a hook's class and its parents outside the SDK define, or reach for.

    Read off their code, so a name that means something else there may be among them: for people, not for decisions.

    Returns:
        Older name -> what API 2 calls it; empty = none.
    """
    found = set[str]()
    for kind in plugin.__mro__:
        if kind.__module__.partition(".")[0] == "sri_sdk":
            continue
        found.update(older_names_defined(kind))
        for names in _names_in_methods(kind):
            found.update(OLDER_NAMES.keys() & names if "super" in names else ())
            found.update({"Fit"} & names)
    return {name: OLDER_NAMES.get(name, "Match") for name in (*OLDER_NAMES, "Fit") if name in found}


def _names_in_methods(kind: type) -> Iterator[set[str]]:
    for value in vars(kind).values():
        code = getattr(getattr(value, "__func__", value), "__code__", None)
        if isinstance(code, CodeType):
            yield set(_names_in(code))


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names_in(inner)

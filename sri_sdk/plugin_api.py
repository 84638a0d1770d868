"""For which version of the plugin API a plugin was written: what is accepted, what is refused, who is warned."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any
from weakref import WeakSet

from sri_sdk.errors import PluginLoadFailed, PluginWrongApi
from sri_sdk.older_hooks import older_names_defined, older_names_used

_warned: WeakSet[type[Any]] = WeakSet()
"""Plugins that were warned about: choosing a hook loads all that are installed, again and again."""


def accepted_version(module: ModuleType, kind: str, accepted: Sequence[int], subject: str) -> int:
    """The version that a plugin's module states.

    Args:
        module: the one that its entry point names.
        kind: of the plugin.
        accepted: versions that this SDK accepts of the kind, the current one last.
        subject: the plugin, as messages name it.

    Raises:
        PluginWrongApi: it states none, or another one.
    """
    current, found = accepted[-1], getattr(module, "SRI_PLUGIN_API", None)
    # `True` equals 1, but is not a version.
    if type(found) is int and found in accepted:
        return found
    if found is None:
        raise PluginWrongApi(
            f"{subject}: does not say which plugin API it was written for; this SDK has version {current} of {kind}. "
            f"Add the line `SRI_PLUGIN_API = {current}` to {module.__name__}."
        )
    also = "".join(f", and still accepts {older}" for older in accepted[:-1])
    newer = type(found) is int and found > current
    cure = "Upgrade sri-sdk" if newer else "Install the plugin's release for this SDK"
    raise PluginWrongApi(
        f"{subject}: written for version {found!r} of the plugin API, this SDK has version {current} of {kind}{also}. "
        f"{cure}, or install another release of {'the plugin' if newer else 'sri-sdk'}."
    )


def refuse_older_names(plugin: type[Any], kind: str, version: int, subject: str) -> None:
    """A hook of the current version defines none of the older names.

    They would work today, and go unnoticed on the day they no longer do.

    Raises:
        PluginLoadFailed: it does.
    """
    if kind == "hooks" and (older := older_names_defined(plugin)):
        raise PluginLoadFailed(
            f"{subject}: written for version {version} of the plugin API of hooks, and defines names of version 1: "
            f"{_renamed(older)}. Rename them in {plugin.__module__}."
        )


def warn_of_older_version(
    plugin: type[Any], module: str, kind: str, found: int, current: int, subject: str, *, stacklevel: int
) -> None:
    """Says what will end, and what to do; once per class and process.

    Args:
        plugin: its class.
        module: the one that its entry point names.
        kind: of the plugin.
        found: the version that it was written for.
        current: the kind's.
        subject: the plugin, as messages name it.
        stacklevel: of the warning, 1 = the caller.
    """
    if plugin in _warned:
        return
    _warned.add(plugin)
    cure = f"Install the plugin's release for version {current}, or tell its maintainer"
    if kind == "hooks":
        older = older_names_used(plugin)
        first = f"rename {_renamed(older)}, and" if older else "it uses no name that was changed:"
        cure = f"{cure}: {first} write `SRI_PLUGIN_API = {current}` in {module}"
    warnings.warn(
        f"{subject}: written for version {found} of the plugin API of {kind}, the current one is {current}; "
        f"this is the last minor release of sri-sdk that accepts {found}. {cure}.",
        FutureWarning,
        stacklevel=stacklevel + 1,
    )


def _renamed(older: Mapping[str, str]) -> str:
    return ", ".join(f"`{old}` (now `{new}`)" for old, new in older.items())

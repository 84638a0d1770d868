"""Which hook fits a model."""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakKeyDictionary

from sri_sdk import registry
from sri_sdk.edit_flows import refuse_moving_tokens
from sri_sdk.errors import ModelMismatch, PluginLoadFailed, SriError
from sri_sdk.hook import Hook
from sri_sdk.records import Match

log = logging.getLogger("sri_sdk.capture")

_chosen: WeakKeyDictionary[Any, tuple[str, type[Hook]]] = WeakKeyDictionary()
"""Model -> the plugin that fits it. Asking all that are installed costs 10 ms; the same model keeps its family."""


def choose_hook(model: Any, name: str | None = None) -> Hook:
    """The hook of a model: the named one, or the only installed one that fits.

    A hook that cannot even be asked, because importing it fails, is named in the log and left out. A named one also
    gets a subclass that it would not take by itself (`Match.if_named`).

    Raises:
        ModelMismatch: the named hook does not fit, or none does, or several do; says what each looked for. Or the
            model inserts and deletes tokens, and the hook does not follow that.
        PluginError: the named hook, or the one that fits, cannot be used.
    """
    if name is not None:
        hook_class, fit = ask(name, model)
        if not (fit.ok or fit.if_named):
            raise ModelMismatch(
                f"hook {name!r} does not fit {type(model).__name__}: {fit.why}. "
                "Leave `hook` out to let the SDK choose, or see `sri plugins list --kind hooks`."
            )
        if not hook_class.follows_moves:
            refuse_moving_tokens(model)
        if not fit.ok:
            log.warning("hook %r is used because it was named: %s", name, fit.why)
        return _built(name, hook_class, model)
    if model in _chosen:
        name, hook_class = _chosen[model]
        with registry.blamed("hooks", name, "its fits()"):
            if hook_class.fits(model).ok:
                return _built(name, hook_class, model)
    fits, broken = _asked(model)
    fitting = sorted(n for n, (_, fit) in fits.items() if fit.ok)
    if not (len(fitting) == 1 and fits[fitting[0]][0].follows_moves):
        refuse_moving_tokens(model)
    if len(fitting) == 1:
        _chosen[model] = fitting[0], fits[fitting[0]][0]
        return _built(*_chosen[model], model)
    if fitting:
        raise ModelMismatch(
            f"{type(model).__name__}: hooks {', '.join(fitting)} all fit. Name one: watch(model, hook={fitting[0]!r})."
        )
    whys = {**{n: fit.why for n, (_, fit) in fits.items()}, **{n: f"cannot be asked ({e})" for n, e in broken.items()}}
    if near := sorted(n for n, (_, fit) in fits.items() if fit.if_named):
        raise ModelMismatch(
            f"{type(model).__name__}: no installed hook fits by itself. {near[0]}: {whys[near[0]]}: "
            f"watch(model, hook={near[0]!r})."
        )
    looked = "; ".join(f"{n}: {why}" for n, why in sorted(whys.items()))
    raise ModelMismatch(
        f"{type(model).__name__}: no installed hook fits ({looked or 'none is installed'}). "
        "Install the plugin of this family, or write one: see docs/add-a-model-family.md."
    )


def ask(name: str, model: Any) -> tuple[type[Hook], Match]:
    """The class of an installed hook, and what it says of a model.

    Raises:
        PluginError: it does not load, or its `fits` fails.
    """
    hook_class: type[Hook] = registry.load("hooks", name)
    with registry.blamed("hooks", name, "its fits()"):
        fit = hook_class.fits(model)
    if not isinstance(fit, Match):
        raise PluginLoadFailed(f"hooks plugin {name!r}: its fits() returned {fit!r}; it must return a sri_sdk.Match.")
    return hook_class, fit


def _asked(model: Any) -> tuple[dict[str, tuple[type[Hook], Match]], dict[str, SriError]]:
    """What each installed hook says of the model, and why the others could not be asked."""
    fits, broken = {}, {}
    for name in dict.fromkeys(info.name for info in registry.installed("hooks")):
        try:
            fits[name] = ask(name, model)
        except SriError as err:
            broken[name] = err
            log.warning("a hook is left out of the choice: %s", err)
    return fits, broken


def _built(name: str, hook_class: type[Hook], model: Any) -> Hook:
    with registry.blamed("hooks", name, "building it"):
        return hook_class(model)

"""Which hook fits a model."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from sri_sdk import registry
from sri_sdk.errors import ModelMismatch
from sri_sdk.hook import Hook

_chosen: WeakKeyDictionary[Any, type[Hook]] = WeakKeyDictionary()


def choose_hook(model: Any, name: str | None = None) -> Hook:
    """The hook of a model: the named one, or the only installed one that fits.

    Raises:
        ModelMismatch: the named hook does not fit, or none does, or several do; says what each looked for.
    """
    if name is not None:
        hook_class = registry.load("hooks", name)
        fit = hook_class.fits(model)
        if not fit.ok:
            raise ModelMismatch(
                f"hook {name!r} does not fit {type(model).__name__}: {fit.why}. "
                "Leave `hook` out to let the SDK choose, or see `sri plugins list --kind hooks`."
            )
        built: Hook = hook_class(model)
        return built
    # Looking through everything that is installed costs 10 ms; the same model object keeps the same family.
    remembered = _chosen.get(model)
    if remembered is not None and remembered.fits(model).ok:
        again: Hook = remembered(model)
        return again
    fits = {}
    for info in registry.installed("hooks"):
        hook_class = registry.load("hooks", info.name)
        fits[info.name] = (hook_class, hook_class.fits(model))
    fitting = sorted(n for n, (_, fit) in fits.items() if fit.ok)
    if len(fitting) == 1:
        _chosen[model] = fits[fitting[0]][0]
        chosen: Hook = _chosen[model](model)
        return chosen
    if fitting:
        raise ModelMismatch(
            f"{type(model).__name__}: hooks {', '.join(fitting)} all fit. Name one: watch(model, hook={fitting[0]!r})."
        )
    looked = "; ".join(f"{n}: {fit.why}" for n, (_, fit) in sorted(fits.items()))
    raise ModelMismatch(
        f"{type(model).__name__}: no installed hook fits ({looked or 'none is installed'}). "
        "Install the plugin of this family, or write one: see docs/add-a-model-family.md."
    )

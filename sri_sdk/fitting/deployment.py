"""A config made live: model, hook, sampler and everything else it names, built once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sri_sdk import registry
from sri_sdk.capture.identity import fingerprint
from sri_sdk.capture.pool import make_pooler
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import ModelMismatch
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.records import LoadedModel
from sri_sdk.sampler import Sampler


@dataclass(frozen=True, slots=True)
class Deployment:
    """What `sri fit` and `sri run` generate with."""

    config: FitConfig
    hook: Hook
    loaded: LoadedModel
    sampler: Sampler
    settings: WatchSettings
    """Pooling, layers and grid of the config; no anchors yet."""
    fingerprint: Fingerprint

    @classmethod
    def open(cls, config: FitConfig, loaded: LoadedModel | None = None) -> Deployment:
        """Loads the model and builds the rest; `loaded` is what another deployment with the same options has loaded."""
        hook_class = registry.load("hooks", config.model.hook)
        options = hook_class.Config(**config.model.options)
        loaded = loaded or hook_class.load(options)
        fit = hook_class.fits(loaded.model)
        if not fit.ok:
            raise ModelMismatch(
                f"hook {config.model.hook!r} does not fit {loaded.source}: {fit.why}. Name the hook of its family "
                "under model.hook; `sri doctor FOLDER` says which fits."
            )
        hook: Hook = hook_class(loaded.model, options)
        sampler: Sampler = registry.build("samplers", config.sampler.name, config.sampler.options)
        grid = _grid(config, hook, sampler)
        settings = WatchSettings(config.tap.pooling, tuple(config.tap.layers), grid, sampler.budget())
        profile: dict[str, Any] = {
            "name": config.sampler.name, "budget": sampler.budget(), "canvas": sampler.canvas(),
            "fixed": sampler.is_fixed(),
            **sampler.config.model_dump(mode="json"),
        }  # fmt: skip
        printed = fingerprint(
            hook, pooling=settings.pooling, layers=settings.layers, grid=grid, sampler=profile,
            system_prompt=config.model.system_prompt,
        )  # fmt: skip
        return cls(config, hook, loaded, sampler, settings, printed)


def _grid(config: FitConfig, hook: Hook, sampler: Sampler) -> StepGrid:
    """The step grid; its budget is that of the sampler, in the unit the mapping counts."""
    if config.tap.mapping == "committed":
        budget = sampler.canvas()
    else:
        budget = make_pooler(hook.scheme, config.tap.pooling).states_for(sampler.budget())
    return StepGrid(config.tap.cells, config.tap.mapping, budget)

"""A config made live: model, hook, sampler and everything else it names, built once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import Any

from sri_sdk import registry
from sri_sdk.capture.identity import fingerprint
from sri_sdk.capture.poolers import make_pooler
from sri_sdk.capture.settings import Layers, WatchSettings
from sri_sdk.config.check_horizon import whole_canvas
from sri_sdk.config.columns import needs_sri, reads
from sri_sdk.config.fit import FitConfig, PluginSection, RequestSection, TapSection
from sri_sdk.errors import ConfigError, ModelMismatch
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.records import LoadedModel
from sri_sdk.sampler import Sampler
from sri_sdk.thoughts import thoughts

log = logging.getLogger("sri_sdk.fitting")


@dataclass(frozen=True, slots=True)
class Tapped:
    """A live model under one sampler and one tap."""

    hook: Hook
    loaded: LoadedModel
    sampler: Sampler
    settings: WatchSettings
    """Pooling, layers and grid; no anchors yet."""
    fingerprint: Fingerprint
    system_prompt: str | None

    @classmethod
    def of(
        cls, hook: Hook, loaded: LoadedModel, sampler: PluginSection, tap: TapSection, system_prompt: str | None = None,
        *, request: RequestSection | None = None, alone: bool = False, horizon: int | None = None,
    ) -> Tapped:  # fmt: skip
        """Builds the sampler and the step grid, and takes the model's fingerprint.

        Args:
            hook: the model family, with the live model.
            loaded: the same model with its tokenizer.
            sampler: plugin of kind samplers.
            tap: pooling, layers and grid.
            system_prompt: of every generation; None = none.
            request: what is read of requests; None = nothing.
            alone: whether the signal's layers are not read at all, only the request's.
            horizon: steps that are judged, from the first on; None = whole generations.

        Raises:
            PluginError, ConfigError: there is no such sampler, or it refuses its options; the model has fewer blocks;
                or the first steps depend on the length of a generation, and a horizon is asked for.
        """
        driver: Sampler = registry.build("samplers", sampler.name, sampler.options)
        layers: Layers = () if alone else tuple(tap.layers)
        reads = () if request is None else _request_layers(request, hook)
        last = None if request is None else request.last_tokens
        if horizon is None:
            grid = _grid(tap, hook, driver)
            settings = WatchSettings(
                tap.pooling, layers, grid, driver.budget(), request_layers=reads, request_tokens=last,
                keeps_commits=driver.keeps_commits,
            )  # fmt: skip
            profile: dict[str, Any] = {
                "name": sampler.name, "budget": driver.budget(), "canvas": driver.canvas(),
                "fixed": driver.is_fixed(), **driver.config.model_dump(mode="json"),
            }  # fmt: skip
        else:
            grid = StepGrid(tap.cells, "step", horizon)
            settings = WatchSettings(
                tap.pooling, layers, grid, horizon, horizon=horizon, request_layers=reads, request_tokens=last,
                keeps_commits=driver.keeps_commits,
            )  # fmt: skip
            profile = {**_pace(hook, driver), "name": sampler.name, "horizon": horizon}
        printed = fingerprint(
            hook, pooling=settings.pooling, layers=settings.layers, grid=grid, sampler=profile,
            system_prompt=system_prompt, request=reads, tokenizer=loaded.tokenizer, request_tokens=last,
        )  # fmt: skip
        return Tapped(hook, loaded, driver, settings, printed, system_prompt)


@dataclass(frozen=True, slots=True)
class Deployment(Tapped):
    """What `sri fit` and `sri run` generate with: a config made live."""

    config: FitConfig

    @classmethod
    def open(cls, config: FitConfig, loaded: LoadedModel | None = None) -> Deployment:
        """Loads the model and builds the rest.

        Args:
            config: a checked config.
            loaded: what another deployment with the same hook and options has loaded; None = load it.

        Raises:
            ModelMismatch: the hook does not fit the model.
        """
        hook_class = registry.load("hooks", config.model.hook)
        options = hook_class.Config(**config.model.options)
        loaded = loaded or hook_class.load(options)
        fit = hook_class.fits(loaded.model)
        if not (fit.ok or fit.if_named):
            raise ModelMismatch(
                f"hook {config.model.hook!r} does not fit {loaded.source}: {fit.why}. Name the hook of its family "
                "under model.hook; `sri doctor FOLDER` says which fits."
            )
        if not fit.ok:
            log.warning("hook %r is used because model.hook names it: %s", config.model.hook, fit.why)
        hook: Hook = hook_class(loaded.model, options)
        if config.model.thoughts:
            hook.thoughts = thoughts((*hook.thoughts.more, *config.model.thoughts))
        detectors = {name: registry.load("detectors", part.detector) for name, part in config.named_parts().items()}
        live = Tapped.of(
            hook, loaded, config.sampler, config.tap, config.model.system_prompt, request=config.request,
            alone=not needs_sri(reads(config, detectors)), horizon=config.horizon,
        )  # fmt: skip
        return cls(**{field.name: getattr(live, field.name) for field in fields(live)}, config=config)


def _request_layers(section: RequestSection, hook: Hook) -> Layers:
    """The layers that a section names.

    Raises:
        ConfigError: the model has fewer blocks.
    """
    count = len(hook.layers())
    if section.layers == "all":
        return (*range(count), "final")
    if beyond := [layer for layer in section.layers if isinstance(layer, int) and layer >= count]:
        raise ConfigError(
            f"request.layers: found {', '.join(map(str, beyond))}, and the model has {count} blocks; allowed: 0 to "
            f"{count - 1}, final, or all"
        )
    return tuple(section.layers)


def _pace(hook: Hook, sampler: Sampler) -> dict[str, Any]:
    """What decides the first steps, where their number does not depend on the length of a generation."""
    if hook.scheme != "autoregressive" and hook.block_length() is None:
        raise ConfigError(f"{whole_canvas(type(hook).__name__)}.")
    if (pace := sampler.pace()) is None:
        raise ConfigError(
            f"horizon: sampler {type(sampler).__name__} says that the length of an answer decides its first steps too "
            "(pace() is None). Leave the horizon out."
        )
    return dict(pace)


def _grid(tap: TapSection, hook: Hook, sampler: Sampler) -> StepGrid:
    """The step grid; its budget is that of the sampler, in the unit the mapping counts."""
    if tap.mapping == "committed":
        budget = sampler.canvas()
    else:
        budget = make_pooler(hook.scheme, tap.pooling).states_for(sampler.budget())
    return StepGrid(tap.cells, tap.mapping, budget)

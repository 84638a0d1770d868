"""A second model beside the guarded one, for plugins that need another opinion. Its hook loads it, as for `model`.

    class MyBaseline(Baseline):
        class Config(SecondModelConfig):
            pass

        def open(self, target):
            self.hook, self.loaded = load_second_model(self.config, whose="baseline my-baseline")

The operator chooses hook and options, as for the guarded model.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sri_sdk import registry
from sri_sdk.errors import ConfigError, PluginError
from sri_sdk.hook import Hook
from sri_sdk.plugin import Config
from sri_sdk.records import LoadedModel


class SecondModelConfig(Config):
    """Which model; the same two keys as in the section `model`."""

    hook: str = Field(min_length=1, description="Plugin of kind hooks that loads the model and knows its family.")
    options: dict[str, Any] = Field(
        default={}, description="That hook's own options, such as {source: folder-with-the-checkpoint}."
    )


def load_second_model(config: SecondModelConfig, *, whose: str) -> tuple[Hook, LoadedModel]:
    """Loads the model, and binds its hook to it.

    Args:
        config: which one.
        whose: the plugin that asks for it, for messages.

    Returns:
        The hook, which tokenises and runs passes, and what it loaded.

    Raises:
        ConfigError: there is no such hook, its options are wrong, or it cannot load the model.
        MissingExtra: what the hook loads models with is not installed.
    """
    try:
        family = registry.load("hooks", config.hook)
        options = registry.configure("hooks", config.hook, config.options)
        loaded: LoadedModel = family.load(options)
    except (ConfigError, PluginError) as err:
        raise ConfigError(f"{whose}: {err}") from err
    hook: Hook = family(loaded.model, options)
    return hook, loaded

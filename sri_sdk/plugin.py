"""What every extension point shares: declared options, and one way to be built."""

from __future__ import annotations

from abc import ABC
from typing import Any

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Declared options: typed, described and immutable. A misspelt key is an error.

    A plugin nests a subclass named `Config`; the names and types of its fields are what an operator may write
    under `options:` in YAML, and `sri config schema` prints them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Plugin(ABC):
    """Base of the extension points. Built as `PluginClass(PluginClass.Config(...))`; None = the defaults."""

    Config: type[Config] = Config
    """The options; override by nesting a class of this name."""

    def __init__(self, config: Any = None) -> None:
        # Any: its real type is the subclass's own Config, which no annotation here can name.
        self.config: Any = config if config is not None else type(self).Config()
